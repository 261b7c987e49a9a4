# Each system call of a launch made to fail in turn: the program must never run in a sandbox that is not complete.
# tests/faults/walk.py has the rules, and the table of calls that may fail.
# Not in the virtual machine: too slow under emulation
load helper

setup() {
    [ "${CLOCHE_BUILD-}" != build-asan ] || skip "the sanitizers make system calls of their own"
    [ -z "${CLOCHE_VM-}" ] || skip "too slow under emulation"
    [ "$(uname -m)" = x86_64 ] || skip "the fault injection knows x86_64 only"
    cloche_setup
    faults=$CLOCHE_BUILD_DIR/tests/faults
}

teardown() {
    [ "${CLOCHE_BUILD-}" != build-asan ] && [ -z "${CLOCHE_VM-}" ] && [ "$(uname -m)" = x86_64 ] || return 0
    rm -rf "$WORK/walk"
    cloche_teardown
}

walk() {
    mkdir walk
    chmod 755 walk
    cgroups_usable || set -- --best-effort "$@"
    run python3 "$CHECKOUT/tests/faults/walk.py" "$WORK/walk" "$CLOCHE" "$faults/inject" "$faults/probe" \
        --profile student "$@"
    echo "$output"
    expect_status 0
}

@test "a launch with everything: an overlay, a tmpfs, a loopback interface, limits, a capability" {
    mkdir lower
    walk --network loopback --hostname here --read-only --tmpfs /mnt:1m --ulimit nofile=50 -u 0 \
        --cap-add NET_BIND_SERVICE -v "$WORK/lower:/lower:O" -w /tmp
}

@test "a launch with a terminal" {
    need_root
    walk -t
}

@test "a launch that makes a template" {
    need_root
    WALK_TEMPLATE=1 WALK_ROLES=parent walk
}

@test "a launch on a crowded machine" {
    need_root
    begin_crowd
    status=0
    WALK_ROLES="parent init" walk --tmpfs /mnt:1m || status=$?
    end_crowd
    [ "$status" -eq 0 ]
}

@test "the walk itself: without a fault it stops when the program does not run" {
    mkdir walk
    run python3 "$CHECKOUT/tests/faults/walk.py" "$WORK/walk" "$CLOCHE" "$faults/inject" "$faults/probe" -w /nowhere
    expect_status 1
    [[ $output = "without a fault: status 125, "* ]]
}

@test "a launch that joins namespaces" {
    need_root
    unshare --fork --kill-child=KILL --net --uts sh -c 'echo ready; exec sleep 1000' >held 3>&- &
    keeper=$!
    wait_until 10 grep -q ready held
    holder=$(pgrep -P $keeper)
    jq -n --arg ns "/proc/$holder/ns" '{linux: {namespaces: [{type: "user"}, {type: "mount"}, {type: "ipc"}, {type: "cgroup"},
        {type: "pid"}, {type: "network", path: ($ns + "/net")}, {type: "uts", path: ($ns + "/uts")}]}}' >spec.json
    cloche run --profile student --spec spec.json -- true # a first run of the complete program fills the filter's cache
    status=0
    WALK_ROLES="doorstep init program" INJECT_DOORSTEP=1 walk --spec "$WORK/spec.json" -u 0 || status=$?
    kill -KILL $keeper $holder
    wait $keeper || :
    [ "$status" -eq 0 ]
}
