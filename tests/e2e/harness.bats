# The leak comparison itself: for each kind of leftover, that it is found and named.
load helper

# leaves WHAT: that, an extended regular expression, is the only thing that the end of this test would report.
leaves() {
    CLOCHE_TEST_GRACE=0 run "$CLOCHE_BUILD_DIR/tests/guard" end "$BATS_TEST_TMPDIR"
    [ "$status" -eq 1 ]
    [ "${#lines[@]}" -eq 1 ]
    [[ ${lines[0]} =~ ^"left over: "$1$ ]]
}

need_guard() { [ -n "${CLOCHE_TEST_GUARD-}" ] || skip "not started by tests/run"; }
need_private() {
    need_root
    [ -n "${CLOCHE_TEST_PRIVATE-}" ] || skip "not started by tests/run"
}

@test "nothing left over is no leak" {
    "$CLOCHE_BUILD_DIR/tests/guard" end "$BATS_TEST_TMPDIR"
}

@test "a background process is found" {
    need_guard
    sleep 1000 3>&- &
    leaves "process $! sleep \(started [0-9]+\)"
    kill $!
    wait $! || :
}

@test "a process that lost its parent and its session is found" {
    need_guard
    mkfifo pid
    (setsid sh -c 'echo $$ >pid; exec sleep 1000' >/dev/null 2>&1 3>&- &)
    read -r orphan <pid
    wait_until 5 grep -q sleep "/proc/$orphan/comm"
    leaves "process $orphan sleep \(started [0-9]+\)"
    kill "$orphan"
}

@test "a mount is found" {
    need_private
    mkdir here
    mount -t tmpfs tmpfs here
    leaves "mount [0-9]+ of tmpfs / on $WORK/here"
    umount here
}

@test "a network link is found" {
    need_private
    ip link add left0 type veth peer name left1
    CLOCHE_TEST_GRACE=0 run "$CLOCHE_BUILD_DIR/tests/guard" end "$BATS_TEST_TMPDIR"
    ip link del left0
    [ "$status" -eq 1 ]
    [ "$output" = "$(printf 'left over: link %s\n' left0 left1)" ]
}

@test "files in the state and run directories and in TMPDIR are found" {
    touch "$CLOCHE_RUN/control.sock"
    leaves "file $CLOCHE_RUN/control.sock"
    rm "$CLOCHE_RUN/control.sock"
    mkdir -p "$CLOCHE_ROOT/sandboxes/a" "$CLOCHE_ROOT/cache/seccomp"
    touch "$CLOCHE_ROOT/cache/seccomp/$(printf '%064d' 1).bpf" "$CLOCHE_ROOT/sandboxes/a/spec.json"
    leaves "file $CLOCHE_ROOT/sandboxes/a/spec.json"
    rm -r "$CLOCHE_ROOT/sandboxes"
    mkdir "$TMPDIR/directory"
    leaves "file $TMPDIR/directory"
    rmdir "$TMPDIR/directory"
}

@test "a control group of a run of this test is found, a neighbour's is not" {
    need_root
    group=$(findmnt -n -o TARGET -t cgroup2 | head -n 1)$(sed -n 's/^0:://p' /proc/self/cgroup)/cloche.slice
    echo 4194305 >>"$BATS_TEST_TMPDIR/pids"
    # locked as by who made them: a neighbour's run sweeps those of the dead, maybe before it is locked
    until mkdir -p "$group/run-4194305-1" && exec {first}<"$group/run-4194305-1" &&
        flock -n "$first" && [ -d "$group/run-4194305-1" ]; do :; done
    until mkdir -p "$group/run-4194306-1" && exec {second}<"$group/run-4194306-1" &&
        flock -n "$second" && [ -d "$group/run-4194306-1" ]; do :; done
    CLOCHE_TEST_GRACE=0 run "$CLOCHE_BUILD_DIR/tests/guard" end "$BATS_TEST_TMPDIR"
    exec {first}<&- {second}<&-
    rmdir "$group/run-4194305-1" "$group/run-4194306-1"
    [ "$status" -eq 1 ]
    [[ $output =~ ^"left over: cgroup "[^$'\n']*/run-4194305-1$ ]]
}

@test "the runner counts, and fails for a crash, a missing count and a skip that is not allowed" {
    need_guard
    mkdir -p tree/tests/fuzz tree/build/tests
    cp -r "$CHECKOUT/tests/run" "$CHECKOUT/tests/allowed-skips" "$CHECKOUT/tests/lib" tree/tests/
    cp "$CLOCHE_BUILD_DIR/tests/guard" tree/build/tests/
    suite() {
        printf '#!/bin/sh\n%s\n' "$1" >tree/tests/fuzz/run
        chmod +x tree/tests/fuzz/run
        CLOCHE_BUILD=build run --separate-stderr tree/tests/run fuzz
    }
    last() { printf '%s\n' "${lines[@]: -1}"; }

    suite 'echo 1..3; echo ok 1 a; echo "ok 2 b # skip needs root"; echo ok 3 c'
    expect_status 0
    [ "$(last)" = "2 passed, 0 failed, 1 skipped" ]
    suite 'echo 1..2; echo ok 1 a; echo not ok 2 b; exit 1'
    expect_status 1
    [ "$(last)" = "1 passed, 1 failed, 0 skipped" ]
    suite 'echo 1..2; echo ok 1 a; kill -SEGV $$'
    expect_status 1
    [ "$(last)" = "1 passed, 1 failed, 0 skipped" ]
    suite 'echo 1..1; echo ok 1 a; exit 3'
    expect_status 1
    [ "$(last)" = "1 passed, 1 failed, 0 skipped" ]
    suite 'echo all is well'
    expect_status 1
    [ "$(last)" = "0 passed, 1 failed, 0 skipped" ]
    suite 'echo 1..2; echo ok 1 a; echo "ok 2 b # skip too tired"'
    expect_status 1
    [ "$(last)" = "1 passed, 0 failed, 1 skipped" ]
    [[ $stderr = *"skip not in tests/allowed-skips: b: too tired"* ]]
}
