# Children of a long-lived sandbox: started, restarted, given up, logged, looked at, limited.
load helper

setup() { cloche_setup; }

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
# child ID CHILD FIELD
child() { info "$1" ".children[] | select(.id == \"$2\") | .$3"; }
child_is() { [ "$(child "$1" "$2" "$3")" = "$4" ]; }
pid_of() { cloche top --json "$1" | jq -r ".processes[] | select(.name == \"$2\") | .pid"; }

# tree STRATEGY [EXTRA]: three children a, b, c that each write their name and wait; sleep under a name each.
tree() {
    jq -n --arg strategy "$1" '{ociVersion: "1.1.0", cloche: {strategy: $strategy, children: [
        ("a", "b", "c") | {id: ., kind: "command", args: ["sh", "-c", "echo \(.); exec sleep 1000"]}]}}' >"$1.json"
}

kill_child() { # ID CHILD: by its place in the tree: the children's programs are in their order
    local pids
    mapfile -t pids < <(cloche top --json "$1" | jq -r '.processes[] | select(.name == "sleep") | .pid' | sort -n)
    kill -KILL "${pids[$2]}"
}

restarts() { info "$1" '[.children[].restarts] | join(",")'; }

@test "one_for_one, one_for_all and rest_for_one restart whom they should" {
    for strategy in one_for_one one_for_all rest_for_one; do
        tree "$strategy"
        cloche create s --spec "$strategy.json"
        [ "$(info s '[.children[].state] | unique | join(",")')" = running ]
        kill_child s 1
        wait_until 5 eval '[ "$(child s b restarts)" = 1 ]'
        wait_until 5 eval '[ "$(info s "[.children[].state] | unique | join(\",\")")" = running ]'
        case $strategy in
        one_for_one) expected=0,1,0 ;;
        one_for_all) expected=1,1,1 ;;
        rest_for_one) expected=0,1,1 ;;
        esac
        [ "$(restarts s)" = "$expected" ]
        [ "$(child s b last)" = "signal 9" ]
        cloche destroy s
    done
}

@test "too many restarts: the supervisor gives up, the sandbox stays to be looked at" {
    cloche create s -- sh -c 'echo tried; exit 3'
    wait_until 10 status_is s failed
    [ "$(child s main restarts)" = 3 ]
    [ "$(child s main last)" = "status 3" ]
    [ "$(cloche logs s)" = $'tried\ntried\ntried\ntried' ]
    cloche exec s -- true
    [ "$(cloche events --json s | jq -r 'select(.event == "child.exit").detail' | wc -l)" -eq 4 ]
    cloche restart s
    wait_until 10 status_is s failed
    cloche destroy s
}

@test "normal ends and status 125 are not restarted" {
    cloche create s -- true
    wait_until 5 child_is s main state down
    [ "$(child s main restarts)" = 0 ]
    status_is s running
    cloche destroy s
    jq -n '{ociVersion: "1.1.0", cloche: {children: [{id: "m", kind: "command", args: ["sh", "-c", "exit 125"]}]}}' >spec.json
    cloche create s --spec spec.json
    wait_until 5 child_is s m last "status 125"
    [ "$(child s m restarts)" = 0 ]
    status_is s running
    cloche destroy s
}

