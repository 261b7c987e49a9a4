# Exit statuses, every verdict of a one-shot run, and the figures of the report.
load helper

inside() { run --separate-stderr cloche run --report report.json "$@"; }

# verdict VERDICT EXIT_CODE SIGNAL DETAIL: of report.json; null where there is none.
verdict() {
    expect_report '[.verdict, .exit_code, .signal, .detail] | @json' "$(jq -nc '$ARGS.positional | [.[0], (.[1] | fromjson), (.[2] | fromjson), (.[3] | if . == "" then null else . end)]' --args "$@")"
}

# within FIELD LOW HIGH: a figure of the report, bounds included; the high one grows under emulation.
within() {
    jq -e "$1 >= $2 and $1 <= $3 * $CLOCHE_TEST_SCALE" report.json >/dev/null || {
        printf 'report %s is %s, expected %s to %s\n' "$1" "$(report "$1")" "$2" "$3"
        return 1
    }
}

burn='i=0; while :; do i=$((i+1)); done'

@test "ok: status 0" {
    inside true
    expect_status 0
    verdict ok 0 null ""
}

@test "runtime_error: the program's own status" {
    for code in 1 2 42 124 125 126 255; do
        inside sh -c "exit $code"
        expect_status $code
        verdict runtime_error $code null "exited with status $code"
    done
    run -127 --separate-stderr cloche run --report report.json sh -c 'exit 127'
    verdict runtime_error 127 null "exited with status 127"
}

@test "runtime_error: killed by a signal" {
    local number name
    while read -r number name; do
        inside sh -c "kill -$number \$\$"
        expect_status $((128 + number))
        verdict runtime_error null "$number" "killed by signal $number ($name)"
    done <<'SIGNALS'
6 Aborted
9 Killed
10 User defined signal 1
11 Segmentation fault
15 Terminated
SIGNALS
}

@test "125: Cloche itself failed, nothing ran, the report says so" {
    inside -w /nowhere sh -c 'echo ran'
    expect_status 125
    expect_output ""
    verdict setup_error null null 'cannot change to working directory "/nowhere": No such file or directory'
}

@test "126: found, but cannot be executed" {
    echo text >file
    chmod 644 file
    inside -v "$WORK/file:/file" /file
    expect_status 126
    expect_output ""
    local fix="it must be a file that the program's user may execute (chmod +x), on no noexec mount"
    expect_stderr 'cloche: cannot execute "/file": Permission denied; fix: '"$fix"
    inside /usr
    expect_status 126
    expect_stderr 'cloche: cannot execute "/usr": Permission denied; fix: '"$fix"
    chmod 755 file
    inside -v "$WORK/file:/file" /file
    expect_status 126
    expect_stderr 'cloche: cannot execute "/file": Exec format error; fix: it must be a program for this machine, or begin with #!INTERPRETER'
}

@test "127: not found" {
    run -127 --separate-stderr cloche run --report report.json no-such-program
    expect_output ""
    expect_stderr 'cloche: command "no-such-program" not found in the sandbox; fix: give a path inside the sandbox, or set PATH with -e'
    verdict setup_error null null 'command "no-such-program" not found in the sandbox'
    run -127 --separate-stderr cloche run /no/such/program
    expect_stderr 'cloche: command "/no/such/program" not found in the sandbox; fix: give a path inside the sandbox; the interpreter that a script or a dynamic program names must be there, too'
}

@test "time_limit by the wall clock: 124, on time" {
    inside --timeout 300ms sleep 100
    expect_status 124
    expect_output ""
    expect_stderr ""
    verdict time_limit null 9 "ran longer than the wall time limit"
    within .wall_ms 300 800
}

@test "time_limit by the wall clock: though the program ignores signals, forks and starts sessions" {
    inside --timeout 300ms sh -c 'trap "" TERM INT HUP; setsid sleep 100 & setsid sh -c "sleep 100 & sleep 100" & while :; do sleep 100; done'
    expect_status 124
    verdict time_limit null 9 "ran longer than the wall time limit"
    within .wall_ms 300 800
}

