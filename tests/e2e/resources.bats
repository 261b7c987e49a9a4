# What sandboxes use: samples while somebody looks, warnings near a limit and what is done about them.
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
samples() { cloche stats --history --json "$1" | jq '.samples | length'; }
# switches PID: how often it has gone to sleep and woken up
switches() { awk '/ctxt_switches/ {n += $2} END {print n}' "/proc/$1/status"; }
# event ID NAME RESOURCE: how often
told() { cloche events --json "$1" | jq -s --arg e "$2" --arg r "$3" '[.[] | select(.event == $e and .resource == $r)] | length'; }
was_told() { [ "$(told "$@")" -ge 1 ]; }

# spec ACTION [INTERVAL]
spec() {
    jq -n --arg action "$1" '{ociVersion: "1.1.0", cloche: {limits: {memory_bytes: 67108864, processes: 20},
        monitor: {interval_ms: 50, warn_percent: 60, action: $action}}}' >spec.json
}
fill() { cloche exec --timeout none "$1" -- python3 -c 'import sys; x = bytearray(50 << 20); print("full", flush=True); sys.stdin.read()'; }

@test "nobody looks: the keeper sleeps; somebody looks: there is a history, and then it sleeps again" {
    cloche create s --spec <(jq -n '{ociVersion: "1.1.0", cloche: {monitor: {interval_ms: 20}}}') -- sleep 1000
    keeper=$(info s .keeper_pid)
    before=$(switches "$keeper")
    cloche stats s
    wait_until 5 eval '[ "$(switches "$keeper")" -gt $((before + 20)) ]' # nobody has asked again
    [ "$(samples s)" -ge 10 ]
    cloche stats --history --json s >history.json
    [ "$(jq -r '.columns | join(" ")' history.json)" = "time_ms memory_bytes cpu_us processes io_read_bytes io_write_bytes pressure_cpu_us pressure_memory_us pressure_io_us" ]
    [ "$(jq '[.samples[] | length] | unique' -c history.json)" = "[9]" ]
    [ "$(jq '[.samples[][0]] | . == sort' history.json)" = true ]
    [ "$(jq '.samples[-1][3]' history.json)" -ge "$(cgroups_usable && echo 2 || echo 0)" ]
    cloche stats --history s | head -n 1 | grep -q '^TIME .* CPU .* MEMORY'
    # five seconds after the last question; looking at /proc wakes nobody
    rested() {
        before=$(switches "$keeper")
        read -r -t 0.3 <> <(:) || :
        [ "$(switches "$keeper")" = "$before" ]
    }
    wait_until 20 rested
    cloche destroy s
}

@test "a quiet sandbox wakes nobody" {
    cloche create s --ttl 1h --idle 1h -- sleep 1000
    pids="$(info s .keeper_pid) $(info s .init_pid)"
    asleep() {
        local pid sum=0
        for pid in $pids; do sum=$((sum + $(switches "$pid"))); done
        echo "$sum"
    }
    # what the start still does in the background
    quiet() {
        local before
        before=$(asleep)
        read -r -t 1 <> <(:) || :
        [ "$(asleep)" = "$before" ]
    }
    wait_until 5 quiet
    quiet
    cloche destroy s
}

@test "stats of all are those of all that run; of one that is stopped, an error" {
    cloche create r
    cloche create s
    cloche stop s
    run --separate-stderr cloche stats --json
    expect_status 0
    expect_stderr ''
    [ "$(jq -r .id <<<"$output")" = r ]
    run --separate-stderr cloche stats --json r s
    expect_status 1
    expect_error sandbox.stopped
    cloche destroy r s
}

@test "stats shows now, peak, limits and lines of the last minute" {
    need_cgroups
    cloche create s --memory 64m --cpus 0.5 --pids-limit 20 -- sleep 1000
    [ "$(cloche stats --json s | jq -c '.limits')" = '{"memory_bytes":67108864,"processes":20,"cpus":0.5}' ]
    [ "$(cloche stats --json s | jq -r '[.usage | .memory_bytes, .memory_peak_bytes, .processes, .processes_peak | . > 0] | unique | @csv')" = true ]
    [ "$(cloche stats --json s | jq '(.recent_cpu_percent | length) == (.recent_memory_bytes | length)')" = true ]
    LC_ALL=C.UTF-8 cloche stats s | tail -n 1 | grep -q '[▁▂▃▄▅▆▇█]'
    LC_ALL=C cloche stats s | tail -n 1 | grep -q '[_.=+*%#-]$'
    cloche destroy s
}

@test "warn: once when it comes near, once when it has gone" {
    need_cgroups
    spec warn
    cloche create s --spec spec.json
    mkfifo in
    fill s <in >out 3>&- &
    exec 4>in
    wait_until 10 grep -q full out
    wait_until 10 was_told s resource.warning memory
    [ "$(cloche stats --json s | jq -c .warned_of)" = '["memory"]' ]
    [ "$(cloche events --json s | jq -c 'select(.event == "resource.warning") | [.percent >= 60, .limit, .action]')" = '[true,67108864,"warn"]' ]
    exec 4>&-
    wait
    wait_until 10 was_told s resource.normal memory
    [ "$(told s resource.warning memory)" -eq 1 ]
    [ "$(told s resource.normal memory)" -eq 1 ]
    status_is s running
    cloche exec --timeout none s -- sh -c 'for i in 1 2 3 4 5 6 7 8 9 10 11 12 13; do sleep 1000 & done; wait' 3>&- &
    wait_until 10 was_told s resource.warning processes
    cloche destroy --force s
    wait || :
}

