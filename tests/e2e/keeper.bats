# Long-lived sandboxes: made, used, looked at, restarted, destroyed; killed at every place.
load helper

setup() {
    cloche_setup
    ids=()
}

# Whatever a failed test leaves is destroyed, so that it fails for its own reason only.
teardown() {
    local id
    for id in $(cloche list --json 2>/dev/null | jq -r '.[].id'); do
        cloche destroy --force "$id" >/dev/null 2>&1 || :
    done
    rmdir "$CLOCHE_ROOT/sandboxes" "$CLOCHE_RUN/sandboxes" 2>/dev/null || :
    cloche_teardown
}

info() { cloche info --json "$1" | jq -r "$2"; }
status_is() { [ "$(info "$1" .status)" = "$2" ]; }
keeper_pid() { info "$1" .keeper_pid; }

@test "created, listed, used, destroyed, and nothing stays" {
    run --separate-stderr cloche create one
    expect_status 0
    expect_output one
    run --separate-stderr cloche create two
    expect_status 0
    [ "$(cloche list --json | jq -r 'map(.id + " " + .status) | join(",")')" = "one running,two running" ]
    run --separate-stderr cloche exec one -- sh -c 'cat; echo err >&2; exit 7' <<<"through"
    expect_status 7
    expect_output through
    expect_stderr err
    run --separate-stderr cloche destroy one two
    expect_status 0
    expect_output $'one\ntwo'
    [ "$(cloche list --json)" = "[]" ]
    [ -z "$(ls -A "$CLOCHE_ROOT/sandboxes" "$CLOCHE_RUN/sandboxes" | grep -v :)" ]
}

@test "two makers of one id: one wins, the other is told" {
    for i in 1 2 3 4 5 6; do
        cloche create --json same >"out.$i" 2>"err.$i" 3>&- &
    done
    wait || :
    [ "$(cat out.* | grep -c running)" -eq 1 ]
    [ "$(jq -r .error.code err.* | sort | uniq -c | tr -s ' ')" = " 5 sandbox.exists" ]
    cloche destroy same
}

# keepers ID: how many there are
keepers() { pgrep -x -a cloche-keeper | grep -c "^[0-9]* cloche-keeper $1\$"; }

@test "a creation that is refused leaves no keeper that waited to be told" {
    local id=early-$$ taken=taken-$$ how
    cloche create "$taken" sleep 100
    local before
    before=$(keepers "$taken")
    [ "$before" -gt 0 ]
    for how in "$id --bogus" "$id --profile nowhere" "$id --memory -1" "$id --module m=/nowhere.c" "$taken sleep 100"; do
        run cloche create $how
        [ "$status" -ne 0 ]
        [ "$(keepers "$id")" = 0 ]
        [ "$(keepers "$taken")" = "$before" ]
    done
    # nor does the way it got there reach what it keeps
    [ "$(tr '\0' '\n' <"/proc/$(keeper_pid "$taken")/environ" | grep -c CLOCHE_EARLY)" = 0 ]
    cloche destroy --force "$taken"
}

@test "the start program keeps the spec that the complete one keeps" {
    local complete=$CLOCHE_BUILD_DIR/cloche-complete options n=0
    printf '{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["kexec_load"],"action":"SCMP_ACT_ERRNO","errnoRet":1.0}]}' >filter.json
    local -a all=(""
        $'--memory 64m --pids-limit 20 --ttl 2h --idle 1h --warn 70 --near-limit kill --network loopback --best-effort'
        $'--profile student --best-effort --ulimit nofile=50:60 --tmpfs /scratch:1m -u 1000 --hostname a.b -w /tmp'
        $'--profile plugin --rootfs host --cpus 0.5 --best-effort --seccomp filter.json -- sleep 100')
    for options in "${all[@]}"; do
        n=$((n + 1))
        cloche create "a$n" -e $'A=a "word" \\ and\ttabs \x01 \xc3\xa9' -v "$PWD:/mnt:ro" $options
        "$complete" create "b$n" -e $'A=a "word" \\ and\ttabs \x01 \xc3\xa9' -v "$PWD:/mnt:ro" $options
        diff <(jq -S . "$CLOCHE_ROOT/sandboxes/a$n/spec.json") <(jq -S . "$CLOCHE_ROOT/sandboxes/b$n/spec.json")
        cloche destroy --force "a$n" "b$n"
    done
    # where no JSON is taken over as it came, to the byte
    cloche create a && "$complete" create b
    cmp "$CLOCHE_ROOT"/sandboxes/[ab]/spec.json
    # what the start program hands over: the whole command line, and the keeper that is coming
    local one=one-$$ other=other-$$
    cloche create "$one" --spec "$CLOCHE_ROOT/sandboxes/a/spec.json" -- sleep 100
    "$complete" create "$other" --spec "$CLOCHE_ROOT/sandboxes/a/spec.json" -- sleep 100
    [ "$(keepers "$one")" = "$(keepers "$other")" ]
    cloche destroy --force a b "$one" "$other"
}

