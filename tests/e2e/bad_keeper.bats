# What must not hurt a long-lived sandbox, its keeper or the neighbours: bad clients, a lying init, a full disk, state
# that was deleted or spoilt underneath. Clear errors, and nothing lost elsewhere. Bad ids: keeper.bats.
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
nothing_left() { [ "$(cloche list --json)" = "[]" ] && [ -z "$(ls -A "$CLOCHE_ROOT/sandboxes" "$CLOCHE_RUN/sandboxes" | grep -v :)" ]; }

# kill_keeper ID: and wait until its tree is gone, too
kill_keeper() {
    local init
    init=$(info "$1" .init_pid)
    kill -KILL "$(info "$1" .keeper_pid)"
    wait_until 5 eval "! kill -0 $init 2>/dev/null"
    wait_until 5 status_is "$1" "failed(keeper)"
}

@test "frames that no client of ours sends" {
    need_program python3
    [ -z "${CLOCHE_VM-}" ] && count=1000 || count=200
    cloche create a -- sleep 1000
    cloche create b -- sleep 1000
    before=$(info b '[.keeper_pid, .init_pid, .restarts] | @csv')
    run --separate-stderr "$CHECKOUT/tests/chaos/door" a "$count"
    show_result
    expect_status 0
    [ "$(info b '[.keeper_pid, .init_pid, .restarts] | @csv')" = "$before" ]
    cloche restart --force a
    cloche exec a -- true
    cloche destroy a b
}

@test "a frame that only a keeper sends is answered, and who was dropped is an event" {
    need_program python3
    local kind
    cloche create a
    for kind in 2 3 4 5 6; do
        run --separate-stderr "$CHECKOUT/tests/e2e/client.py" a send "$kind" op=info
        expect_status 0
        [ "${lines[0]}" = code=protocol.frame ]
    done
    [ "$(cloche events --json --name client.dropped a | jq -c '[.uid, .pid > 0, .detail]' | sort | uniq -c | xargs)" = \
        "5 [$(id -u),true,what was sent is not a frame of this protocol]" ]
    cloche destroy a
}

@test "clients that hold every place and say nothing keep nobody out" {
    need_program python3
    cloche create a
    run --separate-stderr "$CHECKOUT/tests/e2e/client.py" a hold 200 cloche exec a -- echo works
    expect_status 0
    expect_output works
    cloche events --json --name client.dropped a | jq -r .detail | grep -qx 'others want its place, and it has nothing under way'
    cloche destroy a
    # and no more when it is the files that are short
    (ulimit -n 60 && cloche create a)
    run --separate-stderr "$CHECKOUT/tests/e2e/client.py" a hold 100 cloche exec a -- echo works
    expect_output works
    cloche destroy a
    nothing_left
}

@test "a file that is ready when its client has gone is not given to the next" {
    need_program python3
    cloche create a
    run --separate-stderr "$CHECKOUT/tests/e2e/client.py" a unasked "$(info a .init_pid)" /bin/true
    show_result
    expect_status 0
    cloche destroy a
}

@test "a keeper that does not answer: told apart from one that is dead, others are listed, destroy --force ends it" {
    need_root # once is enough: it takes its time
    cloche create a -- sleep 1000
    cloche create b
    keeper=$(info a .keeper_pid)
    kill -STOP "$keeper"
    [ "$(cloche list --json | jq -c 'map([.id, .status]) | sort')" = '[["a","busy(keeper)"],["b","running"]]' ]
    run --separate-stderr cloche info --json a
    expect_status 1
    expect_error call.deadline
    run --separate-stderr cloche destroy --force a
    expect_status 0
    [ ! -e "/proc/$keeper/exe" ]
    cloche destroy b
    nothing_left
}

@test "top of more processes than a frame holds" {
    [ -z "${CLOCHE_VM-}" ] || skip "too slow under emulation"
    cloche create a -- sh -c 'i=0; while [ $i -lt 1600 ]; do sleep 1000 & i=$((i+1)); done; echo all; wait'
    wait_until 20 eval '[ "$(cloche logs a)" = all ]'
    run --separate-stderr cloche top --json a
    expect_status 0
    [ "$(jq '.processes | length' <<<"$output")" -ge 1600 ]
    cloche destroy a
}

@test "an init that lies: the keeper stays itself" {
    need_program python3
    run --separate-stderr "$CHECKOUT/tests/chaos/lies" 4
    show_result
    expect_status 0
}

# A shell that runs no program may not be ended by SIGTERM: its sandbox takes the 5 s of grace.
deaf='trap : TERM; echo >&$CLOCHE_READY_FD; while :; do read -r x </dev/zero; done'

