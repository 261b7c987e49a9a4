# What is wrong is refused before anything starts: one line with the fix, the right status, nothing left.
# Not in the virtual machine: nothing starts, so nothing depends on the kernel
load helper

# refused STATUS MESSAGE ARGUMENT...: `cloche run ARGUMENT... -- touch /work/ran` says exactly MESSAGE.
refused() {
    local expected=$1 message=$2
    shift 2
    run --separate-stderr cloche run -v "$WORK:/work:rw" "$@" -- touch /work/ran
    expect_status "$expected"
    expect_output ""
    expect_stderr "cloche: $message"
    [ ! -e ran ]
}

@test "unknown options, commands and profiles, with the likely spelling" {
    refused 2 'unknown option "--memry"; fix: did you mean --memory?' --memry 1g
    refused 2 'unknown option "--frobnicate"; fix: see the list with --help' --frobnicate
    refused 2 'unknown option "-Z"; fix: see the list with --help' -Z
    refused 2 'option --read-only takes no value' --read-only=yes
    run --separate-stderr cloche rnu
    expect_status 2
    expect_stderr 'cloche: unknown command "rnu"; fix: did you mean `cloche run`?'
    refused 125 'there is no profile "studnet"; did you mean "student"?; fix: use one of ci, compile, plugin, relaxed, standard, strict, student' --profile studnet
    refused 125 'there is no profile "../../etc/passwd"; fix: use one of ci, compile, plugin, relaxed, standard, strict, student' --profile ../../etc/passwd
}

@test "a missing command, a missing value" {
    run --separate-stderr cloche run
    expect_status 2
    expect_stderr 'cloche: no command given; fix: cloche run [OPTIONS] -- COMMAND [ARG...]'
    run --separate-stderr cloche run --read-only --
    expect_status 2
    expect_stderr 'cloche: no command given; fix: cloche run [OPTIONS] -- COMMAND [ARG...]'
    run --separate-stderr cloche run --memory
    expect_status 2
    expect_stderr 'cloche: option --memory needs a value (SIZE)'
    run --separate-stderr cloche run -v
    expect_status 2
    expect_stderr 'cloche: option -v needs a value (SRC:DST[:ro|rw|O])'
}

@test "the same errors as objects with --json" {
    run --separate-stderr cloche run --json --memry 1g true
    expect_status 2
    [ "$(jq -c .error <<<"$stderr")" = '{"code":"usage.unknown_option","message":"unknown option \"--memry\"","hint":"did you mean --memory?","path":null}' ]
    run --separate-stderr cloche run --json --spec /no/such/file true
    expect_status 125
    expect_error spec.unreadable
    [ "$(jq -r .error.path <<<"$stderr")" = /no/such/file ]
    run --separate-stderr cloche run --json -w /nowhere true
    expect_status 125
    expect_error sandbox.cwd
}

@test "spec files: unreadable, malformed, wrong, too large, too deep" {
    refused 125 'cannot read the spec "/no/such/file": No such file or directory; fix: cloche spec > FILE writes one to start from' --spec /no/such/file
    echo '{' >bad.json
    run --separate-stderr cloche run --spec bad.json true
    expect_status 125
    expect_stderr_line '^cloche: .*bad.json'
    echo '{"ociVersion":"1.1.0","process":{"cwd":"relative","args":["true"]},"linux":{"resources":{"memory":{"limit":"256MB"},"pids":{"limit":-5}}}}' >bad.json
    run --separate-stderr cloche run --spec bad.json true
    expect_status 125
    # all problems at once
    expect_stderr_line 'process.cwd: expected an absolute path'
    expect_stderr_line 'linux.resources.memory.limit: expected a number of bytes > 0, found "256MB" \(a string\)'
    head -c 1100000 /dev/zero | tr '\0' ' ' >bad.json
    run --separate-stderr cloche run --spec bad.json true
    expect_status 125
    perl -e 'print "[" x 100, "]" x 100' >bad.json
    run --separate-stderr cloche run --spec bad.json true
    expect_status 125
    mkdir directory
    run --separate-stderr cloche run --spec directory true
    expect_status 125
    expect_stderr_line 'Is a directory'
    echo '{"ociVersion":"1.1.0","process":{"args":["true"],"cwd":"/"},"hooks":{"prestart":[{"path":"/bin/true"}]}}' >bad.json
    run --separate-stderr cloche run --spec bad.json true
    expect_status 125
    expect_stderr_line 'hooks.* not supported'
}