@test "a child that says when it is ready is waited for; one that never does fails the creation" {
    jq -n '{ociVersion: "1.1.0", cloche: {children: [
        {id: "first", kind: "command", ready: "line",
         args: ["sh", "-c", "sleep 0.3; echo done >/tmp/first; echo ready >&$CLOCHE_READY_FD; exec sleep 1000"]},
        {id: "second", kind: "command", args: ["sh", "-c", "cat /tmp/first; exec sleep 1000"]}]}}' >spec.json
    cloche create s --spec spec.json
    wait_until 5 eval '[ "$(cloche logs s second)" = done ]'
    cloche destroy s
    jq '.cloche.children[0] |= (.args = ["sleep", "1000"] | .ready_ms = 100)' spec.json >never.json
    run --separate-stderr cloche create --json s --spec never.json
    expect_status 1
    expect_error supervisor.gave_up
    [ "$(jq -r .error.message <<<"$stderr")" = 'child "first" ended too often (not ready within 100 ms), its supervisor gave up' ]
    run --separate-stderr cloche create s --spec spec.json -- sleep 1000
    expect_status 2
    expect_stderr 'cloche: a command is given, and the spec has children of its own; fix: make it one of the children'
    [ "$(cloche list --json)" = "[]" ]
    [ -z "$(ls -A "$CLOCHE_ROOT/sandboxes" "$CLOCHE_RUN/sandboxes" | grep -v :)" ]
    jq '.cloche.children[0].args = ["/does/not/exist"]' spec.json >none.json
    run --separate-stderr cloche create --json s --spec none.json
    expect_status 1
    expect_error supervisor.gave_up
}

# socket_child ID TYPE: a child that begins to listen after a while; a second one that says what it found
socket_spec() {
    jq -n --arg socket "$1" --arg program "$2" '{ociVersion: "1.1.0", cloche: {network: "loopback", children: [
        {id: "server", kind: "command", ready: "socket", ready_socket: $socket, ready_ms: 10000, args: ["python3", "-c", $program]},
        {id: "client", kind: "command", args: ["sh", "-c", "cat /tmp/listening; exec sleep 1000"]}]}}' >spec.json
}
server() { # ADDRESS FAMILY TYPE
    printf 'import socket, time\ntime.sleep(0.3)\ns = socket.socket(socket.%s, socket.%s)\ns.bind(%s)\nopen("/tmp/listening", "w").write("yes\\n")\n' "$2" "$3" "$1"
    [ "$3" = SOCK_DGRAM ] || printf 's.listen()\n'
    printf 'time.sleep(1000)\n'
}

@test "a child is ready when somebody listens at its socket: unix, of each type, and tcp" {
    for type in SOCK_STREAM SOCK_SEQPACKET SOCK_DGRAM; do
        socket_spec /tmp/s.sock "$(server '"/tmp/s.sock"' AF_UNIX "$type")"
        cloche create s --spec spec.json
        wait_until 5 eval '[ "$(cloche logs s client)" = yes ]'
        [ "$(cloche top --json s | jq '.processes | length')" -le 6 ] # init, two guards, two programs
        cloche destroy s
    done
    socket_spec tcp:8080 "$(server '("127.0.0.1", 8080)' AF_INET SOCK_STREAM)"
    cloche create s --spec spec.json
    wait_until 5 eval '[ "$(cloche logs s client)" = yes ]'
    # back again after its end, and awaited again
    kill -KILL "$(pid_of s python3)"
    wait_until 10 child_is s server restarts 1
    wait_until 10 child_is s server state running
    cloche destroy s
}

@test "sandboxes that fail together do not come back together" {
    local id
    jq -n '{ociVersion: "1.1.0", cloche: {max_restarts: 100, children: [{id: "c", kind: "command", args: ["sh", "-c", "exit 7"]}]}}' >spec.json
    for id in a b c d e f; do cloche create "$id" --spec spec.json; done
    for id in a b c d e f; do
        wait_until 10 eval '[ "$(cloche events --json --name child.exit $id | wc -l)" -ge 6 ]'
    done
    for id in a b c d e f; do # the time of five restarts: 1500 ms less up to a quarter
        cloche events --json --name child.exit "$id" | jq -s '(.[5].time - .[0].time) * 1000 | floor'
    done | sort -n >times
    cloche destroy a b c d e f
    cat times
    [ "$(($(tail -n 1 times) - $(head -n 1 times)))" -ge 20 ]
}