@test "what init cannot build is told as init told it: by create, and by a restart that can be tried again" {
    local command
    for command in '' '-- sleep 1000'; do
        # shellcheck disable=SC2086
        run --separate-stderr cloche create a -v /etc:/proc/nothing $command
        expect_status 1
        expect_output ''
        expect_stderr 'cloche: cannot make mount point "/proc/nothing": No such file or directory; fix: make it in the rootfs, or choose another destination'
        nothing_left
    done
    mkdir -p outer/point inner
    chmod 755 outer outer/point inner
    cloche create a -v ./outer:/m:ro -v ./inner:/m/point -- sleep 1000
    rmdir outer/point
    run --separate-stderr cloche restart a
    expect_status 1
    expect_stderr_line '^cloche: cannot make mount point "/m/point": .*; fix: make it in the rootfs, or choose another destination$'
    [ "$(info a '[.status, .reason, .init_pid] | @csv' | cut -d: -f1)" = '"failed","cannot make mount point ""/m/point""' ]
    [ "$(info a .init_pid)" = 0 ]
    mkdir outer/point
    chmod 755 outer/point
    cloche restart a
    cloche exec a -- true
    cloche destroy --force a
}

@test "a sandbox that is dying starts nothing, and says so" {
    [ -z "${CLOCHE_VM-}" ] || skip "too slow under emulation"
    jq -n --arg deaf "$deaf" '{ociVersion: "1.1.0", cloche: {children: [{id: "deaf", kind: "command", ready: "line",
        args: ["sh", "-c", $deaf]}]}}' >spec.json
    cloche create a --spec spec.json
    cloche destroy a 3>&- &
    client=$!
    wait_until 5 status_is a stopping
    run --separate-stderr cloche exec --json a -- true
    expect_status 125
    expect_error sandbox.not_running
    for command in restart destroy; do
        run --separate-stderr cloche "$command" --force --json a
        expect_status 1
        expect_error sandbox.busy
    done
    wait "$client"
    nothing_left
}

@test "update: what cannot be changed, what is used, what is no number" {
    need_cgroups
    cloche create a -- sh -c 'sleep 1000 & sleep 1000 & wait'
    wait_until 5 eval '[ "$(info a .usage.processes)" -ge 4 ]'
    before=$(info a .limits)
    for option in "--hostname x" "--rootfs empty" "--network=host"; do
        # shellcheck disable=SC2086
        run --separate-stderr cloche update --json a $option
        expect_status 2
        expect_error update.fixed
    done
    for option in "--pids-limit 3" "--memory 1"; do
        # shellcheck disable=SC2086
        run --separate-stderr cloche update --json a $option
        expect_status 1
        expect_error sandbox.in_use
    done
    for option in "--pids-limit 0" "--pids-limit -1" "--cpus nan" "--cpus 1e9"; do
        # shellcheck disable=SC2086
        run --separate-stderr cloche update --json a $option
        expect_status 2
        expect_error usage.number
    done
    run --separate-stderr cloche update --json a --unknown
    expect_status 2
    expect_error usage.unknown_option
    [ "$(info a .limits)" = "$before" ]
    cloche destroy a
}

# full_disk: runs in a mount namespace of its own; $1 is the mount point
full_disk() {
    set -e
    mount -t tmpfs -o size=300k,nr_inodes=200 none "$1"
    export CLOCHE_ROOT=$1
    cloche create a -- sh -c 'while :; do echo line; sleep 0.01; done'
    cloche update a --pids-limit 55
    head -c 1m /dev/zero >"$1/filler" 2>/dev/null || :
    [ "$(cloche exec a -- echo works)" = works ]
    code=0
    cloche create --json b 2>error || code=$?
    [ "$code" -eq 1 ]
    [ "$(jq -r .error.code error)" = sandbox.state ]
    grep -q "No space left" error
    [ "$(cloche list --json | jq -r '.[].id')" = a ]
    code=0
    cloche update --json a --pids-limit 66 2>error || code=$?
    [ "$code" -eq 1 ]
    [ "$(jq -r .error.code error)" = keeper.state ]
    [ "$(cloche info --json a | jq .limits.processes)" = 55 ] # it failed, so nothing was changed
    cloche pause a
    cloche resume a
    cloche restart a
    [ "$(cloche exec a -- echo works)" = works ]
    kill -KILL "$(cloche info --json a | jq .keeper_pid)"
    until [ "$(cloche info --json a | jq -r .status)" = "failed(keeper)" ]; do :; done
    cloche restart a
    cloche stop a
    [ "$(cloche info --json a | jq -r .status)" = stopped ]
    cloche restart a
    rm "$1/filler"
    cloche restart a
    [ "$(cloche info --json a | jq .limits.processes)" = 55 ]
    cloche destroy a
    [ -z "$(ls -A "$1/sandboxes")" ]
    # no room for the door
    mkdir "$1/run"
    mount -t tmpfs -o size=64k,nr_inodes=4,mode=700 none "$1/run"
    export CLOCHE_RUN=$1/run
    cloche list
    : >"$1/run/1"
    : >"$1/run/2" || :
    code=0
    cloche create a 2>error || code=$?
    [ "$code" -eq 1 ]
    [ "$(cat error)" = 'cloche: cannot make the run directory of "a": No space left on device' ]
    [ -z "$(ls -A "$1/sandboxes")" ]
}

@test "a full disk: what runs goes on, what needs room says so, and all is well when there is room" {
    need_root
    mkdir disk
    export -f full_disk
    PATH=$CLOCHE_BUILD_DIR:$PATH run --separate-stderr unshare --mount --propagation private bash -c 'full_disk "$1"' sh "$WORK/disk"
    show_result
    expect_status 0
}