@test "--rootfs: missing, a file, empty" {
    refused 125 "--rootfs: cannot open root file system \"$WORK/missing\": No such file or directory; fix: give a directory, host, or empty" --rootfs "$WORK/missing"
    echo text >file
    refused 125 "root file system \"$WORK/file\" is not a directory; fix: unpack the image into a directory first" --rootfs file
    mkdir empty
    refused 125 "root file system \"$WORK/empty\" is an empty directory; fix: fill it, or use --rootfs empty with -v for an empty root" --rootfs empty/
}

@test "users" {
    local user
    for user in "" -1 0x0 4294967295 4294967296 root 0:-1 "0 " :5 1:2:3; do
        run --separate-stderr cloche run -u "$user" true
        expect_status 2
        expect_output ""
        [ "${#stderr_lines[@]}" -eq 1 ]
        expect_stderr "cloche: -u: expected a user as UID or UID:GID, each a number from 0 to 4294967294, found \"$user\""
    done
    refused 125 "user 70000:70000 of the program is not in the id maps of the sandbox; fix: choose ids below 65536, or give linux.uidMappings and linux.gidMappings that hold them" -u 70000 || [ "$(id -u)" -ne 0 ]
}

@test "limits of 0, negative, huge, not a number" {
    local option value
    for option in --memory --memory-swap --pids-limit --cpus --cpu-time --timeout --output-limit; do
        for value in 0 -5 abc "" 99999999999999999999999 1e400 nan " 5" 5x; do
            [ "$option $value" != "--memory-swap 0" ] || continue
            run --separate-stderr cloche run "$option" "$value" true
            expect_status 2
            expect_output ""
            [ "${#stderr_lines[@]}" -eq 1 ]
            expect_stderr_line "^cloche: $option: (\"$value\" is not a number of .*; fix: |expected a (size|duration) .*, found \"$value\")"
        done
    done
}

@test "other values" {
    refused 2 '--ulimit: "nofile" is not NAME=SOFT[:HARD]; fix: such as nofile=100:200, or core=unlimited' --ulimit nofile
    run --separate-stderr cloche run --ulimit nofle=5 true
    expect_status 2
    expect_stderr_line '^cloche: --ulimit: .*nofle.*nofile'
    run --separate-stderr cloche run --ulimit nofile=9:8 true
    expect_status 2
    refused 125 'cannot load the syscall filter: No file descriptors available; fix: the listener of the calls that are never allowed is a file, too: --ulimit nofile=5 or more' --ulimit nofile=4
    refused 2 '--network: unknown network "moon"; fix: none, loopback, host, or bridge:NAME,ADDRESS/BITS[,GATEWAY]' --network moon
    refused 2 '--cap-add: unknown capability "SYS_GOD"; fix: a name of capabilities(7), such as NET_BIND_SERVICE' --cap-add SYS_GOD
    refused 2 '-e: "=x" is not KEY=VALUE' -e =x
    refused 2 '-w: working directory "relative" is not absolute; fix: give a path inside the sandbox, beginning with /' -w relative
    refused 2 '--tmpfs: tmpfs "relative" is not DST[:SIZE]; fix: DST is an absolute path inside the sandbox' --tmpfs relative
    refused 125 '--env-file: cannot read environment file "/no/such": No such file or directory; fix: give a file of KEY=VALUE lines, at most 1 MiB' --env-file /no/such
    refused 125 '--seccomp: cannot read syscall filter "nosuch": No such file or directory; fix: a file with an OCI seccomp object, or default, unconfined, tight, build, wide' --seccomp nosuch
    local name
    for name in "" "a b" $'a\nb' "$(printf 'a%.0s' {1..65})" a/b; do
        run --separate-stderr cloche run --hostname "$name" true
        [ "$status" -eq 2 ] || [ "$status" -eq 125 ]
        expect_stderr_line hostname
    done
}