@test "time_limit by CPU time: of the whole tree" {
    need_cgroups
    inside --cpu-time 300ms --timeout 60s sh -c "$burn"
    expect_status 124
    verdict time_limit null 9 "used more than the CPU time limit"
    within .cpu_ms 300 400
    expect_report .measured_by.cpu "$(report .enforced_by.cpu)"
    inside --cpu-time 400ms --timeout 60s sh -c "($burn) & ($burn) & wait"
    expect_status 124
    verdict time_limit null 9 "used more than the CPU time limit"
    within .cpu_ms 400 500
    # waiting costs no CPU time
    inside --cpu-time $((300 * CLOCHE_TEST_SCALE))ms sleep 0.5
    expect_status 0
}

@test "time_limit by CPU time without a control group: the tree's clocks are read, and the report says so" {
    need_no_cgroups
    inside --best-effort --cpu-time 400ms --timeout 60s sh -c "$burn"
    expect_status 124
    expect_report '[.verdict, .enforced_by.cpu, .detail] | @json' '["time_limit","timer","used more than the CPU time limit"]'
    within .cpu_ms 400 500
    # children, also those that were reaped, and those whose parent has gone
    inside --best-effort --cpu-time 400ms --timeout 60s bash -c 'while :; do bash -c "for i in {1..20000}; do :; done"; done & (while :; do :; done & ) ; wait'
    expect_status 124
    expect_report '[.verdict, .measured_by.cpu] | @json' '["time_limit","timer"]'
    within .cpu_ms 400 500
    # what a killed tree had used is told, too
    inside --best-effort --timeout 500ms sh -c "$burn & $burn & wait"
    expect_status 124
    within .cpu_ms 100 1200
    inside --best-effort --cpu-time 400ms --timeout 60s sleep 0.5
    expect_status 0
}

@test "memory_limit: 137" {
    need_cgroups
    inside --memory 32m sh -c 'tail /dev/zero'
    expect_status 137
    expect_report .verdict memory_limit
    expect_report .detail "needed more than the memory limit"
    within .memory_peak_bytes 33000000 34000000
    [[ $(report .enforced_by.memory) = cgroup[12] ]]
    expect_report .measured_by.memory "$(report .enforced_by.memory)"
    # and what stays below is let alone
    inside --memory 64m perl -e '$x = "a" x (16 << 20); print length $x'
    expect_status 0
    expect_output 16777216
    verdict ok 0 null ""
}

@test "memory: the pages of the file that output goes to do not count" {
    need_cgroups
    cloche run --report report.json --memory 32m -- sh -c 'head -c 40000000 /dev/zero; echo one; echo two >&2; echo three' >file 2>&1
    verdict ok 0 null ""
    within .memory_peak_bytes 1 16000000
    # nor does what is copied lose its order, or its end
    [ "$(stat -c %s file)" -eq 40000014 ]
    [ "$(tail -c 14 file)" = $'one\ntwo\nthree' ]
    # a limit for files is for this one, too
    local status=0
    cloche run --report report.json --memory 32m --ulimit fsize=1000 -- head -c 5000 /dev/zero >file || status=$?
    [ "$status" -eq $((128 + 25)) ]
    expect_report .signal 25
    [ "$(stat -c %s file)" -eq 1000 ]
}

@test "the caller's own limit for files" {
    local status=0
    # Cloche, which copies, says that it cannot (one write: the next would be to a closed pipe); who writes itself gets the signal
    (ulimit -f 1 && cloche run --report report.json --output-limit 1m -- head -c 2000 /dev/zero >file 2>errors) || status=$?
    [ "$status" -eq 125 ]
    [ "$(cat errors)" = "cloche: the program's output could not be written: File too large; fix: free some space, or send it elsewhere" ]
    expect_report .verdict ok
    [ "$(stat -c %s file)" -eq 1024 ]
    need_cgroups
    status=0
    (ulimit -f 1 && cloche run --report report.json --memory 32m -- head -c 5000 /dev/zero >file) || status=$?
    [ "$status" -eq $((128 + 25)) ]
    expect_report .signal 25
    [ "$(stat -c %s file)" -eq 1024 ]
}

