# Each option of `cloche run`, one by one: what the program sees, compared whole.
# Not in the virtual machine: minutes under emulation; the options that depend on the kernel have files of their own
load helper

inside() { run --separate-stderr cloche run "$@"; }

# expect TEXT: ended well, wrote this and nothing else.
expect() {
    expect_status 0
    expect_output "$1"
    expect_stderr ""
}

@test "a command, its arguments, its output and its status" {
    inside -- printf '%s|' a 'b c' '' '*'
    expect 'a|b c||*|'
    inside printf '%s|' -v --tty
    expect '-v|--tty|'
    inside sh -c 'echo out; echo err >&2; exit 7'
    expect_status 7
    expect_output out
    expect_stderr err
}

@test "stdin belongs to the program, with -i and without" {
    run --separate-stderr bash -c 'printf "one\ntwo" | cloche run -- cat'
    expect $'one\ntwo'
    run --separate-stderr bash -c 'printf "one\ntwo" | cloche run -i -- cat'
    expect $'one\ntwo'
    # what the program leaves unread is the next one's
    run --separate-stderr bash -c 'printf "one\ntwo\n" >in; { cloche run -- sh -c "read -r x; echo \"\$x\""; cat; } <in'
    expect_status 0
}

@test "by default: environment, directory, user, groups, names, umask, descriptors" {
    inside env
    expect $'PATH=/usr/local/bin:/usr/bin:/bin\nHOME=/tmp\nLANG=C.UTF-8'
    inside sh -c 'pwd; id; uname -n; umask; ls /proc/self/fd | wc -l'
    expect $'/\nuid=1000(user) gid=1000(user) groups=1000(user)\nsandbox\n0022\n4'
    inside sh -c 'ls /; ls -A /home /tmp /run'
    expect $'bin\ndev\netc\nhome\nlib\nlib32\nlib64\nproc\nroot\nrun\nsbin\ntmp\nusr\nvar\n/home:\n\n/run:\n\n/tmp:'
    inside cat /etc/passwd
    expect $'root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000:user:/home/user:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin'
}

@test "by default: no capability, no new privileges, a filter, no core file, own process tree" {
    inside sh -c 'grep -E "^(Cap|NoNewPrivs|Seccomp:)" /proc/self/status | tr -d "\t"; ulimit -c; echo $$; ls -d /proc/[0-9]*'
    expect 'CapInh:0000000000000000
CapPrm:0000000000000000
CapEff:0000000000000000
CapBnd:0000000000000000
CapAmb:0000000000000000
NoNewPrivs:1
Seccomp:2
0
2
/proc/2'
}

@test "--profile: its limits, its size of /tmp; the last one counts" {
    need_cgroups
    inside --profile student sh -c 'ulimit -n; df --output=size,itotal -k /tmp | tail -n 1 | xargs'
    expect_status 0
    expect_output $'256\n65536 4096'
    inside --profile student --profile strict sh -c 'ulimit -n; df --output=size,itotal -k /tmp | tail -n 1 | xargs'
    expect_output $'128\n16384 1024'
}

@test "--spec: a file; flags write over it, wherever they stand" {
    cat >spec.json <<'JSON'
{ "ociVersion": "1.1.0",
  "process": { "args": ["sh", "-c", "echo $A; pwd; uname -n"], "cwd": "/usr", "env": ["PATH=/bin", "A=spec"] },
  "hostname": "spec" }
JSON
    inside --spec spec.json
    expect $'spec\n/usr\nspec'
    inside -e A=flag -w /etc --spec spec.json --hostname flag
    expect $'flag\n/etc\nflag'
    inside --spec spec.json -- echo other
    expect other
}

@test "--rootfs host|empty" {
    inside --rootfs host true
    expect ""
    inside --rootfs empty --volume /bin/busybox:/busybox:ro -- /busybox sh -c '/busybox ls -A /'
    expect $'busybox\ndev\nproc\ntmp'
    run -127 --separate-stderr cloche run --rootfs empty -- true
    expect_status 127
    expect_stderr 'cloche: command "true" not found in the sandbox; fix: the root is empty: bring the program in with -v FILE:PATH'
}