@test "volumes" {
    refused 2 '-v: volume "x" is not SRC:DST[:ro|rw|O]; fix: DST is an absolute path inside the sandbox' -v x
    refused 2 '-v: volume "/tmp:relative" is not SRC:DST[:ro|rw|O]; fix: DST is an absolute path inside the sandbox' -v /tmp:relative
    refused 125 '-v: cannot open mount source "/no/such": No such file or directory; fix: make it first, or correct the path' -v /no/such:/x
    refused 2 '-v: "frobnicate": not an option of a bind mount; fix: SRC:DST:ro, rw or O, or an option word of mount(8)' -v /tmp:/x:frobnicate
    refused 2 '-v: "ro:rw": not an option of a bind mount; fix: SRC:DST:ro, rw or O, or an option word of mount(8)' -v /tmp:/x:ro:rw
    refused 2 '--tmpfs: "zz": not an option of a tmpfs mount; fix: a size such as 64m, or an option word of tmpfs(5)' --tmpfs /x:zz
    refused 125 'mounts[3].destination: a mount over the root is not supported; set the rootfs instead' -v /tmp:/
    refused 125 'mounts[3].destination: may not contain "..": "/../x"' -v /tmp:/../x
    refused 2 '--tmpfs: a second mount at "/x"; fix: leave one of them out' -v /tmp:/x --tmpfs /x/
    refused 125 'cannot mount at "/etc/passwd": Invalid argument; fix: a directory goes over a directory, a file over a file: choose another destination' -v "$WORK:/etc/passwd"
    mkdir -p root/dev root/proc root/tmp root/bin
    ln -s nowhere root/link
    run --separate-stderr cloche run --rootfs root -v "$WORK:/link/x" true # musl and glibc have words of their own for ELOOP
    expect_status 125
    expect_stderr_line '^cloche: cannot make mount point "/link/x": .*; fix: a symbolic link on its way leads nowhere in the rootfs: make its end there, or choose another destination$'
}

@test "--report: a place that cannot be written stops the launch" {
    refused 125 'cannot write the report to "/no/such/report": No such file or directory; fix: choose a writable place for --report' --report /no/such/report
    refused 125 "cannot write the report to \"$WORK\": Is a directory; fix: choose a writable place for --report" --report "$WORK"
}

@test "--report on a full disk: an error, whatever the program did" {
    run --separate-stderr cloche run --report /dev/full sh -c 'echo out'
    expect_status 125
    expect_output out
    expect_stderr 'cloche: cannot write the report to "/dev/full": No space left on device; fix: free some space, or choose another place for --report'
}

@test "output on a full disk: an error, whatever the program did; a reader that leaves is none" {
    run --separate-stderr bash -c 'cloche run --output-limit 1m sh -c "echo out" >/dev/full'
    expect_status 125
    expect_stderr "cloche: the program's output could not be written: No space left on device; fix: free some space, or send it elsewhere"
    run --separate-stderr bash -c 'cloche run --output-limit 1m sh -c "echo out; exit 3" >/dev/full'
    expect_status 3
    expect_stderr_line 'could not be written'
    run --separate-stderr bash -c 'cloche run --output-limit 1m seq 100000 | head -n 1'
    expect_output 1
    expect_stderr ""
}

# in_view SCRIPT COMMAND...: the command in a mount namespace of its own, after the script. Bind mounts only: a plain
# remount would change the superblock, and so the whole machine.
in_view() {
    local script=$1
    shift
    run --separate-stderr unshare --mount --propagation private -- bash -c "$script
        exec \"\$@\"" view "$@"
}

@test "/sys/fs/cgroup read-only: limits are refused with the fix, --best-effort runs without" {
    need_root
    local view='mount --rbind /sys/fs/cgroup /sys/fs/cgroup; while read -r _ _ _ _ point _; do
        case $point in /sys/fs/cgroup*) mount -o remount,bind,ro "$point";; esac; done </proc/self/mountinfo'
    in_view "$view" cloche run --memory 64m sh -c 'echo ran'
    expect_status 125
    expect_output ""
    [ "${#stderr_lines[@]}" -eq 1 ]
    expect_stderr_line '^cloche: cannot (limit memory|make a control group): .*/sys/fs/cgroup.* is (mounted )?read-only; fix: mount -o remount,rw /sys/fs/cgroup.*; or pass --best-effort$'
    in_view "$view" cloche run --best-effort --memory 64m --report report.json sh -c 'echo ran'
    expect_status 0
    expect_output ran
    expect_report '.enforced_by.memory' rlimit
}

@test "no procfs: refused with the fix" {
    need_root
    [ "${CLOCHE_BUILD-}" != build-asan ] || skip "the sanitizers need a procfs of their own"
    in_view 'mount -t tmpfs none /proc' cloche run sh -c 'echo ran'
    expect_status 125
    expect_output ""
    [ "${#stderr_lines[@]}" -eq 1 ]
    expect_stderr_line '^cloche: .*; fix: mount -t proc proc /proc$'
    # the numbers in another PID namespace's are other processes
    run --separate-stderr unshare --mount --pid --fork -- bash -c '"$0" run sh -c "echo ran"' "$CLOCHE"
    expect_status 125
    expect_output ""
    expect_stderr "cloche: cannot write the id map of the sandbox: the procfs at /proc is another PID namespace's; fix: mount -t proc proc /proc"
}