@test "a socket that nobody listens at: the creation fails and nothing stays; a child that ends takes the question with it" {
    socket_spec /tmp/never.sock 'import time; time.sleep(1000)'
    jq '.cloche.children[0].ready_ms = 100' spec.json >never.json
    run --separate-stderr cloche create --json s --spec never.json
    expect_status 1
    expect_error supervisor.gave_up
    socket_spec /tmp/never.sock 'raise SystemExit(3)'
    run --separate-stderr cloche create --json s --spec spec.json
    expect_status 1
    expect_error supervisor.gave_up
    socket_spec tcp:8080 ''
    jq 'del(.cloche.network)' spec.json >none.json
    run --separate-stderr cloche create s --spec none.json
    expect_status 1
    expect_stderr 'cloche: child "server" is ready with tcp:8080, which the network "none" has not; fix: "network": "loopback"'
    [ "$(cloche list --json)" = "[]" ]
    for socket in relative tcp:0 tcp:70000 tcp: "/$(printf 'a%.0s' {1..107})"; do
        socket_spec "$socket" ''
        run --separate-stderr cloche create --json s --spec spec.json
        expect_error spec.invalid
    done
    jq 'del(.cloche.children[0].ready_socket)' spec.json >none.json
    run --separate-stderr cloche create --json s --spec none.json
    expect_error spec.invalid
}

@test "destroyed while it waits for a socket" {
    socket_spec /tmp/never.sock 'import time; time.sleep(1000)'
    cloche create --json s --spec spec.json >/dev/null 2>&1 3>&- &
    wait_until 5 status_is s starting
    wait_until 5 eval '[ "$(cloche top --json s | jq ".processes | length")" -ge 4 ]'
    cloche destroy s
    wait || :
    [ "$(cloche list --json)" = "[]" ]
}

@test "start_after: nobody before those that it waits for, and the other way round at the end" {
    jq -n 'def c(id; after): {id: id, kind: "command", start_after: after, ready: "line",
            args: ["sh", "-c", "trap \"exit 0\" TERM; echo >&3; while :; do sleep 0.05; done"]};
        {ociVersion: "1.1.0", cloche: {children: [
            c("c"; ["b", "a"]),
            {id: "group", kind: "supervisor", children: [c("y"; ["x"]), c("x"; ["c"])]},
            c("b"; ["a"]),
            c("a"; [])]}}' >spec.json
    cloche create s --spec spec.json
    [ "$(info s '[.children[].id] | join(" ")')" = "a b c group group/x group/y" ]
    cloche stop s
    [ "$(cloche events --json s | jq -r 'select(.event == "child.exit").detail' | cut -d: -f1 | paste -sd' ')" = "group/y group/x c b a" ]
    cloche destroy s
    for after in '["c"]' '["none"]' '["a"]'; do
        jq --argjson after "$after" '.cloche.children[3].start_after = $after' spec.json >bad.json
        run --separate-stderr cloche create --json s --spec bad.json
        expect_status 1
        expect_error spec.invalid
        [[ $stderr == *start_after* ]]
    done
    [ "$(cloche list --json)" = "[]" ]
}

@test "a nested supervisor that gives up is restarted by its own, and what it had inside is gone" {
    jq -n '{ociVersion: "1.1.0", cloche: {max_restarts: 1, children: [
        {id: "inner", kind: "supervisor", max_restarts: 0, children: [
            {id: "steady", kind: "command", args: ["sleep", "1000"]},
            {id: "weak", kind: "command", args: ["sh", "-c", "exec sleep 1001"]}]}]}}' >spec.json
    cloche create s --spec spec.json
    kill -KILL "$(cloche top --json s | jq -r '[.processes[] | select(.name == "sleep") | .pid] | max')"
    wait_until 5 child_is s inner restarts 1
    wait_until 5 child_is s inner state running
    [ "$(cloche top --json s | jq '[.processes[] | select(.name == "sleep")] | length')" -eq 2 ]
    cloche destroy s
}