@test "-w: the working directory" {
    inside -w /usr/lib pwd
    expect /usr/lib
    inside --workdir=/tmp pwd
    expect /tmp
    inside -w /nowhere pwd
    expect_status 125
    expect_output ""
    expect_stderr 'cloche: cannot change to working directory "/nowhere": No such file or directory; fix: it must exist inside the sandbox'
}

@test "--env-file: blanks, comments, carriage returns, and what is no variable" {
    printf '# no\n  # no\r\n\n \t\nA=1\r\n  B= x \nC=no newline' >env
    inside --env-file env sh -c 'env | grep "^[A-C]=" | sort'
    expect_status 0
    expect_output $'A=1\nB= x \nC=no newline'
    printf 'A=1\nB =2\n' >env
    inside --env-file env true
    expect_status 2
    expect_stderr 'cloche: --env-file: env:2: variable "B " has a blank in its name'
    printf 'A=\0\nB=2\n' >env
    inside --env-file env true
    expect_status 2
    expect_stderr 'cloche: --env-file: environment file "env" has NUL bytes'
}

@test "-e, --env-file: set, replaced, passed on; nothing else of the caller" {
    export CALLER=1 SECRET=2
    inside -e A=1 -e B= -e A=2 -e CALLER -e NOWHERE_SET -e LANG=de sh -c 'env | sort'
    expect $'A=2\nB=\nCALLER=1\nHOME=/tmp\nLANG=de\nPATH=/usr/local/bin:/usr/bin:/bin\nPWD=/'
    printf '# a comment\nC=with = and space\n\nCALLER\nA=1\n' >env
    inside --env-file env -e A=2 sh -c 'env | sort'
    expect $'A=2\nC=with = and space\nCALLER=1\nHOME=/tmp\nLANG=C.UTF-8\nPATH=/usr/local/bin:/usr/bin:/bin\nPWD=/'
}

@test "-e PATH: where the command is looked for" {
    mkdir bin
    printf '#!/bin/sh\necho mine\n' >bin/mine
    chmod +x bin/mine
    inside -v "$WORK/bin:/opt/bin" -e PATH=/nowhere:/opt/bin:/bin mine
    expect mine
    run -127 --separate-stderr cloche run -v "$WORK/bin:/opt/bin" mine
    expect_status 127
    expect_stderr 'cloche: command "mine" not found in the sandbox; fix: give a path inside the sandbox, or set PATH with -e'
}

@test "-u: user and group inside" {
    inside -u 0 id
    expect 'uid=0(root) gid=0(root) groups=0(root)'
    inside -u 7:8 sh -c 'id -u; id -g; id -G'
    expect $'7\n8\n8'
    inside --user 65534:65534 id
    expect 'uid=65534(nobody) gid=65534(nogroup) groups=65534(nogroup)'
}

@test "--hostname" {
    inside --hostname here.there uname -n
    expect here.there
    inside --hostname here grep here /etc/hosts
    expect '127.0.1.1 here'
}

@test "--read-only, and what stays writable" {
    inside --rootfs host -u 0 sh -c 'for d in / /etc /home /root /run /var /usr /dev /tmp /dev/shm; do
        if echo x 2>/dev/null >"$d/x"; then echo "$d written"; else echo "$d refused"; fi; done'
    expect_status 0
    expect_output "/ refused
/etc refused
/home refused
/root refused
/run refused
/var refused
/usr refused
/dev written
/tmp written
/dev/shm written"
    mkdir -p root/bin root/dev root/proc root/tmp
    cp /bin/busybox root/bin/busybox
    chmod 777 root
    inside --rootfs root --read-only /bin/busybox sh -c 'echo x >/x'
    expect_status 1
    expect_output ""
    expect_stderr "sh: can't create /x: Read-only file system"
    [ ! -e root/x ]
}

