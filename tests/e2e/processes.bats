# Signals, the ends of parents and children, runs side by side, standard streams.
# Not in the virtual machine: minutes under emulation; the attacks on processes run there
load helper

# start NAME COMMAND...: in the background; waits until it has written "ready" to $NAME.out.
start() {
    local name=$1
    shift
    mkfifo "$name.in" # so that stdin is nobody's
    cloche run "$@" <>"$name.in" >"$name.out" 2>"$name.err" 3>&- &
    started=$!
    wait_until 10 grep -qs ready "$name.out"
}

status_of() {
    status=0
    wait "$1" || status=$?
}

@test "signals to cloche reach the program, which decides" {
    local signal
    for signal in HUP INT QUIT TERM USR1 USR2 ALRM WINCH ABRT PROF VTALRM IO PWR STKFLT URG NUM36 RTMAX; do
        start $signal perl -e '$| = 1; $SIG{$_} = sub { print "caught $_[0]\n"; exit 9 } for qw(HUP INT QUIT TERM USR1 USR2 ALRM WINCH ABRT PROF VTALRM IO PWR STKFLT URG NUM36 RTMAX); print "ready\n"; sleep 100 while 1'
        kill -${signal#NUM} "$started"
        status_of "$started"
        expect_status 9
        [ "$(cat $signal.out)" = $'ready\ncaught '$signal ]
        [ ! -s $signal.err ]
    done
}

@test "signals that the program does not catch end it, with 128+N" {
    local signal
    for signal in HUP:1 INT:2 TERM:15 USR1:10; do
        start "${signal%:*}" --report report.json sh -c 'echo ready; exec sleep 100'
        kill "-${signal%:*}" "$started"
        status_of "$started"
        expect_status $((128 + ${signal#*:}))
        expect_report '[.verdict, .signal] | @json' "[\"runtime_error\",${signal#*:}]"
    done
}

state_is() { [ "$(cut -d' ' -f3 "/proc/$started/stat")" = "$1" ]; }
grown() { [ "$(stat -c %s out/log)" -gt "$1" ]; }
still() { # without a freezer the program is told, and stops in a moment
    size=$(stat -c %s out/log)
    cloche run true
    [ "$(stat -c %s out/log)" -eq "$size" ]
}

@test "^Z: the tree stands still with cloche, and goes on with it" {
    local size again
    mkdir -m 777 out
    start it --timeout 100s -v "$WORK/out:/out" bash -c 'trap "" TSTP TERM; trap "exit 6" USR1; echo ready; while :; do echo x >>/out/log; done'
    wait_until 10 grown 0
    kill -TSTP "$started"
    wait_until 10 state_is T
    wait_until 10 still
    for again in 1 2 3 4 5; do
        still
    done
    kill -CONT "$started"
    wait_until 10 grown "$size"
    # and once more; what stands still can be ended
    kill -TSTP "$started"
    wait_until 10 state_is T
    kill -USR1 "$started"
    kill -CONT "$started"
    status_of "$started"
    expect_status 6
    start other --timeout 100s sh -c 'echo ready; while :; do :; done'
    kill -TSTP "$started"
    wait_until 10 state_is T
    init=$(inner "$started")
    kill -KILL "$started"
    status_of "$started"
    expect_status 137
    wait_until 10 gone "$init"
    cloche run true # sweeps
}

@test "a program that ignores SIGTERM lives on" {
    start it sh -c 'trap "" TERM; trap "echo usr; exit 4" USR1; echo ready; while :; do sleep 0.05; done'
    kill -TERM "$started"
    kill -USR1 "$started"
    status_of "$started"
    expect_status 4
}

# inner PID: the processes of the sandbox that cloche PID runs: children of its child, seen from outside.
inner() { pgrep -P "$1"; }

gone() { ! kill -0 "$1" 2>/dev/null; }

@test "SIGKILL of cloche run: nothing of the sandbox lives on" {
    start it sh -c 'trap "" TERM HUP INT; setsid sh -c "sleep 1000 & sleep 1000" >/dev/null 2>&1 & echo ready; while :; do sleep 1000; done'
    init=$(inner "$started")
    programs=$(pgrep -P "$init")
    [ -n "$programs" ]
    kill -KILL "$started"
    status_of "$started"
    expect_status 137
    for pid in $init $programs; do
        wait_until 5 gone "$pid"
    done
    # the next run sweeps what the dead one could not remove
    run --separate-stderr cloche run true
    expect_status 0
    expect_stderr ""
    if cgroups_usable; then
        [ -z "$(find /sys/fs/cgroup -type d -name "run-$started-*" 2>/dev/null)" ]
    fi
}

@test "SIGKILL of cloche run: the next one sweeps hierarchies that it does not use itself" {
    need_cgroups
    start it --cpus 1 --memory 64m sh -c 'echo ready; exec sleep 1000'
    init=$(inner "$started")
    [ -n "$(find /sys/fs/cgroup -type d -name "run-$started-*" 2>/dev/null)" ]
    kill -KILL "$started"
    status_of "$started"
    wait_until 5 gone "$init"
    # in a crowd it is not every run's turn
    # shellcheck disable=SC2317
    swept() { cloche run true && [ -z "$(find /sys/fs/cgroup -type d -name "run-$started-*" 2>/dev/null)" ]; }
    wait_until 5 swept
}

@test "SIGKILL at a random moment: nothing is left that the next run does not sweep" {
    for delay in 0.001 0.002 0.003 0.004 0.006 0.008 0.012 0.02; do
        cloche run --profile student --best-effort sh -c 'sleep 0.01' 3>&- >/dev/null 2>&1 &
        pid=$!
        # not a wait for something: the moment is the test
        sleep $delay
        kill -KILL $pid 2>/dev/null || :
        wait $pid || :
    done
    run --separate-stderr cloche run true
    expect_status 0
    expect_stderr ""
}

@test "the end of init is the end of the run" {
    start it sh -c 'echo ready; exec sleep 1000'
    kill -KILL "$(inner "$started")"
    status_of "$started"
    expect_status 137
}

@test "orphans inside are reaped: no zombie is left while the program runs" {
    run --separate-stderr cloche run sh -c '
        i=0; while [ $i -lt 20 ]; do (sleep 0.01 & ) ; i=$((i+1)); done
        n=1; i=0; while [ $i -lt 100 ] && [ $n -gt 0 ]; do
            n=$(cat /proc/[0-9]*/stat 2>/dev/null | awk "{ if (\$3 == \"Z\" || \$2 == \"(sleep)\") n++ } END { print n+0 }"); i=$((i+1)); sleep 0.02
        done; echo "left $n"'
    expect_status 0
    expect_output "left 0"
}

@test "runs side by side: each its own output, status, report, users' block, and nothing is left" {
    local i pids=()
    for i in $(seq 20); do
        cloche run --report "report$i.json" sh -c "read -r first outside rest </proc/self/uid_map; echo \$outside; sleep 0.2; exit $i" >"out$i" 2>"err$i" 3>&- &
        pids+=($!)
    done
    for i in $(seq 20); do
        status_of "${pids[i - 1]}"
        expect_status "$i"
        [ ! -s "err$i" ]
        expect_report .exit_code "$i" "report$i.json"
    done
    [ "$(id -u)" -ne 0 ] || [ "$(cat out* | sort -u | wc -l)" -eq 20 ]
}

@test "standard streams: files, pipes, sockets, /dev/null pass through as they are" {
    cloche run sh -c 'echo out; echo err >&2' >both 2>&1
    [ "$(cat both)" = $'out\nerr' ]
    echo old >file
    cloche run sh -c 'echo new' >>file
    [ "$(cat file)" = $'old\nnew' ]
    cloche run sh -c 'exec cat' <file >copy
    cmp file copy
    cloche run sh -c 'readlink /proc/self/fd/0 >&2' 0</dev/null 2>link
    [ "$(cat link)" = /dev/null ]
    [ "$(cloche run --output-limit 10m sh -c 'head -c 5000000 /dev/zero' | wc -c)" -eq 5000000 ]
}

@test "standard streams: a reader that goes away ends the writer" {
    run --separate-stderr bash -c 'cloche run yes | head -n 1; echo "${PIPESTATUS[0]}"'
    expect_output $'y\n141'
    run --separate-stderr bash -c 'cloche run --output-limit 100m --timeout 20s yes | head -n 1; echo "${PIPESTATUS[0]}"'
    expect_output $'y\n141'
}

@test "standard streams that are closed: an error, nothing runs" {
    local i names=(input output error) fixes=('</dev/null' '>/dev/null' '>/dev/null')
    for i in 0 1; do
        eval "cloche run --report report.json sh -c 'echo ran >&2' $i>&- 2>err" && status=0 || status=$?
        expect_status 125
        [ "$(cat err)" = "cloche: standard ${names[i]} is closed; fix: redirect it: ${fixes[i]}" ]
    done
    cloche run sh -c 'echo ran' 2>&- >out && status=0 || status=$?
    expect_status 125
    [ ! -s out ]
}

@test "only 0, 1 and 2 are open inside, whatever the caller has open" {
    exec 7</etc/passwd 8>"$WORK/open" 9<"$WORK"
    run --separate-stderr cloche run sh -c 'ls /proc/$$/fd'
    exec 7<&- 8>&- 9<&-
    expect_output $'0\n1\n2'
}

@test "ignored and blocked signals of the caller do not reach the program" {
    run --separate-stderr bash -c 'trap "" INT TERM PIPE USR1; cloche run cat /proc/self/status | grep -E "^Sig(Blk|Ign|Cgt)"'
    expect_output $'SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\nSigCgt:\t0000000000000000'
}

@test "a caller that ignores SIGCHLD, or blocks all signals" {
    run --separate-stderr timeout 20 env --ignore-signal=CHLD --block-signal "$CLOCHE" run --best-effort -- \
        sh -c 'grep -E "^Sig(Blk|Ign)" /proc/self/status; true & wait $!; echo $?'
    expect_status 0
    expect_output $'SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n0'
    run --separate-stderr timeout 20 env --ignore-signal=CHLD "$CLOCHE" run --best-effort -- sh -c 'exit 3'
    expect_status 3
}

@test "a hard limit of 0 for core dumps" {
    handler='^[|@]'
    run --separate-stderr bash -c 'ulimit -c 0; exec "$0" run --best-effort -- sh -c "echo ran; kill -ABRT \$\$"' "$CLOCHE"
    if [[ $(</proc/sys/kernel/core_pattern) =~ $handler ]] && (((0x$(sed -n 's/^CapEff:\t//p' /proc/self/status) & 1 << 24) == 0)); then
        expect_status 125
        expect_stderr_line 'cannot keep core dumps from the host'
        run --separate-stderr bash -c 'ulimit -c 0; exec "$0" run --best-effort --ulimit core=0 -- sh -c "echo ran; kill -ABRT \$\$"' "$CLOCHE"
    fi
    expect_status 134
    expect_output ran
}