@test "a nested supervisor that never comes up: a start that failed, with back-off, and then the end of the one above" {
    jq -n '{ociVersion: "1.1.0", cloche: {max_restarts: 2, children: [
        {id: "inner", kind: "supervisor", restart: "transient", max_restarts: 0, children: [
            {id: "weak", kind: "command", ready: "line", args: ["sh", "-c", "exit 3"]}]}]}}' >spec.json
    started=${EPOCHREALTIME/./}
    run --separate-stderr cloche create --json s --spec spec.json
    expect_status 1
    expect_error supervisor.gave_up
    [[ $(jq -r .error.message <<<"$stderr") == 'child "inner" ended too often (did not come up)'* ]]
    # the second restart waits for 75 to 100 ms
    [ $((${EPOCHREALTIME/./} - started)) -ge 75000 ]
    [ "$(cloche events --json s | jq -r 'select(.event == "child.exit").detail' | sort | uniq -c | tr -s ' ')" = " 3 inner/weak: status 3" ]
    [ "$(cloche list --json)" = "[]" ]
}

@test "a child that does not come up at first has its last words in the error: its log goes with the sandbox" {
    jq -n '{ociVersion: "1.1.0", cloche: {children: [{id: "web", kind: "command", ready: "line",
        args: ["sh", "-c", "printf \"starting\\nthe port is \\033[1mgr\u00fcn\\n\\n\" >&2; exit 3"]}]}}' >spec.json
    run --separate-stderr cloche create s --spec spec.json
    expect_status 1
    expect_stderr 'cloche: child "web" ended too often (status 3), its supervisor gave up; its last words: "the port is ?[1mgrün"'
    run --separate-stderr cloche create s -- /nowhere
    expect_stderr 'cloche: child "main" ended too often (command "/nowhere" not found in the sandbox), its supervisor gave up'
    # of one that stays the log does, too
    mkdir volume
    jq -n --arg v "$WORK/volume" '{ociVersion: "1.1.0", mounts: [{destination: "/v", type: "bind", source: $v, options: ["bind", "ro"]}],
        cloche: {children: [{id: "web", kind: "command", ready: "line",
        args: ["sh", "-c", "test ! -e /v/broken || exit 3; echo >&$CLOCHE_READY_FD; exec sleep 1000"]}]}}' >spec.json
    cloche create s --spec spec.json
    : >volume/broken
    run --separate-stderr cloche restart s
    expect_stderr 'cloche: child "web" ended too often (status 3), its supervisor gave up; fix: cloche logs s web'
    cloche destroy --force s
}

@test "stopping is in reverse order, with SIGTERM first, and what does not end is killed" {
    jq -n '{ociVersion: "1.1.0", cloche: {children: [
        {id: "polite", kind: "command", ready: "line",
         args: ["sh", "-c", "trap \"echo bye; exit 0\" TERM; echo >&3; while :; do sleep 0.05; done"]},
        {id: "deaf", kind: "command", shutdown_ms: 200, ready: "line",
         args: ["sh", "-c", "trap : TERM HUP INT; setsid sleep 1000 & echo >&3; while :; do sleep 0.05; done"]}]}}' >spec.json
    cloche create s --spec spec.json
    cloche restart s
    [ "$(cloche logs s polite)" = bye ]
    [ "$(cloche events --json s | jq -r 'select(.event == "child.exit").detail' | paste -sd,)" = "deaf: signal 9,polite: status 0" ]
    cloche destroy s
}

@test "a log that floods is bounded, and the keeper still answers" {
    cloche create s -- sh -c 'while :; do echo 0123456789012345678901234567890123456789012345678901234567890123456789; done'
    wait_until 20 test -e "$CLOCHE_ROOT/sandboxes/s/log/main.log.1"
    cloche exec s -- true
    [ "$(du -sb "$CLOCHE_ROOT/sandboxes/s/log" | cut -f1)" -le 2300000 ]
    cloche destroy s
}

