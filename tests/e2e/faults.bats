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

@test "the walk itself: without a fault it stops when the program does not run" {
    mkdir walk
    run python3 "$CHECKOUT/tests/faults/walk.py" "$WORK/walk" "$CLOCHE" "$faults/inject" "$faults/probe" -w /nowhere
    expect_status 1
    [[ $output = "without a fault: status 125, "* ]]
}
