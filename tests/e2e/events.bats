# What is told of what happens: names, actors, violations; what stays when a sandbox goes; followers that cannot keep up.
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

@test "what became of a sandbox can be asked when it is gone" {
    cloche create a
    cloche create b
    cloche exec a -- true
    cloche destroy a
    cloche events --json a >events
    [ "$(jq -r .event events | paste -sd' ')" = "create.start create.stop exec.start exec.stop destroy.start destroy.stop" ]
    [ "$(jq -s '[group_by(.span)[] | length] | unique' -c events)" = "[2]" ]
    # each says who
    [ "$(jq -r '"\(.uid) \(.pid > 1)"' events | sort -u)" = "$(id -u) true" ]
    cloche destroy b
    [ "$(cloche events --json | jq -r 'select(.event == "destroy.stop").sandbox' | paste -sd' ')" = "a b" ]
    run --separate-stderr cloche events --json never
    expect_status 1
    expect_error sandbox.unknown
    run --separate-stderr cloche create --json c --spec <(jq -n '{ociVersion: "1.1.0", cloche: {children: [
        {id: "x", kind: "command", ready: "line", args: ["/does/not/exist"]}]}}')
    expect_error supervisor.gave_up
    [ "$(cloche events --json c | jq -r 'select(.event == "create.exception").code' | wc -l)" -eq 1 ]
}

@test "a second life under an id: its own events, and the former's when all are asked for" {
    for i in 1 2; do
        cloche create a
        [ "$(cloche events --json a | jq -r .event | paste -sd' ')" = "create.start create.stop" ]
        cloche destroy a
    done
    [ "$(cloche events --json a | jq -r .event | grep -c create.start)" -eq 2 ]
}

@test "a sandbox that lost its keeper: its end is told, too" {
    cloche create a
    kill -KILL "$(info a .keeper_pid)"
    wait_until 5 eval '[ "$(info a .status)" = "failed(keeper)" ]'
    cloche destroy a
    [ "$(cloche events --json a | jq -r .event | paste -sd' ')" = "create.start create.stop destroy.start destroy.stop" ]
}

@test "several at once are one event more: batch" {
    cloche create a
    cloche create b
    run cloche destroy a b missing
    expect_status 1
    [ "$(cloche events --json | jq -c 'select(.event | startswith("batch")) | [.event, .detail, .count, .failed]' | paste -sd' ')" = '["batch.start","destroy",3,null] ["batch.exception","destroy",3,1]' ]
}

@test "choosing by name and time" {
    cloche create a
    cloche exec a -- true
    [ "$(cloche events --name 'exec.*' --json a | jq -r .event | paste -sd' ')" = "exec.start exec.stop" ]
    [ "$(cloche events --name 'exec.*' a | grep -c ' exec\.')" -eq 2 ]
    [ "$(cloche events --since 1h --json a | wc -l)" -eq 4 ]
    [ "$(cloche events --since 1ms --json a | wc -l)" -eq 0 ]
    cloche destroy a
}

@test "a blocked call, a timeout, a limit of memory and a collected sandbox have names" {
    cloche create a --ttl 3600 -- sh -c 'exec sleep 1000'
    run cloche exec a -- python3 -c 'import ctypes; ctypes.CDLL(None).syscall(246, 0, 0, 0, 0)' # kexec_load
    [ "$(cloche events --json --name security.violation a | jq -r '[.kind, .detail, .who] | join(" ")')" = "syscall kexec_load python3" ]
    run cloche exec --timeout 100ms a -- sleep 60
    expect_status 124
    [ "$(cloche events --json --name killed.timeout a | jq -r .detail)" = sleep ]
    cloche destroy a
    cloche create b --idle 1s
    wait_until 10 eval '! cloche info b 2>/dev/null'
    [ "$(cloche events --json --name gc.collected b | jq -r .detail)" = idle ]
    if cgroups_usable; then
        cloche create m --memory 32m
        run cloche exec m -- sh -c 'x=a; while :; do x=$x$x; done'
        wait_until 5 eval '[ "$(cloche events --json --name killed.limit m | jq -r .detail)" = memory ]'
        cloche destroy m
    fi
}