@test "memory_limit: who only reads its own files anew, since its memory leaves them no room" {
    need_cgroups
    need_program gcc
    gcc -O1 -o use "$CHECKOUT/tests/e2e/standstill.c"
    inside --memory 32m --timeout "$((20 * CLOCHE_TEST_SCALE))s" -v "$WORK:/work" -w /work ./use 30
    expect_status 137
    expect_report '[.verdict, .detail] | @json' '["memory_limit","needed more than the memory limit"]'
    # on a tmpfs files are memory
    [ "$(stat -f -c %T .)" != tmpfs ] || return 0
    # it reads anew, too, but in some room
    inside --memory 32m --timeout 2s -v "$WORK:/work" -w /work ./use 26
    expect_status 124
    expect_report .verdict time_limit
}

@test "memory_limit: a child's memory and tmpfs count" {
    need_cgroups
    # on cgroup v1 the kernel kills one process, and the rest lives until the event arrives
    inside --memory 32m sh -c 'sh -c "tail /dev/zero; true"; exit 0'
    expect_status 137
    expect_report .verdict memory_limit
    inside --memory 32m --tmpfs /mnt:1g sh -c 'head -c 500m /dev/zero >/mnt/x; exit 0'
    expect_status 137
    expect_report .verdict memory_limit
}

@test "memory_limit without a control group: the rlimit, and the report says so" {
    need_no_cgroups
    inside --best-effort --memory 64m perl -e '$x = "a" x (100 << 20); print "survived"'
    [ "$status" -ne 0 ]
    expect_output ""
    expect_report .enforced_by.memory rlimit
}

@test "process_limit: forks are refused, the program fails" {
    need_cgroups
    inside --pids-limit 8 --timeout 20s sh -c 'i=0; while [ $i -lt 20 ]; do sleep 60 & i=$((i+1)); done; wait'
    expect_status 2
    expect_report .verdict process_limit
    expect_report .detail "needed more processes than the limit"
    [[ $(report .enforced_by.processes) = cgroup[12] ]]
    # not the program's fault when it copes
    inside --pids-limit 8 perl -e 'for (1..20) { $p = fork; if (defined $p and !$p) { sleep 60; exit } push @p, $p if $p } kill 9, @p; exit 0'
    expect_status 0
    expect_report .verdict ok
}

@test "the limit and the peak are the program's processes: init is not one of them" {
    need_cgroups
    inside --pids-limit 1 true
    verdict ok 0 null ""
    expect_report .processes_peak 1
    inside --pids-limit 3 sh -c 'sleep 0.2 & sleep 0.2 & wait'
    verdict ok 0 null ""
    expect_report .processes_peak 3
    inside --pids-limit 2 sh -c 'sleep 0.2 & sleep 0.2 & wait'
    expect_report .verdict process_limit
}

@test "process_limit: a fork bomb" {
    need_cgroups
    inside --profile student --timeout 2s sh -c 'f() { f | f & f; }; f'
    expect_report .verdict process_limit
    within .processes_peak 60 64
}