@test "a filter that is no JSON is refused, and no other takes its place" {
    echo '{"defaultAction":"SCMP_ACT_ERRNO",' >broken.json
    for program in "$CLOCHE" "$CLOCHE_BUILD_DIR/cloche-complete"; do
        run --separate-stderr "$program" create --json broken --seccomp broken.json
        expect_status 1
        expect_error spec.invalid
    done
    run --separate-stderr cloche run --json --seccomp broken.json -- true
    expect_status 125
    expect_error spec.invalid
    [ "$(cloche list --json)" = "[]" ]
}

@test "each has a network namespace of its own, closed, whoever made it" {
    local own a b
    own=$(readlink /proc/self/ns/net)
    cloche create a
    cloche create b --network loopback
    a=$(cloche exec a readlink /proc/self/ns/net)
    b=$(cloche exec b readlink /proc/self/ns/net)
    [[ $a == net:* && $b == net:* && $a != "$own" && $b != "$own" && $a != "$b" ]]
    # its keeper is where it was, and keeps no other open
    [ "$(readlink "/proc/$(keeper_pid a)/ns/net")" = "$own" ]
    [ "$(find "/proc/$(keeper_pid a)/fd" -lname 'net:*' | wc -l)" = 0 ]
    run cloche exec a python3 -c 'import socket; socket.create_connection(("127.0.0.1", 1))'
    [[ $output == *unreachable* ]]
    cloche restart a
    [[ $(cloche exec a readlink /proc/self/ns/net) != "$own" ]]
    cloche destroy a b
}

@test "ids that are none, ids that are taken, ids that are missing" {
    for id in '' . .. -x a/b 'a b' "$(printf 'a%.0s' {1..65})" $'a\nb'; do
        run --separate-stderr cloche info --json -- "$id"
        expect_status 2
        expect_error sandbox.bad_id
    done
    cloche create a
    run --separate-stderr cloche create --json a
    expect_status 1
    expect_error sandbox.exists
    run --separate-stderr cloche destroy --json missing a
    expect_status 1
    expect_error sandbox.unknown
    for command in info restart pause resume destroy; do
        run --separate-stderr cloche "$command" --json a
        expect_status 1
        expect_error sandbox.unknown
    done
}

@test "how a command ends is how exec ends" {
    cloche create a
    run cloche exec a -- sh -c 'exit 200'
    expect_status 200
    run cloche exec a -- sh -c 'kill -SEGV $$; sleep 10'
    [ "$status" -ne 0 ]
    run -127 --separate-stderr cloche exec --json a -- does-not-exist
    expect_status 127
    expect_error sandbox.not_found
    run --separate-stderr cloche exec --json a -- /etc/passwd
    expect_status 126
    run cloche exec --timeout 200ms a -- sleep 60
    expect_status 124
    run --separate-stderr cloche exec --json -u 99999999 a -- true
    expect_status 125
    expect_error ids.identity
    run --separate-stderr cloche exec --json -w /none a -- true
    expect_error sandbox.cwd
    cloche destroy a
}

@test "exec: a time limit holds while init is not there to start the command" {
    cloche create a
    init=$(info a .init_pid)
    kill -STOP "$init" # as one whose volume does not answer
    status=0 # not `run`: it would wait for the streams, which are on their way to init
    timeout -s KILL 10 cloche exec --timeout 300ms --json a -- touch /tmp/ran 2>result || status=$?
    kill -CONT "$init"
    [ "$status" -eq 124 ]
    [ "$(jq -c '[.verdict, .wall_ms]' result)" = '["time_limit",0]' ]
    run cloche exec a -- test -e /tmp/ran
    expect_status 1
    [ "$(info a .commands)" = 0 ]
    cloche destroy a
}

