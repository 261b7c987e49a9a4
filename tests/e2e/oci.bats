# OCI files: what runc and crun write runs unchanged, and every field is honoured.
# Not in the virtual machine: minutes under emulation; no field of it depends on the kernel's version
load helper
load bundle

setup() {
    cloche_setup
    make_rootfs
}

@test "runc spec: unchanged, its shell at a terminal" {
    need_root
    need_program runc
    runc spec
    run --separate-stderr bash -c 'echo "hostname; id -u; echo \$0; exit 7" | cloche run --spec config.json'
    expect_status 7
    [[ $output = *$'runc\r'*$'0\r'*$'sh\r'* ]]
}

@test "crun spec: unchanged" {
    need_root
    need_program crun
    crun spec
    run --separate-stderr bash -c 'echo "hostname; exit 7" | cloche run --spec config.json'
    expect_status 7
    [[ $output = *$'crun\r'* ]]
}

@test "runc spec --rootless: unchanged, as an ordinary user" {
    need_user
    need_program runc
    runc spec --rootless
    run --separate-stderr bash -c 'echo "id -u; exit 7" | cloche run --spec config.json'
    expect_status 7
    [[ $output = *$'0\r'* ]]
}

@test "a bundle: paths are relative to the file, from wherever it is run" {
    spec . 'echo here; ls /'
    mkdir elsewhere
    cd elsewhere
    run --separate-stderr cloche run --spec ../config.json
    expect_status 0
    expect_output $'here\nbin\ndev\netc\nhome\nmnt\nproc\nsys\ntmp'
}

@test "process: args, env, cwd, user, umask" {
    holds '.process.cwd = "/home" | .process.env += ["A=1", "B=two words"]' 'pwd; echo "$A $B"' $'/home\n1 two words'
    holds '.process.user.umask = 63' 'umask; touch /tmp/x; stat -c %a /tmp/x; rm /tmp/x' $'0077\n600'
    [ "$(id -u)" -eq 0 ] || return 0
    holds '.process.user = {uid: 7, gid: 8, additionalGids: [9, 10]}' 'id -u; id -G' $'7\n8 9 10'
}

@test "process: additional groups of an ordinary user come from /etc/subgid, else an error" {
    need_user
    spec '.process.user.additionalGids = [9]' 'id -G'
    inside
    if grep -qs "^$(id -un):" /etc/subgid; then
        expect_output "0 9"
    else
        expect_status 125
        expect_stderr_line "^cloche: user $(id -u) has no range in /etc/subgid for the additional groups; fix: usermod --add-subgids 100000-165535 $(id -u), or leave out the additional groups$"
    fi
}

@test "process: rlimits, oomScoreAdj, capabilities, noNewPrivileges" {
    holds '.process.rlimits = [{type: "RLIMIT_NOFILE", soft: 33, hard: 44}]' 'ulimit -Sn; ulimit -Hn' $'33\n44'
    holds '.process.oomScoreAdj = 321' 'cat /proc/self/oom_score_adj' 321
    holds '.process.capabilities = {bounding: ["CAP_CHOWN", "CAP_KILL"], permitted: ["CAP_KILL"], effective: ["CAP_KILL"], inheritable: [], ambient: []} | .process.noNewPrivileges = true' \
        'grep -E "Cap|NoNew" /proc/self/status | cut -f 2' '0000000000000000
0000000000000020
0000000000000020
0000000000000021
0000000000000000
1'
}

@test "noNewPrivileges: false, as docker writes it, with a filter, and without more capabilities" {
    local caps='grep -E "NoNew|Seccomp:|CapPrm|CapEff|CapAmb" /proc/self/status | cut -f 2'
    holds '.process.noNewPrivileges = false | del(.process.capabilities)' "$caps" $'0000000000000000\n0000000000000000\n0000000000000000\n0\n2'
    holds '.process.noNewPrivileges = false | .process.user = {uid: 1000, gid: 1000} | .process.capabilities = {bounding: ["CAP_CHOWN"], permitted: ["CAP_CHOWN"], effective: ["CAP_CHOWN"], inheritable: [], ambient: []}' \
        "$caps" $'0000000000000000\n0000000000000000\n0000000000000000\n0\n2'
    holds '.process.noNewPrivileges = false | .linux.seccomp = {defaultAction: "SCMP_ACT_ALLOW", syscalls: [{names: ["mkdir", "mkdirat"], action: "SCMP_ACT_ERRNO", errnoRet: 71}]}' \
        'mkdir /tmp/x 2>&1; true' "mkdir: can't create directory '/tmp/x': Protocol error"
}

@test "memory and swap of -1 limit nothing, so no control group is needed" {
    holds '.linux.resources.memory = {limit: -1, swap: -1}' 'echo ran' ran
}

