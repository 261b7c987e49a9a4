# Sandboxes that nobody needs any more: age, idleness, quota; and what a destroy says that could not remove everything.
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
is_gone() { ! cloche info "$1" >/dev/null 2>&1; }
# at emulated speed a second is over before a sandbox runs
second=${CLOCHE_TEST_SCALE}s seconds=$((2 * CLOCHE_TEST_SCALE))s
nothing_stays() {
    [ "$(cloche list --json)" = "[]" ] && [ -z "$(ls -A "$CLOCHE_ROOT/sandboxes" "$CLOCHE_RUN/sandboxes" | grep -v :)" ]
}

@test "ttl: it goes at its age, also while it is used, and nothing stays" {
    cloche create old --ttl $second -- sleep 1000
    cloche create young --ttl 1h
    cloche exec --timeout none old -- sleep 1000 3>&- &
    wait_until 10 is_gone old
    wait || :
    cloche exec young -- true
    cloche destroy young
    nothing_stays
}

@test "ttl: a restart does not make it younger" {
    cloche create a --ttl $seconds
    kill -KILL "$(info a .keeper_pid)"
    wait_until 5 eval '[ "$(info a .status)" = "failed(keeper)" ]'
    cloche restart a
    cloche restart a
    wait_until 10 is_gone a
    nothing_stays
}

@test "idle: a command keeps it, looking at it does not" {
    cloche create a --idle $second
    cloche create b --idle $second
    cloche exec --timeout none a -- sleep $seconds 3>&- &
    wait_until 10 eval 'cloche info a >/dev/null; is_gone b'
    cloche exec a -- true
    wait
    wait_until 10 eval 'cloche stats a >/dev/null 2>&1; is_gone a'
    nothing_stays
}

@test "ttl and idle of a spec, and what is no time" {
    jq -n '{ociVersion: "1.1.0", cloche: {idle_timeout_s: $s, ttl_s: 3600}}' --argjson s "$CLOCHE_TEST_SCALE" >spec.json
    cloche create a --spec spec.json
    wait_until 10 is_gone a
    for option in --ttl=0 --ttl=-1s --ttl=x --idle=0s --idle=; do
        run --separate-stderr cloche create --json a "$option"
        expect_status 1
        expect_error spec.invalid
    done
    nothing_stays
}

@test "a quota is kept, also by many at once" {
    export CLOCHE_MAX_SANDBOXES=3
    for i in {1..8}; do
        cloche create --json "s$i" >"out.$i" 2>"err.$i" 3>&- &
    done
    wait || :
    [ "$(cat out.* | grep -c running)" -eq 3 ]
    [ "$(jq -r .error.code err.* | sort | uniq -c | tr -s ' ')" = " 5 quota.sandboxes" ]
    [ "$(cloche list --json | jq length)" -eq 3 ]
    run --separate-stderr cloche create more
    expect_status 1
    expect_stderr "cloche: user $(id -u) has 3 sandboxes, and may have 3; fix: cloche list; cloche destroy those that nobody needs"
    cloche destroy "$(cloche list --json | jq -r '.[0].id')"
    cloche create more
    CLOCHE_MAX_SANDBOXES=many run --separate-stderr cloche create --json another
    expect_status 1
    expect_error quota.invalid
}

@test "destroy says each thing that stayed, and removes the others" {
    need_root
    cloche create a
    mkdir "$CLOCHE_ROOT/sandboxes/a/held" "$CLOCHE_RUN/sandboxes/a/held"
    group=$(sed -n 's/^0:://p' "/proc/$(info a .init_pid)/cgroup")
    # a control group in its own, where that may be made
    held=$(find /sys/fs/cgroup -maxdepth 6 -type d -name "${group##*/}" | head -n 1)/held
    mkdir "$held" 2>/dev/null || held=
    # the keeper sees the mount: a directory that cannot go
    mount -t tmpfs none "$CLOCHE_ROOT/sandboxes/a/held"
    run --separate-stderr cloche destroy --json a
    umount "$CLOCHE_ROOT"/sandboxes/.gone-*/held
    rmdir "$CLOCHE_RUN/sandboxes/a/held" "$CLOCHE_RUN/sandboxes/a"
    expect_status 1
    expect_error sandbox.leftovers
    [ -z "$held" ] || rmdir "$held" "${held%/held}"
    message=$(jq -r .error.message <<<"$stderr")
    echo "$message"
    [[ $message == *"state directory: "* && $message == *"run directory: Directory not empty"* ]]
    [ -z "$held" ] || [[ $message == *"control group: "*"stays"* ]]
    [ ! -e "/sys/fs/cgroup$group" ] && [ ! -e "/sys/fs/cgroup/unified$group" ]
    nothing_stays
}