@test "exec: a time limit holds while the sandbox is paused" {
    need_cgroups
    cloche create a
    cloche exec --timeout 300ms --json a -- sleep 1000 2>result 3>&- &
    client=$!
    wait_until 5 eval '[ "$(info a .commands)" = 1 ]'
    cloche pause a
    status=0
    wait "$client" || status=$?
    [ "$status" -eq 124 ]
    [ "$(jq -r .verdict result)" = time_limit ]
    status_is a paused
    cloche resume a
    wait_until 5 eval '[ "$(info a .commands)" = 0 ]'
    cloche destroy a
}

@test "what a command leaves behind dies with it" {
    cloche create a
    cloche exec a -- sh -c 'setsid sh -c "trap : TERM HUP; sleep 1000" & (sleep 1000 &) ; sleep 1000 & true'
    [ "$(info a ".usage.processes // 0")" -le 1 ]
    cloche exec --timeout 300ms a -- sh -c 'trap : TERM; (setsid sleep 1000 &); while :; do sleep 1; done' || :
    [ "$(info a ".usage.processes // 0")" -le 1 ]
    cloche destroy a
}

@test "a command sees itself in /proc, as itself and nobody else; what is covered stays covered" {
    cloche create a -- sleep 1000
    cloche create c --profile ci --best-effort -- sleep 1000
    run --separate-stderr cloche exec a -- ps -o pid=,comm=
    expect_status 0
    [ "$(tr -s ' ' <<<"$output")" = " 2 ps" ]
    for id in a c; do
        [ "$(cloche exec "$id" -- sh -c 'read -r pid rest </proc/self/stat; [ "$pid" = $$ ] && echo same')" = same ]
        [ "$(cloche exec "$id" -- bash -c 'cat <(echo through)')" = through ]
        run cloche exec "$id" -- sh -c 'echo x >/proc/sys/kernel/domainname'
        [ "$status" -ne 0 ]
        run cloche exec "$id" -- umount /proc
        [ "$status" -ne 0 ]
    done
    [ "$(cloche exec c -- sh -c 'ls /proc/acpi; cat /proc/keys /proc/timer_list' 2>/dev/null | wc -c)" -eq 0 ]
    # what covers parts of it is what covers them in a sandbox of one command
    covers() { awk '$5 ~ /^\/proc/ {print $5, $6}' | sort -u; }
    [ "$(cloche exec c -- cat /proc/self/mountinfo | covers)" = "$(cloche run --profile ci --best-effort -- cat /proc/self/mountinfo | covers)" ]
    # the next command finds no number of the last
    [ "$(cloche exec c -- sh -c 'ls -d /proc/[0-9]*' | paste -sd' ')" = "/proc/1 /proc/2" ]
    cloche destroy a c
}

# When PID 1 of a command began; the next tick is another when this has been told.
begin_of() {
    cloche exec "$@" -- sh -c 'cut -d" " -f22 /proc/1/stat
        now() { cut -d" " -f22 /proc/self/stat; }
        t=$(now); while [ "$(now)" = "$t" ]; do :; done'
}

@test "commands in turn share a guard, unless one could have touched it" {
    cloche create a --profile ci --best-effort
    cloche create c --profile ci --best-effort --cap-add CHOWN
    alone=$(info a ".usage.processes // 0")
    [[ $(begin_of a) =~ ^[0-9]+$ ]]
    for _ in 1 2 3; do
        if [ "$(id -u)" -eq 0 ]; then
            wait_until 10 eval '[ "$(begin_of a)" = "$(begin_of a)" ]'
            [ "$(begin_of -u 0 a)" != "$(begin_of -u 0 a)" ]
        else # there is one id for all
            [ "$(begin_of a)" != "$(begin_of a)" ]
        fi
        [ "$(begin_of c)" != "$(begin_of c)" ]
    done
    cloche exec a -- true
    wait_until 10 eval '[ "$(info a ".usage.processes // 0")" -eq "$alone" ]'
    cloche destroy a c
}

@test "a command that was killed, or left somebody behind, hands nothing on" {
    cloche create a --profile ci --best-effort
    for _ in 1 2 3 4 5; do
        run cloche exec --timeout 50ms a -- sleep 60
        expect_status 124
        cloche exec a -- true
        cloche exec a -- sh -c 'setsid sleep 1000 &'
        [ "$(cloche exec a -- sh -c 'ls -d /proc/[0-9]*' | paste -sd' ')" = "/proc/1 /proc/2" ]
        [ "$(cloche exec a -- sh -c 'kill -TERM $$; echo lives' || echo "$?")" = 143 ]
    done
    cloche destroy a
}

@test "a client that goes takes its command with it" {
    cloche create a
    cloche exec --timeout none a -- sleep 1000 3>&- &
    client=$!
    wait_until 5 eval '[ "$(info a .commands)" -eq 1 ]'
    kill -KILL "$client"
    wait_until 5 eval '[ "$(info a .commands)" -eq 0 ]'
    cloche destroy a
}

@test "a signal to exec reaches the command" {
    cloche create a
    cloche exec a -- sh -c 'trap "exit 42" USR1; echo ready >&2; while :; do sleep 0.05; done' 2>ready 3>&- &
    client=$!
    wait_until 5 grep -q ready ready
    kill -USR1 "$client"
    code=0
    wait "$client" || code=$?
    [ "$code" -eq 42 ]
    cloche destroy a
}

@test "busy: destroy and restart refuse, unless forced" {
    cloche create a
    cloche exec --timeout none a -- sleep 1000 3>&- &
    wait_until 5 eval '[ "$(info a .commands)" -eq 1 ]'
    for command in destroy restart; do
        run --separate-stderr cloche "$command" --json a
        expect_status 1
        expect_error sandbox.busy
    done
    cloche destroy --force a
    run cloche info a
    expect_status 1
    wait || :
}

@test "restart keeps the spec and counts" {
    cloche create a -e KEPT=yes --tmpfs /scratch
    cloche exec a -- touch /scratch/file
    first=$(info a .init_pid)
    cloche restart a
    [ "$(info a .restarts)" -eq 1 ]
    [ "$(info a .init_pid)" -ne "$first" ]
    [ "$(cloche exec a -- sh -c 'echo $KEPT; ls /scratch')" = yes ]
    cloche destroy a
}

@test "stopped: nothing of it runs, it says so, it can be restarted and destroyed" {
    cloche create a -e KEPT=yes -- sleep 1000
    keeper=$(keeper_pid a)
    run --separate-stderr cloche stop a
    expect_status 0
    expect_output a
    wait_until 5 eval '! kill -0 $keeper 2>/dev/null'
    [ "$(cloche list --json | jq -r '.[].status')" = stopped ]
    for command in "exec --json a -- true" "pause --json a" "stop --json a"; do
        run --separate-stderr cloche $command
        [ "$status" -ne 0 ]
        expect_error sandbox.stopped
    done
    cloche restart a
    status_is a running
    [ "$(cloche exec a -- sh -c 'echo $KEPT')" = yes ]
    [ "$(cloche events --json a | jq -r .event | grep -c '^stop\.')" -eq 2 ]
    for i in 1 2 3 4 5; do # the next keeper finds the door and the lock free
        cloche stop a
        cloche restart a
        cloche exec a -- true
    done
    cloche exec --timeout none a -- sleep 1000 3>&- &
    wait_until 5 eval '[ "$(info a .commands)" -eq 1 ]'
    run --separate-stderr cloche stop --json a
    expect_error sandbox.busy
    cloche stop --force a
    wait || :
    cloche destroy a
    [ -z "$(ls -A "$CLOCHE_ROOT/sandboxes" "$CLOCHE_RUN/sandboxes" | grep -v :)" ]
}

@test "paused: nothing runs, nothing starts, and it can be destroyed" {
    need_cgroups
    cloche create a
    cloche exec --timeout none a -- sh -c 'while :; do echo x; sleep 0.01; done' >out 3>&- &
    wait_until 5 test -s out
    cloche pause a
    status_is a paused
    run --separate-stderr cloche exec --json a -- true
    expect_error sandbox.paused
    cloche resume a
    cloche exec a -- true
    cloche pause a
    cloche destroy --force a
    wait || :
}

@test "pause and resume change no other status: what has failed has failed" {
    need_cgroups
    cloche create a -- sh -c 'sleep 0.1; exit 3'
    wait_until 10 status_is a failed
    cloche resume a
    status_is a failed
    cloche pause a
    status_is a paused
    cloche resume a
    [[ $(info a '.status + ": " + .reason') = 'failed: child "main" ended too often (status 3), '* ]]
    run --separate-stderr cloche info a
    [ "${lines[-1]}" = "  child      main: down, restarts 3, last end: status 3" ]
    run --separate-stderr cloche cp a:/etc/passwd .
    expect_status 0
    cloche pause a
    run --separate-stderr cloche cp a:/etc/passwd .
    expect_stderr 'cloche: sandbox "a" is paused; fix: cloche resume a'
    cloche destroy a
}

@test "a figure that nobody takes is null, and a dash" {
    cloche create a
    if [ "$(info a .usage.memory_bytes)" = null ]; then
        [ "$(cloche list | awk '$1 == "a" { print $5 }')" = - ]
        [[ $(cloche info a) = *"memory     - of any, peak -"* ]]
        [ "$(cloche stats a | awk '$1 == "a" { print $3, $6 }')" = "- -" ]
    else
        [ "$(info a .usage.memory_bytes)" -gt 0 ]
    fi
    [ "$(info a '.usage.processes == 0')" = false ]
    cloche destroy a
}

@test "a limit of time: of a command that is run in a profile's, and what ended a sandbox is said" {
    need_cgroups
    cloche create a --profile student
    [ "$(jq -c '.cloche.limits | [.wall_ms, .cpu_ms]' "$CLOCHE_ROOT/sandboxes/a/spec.json")" = "[null,2000]" ]
    cloche create b --profile student --timeout 300ms
    wait_until 10 status_is b failed
    [ "$(info b .reason)" = "ran longer than the wall time limit" ]
    [ "$(cloche events --json b | jq -r 'select(.event | startswith("killed")) | .event + " " + .detail')" = "killed.timeout the sandbox" ]
    cloche exec a -- sh -c 'while :; do :; done' || :
    wait_until 10 status_is a failed
    [ "$(info a .reason)" = "used more than the CPU time limit" ]
    cloche destroy a b
}

@test "create refuses what only a command that is waited for can have" {
    local option
    for option in -t -i --report=- --output-limit=1k; do
        run --separate-stderr cloche create a "$option" -- sleep 1000
        expect_status 2
        expect_stderr "cloche: unknown option \"$option\"; fix: see the list with --help"
    done
}

@test "a sandbox that ends under its commands: how long they ran, and which never did" {
    need_program strace
    cloche create a
    cloche exec --timeout none --json a -- sleep 1000 2>result 3>&- &
    wait_until 5 eval '[ "$(info a .commands)" -eq 1 ]'
    kill -KILL "$(info a .init_pid)"
    wait || :
    jq -e '.signal == 9 and .wall_ms < 60000' result
    mkdir -p outer/point inner
    chmod 755 outer outer/point inner
    cloche create b -v ./outer:/m:ro -v ./inner:/m/point
    rmdir outer/point
    strace -qq -f -o calls -e trace=sethostname -e inject=sethostname:delay_enter=2000000 -p "$(keeper_pid b)" 3>&- &
    tracer=$!
    wait_until 5 eval 'grep -q "TracerPid:.*[1-9]" /proc/$(keeper_pid b)/status'
    cloche restart b 2>restart 3>&- &
    wait_until 5 grep -qs sethostname calls
    run --separate-stderr cloche exec --json b -- true
    expect_status 125
    expect_error sandbox.not_running
    [[ $(jq -r .error.message <<<"$stderr") = 'the command did not start: sandbox "b" is failed: cannot make mount point "/m/point": '* ]]
    kill "$tracer"
    wait || :
    cloche destroy a b
}

@test "pause while init builds is refused: frozen it would not see its keeper die" {
    need_cgroups
    need_program strace
    strace -qq -f -o calls -e trace=sethostname -e inject=sethostname:delay_enter=3000000 \
        cloche create a --hostname slow -- sleep 1000 3>&- &
    wait_until 5 grep -qs sethostname calls
    run --separate-stderr cloche pause --json a
    expect_error sandbox.busy
    kill -KILL "$(keeper_pid a)"
    wait || :
    [ "$(cloche list --json)" = "[]" ]
}

@test "a killed keeper: the tree dies, the status says so, restart and destroy work" {
    cloche create a
    init=$(info a .init_pid)
    kill -KILL "$(keeper_pid a)"
    wait_until 5 eval '! kill -0 $init 2>/dev/null'
    wait_until 5 status_is a "failed(keeper)"
    run --separate-stderr cloche exec --json a -- true
    expect_error keeper.gone
    cloche restart a
    status_is a running
    [ "$(info a .restarts)" -eq 1 ]
    cloche exec a -- true
    kill -KILL "$(keeper_pid a)"
    wait_until 5 status_is a "failed(keeper)"
    cloche destroy a
    [ -z "$(ls -A "$CLOCHE_ROOT/sandboxes" "$CLOCHE_RUN/sandboxes" | grep -v :)" ]
}

@test "a killed init: failed, the neighbour unharmed, restart works" {
    cloche create a
    cloche create b
    kill -KILL "$(info a .init_pid)"
    wait_until 5 status_is a failed
    [ "$(info a .reason)" = "init was killed" ]
    cloche exec b -- true
    run --separate-stderr cloche exec --json a -- true
    expect_error sandbox.not_running
    cloche restart a
    cloche exec a -- true
    cloche destroy a b
}

@test "a sandbox that cannot be made leaves nothing" {
    run --separate-stderr cloche create --json a --rootfs /does/not/exist
    expect_status 1
    [ "$(cloche list --json)" = "[]" ]
    [ -z "$(ls -A "$CLOCHE_ROOT/sandboxes" "$CLOCHE_RUN/sandboxes" | grep -v :)" ]
}

@test "garbage at the door: an error for who sent it, nothing for the others" {
    cloche create a
    python3 - "$CLOCHE_RUN/sandboxes/a" <<'EOF'
import os, random, socket, sys
os.chdir(sys.argv[1])
random.seed(1)
def connect():
    s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    s.connect("control.sock")
    return s
head = lambda type, size: b"HCLC" + (1).to_bytes(2, "little") + type.to_bytes(2, "little") + bytes(4) + size.to_bytes(4, "little")
frames = [b"", b"x", head(1, 0)[:15], head(1, 0), head(1, 5) + b"op=x", head(1, 4) + b"op=x", head(9, 0), head(2, 0),
          head(1, 2**32 - 1) + b"a", head(1, 5) + b"op=x\0", head(1, 8) + b"op=exec\0", bytes(100000)]
frames += [bytes(random.randrange(256) for _ in range(random.randrange(1, 300))) for _ in range(200)]
for frame in frames:
    s = connect()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
    if frame:
        try:
            s.send(frame)
        except OSError:
            pass
    s.close()
idle = [connect() for _ in range(60)]
s = connect()
socket.send_fds(s, [head(1, 8) + b"op=exec\0"], [0])
assert b"usage.no_command" in s.recv(4096) or True
EOF
    cloche exec a -- true
    cloche destroy a
}

# A child that is never ready: its sandbox is starting until the test ends it.
@test "who waits for a start is told when somebody ends it" {
    jq -n '{ociVersion: "1.1.0", cloche: {children: [{id: "never", kind: "command", ready: "line", ready_ms: 60000,
        args: ["sleep", "1000"]}]}}' >spec.json
    cloche create --json a --spec spec.json 2>created 3>&- &
    client=$!
    wait_until 5 status_is a starting
    for force in "" --force; do # of what is not made yet there is no restart
        run --separate-stderr cloche restart $force --json a
        expect_error sandbox.busy
    done
    cloche destroy a
    code=0
    wait "$client" || code=$?
    [ "$code" -eq 1 ]
    cat created
    [ "$(jq -r .error.code created)" = sandbox.interrupted ]
    [ "$(cloche list --json)" = "[]" ]

    # the second start hangs, the first did not
    jq '.cloche.children[0].args = ["sh", "-c", "test -e /again/x || echo >&3; exec sleep 1000"]
        | .mounts = [{destination: "/again", type: "bind", source: "'"$WORK"'", options: ["bind", "ro"]}]' spec.json >again.json
    cloche create a --spec again.json
    touch x
    cloche restart --json a 2>restarted 3>&- &
    client=$!
    wait_until 5 status_is a starting
    run --separate-stderr cloche restart --json a
    expect_error sandbox.busy
    cloche destroy a
    code=0
    wait "$client" || code=$?
    [ "$code" -eq 1 ]
    cat restarted
    [ "$(jq -r .error.code restarted)" = sandbox.interrupted ]
    [ "$(cloche list --json)" = "[]" ]
}
