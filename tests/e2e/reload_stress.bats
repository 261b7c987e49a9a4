# Calls without end over reloads, a quarter of which crash: tests/stress. make soak has it in full size.
# Not in the virtual machine: compilers take minutes there, and what modules run in is tested by other files.
load helper

setup() { cloche_setup; }

teardown() {
    cloche destroy --force stress >/dev/null 2>&1 || :
    rmdir "$CLOCHE_ROOT/sandboxes" "$CLOCHE_RUN/sandboxes" 2>/dev/null || :
    cloche_teardown
}

@test "6000 calls over 20 reloads, every fourth one crashing: each is answered once, the count is right, nothing grows" {
    run --separate-stderr "$CHECKOUT/tests/stress/reloads" 6000 20
    show_result
    expect_status 0
    [ "$(jq -r '.lost, .rolled_back, .replies >= 6000' <<<"$output" | xargs)" = "0 5 true" ]
}