@test "logs -f shows what comes and ends with the sandbox" {
    cloche create s -- sh -c 'echo first; while :; do sleep 0.05; echo more; done'
    cloche logs -f s >out 3>&- &
    wait_until 5 grep -q more out
    cloche destroy s
    wait $!
    [ "$(head -n 1 out)" = first ]
}

@test "events name who did what, in pairs, with their duration" {
    cloche create s
    cloche exec s -- true
    cloche exec s -- /none || :
    cloche events --json s >events
    [ "$(jq -r .event events | paste -sd' ')" = "create.start create.stop exec.start exec.stop exec.start exec.exception" ]
    [ "$(jq -r 'select(.event == "exec.start") | "\(.uid) \(.detail)"' events | head -n 1)" = "$(id -u) true" ]
    [ "$(jq -s '[group_by(.span)[] | length] | unique' -c events)" = "[2]" ]
    [ "$(jq -r 'select(.event == "exec.exception").code' events)" = sandbox.not_found ]
    cloche events s | grep -q "create.stop"
    cloche destroy s
}

@test "limits: kept, shown, changed while it runs, refused below what is used" {
    need_cgroups
    cloche create s --memory 64m --pids-limit 20
    [ "$(info s .limits.memory_bytes)" = 67108864 ]
    run --separate-stderr cloche exec --json s -- sh -c 'x=a; while :; do x=$x$x; done'
    expect_status 137
    cloche exec s -- true
    cloche update s --memory 128m --pids-limit 40
    [ "$(cloche stats --json s | jq -c '[.limits.memory_bytes, .limits.processes]')" = "[134217728,40]" ]
    cloche exec --timeout none s -- sh -c 'for i in 1 2 3 4 5; do sleep 1000 & done; wait' 3>&- &
    wait_until 5 eval '[ "$(info s .usage.processes)" -ge 6 ]'
    run --separate-stderr cloche update --json s --pids-limit 3
    expect_status 1
    expect_error sandbox.in_use
    cloche destroy --force s
    wait || :
}

@test "a limit survives a restart of the keeper" {
    need_cgroups
    cloche create s --memory 64m
    cloche update s --memory 96m
    kill -KILL "$(info s .keeper_pid)"
    wait_until 5 status_is s "failed(keeper)"
    cloche restart s
    [ "$(info s .limits.memory_bytes)" = 100663296 ]
    cloche destroy s
}

@test "two children for one module are refused as children, and so is nonsense" {
    jq -n '{ociVersion: "1.1.0", cloche: {children: [{id: "m", kind: "module", module: "m"},
        {id: "n", kind: "module", module: "m"}]}}' >spec.json
    run --separate-stderr cloche create --json s --spec spec.json
    expect_status 1
    expect_error spec.invalid
    jq -n '{ociVersion: "1.1.0", cloche: {children: [{id: "m", kind: "command", args: []}]}}' >spec.json
    run --separate-stderr cloche create --json s --spec spec.json
    expect_status 1
    expect_error spec.invalid
    [ "$(cloche list --json)" = "[]" ]
}

@test "fifty sandboxes alive; some lose their keeper, some their init; nothing stays" {
    for i in {1..50}; do
        cloche create "s$i" -- sleep 1000 >/dev/null &
        [ $((i % 10)) -ne 0 ] || wait
    done
    wait
    [ "$(cloche list --json | jq '[.[] | select(.status == "running")] | length')" -eq 50 ]
    for i in {1..10}; do
        kill -KILL "$(info "s$i" .keeper_pid)"
    done
    for i in {11..20}; do
        kill -KILL "$(info "s$i" .init_pid)"
    done
    wait_until 10 eval '[ "$(cloche list --json | jq "[.[] | select(.status == \"running\")] | length")" -eq 30 ]'
    cloche restart s{1..20} >/dev/null
    wait_until 10 eval '[ "$(cloche list --json | jq "[.[] | select(.status == \"running\")] | length")" -eq 50 ]'
    cloche destroy s{1..50} >/dev/null
    [ "$(cloche list --json)" = "[]" ]
    [ -z "$(ls -A "$CLOCHE_ROOT/sandboxes" "$CLOCHE_RUN/sandboxes" | grep -v :)" ]
}

