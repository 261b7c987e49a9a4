# Limits that are held without a verdict of their own, and the share of the CPU.
load helper

inside() { run --separate-stderr cloche run --report report.json "$@"; }

@test "the profile's limits on files: open, size, /tmp, inodes" {
    cgroups_usable || best=--best-effort
    # shellcheck disable=SC2086
    inside --profile strict ${best-} perl -e 'my $n = 0; while (open $f[$n], "<", "/dev/null") { $n++ } print $n + 3'
    expect_output 128
    # shellcheck disable=SC2086
    inside --profile strict ${best-} sh -c 'trap "" XFSZ; head -c 17m /dev/zero >/tmp/big; stat -c %s /tmp/big'
    expect_output 16777216
    # shellcheck disable=SC2086
    inside --profile strict ${best-} perl -e 'my $n = 0; while (open my $f, ">", "/tmp/$n") { $n++ } print $n'
    expect_output 1023
    # shellcheck disable=SC2086
    inside --profile strict ${best-} sh -c 'for i in 1 2 3; do head -c 8m /dev/zero 2>/dev/null >/tmp/$i || echo "full at $i"; done'
    expect_output "full at 3"
}

@test "--cpus: half a CPU gives half of the time" {
    need_cgroups
    inside --cpus 0.5 --timeout 1s sh -c 'while :; do :; done'
    expect_status 124
    jq -e '.cpu_ms / .wall_ms | . >= 0.1 and . <= 0.75' report.json || { cat report.json; false; }
}

@test "limits reach what the program starts, in another session and after a double fork, too" {
    need_cgroups
    inside --memory 32m --timeout 20s sh -c '(setsid sh -c "tail /dev/zero" &) ; sleep 10'
    expect_status 137
    expect_report .verdict memory_limit
}

@test "two runs do not share a limit" {
    need_cgroups
    cloche run --pids-limit 4 sh -c 'sleep 1000 & sleep 1000 & echo full; wait' >first 3>&- &
    first=$!
    wait_until 10 grep -q full first
    inside --pids-limit 4 sh -c 'sleep 1000 & a=$!; sleep 1000 & kill $a $!; wait; echo full, too'
    expect_status 0
    expect_output "full, too"
    kill "$first"
    wait "$first" || :
}

@test "a memory limit too small to start anything is an error, not a verdict" {
    need_cgroups
    inside --memory 64k true
    [ "$status" -eq 125 ] || [ "$status" -eq 137 ]
    expect_output ""
}
