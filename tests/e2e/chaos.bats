# Long-lived sandboxes among clients that operate, killers, and many of their kind: tests/chaos, a short run of each.
# make soak is the long one.
load helper

setup() { cloche_setup; }

teardown() {
    local id
    # a keeper that answers nobody fails this test, not all that follow
    for id in $(timeout 30 "$CLOCHE" list --json 2>/dev/null | jq -r '.[].id'); do
        timeout 30 "$CLOCHE" destroy --force "$id" >/dev/null 2>&1 || :
    done
    rmdir "$CLOCHE_ROOT/sandboxes" "$CLOCHE_RUN/sandboxes" 2>/dev/null || :
    cloche_teardown
}

@test "chaos: keepers, inits and children are killed while four clients operate" {
    need_program python3
    run --separate-stderr "$CHECKOUT/tests/chaos/chaos" 2 2
    show_result
    expect_status 0
}

@test "a random sequence of operations does what a model in memory says" {
    need_program python3
    run --separate-stderr "$CHECKOUT/tests/chaos/model" 200
    show_result
    expect_status 0
}

@test "a hundred alive at once" {
    need_program python3
    [ -z "${CLOCHE_VM-}" ] && count=100 || count=20
    run --separate-stderr "$CHECKOUT/tests/chaos/many" "$count"
    show_result
    expect_status 0
}

@test "two hundred made, used and destroyed" {
    need_program python3
    [ -z "${CLOCHE_VM-}" ] && count=200 || count=20
    run --separate-stderr "$CHECKOUT/tests/chaos/cycles" "$count"
    show_result
    expect_status 0
}