@test "the example of the library" {
    need_program gcc
    [ "${CLOCHE_BUILD-}" != build-asan ] || skip "the example is linked without the sanitizers"
    run --separate-stderr "$CHECKOUT/examples/embed/run"
    expect_stderr ""
    expect_output $'hello from glass\nverdict runtime_error, exit code 3'
    expect_status 0
    [ "$(cloche list --json)" = "[]" ]
}

@test "the example of supervision" {
    run --separate-stderr "$CHECKOUT/examples/supervised/run"
    expect_status 0
    expect_output "all three run:
  database: running, restarts 0
  server: running, restarts 0
  worker: running, restarts 0
the server was killed:
  database: running, restarts 0
  server: running, restarts 1, last end: signal 9
  worker: running, restarts 1, last end: signal 15"
    [ "$(cloche list --json)" = "[]" ]
}

@test "cp: a path with \"..\", while somebody renames" {
    cat >renames.c <<'C'
#include <stdio.h>
int main(void)
{
    for (;;)
        if (rename("a", "b") < 0 || rename("b", "a") < 0)
            return 1;
}
C
    gcc -O1 -o renames renames.c
    touch a
    ./renames &
    local pid=$! i
    cloche create box --best-effort
    echo text >file
    for ((i = 0; i < 30; i++)); do
        cloche cp file box:/tmp/../tmp/../tmp/../tmp/file
        cloche cp box:/tmp/../tmp/../tmp/../tmp/file back
    done
    kill "$pid"
    cmp file back
    cloche destroy box
}

@test "cp: out, in, with the rights of the inside, and only regular files" {
    cloche create s --tmpfs /data
    echo content >file
    cloche cp file s:/data/file
    [ "$(cloche exec s -- cat /data/file)" = content ]
    [ "$(cloche exec s -- stat -c %u /data/file)" = 1000 ]
    cloche cp s:/data/file back
    cmp file back
    mkdir directory
    cloche cp s:/data/file directory
    cmp file directory/file
    printf '#!/bin/sh\necho ran\n' >script
    chmod 4755 script
    cloche cp script s:/tmp
    [ "$(cloche exec s -- stat -c %a /tmp/script)" = 755 ]
    [ "$(cloche exec s -- /tmp/script)" = ran ]
    cloche cp s:/tmp/script directory
    [ "$(stat -c %a directory/script)" = 755 ]
    head -c 3000000 /dev/urandom >large
    cloche cp large s:/data/
    cloche cp s:/data/large large.back
    cmp large large.back
    cloche exec s -- sh -c 'mkfifo /data/fifo; ln -s /data/file /data/link; ln -s / /data/up'
    for path in /data/fifo /data/link /data /dev/null /none; do
        run --separate-stderr cloche cp --json "s:$path" got
        expect_status 1
        expect_error sandbox.file
    done
    for path in /data/fifo /etc/new /proc/1/mem; do
        run --separate-stderr cloche cp --json file "s:$path"
        expect_status 1
        expect_error sandbox.file
    done
    [ ! -e got ]
    for arguments in "file other" "s:/a s:/b" "s:relative x" "s: x"; do
        run --separate-stderr cloche cp --json $arguments
        expect_status 2
        expect_error usage.path
    done
    run --separate-stderr cloche cp directory s:/data
    expect_stderr 'cloche: cannot read "directory": not a regular file; fix: tar -c directory | cloche exec ID -- tar -x -C DIR'
    mkfifo fifo
    run --separate-stderr cloche cp --json fifo s:/data/x
    expect_status 1
    expect_error cp.file
    # a link through the top of the sandbox stays inside
    [ "$(cloche cp s:/data/up/data/file out && cat out)" = content ]
    cloche destroy s
}