@test "--tmpfs: size, mode and options" {
    inside --tmpfs /mnt:1m sh -c 'df --output=fstype,size -k /mnt | tail -n 1 | xargs; stat -c %a /mnt; head -c 2m /dev/zero >/mnt/x'
    expect_status 1
    expect_output $'tmpfs 1024\n1777'
    expect_stderr "head: error writing 'standard output': No space left on device"
    inside -u 0 --tmpfs /mnt:64k,mode=700,nr_inodes=3,ro sh -c 'stat -c %a /mnt; df --output=itotal /mnt | tail -n 1 | xargs; touch /mnt/x'
    expect_status 1
    expect_output $'700\n3'
    expect_stderr "touch: cannot touch '/mnt/x': Read-only file system"
    inside --tmpfs /mnt:nr_inodes=3 sh -c 'touch /mnt/1 /mnt/2 && touch /mnt/3'
    expect_status 1
    expect_stderr "touch: cannot touch '/mnt/3': No space left on device"
}

@test "--ulimit: soft and hard; the kernel holds the program to it" {
    inside --ulimit nofile=50:60 --ulimit core=unlimited --ulimit fsize=1000 sh -c 'ulimit -Sn; ulimit -Hn; ulimit -f'
    expect $'50\n60\n1'
    inside --ulimit NOFILE=20 perl -e 'for (0..30) { open $f[$_], "<", "/dev/null" or die "$_: $!\n" }'
    expect_status 24
    expect_stderr "17: Too many open files"
    inside --ulimit fsize=8192 sh -c 'exec head -c 10000 /dev/zero >/tmp/x'
    expect_status 153
    expect_stderr ""
}

@test "--seccomp: a list by name, a file, unconfined" {
    inside --seccomp unconfined grep ^Seccomp: /proc/self/status
    expect $'Seccomp:\t0'
    inside --seccomp wide grep ^Seccomp: /proc/self/status
    expect $'Seccomp:\t2'
    inside --seccomp default grep ^Seccomp: /proc/self/status
    expect $'Seccomp:\t2'
    echo '{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["uname"],"action":"SCMP_ACT_ERRNO","errnoRet":95}]}' >filter.json
    inside --seccomp filter.json uname
    expect_status 1
    expect_stderr 'uname: cannot get system name: Operation not supported'
}

@test "--cap-add: kept inside, worth nothing outside" {
    inside --cap-add NET_BIND_SERVICE --cap-add cap_chown sh -c 'grep -E "^Cap(Eff|Bnd)" /proc/self/status | tr -d "\t"'
    expect $'CapEff:0000000000000401\nCapBnd:0000000000000401'
    inside -u 0 --cap-add ALL sh -c 'grep ^CapEff /proc/self/status | cut -c 8- | tr -d 0; mount -t tmpfs x /mnt 2>/dev/null; echo $?'
    [ "$status" -ne 0 ] || [ "${lines[1]}" != 0 ]
}

@test "--memory, --memory-swap, --pids-limit, --cpus: in the control group" {
    need_cgroups
    inside --memory 64m --memory-swap 64m --pids-limit 20 --cpus 0.5 --report report.json true
    expect ""
    expect_report '.enforced_by | map(. != "none") | all' true
    expect_report .verdict ok
    inside --memory-swap -1 true # any, and no limit of memory
    inside --memory 64m --memory-swap -1 true
}

@test "--network: none, loopback, host" {
    inside sh -c 'cut -d: -f1 /proc/self/net/dev | tail -n +3'
    expect '    lo'
    inside --network none perl -MSocket -e 'socket(S,PF_INET,SOCK_STREAM,6) or die; bind(S,sockaddr_in(0,INADDR_LOOPBACK)) or die "bind: $!"; listen(S,1) or die; socket(C,PF_INET,SOCK_STREAM,6); connect(C,getsockname(S)) or print "connect: $!\n"'
    expect 'connect: Network is unreachable'
    inside --network loopback perl -MSocket -e 'socket(S,PF_INET,SOCK_STREAM,6) or die; bind(S,sockaddr_in(0,INADDR_LOOPBACK)) or die "bind: $!"; listen(S,1) or die; socket(C,PF_INET,SOCK_STREAM,6); connect(C,getsockname(S)) or print "connect: $!\n"; print "connected\n"'
    expect connected
    inside --network host sh -c 'readlink /proc/self/ns/net'
    expect "$(readlink /proc/self/ns/net)"
    inside sh -c 'readlink /proc/self/ns/net'
    [ "$output" != "$(readlink /proc/self/ns/net)" ]
}