@test "no procfs, another's, a read-only one: an ordinary user hears the same" {
    need_root
    [ "${CLOCHE_BUILD-}" != build-asan ] || skip "the sanitizers need a procfs of their own"
    local user=(setpriv --reuid 23501 --regid 23501 --clear-groups env "CLOCHE_ROOT=$BATS_TEST_TMPDIR/user" "CLOCHE_RUN=$BATS_TEST_TMPDIR/user")
    chmod 711 "$BATS_TEST_TMPDIR"
    mkdir -m 700 "$BATS_TEST_TMPDIR/user"
    chown 23501:23501 "$BATS_TEST_TMPDIR/user"
    in_view 'mount -t tmpfs none /proc' "${user[@]}" "$CLOCHE" run sh -c 'echo ran'
    expect_status 125
    expect_output ""
    expect_stderr 'cloche: cannot write the id map of the sandbox: there is no procfs at /proc; fix: mount -t proc proc /proc'
    in_view 'mount -o remount,bind,ro /proc' "${user[@]}" "$CLOCHE" run sh -c 'echo ran'
    expect_status 125
    expect_output ""
    expect_stderr 'cloche: cannot write the id map of the sandbox: /proc is mounted read-only; fix: mount -o remount,bind,rw /proc'
    in_view 'mount -o remount,bind,ro /proc' cloche doctor
    expect_status 1
    [[ $output = *$'/proc                                              no  /proc is mounted read-only\n      fix: mount -o remount,bind,rw /proc\n'* ]]
}

@test "closed streams and full disks of the other commands" {
    local command
    for command in version help profiles list spec; do
        run --separate-stderr bash -c '"$0" "$1" >/dev/full' "$CLOCHE" "$command"
        expect_status 1
        expect_stderr_line '^cloche: cannot write .*to standard output: No space left on device'
    done
    # no file takes the place of a stream, and no word lands in one
    "$CLOCHE" spec -- sleep 1000 >spec.json
    "$CLOCHE" create box --spec spec.json <&- >&- 2>&-
    [ "$("$CLOCHE" exec box echo here)" = here ]
    "$CLOCHE" destroy --force box <&- >&- 2>&-
    run grep -rIl '^cloche: ' "$CLOCHE_ROOT" "$CLOCHE_RUN"
    expect_output ""
    rmdir "$CLOCHE_ROOT/sandboxes" "$CLOCHE_RUN/sandboxes" 2>/dev/null || :
}

@test "a procfs that something lies over, and a chroot: refused with the fix" {
    need_root
    in_view 'mount -t tmpfs none /proc/tty' cloche run sh -c 'echo ran'
    expect_status 125
    expect_output ""
    expect_stderr 'cloche: cannot make the file system for "/proc": Operation not permitted; fix: procfs and sysfs take one here that nothing is mounted over (a container'"'s masked paths are in the way): cloche doctor tries it"
    mkdir root
    in_view "mount --rbind / '$WORK/root'" chroot "$WORK/root" "$CLOCHE" run sh -c 'echo ran'
    expect_status 125
    expect_output ""
    expect_stderr 'cloche: cannot make the namespaces of the sandbox: Operation not permitted; fix: user namespaces may be switched off here, and a chroot has none: cloche doctor names the setting'
}

@test "too few open files: the fix, wherever they end" {
    local n
    for n in 8 20; do
        run --separate-stderr bash -c "ulimit -n $n; \"\$CLOCHE\" run sh -c 'echo ran'"
        expect_status 125
        expect_output ""
        expect_stderr_line '^cloche: .*; fix: allow this process more open files: ulimit -n 256$'
    done
}

@test "state directories that cannot be made or are not ours" {
    need_root
    chmod 777 "$CLOCHE_RUN"
    run --separate-stderr cloche run sh -c 'echo ran'
    chmod 700 "$CLOCHE_RUN"
    expect_status 125
    expect_stderr "cloche: state directory \"$CLOCHE_RUN\" can be written by others; fix: chown 0 '$CLOCHE_RUN' && chmod 700 '$CLOCHE_RUN'"
}

@test "an init that is gone before it is told to go on has said why" {
    mkdir volume
    # the sanitizers cannot look for leaks in who is traced
    export ASAN_OPTIONS=${ASAN_OPTIONS-}:detect_leaks=0
    for late in "" -t; do
        run --separate-stderr timeout 60 strace -qq -o calls -e trace=sendmsg -e inject=sendmsg:delay_enter=100000 \
            "$CLOCHE" run --best-effort $late -v "$WORK/volume:/proc/nowhere" -- true </dev/null
        expect_status 125
        expect_stderr 'cloche: cannot make mount point "/proc/nowhere": No such file or directory; fix: make it in the rootfs, or choose another destination'
    done
}