@test "output_limit: 137, both streams together, on time" {
    inside --output-limit 100k yes
    expect_status 137
    verdict output_limit null 9 "wrote more than the output limit"
    [ "${#output}" -eq 102399 ] # bats drops the last newline
    inside --output-limit 10k sh -c 'head -c 6k /dev/zero | tr "\0" a; head -c 6k /dev/zero | tr "\0" b >&2; sleep 100'
    expect_status 137
    expect_report .verdict output_limit
    [ $((${#output} + ${#stderr})) -eq 10240 ]
}

@test "blocked_syscall: by name" {
    inside perl -e 'syscall(169, 0xfee1dead, 672274793, 0, 0); print "survived"'
    [ "$status" -eq 137 ] || [ "$status" -eq 159 ]
    expect_output ""
    expect_report '[.verdict, .blocked_syscall, .detail] | @json' '["blocked_syscall","reboot","called reboot, which the filter never allows"]'
}

@test "a denied call is an error of the program's, not its end" {
    inside perl -e '($a, $b, $c) = ("x", "/tmp", "tmpfs"); syscall(165, $a, $b, $c, 0, 0) == -1 and print 0+$!'
    expect_status 0
    expect_output 1
    expect_report .verdict ok
    expect_report .blocked_syscall null
}

@test "the limit that was hit outranks the program's own status" {
    need_cgroups
    inside --memory 32m --timeout 30s sh -c 'sh -c "tail /dev/zero"; exit 0'
    expect_report .verdict memory_limit
    inside --cpu-time 200ms sh -c "trap 'exit 0' TERM; $burn"
    expect_status 124
    expect_report .verdict time_limit
}

@test "figures: wall time, CPU time, peak of memory and of processes, bytes" {
    need_cgroups
    inside --output-limit 1m --memory 256m --pids-limit 50 sh -c 'sleep 0.3; echo 12345; echo 123 >&2; sleep 0.01 & sleep 0.01 & wait'
    expect_status 0
    within .wall_ms 300 600
    within .cpu_ms 0.1 100
    within .memory_peak_bytes 100000 20000000
    expect_report .processes_peak 3
    expect_report '[.stdout_bytes, .stderr_bytes] | @json' '[6,4]'
    jq -e '(.user_ms + .system_ms - .cpu_ms) | fabs < 2' report.json
}

@test "what the program leaves behind ends with it" {
    mkfifo ended
    inside -v "$WORK:/work:rw" sh -c 'setsid sh -c "exec sleep 1000" >/dev/null 2>&1 & echo done'
    expect_status 0
    expect_output done
    within .wall_ms 0 1000
}

# What the kernel counts of a run, in microseconds.
counted() {
    find /sys/fs/cgroup -path "*cloche.slice/run-$1-*/cpu.stat" -exec sed -n 's/^usage_usec //p' {} + 2>/dev/null | head -n 1
}

@test "figures: CPU time is what the control group's own file says" {
    need_cgroups
    mkfifo go
    cloche run --report report.json --cpu-time 60s sh -c 'i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done; echo ready; read line' <go >out 3>&- &
    pid=$!
    exec 8>go
    wait_until 20 grep -q ready out
    seen=$(counted $pid)
    exec 8>&-
    wait $pid || :
    # its end comes on top
    jq -e --argjson seen "$seen" "$seen > 1000 and .cpu_ms * 1000 >= \$seen and .cpu_ms * 1000 <= \$seen * 1.02 + 5000 * $CLOCHE_TEST_SCALE" report.json || {
        printf 'cpu.stat said %s us\n' "$seen"
        cat report.json
        false
    }
}

@test "a signal that a limit or the filter could have sent, but did not" {
    inside sh -c 'kill -XCPU $$'
    expect_status 152
    expect_report '[.verdict, .signal] | @json' '["runtime_error",24]'
    inside --ulimit cpu=1 --timeout 60s sh -c "$burn"
    expect_status 124
    expect_report .verdict time_limit
    inside --seccomp unconfined sh -c 'kill -SYS $$'
    expect_status 159
    expect_report '[.verdict, .blocked_syscall] | @json' '["runtime_error",null]'
    # a list of one's own: which call it killed for is not known
    printf '{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["mkdir","mkdirat"],"action":"SCMP_ACT_KILL_PROCESS"}]}' >kill.json
    inside --seccomp kill.json mkdir /tmp/x
    expect_status 159
    expect_report '[.verdict, .blocked_syscall] | @json' '["blocked_syscall",null]'
}