@test "--report: to a file, to stderr, and --json" {
    inside --report report.json sh -c 'echo out; exit 3'
    expect_status 3
    expect_output out
    expect_stderr ""
    [ "$(jq -r 'keys_unsorted | join(" ")' report.json)" = "verdict exit_code signal wall_ms cpu_ms user_ms system_ms memory_peak_bytes processes_peak stdout_bytes stderr_bytes blocked_syscall enforced_by measured_by detail" ]
    expect_report '[.verdict, .exit_code, .signal, .blocked_syscall, .detail] | @json' '["runtime_error",3,null,null,"exited with status 3"]'
    # what is not counted is no number
    expect_report '[.stdout_bytes, .stderr_bytes] | @json' '[null,null]'
    inside --report - sh -c 'echo out'
    expect_status 0
    expect_output out
    [ "$(jq -r .verdict <<<"$stderr")" = ok ]
    inside --json sh -c 'echo out'
    expect_output out
    [ "$(jq -r .verdict <<<"$stderr")" = ok ]
    status=0
    cloche run --json true 2>/dev/full || status=$?
    expect_status 125
}

@test "--report: of a launch that fails, too, and never an older one's" {
    local wrong
    printf 'not json' >filter
    for wrong in "--rootfs /nonexist" "--profile nosuch" "--memory x" "-v /nonexist:/x" "--spec /nonexist" "--seccomp /nonexist" \
        "--seccomp filter" "--nosuch" "--memory 1m --memory-swap 1"; do
        inside --report report.json true
        expect_status 0
        expect_report .verdict ok
        inside --report report.json $wrong true
        [[ $status = @(2|125) ]] || differ "status of $wrong" $status "2 or 125"
        expect_report .verdict setup_error
        [ "$(jq -r .detail report.json)" != "" ]
    done
    rm report.json
    run bash -c '"$0" run --report report.json true <&-' "$CLOCHE"
    expect_status 125
    expect_report .verdict setup_error
    inside --report report.json
    expect_status 2
    expect_report .verdict setup_error
}

@test "--output-limit: all of it up to the limit, then the end" {
    inside --output-limit 1k --report report.json sh -c 'yes | head -c 1000; printf "%024d" 0 >&2'
    expect_status 0
    [ "${#stderr}" -eq 24 ]
    expect_report '[.verdict, .stdout_bytes, .stderr_bytes] | @json' '["ok",1000,24]'
    run --separate-stderr bash -c 'cloche run --output-limit 1k --report report.json yes | wc -c'
    expect_output 1024
    expect_report .verdict output_limit
}

@test "--timeout and --cpu-time take units" {
    for time in 5s 5000ms 1m 1h; do
        inside --timeout $time true
        expect ""
    done
    inside --timeout 0 true
    expect_status 2
    expect_output ""
}

@test "--best-effort: runs where nothing can be limited, and says so" {
    need_no_cgroups
    inside --profile student --best-effort --report report.json echo hello
    expect_status 0
    expect_output hello
    expect_report '[.enforced_by[]] | join(" ")' "rlimit rlimit timer"
    expect_report '[.measured_by[]] | join(" ")' "rusage rusage"
    inside --profile student echo hello
    expect_status 125
    expect_output ""
    expect_stderr_line '^cloche: cannot (limit memory|make a control group): .* is not delegated to user 12345; fix: .*; or pass --best-effort$'
}

@test "help, version and the words that lead there" {
    for words in "run --help" "run -h" "help run"; do
        # shellcheck disable=SC2086
        run --separate-stderr cloche $words
        expect_status 0
        [ "${lines[0]}" = "usage: cloche run [OPTIONS] [--] COMMAND [ARG...]" ]
        expect_stderr ""
    done
    run --separate-stderr cloche version
    expect_output "cloche 0.1.0"
    run --separate-stderr cloche --version
    expect_output "cloche 0.1.0"
    run --separate-stderr cloche help
    expect_status 0
    [ "${lines[0]}" = "Run untrusted native code under glass." ]
    run --separate-stderr cloche
    expect_status 2
    expect_output ""
}