@test "the state directory was deleted underneath: it works until it goes, and then it is gone" {
    cloche create a -- sleep 1000
    cloche create b
    rm -rf "$CLOCHE_ROOT/sandboxes/a"
    [ "$(cloche exec a -- echo works)" = works ]
    [ "$(cloche list --json | jq -r '.[].id')" = b ]
    cloche destroy a
    run --separate-stderr cloche info --json a
    expect_error sandbox.unknown
    [ "$(cloche exec b -- echo works)" = works ]
    cloche create a
    cloche destroy a b
    nothing_left
}

@test "the door was deleted underneath: failed(keeper), and destroy ends the keeper that nobody can reach" {
    cloche create a -- sleep 1000
    keeper=$(info a .keeper_pid)
    rm -rf "$CLOCHE_RUN/sandboxes/a"
    status_is a "failed(keeper)"
    run --separate-stderr cloche exec --json a -- true
    expect_error keeper.gone
    run --separate-stderr cloche restart --json a
    expect_status 1
    expect_error keeper.running
    cloche destroy a
    wait_until 5 eval "! kill -0 $keeper 2>/dev/null"
    nothing_left
}

@test "a record that cannot be read: failed(keeper), and it comes back" {
    cloche create a
    cloche create b
    for garbage in "{{{" "" "[1]" '{"restarts":"x","status":7}' "$(head -c 5000 /dev/zero | tr '\0' x)"; do
        kill_keeper a
        printf '%s' "$garbage" >"$CLOCHE_ROOT/sandboxes/a/record.json"
        status_is a "failed(keeper)"
        [ "$(cloche list --json | jq length)" -eq 2 ]
        cloche restart a
        status_is a running
        [ "$(info a .restarts)" -ge 1 ]
    done
    [ "$(info b .restarts)" -eq 0 ]
    cloche destroy a b
    nothing_left
}

@test "a spec that cannot be read: restart says which sandbox and why, the others stay, destroy works" {
    cloche create b
    for garbage in "nonsense" "" '{"ociVersion":7}' "$(printf '{%.0s' {1..5000})"; do
        cloche create a
        kill_keeper a
        printf '%s' "$garbage" >"$CLOCHE_ROOT/sandboxes/a/spec.json"
        run --separate-stderr cloche restart --json a
        expect_status 1
        [[ $stderr = *'spec of \"a\"'* ]]
        [ "$(cloche list --json | jq -c 'map(.status) | sort')" = '["failed(keeper)","running"]' ]
        cloche destroy a
    done
    cloche create a
    kill_keeper a
    rm "$CLOCHE_ROOT/sandboxes/a/spec.json"
    run --separate-stderr cloche restart --json a
    expect_error keeper.state
    cloche destroy a b
    nothing_left
}

@test "a ruined database of modules: said with the sandbox's name and a way out, kept as the reason" {
    need_program gcc
    local db=$CLOCHE_ROOT/sandboxes/a/sandbox.db
    set_effort
    printf '%s\n' '#include <cloche/module.h>' \
        'static int handle(void *s, const struct cloche_request *q, struct cloche_reply *r)' \
        '{ return cloche_reply_write(r, q->data, q->size); }' \
        'CLOCHE_MODULE("m", .init = cloche_no_init, .handle = handle);' >m.c
    cloche create a --profile plugin "${effort[@]}" --module m=m.c
    cloche create b
    cloche stop a # the log beside the database is in it then
    head -c 8192 /dev/urandom >"$db"
    for command in "restart a" "history a" "versions a m"; do
        # shellcheck disable=SC2086
        run --separate-stderr cloche $command
        expect_status 1
        expect_stderr "cloche: sandbox \"a\": sandbox.db: file is not a database; fix: move $(realpath "$db") away: its modules are built anew, without a history"
    done
    [ "$(info a '[.status, .reason] | @csv')" = '"failed","sandbox ""a"": sandbox.db: file is not a database"' ]
    cloche exec b -- true
    rm "$db"
    cloche restart a
    [ "$(cloche call a m works)" = works ]
    cloche destroy a b
    nothing_left
}

@test "a state directory that may not be read is no sandbox that is not there" {
    need_user
    cloche create a
    chmod 000 "$CLOCHE_ROOT/sandboxes/a"
    run --separate-stderr cloche logs a
    expect_status 1
    expect_stderr 'cloche: cannot open the state of sandbox "a": Permission denied'
    chmod 700 "$CLOCHE_ROOT/sandboxes/a"
    cloche destroy a
}

@test "a database that is none, of a sandbox without modules: told as well" {
    cloche create a
    cloche create b
    kill_keeper a
    head -c 8192 /dev/urandom >"$CLOCHE_ROOT/sandboxes/a/sandbox.db"
    run --separate-stderr cloche restart a
    expect_status 1
    [[ $stderr = 'cloche: sandbox "a": sandbox.db: file is not a database; fix: move '* ]]
    cloche exec b -- true
    cloche destroy a b
    nothing_left
}