@test "a supervised child that makes a forbidden call" {
    jq -n '{ociVersion: "1.1.0", cloche: {children: [{id: "bad", kind: "command", restart: "temporary",
        args: ["python3", "-c", "import ctypes; ctypes.CDLL(None).syscall(246, 0, 0, 0, 0)"]}]}}' >spec.json
    cloche create a --spec spec.json
    wait_until 10 eval '[ "$(cloche events --json --name security.violation a | jq -r .who)" = bad ]'
    cloche destroy a
}

@test "the journal and the audit are bounded" {
    cloche create a
    dir=$CLOCHE_ROOT/sandboxes/a
    line='{"time":1,"event":"x","sandbox":"a","detail":"'$(printf 'y%.0s' {1..950})'"}'
    yes "$line" | head -n 4600 >"$dir/events.jsonl"
    cloche exec a -- true
    [ -e "$dir/events.jsonl.1" ]
    [ "$(stat -c %s "$dir/events.jsonl")" -le 10000 ]
    cloche destroy a
    [ "$(stat -c %s "$CLOCHE_ROOT/audit/events.jsonl")" -le 600000 ]
    jq -e . "$CLOCHE_ROOT/audit/events.jsonl" >/dev/null # whole lines only
    [ "$(cloche events --json a | tail -n 1 | jq -r .event)" = destroy.stop ]
    yes "$line" | head -n 18000 >"$CLOCHE_ROOT/audit/events.jsonl"
    cloche create b
    cloche destroy b
    [ -e "$CLOCHE_ROOT/audit/events.jsonl.1" ]
    [ "$(stat -c %s "$CLOCHE_ROOT/audit/events.jsonl")" -le 10000 ]
}

@test "a follower that stands still hurts nobody, and learns what it lost" {
    cloche create a
    dir=$CLOCHE_ROOT/sandboxes/a
    cloche events -f a >out 2>err 3>&- &
    follower=$!
    wait_until 5 grep -q create.stop out
    kill -STOP "$follower"
    for i in 1 2 3; do
        head -c 4300000 /dev/zero | tr '\0' '\n' >>"$dir/events.jsonl"
        cloche exec a -- true
    done
    kill -CONT "$follower"
    wait_until 5 grep -q 'some of it is lost' err
    cloche destroy a
    wait "$follower"
}

@test "events -f of all: those there are, and those that come and go meanwhile" {
    cloche create a
    cloche events -f --json --name '*.start' >out 3>&- &
    follower=$!
    seen() { [ "$(jq -r '.sandbox + " " + .event' out | xargs)" = "$*" ]; }
    wait_until 5 seen a create.start
    cloche create b
    wait_until 5 seen a create.start b create.start
    cloche destroy a
    wait_until 5 seen a create.start b create.start a destroy.start
    cloche exec b -- true
    wait_until 5 seen a create.start b create.start a destroy.start b exec.start
    cloche create a
    wait_until 5 seen a create.start b create.start a destroy.start b exec.start a create.start
    kill "$follower"
    wait "$follower" || :
    run --separate-stderr cloche events -f a b
    expect_status 2
    cloche destroy a b
}

@test "probes are where the events are" {
    need_program readelf
    [ -e /usr/include/sys/sdt.h ] || [ -e "/usr/include/$(gcc -print-multiarch)/sys/sdt.h" ] || skip "no sys/sdt.h on this machine"
    found=$(readelf -n "$CLOCHE_BUILD_DIR/cloche-keeper" | awk '/Provider: cloche/ {getline; print $2}' | sort -u | paste -sd' ')
    [ "$found" = "event span_exception span_start span_stop" ]
}

@test "events and a log that cannot be read are no empty ones" {
    need_user
    cloche create a -- sleep 1000
    chmod 0 "$CLOCHE_ROOT/sandboxes/a/events.jsonl" "$CLOCHE_ROOT/sandboxes/a/log/"*
    for what in events logs "events -f" "logs -f"; do
        # shellcheck disable=SC2086
        run --separate-stderr timeout 10 "$CLOCHE" $what --json a
        expect_status 1
        expect_error logs.unreadable
    done
}