@test "rootfsPropagation: every word" {
    local word seen
    for word in private rprivate slave rslave shared rshared unbindable runbindable; do
        case $word in *shared) seen=shared ;; *unbindable) seen=unbindable ;; *slave) seen=master ;; *) seen= ;; esac
        # the optional fields of the root's line, between the options and the dash
        holds ".linux.rootfsPropagation = \"$word\"" \
            "awk '\$5 == \"/\" { print (\$7 == \"-\" ? \"\" : \$7) }' /proc/self/mountinfo | cut -d : -f 1" "$seen"
    done
}

# seen_later WORD COMMAND...: what a sandbox sees in /data of a file system that the host mounts there after its start.
seen_later() {
    unshare --mount --propagation private -- bash -c 'mount -t tmpfs -o mode=755 none /mnt
        mount --make-shared /mnt
        install -d -m 755 -o 23501 /mnt/below /mnt/state
        coproc "${@:2}" run -v "/mnt:/data:$1" -- sh -c "echo up; read _; ls /data/below"
        exec 4<&"${COPROC[0]}" 5>&"${COPROC[1]}"
        read -r _ <&4
        mount -t tmpfs none /mnt/below
        : >/mnt/below/seen
        echo >&5
        cat <&4' sh "$@"
}

@test "mounts: what the host mounts later is seen by slaves and by nobody else" {
    need_root
    local word user=(setpriv --reuid 23501 --regid 23501 --clear-groups env CLOCHE_ROOT=/mnt/state CLOCHE_RUN=/mnt/state)
    for word in rslave slave rshared; do
        [ "$(seen_later $word "$CLOCHE")" = seen ]
        [ "$(seen_later $word "${user[@]}" "$CLOCHE")" = seen ]
    done
    for word in rw rprivate runbindable; do
        [ "$(seen_later $word "$CLOCHE")" = "" ]
        [ "$(seen_later $word "${user[@]}" "$CLOCHE")" = "" ]
    done
}

@test "hostname and domainname" {
    holds '.hostname = "here" | .domainname = "example.org"' 'hostname; cat /proc/sys/kernel/domainname' $'here\nexample.org'
}

@test "root.readonly" {
    holds '.root.readonly = true' 'touch /home/x 2>&1; echo $?' $'touch: /home/x: Read-only file system\n1'
    holds '.root.readonly = false' 'touch /home/x; echo $?' 0
    [ -e rootfs/home/x ]
}

@test "mounts: types, options, order" {
    mkdir data
    echo content >data/file
    holds '.mounts += [{destination: "/mnt", type: "tmpfs", source: "tmpfs", options: ["size=64k", "mode=700", "noexec", "ro"]}]' \
        'mount | grep " /mnt " | cut -d" " -f1-5; mount | grep " /mnt " | grep -oE "noexec|size=64k|mode=700|\(ro"' \
        $'tmpfs on /mnt type tmpfs\n(ro\nnoexec\nsize=64k\nmode=700'
    holds ".mounts += [{destination: \"/mnt\", type: \"bind\", source: \"$WORK/data\", options: [\"rbind\", \"ro\", \"nosuid\", \"nodev\"]}]" \
        'cat /mnt/file; touch /mnt/x 2>&1' $'content\ntouch: /mnt/x: Read-only file system' || [ "$status" -eq 1 ]
    holds '.mounts += [{destination: "/mnt/sub", type: "tmpfs", source: "tmpfs"}, {destination: "/mnt/sub/deep", type: "tmpfs", source: "tmpfs"}]' \
        'mount | grep -c " /mnt/sub"' 2
}

@test "linux.maskedPaths and readonlyPaths" {
    echo secret >rootfs/etc/secret
    mkdir rootfs/etc/hidden
    echo secret >rootfs/etc/hidden/file
    chmod -R go+rX rootfs
    holds '.linux.maskedPaths = ["/etc/secret", "/etc/hidden", "/proc/keys", "/no/such"]' 'cat /etc/secret; ls -A /etc/hidden; cat /proc/keys; echo end' end
    holds '.linux.readonlyPaths = ["/home", "/proc/sys", "/no/such"]' 'touch /home/x 2>&1; touch /mnt/x && echo made' $'touch: /home/x: Read-only file system\nmade'
}

@test "linux.sysctl: of the sandbox's own namespaces" {
    holds '.linux.sysctl = {"kernel.msgmax": "12345", "net.ipv4.ip_forward": "1"}' 'cat /proc/sys/kernel/msgmax /proc/sys/net/ipv4/ip_forward' $'12345\n1'
    holds '.linux.sysctl = {"kernel/msgmax": "12346", "net/ipv4/conf/lo/forwarding": "1"}' 'cat /proc/sys/kernel/msgmax /proc/sys/net/ipv4/conf/lo/forwarding' $'12346\n1'
    spec '.linux.sysctl = {"vm.swappiness": "1"}' true
    inside
    expect_status 125
    expect_stderr_line 'linux.sysctl.*vm.swappiness'
}