@test "kill: the sandbox has failed, says of what, and can be restarted" {
    need_cgroups
    spec kill
    cloche create s --spec spec.json
    mkfifo in
    fill s <in >out 3>&- &
    exec 4>in
    wait_until 10 status_is s failed
    exec 4>&-
    wait || :
    [[ $(info s .reason) == "memory at "*" % of its limit (monitor.action kill)" ]]
    [ "$(cloche events --json s | jq -r 'select(.event == "killed.limit").detail')" = memory ]
    cloche restart s
    cloche exec s -- true
    status_is s running
    cloche destroy s
}

@test "when memory ends, what runs inside goes before what holds the sandbox" {
    cloche create s
    local init
    init=$(info s .init_pid)
    [ "$(cloche exec s -- cat /proc/self/oom_score_adj)" -eq $(($(cat "/proc/$init/oom_score_adj") + 100)) ]
    jq -n '{ociVersion: "1.1.0", process: {oomScoreAdj: 950}}' >high.json
    cloche create high --spec high.json
    [ "$(cat "/proc/$(info high .init_pid)/oom_score_adj")" -eq 950 ]
    [ "$(cloche exec high -- cat /proc/self/oom_score_adj)" -eq 1000 ]
    cloche destroy s high
}

# What slows it down: memory.high where memory is v2's, else half of the CPU.
slowed() {
    local file
    file=$(find /sys/fs/cgroup -path "*sandbox-s-*" -name "$1" 2>/dev/null | head -n 1)
    [ -n "$file" ] && cat "$file"
}
quota() { slowed cpu.cfs_quota_us || slowed cpu.max | cut -d' ' -f1; }

@test "memory at its limit that makes no way: the command that has most of it ends, and no other" {
    need_cgroups
    need_program gcc
    gcc -O1 -o use "$CHECKOUT/tests/e2e/standstill.c"
    chmod 777 .
    cloche create s --memory 32m -v "$WORK:/work" -- sleep 1000
    cloche exec s -- sleep 1000 &
    wait_until 10 eval '[ "$(info s .commands)" = 1 ]'
    run --separate-stderr cloche exec --json --timeout "$((20 * CLOCHE_TEST_SCALE))s" -w /work s -- ./use 30
    expect_status 137
    [ "$(jq -r .verdict <<<"$stderr")" = memory_limit ]
    [ "$(cloche events --json s | jq -s '[.[] | select(.event == "killed.limit" and .detail == "memory")] | length')" = 1 ]
    [ "$(info s '[.status, .commands, .children[0].restarts] | @csv')" = '"running",1,0' ]
    cloche exec s -- true
    cloche destroy --force s
    wait
}

@test "throttle: slower near the limit, as before when it has gone" {
    need_cgroups
    spec throttle
    cloche create s --spec spec.json --cpus 1
    [ "$(quota)" = 100000 ]
    mkfifo in
    fill s <in >out 3>&- &
    exec 4>in
    wait_until 10 was_told s resource.warning memory
    if slowed memory.high >/dev/null; then
        wait_until 5 eval '[ "$(slowed memory.high)" = 40263680 ]'
    else
        wait_until 5 eval '[ "$(quota)" = 50000 ]'
    fi
    exec 4>&-
    wait
    wait_until 10 was_told s resource.normal memory
    wait_until 5 eval '[ "$(quota)" = 100000 ]'
    ! slowed memory.high >/dev/null || [ "$(slowed memory.high)" = max ]
    [ "$(told s resource.throttle_failed "")" -eq 0 ]
    cloche destroy s
}

@test "throttle where nothing can be slowed down, and a monitor without a limit: refused" {
    need_no_cgroups
    spec throttle
    run --separate-stderr cloche create --json s --spec spec.json
    expect_status 1
    [ "$(cloche list --json)" = "[]" ]
}

@test "a monitor needs a limit, a percentage and a word" {
    run --separate-stderr cloche create --json s --warn 80
    expect_status 1
    expect_error spec.invalid
    for option in --warn=0 --warn=101 --warn=x --near-limit=nothing; do
        run --separate-stderr cloche create --json s "$option"
        expect_status 2
    done
    [ "$(cloche list --json)" = "[]" ]
}

@test "the process limit that was hit is told of" {
    need_cgroups
    cloche create s --pids-limit 8
    cloche exec s -- sh -c 'for i in 1 2 3 4 5 6 7 8 9 10; do sleep 5 & done; wait' || :
    cloche stats s
    [ "$(cloche events --json s | jq -r 'select(.event == "security.violation").detail')" = "process limit" ]
    cloche destroy s
}

@test "stats --watch shows those that come, and ends when nobody is left" {
    cloche create a
    cloche stats --watch --json >seen &
    local watcher=$!
    wait_until 10 grep -q '"id":"a"' seen
    cloche create b
    wait_until 10 grep -q '"id":"b"' seen
    cloche destroy a b
    wait "$watcher"
}
