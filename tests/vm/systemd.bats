# Limits for an ordinary user under a real systemd. tests/vm/run --systemd starts this in a scope with Delegate=yes.
load ../e2e/helper

setup() {
    [ "${CLOCHE_VM-}" = systemd ] || skip "not in the virtual machine under systemd"
    cloche_setup
}

# Writes this process's cgroup2 group, below /sys/fs/cgroup, to stdout.
own_group() { sed -n 's/^0:://p' /proc/self/cgroup; }

# The groups of living one-shots of this test.
run_groups() {
    local pid
    while read -r pid; do
        find /sys/fs/cgroup -type d -path "*/cloche.slice/run-$pid-*" -prune
    done <"$BATS_TEST_TMPDIR/pids"
}

group_is_there() { [ -n "$(run_groups)" ]; }

# enforced_by_cgroup2 VERDICT: what the report must say, whichever limit was hit.
enforced_by_cgroup2() {
    expect_report .verdict "$1"
    expect_report .enforced_by.memory cgroup2
    expect_report .enforced_by.processes cgroup2
    expect_report .enforced_by.cpu cgroup2
    expect_report .measured_by.memory cgroup2
    expect_report .measured_by.cpu cgroup2
}

@test "this user runs in a delegated scope of a real systemd" {
    [ "$(cat /proc/1/comm)" = systemd ]
    [ "$(id -u)" -ne 0 ]
    [[ $(own_group) = /user.slice/user-*.slice/user@*.service/*.scope* ]]
    for controller in memory pids cpu; do
        grep -qw "$controller" "/sys/fs/cgroup$(own_group)/cgroup.controllers"
    done
}

@test "doctor calls memory, pids and cpu usable, by cgroup v2" {
    run --separate-stderr cloche doctor --json
    expect_status 0
    for controller in memory pids cpu; do
        grep -Eq "$controller" <<<"$output"
    done
    ! grep -q not_delegated <<<"$output"
}

@test "a memory limit is enforced and measured by the delegated group" {
    run --separate-stderr cloche run --memory 48m --pids-limit 64 --timeout 300s --report report.json -- \
        dd if=/dev/zero of=/dev/null bs=200M count=1
    expect_status 137
    enforced_by_cgroup2 memory_limit
}

@test "a process limit is enforced by the delegated group" {
    run --separate-stderr cloche run --pids-limit 8 --memory 64m --cpus 1 --timeout 300s --report report.json -- \
        sh -c 'for i in 1 2 3 4 5 6 7 8 9 10 11 12; do sleep 1000 & done; wait'
    expect_report .verdict process_limit
    expect_report .enforced_by.processes cgroup2
}

@test "CPU time is limited and measured by the delegated group" {
    run --separate-stderr cloche run --cpu-time 1s --memory 64m --pids-limit 64 --timeout 300s --report report.json -- \
        sh -c 'while :; do :; done'
    expect_status 124
    enforced_by_cgroup2 time_limit
    [ "$(report '.cpu_ms >= 1000')" = true ]
}

@test "the group is below the user's manager while the program runs, and gone afterwards" {
    mkfifo go
    cloche run --memory 64m --pids-limit 64 --report report.json -i -- cat <go >/dev/null &
    run=$!
    exec 7>go
    wait_until 10 group_is_there
    group=$(run_groups)
    exec 7>&-
    wait "$run"
    [[ $group = /sys/fs/cgroup/user.slice/user-*.slice/user@*.service/* ]]
    [ ! -e "$group" ]
    enforced_by_cgroup2 ok
}

@test "alone in a scope with Delegate=yes, that scope is used and no other is made" {
    mkfifo go
    systemd-run --user --quiet --scope --unit=cloche-alone -p Delegate=yes -- \
        cloche run --memory 64m --pids-limit 64 --report report.json -i -- cat <go >/dev/null &
    run=$!
    exec 7>go
    wait_until 20 group_is_there
    group=$(run_groups)
    exec 7>&-
    wait "$run"
    [[ $group = */cloche-alone.scope/cloche.slice/run-* ]]
    enforced_by_cgroup2 ok
    wait_until 10 eval '! systemctl --user --quiet is-active cloche-alone.scope'
}

@test "a plain scope, without delegation, gets a delegated one from systemd" {
    run --separate-stderr systemd-run --user --quiet --scope -- \
        cloche run --memory 64m --pids-limit 64 --report report.json -- true
    expect_status 0
    enforced_by_cgroup2 ok
}

@test "two at once have groups of their own" {
    cloche run --memory 48m --report a.json -- dd if=/dev/zero of=/dev/null bs=200M count=1 &
    first=$!
    cloche run --memory 48m --report b.json -- true &
    second=$!
    wait "$first" || [ $? -eq 137 ]
    wait "$second"
    expect_report .verdict memory_limit a.json
    expect_report .verdict ok b.json
}