@test "linux.devices" {
    need_root
    [ "$(stat -c %t:%T /dev/kmsg 2>/dev/null)" = 1:b ] || skip "needs root"
    holds '.linux.devices = [{path: "/dev/kmsg", type: "c", major: 1, minor: 11, fileMode: 384, uid: 0, gid: 0}]' 'stat -c "%F %t:%T" /dev/kmsg' 'character special file 1:b'
    spec '.linux.devices = [{path: "/dev/kmsg", type: "c", major: 1, minor: 12}]' true
    inside
    expect_status 125
    expect_stderr 'cloche: "/dev/kmsg" of the host is not device c 1:12; fix: repair the host'"'"'s /dev; nothing is trusted by its name'
    [ "$(stat -c %a /dev/kmsg)" = 644 ] || return 0
    spec '.linux.devices = [{path: "/dev/kmsg", type: "c", major: 1, minor: 11, fileMode: 438}]' true
    inside
    expect_status 125
    expect_stderr 'cloche: device "/dev/kmsg" cannot have mode 0666: the host'"'"'s has 0644; fix: it is the host'"'"'s own node that is shown: chmod it there, or leave fileMode out'
}

@test "linux.personality" {
    holds '.linux.personality = {domain: "LINUX32"}' 'uname -m 2>/dev/null || busybox uname -m' i686
}

@test "linux.timeOffsets" {
    spec '.linux.namespaces += [{type: "time"}] | .linux.timeOffsets = {boottime: {secs: 1000000, nanosecs: 0}}' 'cut -d. -f1 /proc/uptime'
    inside
    expect_status 0
    now=$(cut -d. -f1 /proc/uptime)
    [ "$output" -ge $((now + 1000000 - 60)) ]
    [ "$output" -le $((now + 1000000 + 60)) ]
    spec '.linux.namespaces += [{type: "time"}] | .linux.timeOffsets = {monotonic: {secs: -100000000000, nanosecs: 0}}' true
    inside
    expect_status 125
    expect_stderr_line '^cloche: cannot set the monotonic offset: .*; fix: the clock inside must be above 0 and below 146 years$'
}

@test "linux.uidMappings and gidMappings" {
    need_root
    holds '.linux.uidMappings = [{containerID: 0, hostID: 200000, size: 1000}] | .linux.gidMappings = [{containerID: 0, hostID: 300000, size: 1000}]' \
        'cat /proc/self/uid_map /proc/self/gid_map | awk "{ print \$1, \$2, \$3 }"' $'0 200000 1000\n0 300000 1000'
    spec '.linux.uidMappings = [{containerID: 0, hostID: 200000, size: 5}] | .linux.gidMappings = [{containerID: 0, hostID: 200000, size: 5}] | .process.user = {uid: 9, gid: 0}' true
    inside
    expect_status 125
    expect_stderr 'cloche: user 9:0 of the program is not in the id maps of the sandbox; fix: choose ids below 65536, or give linux.uidMappings and linux.gidMappings that hold them'
}

@test "linux.resources: memory, pids, cpu; cgroupsPath" {
    need_cgroups
    spec '.linux.resources = {memory: {limit: 33554432}, pids: {limit: 10}, cpu: {quota: 50000, period: 100000}} | .linux.cgroupsPath = "/e2e/test"' \
        'busybox tail /dev/zero'
    inside --report report.json
    expect_status 137
    expect_report .verdict memory_limit
}

@test "linux.resources.blockIO: a device that is not there" {
    need_root
    spec '.linux.resources = {blockIO: {throttleReadBpsDevice: [{major: 99, minor: 0, rate: 1048576}]}}' true
    inside
    expect_status 125
    expect_stderr_line '^cloche: cannot set /sys/fs/cgroup/.* to ".*": No such device; fix: name a disk as a whole: lsblk shows the numbers$'
}

@test "linux.seccomp: an OCI filter" {
    holds '.linux.seccomp = {defaultAction: "SCMP_ACT_ALLOW", syscalls: [{names: ["mkdir", "mkdirat"], action: "SCMP_ACT_ERRNO", errnoRet: 28}]}' \
        'mkdir /tmp/x 2>&1; grep ^Seccomp: /proc/self/status | cut -f 2' $'mkdir: can\'t create directory \'/tmp/x\': No space left on device\n2'
}

@test "process.terminal" {
    holds '.process.terminal = true | .process.consoleSize = {height: 33, width: 44}' 'busybox stty size; busybox tty' $'33 44\r\n/dev/pts/0\r'
}

@test "hooks are refused, unknown properties are not" {
    spec '.hooks = {poststop: [{path: "/bin/true"}]}' true
    inside
    expect_status 125
    expect_stderr_line '^cloche: .*hooks.*not supported'
    holds '.unknown = {a: 1} | .process.unknown = 1 | .annotations = {"org.x": "y"}' 'echo ran' ran
}
