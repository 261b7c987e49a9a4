# State on disk against reality: keepers killed, directories deleted underneath, files ruined, clients at once.
load helper

setup() { cloche_setup; }

teardown() {
    local id
    for id in $(cloche list --json 2>/dev/null | jq -r '.[].id'); do
        cloche destroy --force "$id" >/dev/null 2>&1 || :
    done
    cloche doctor --repair >/dev/null 2>&1 || :
    rmdir "$CLOCHE_ROOT/sandboxes" "$CLOCHE_RUN/sandboxes" 2>/dev/null || :
    cloche_teardown
}

info() { cloche info --json "$1" | jq -r "$2"; }
status_is() { [ "$(info "$1" .status)" = "$2" ]; }
is_dead() { ! kill -0 "$1" 2>/dev/null; }
nothing_stays() {
    [ "$(cloche list --json)" = "[]" ] && [ -z "$(ls -A "$CLOCHE_ROOT/sandboxes" "$CLOCHE_RUN/sandboxes" | grep -v :)" ]
}
groups() { find /sys/fs/cgroup -maxdepth 6 -type d -name "sandbox-$1-*" 2>/dev/null | wc -l; }

@test "repair: what is well stays, what has lost its keeper is named, its groups go, and it can be restarted" {
    cloche create well -- sleep 1000
    cloche create lost -- sleep 1000
    cloche create rests
    cloche stop rests
    kill -KILL "$(info lost .keeper_pid)"
    wait_until 5 status_is lost "failed(keeper)"
    if cgroups_usable; then [ "$(groups lost)" -gt 0 ]; fi
    wait_until 10 eval '[ "$(cloche doctor --repair --json | jq -c "[.alive, .stopped, .without_keeper, .ruined, .orphans]")" = "[[\"well\"],[\"rests\"],[\"lost\"],[],0]" ] && [ "$(groups lost)" -eq 0 ]'
    status_is well running
    cloche exec well -- true
    cloche restart lost rests
    cloche exec lost -- true
    cloche doctor --repair >/dev/null
    status_is lost running
    cloche destroy well lost rests
    nothing_stays
}

@test "the state directory deleted underneath: the others live, the id is free, the orphan goes" {
    cloche create gone -- sleep 1000
    cloche create other
    keeper=$(info gone .keeper_pid) init=$(info gone .init_pid)
    rm -r "$CLOCHE_ROOT/sandboxes/gone"
    [ "$(cloche list --json | jq -r '.[].id')" = other ]
    cloche exec other -- true
    # its id is used again: the orphan is ended, and does not take the new one with it
    cloche create gone
    wait_until 5 is_dead "$keeper"
    wait_until 5 is_dead "$init"
    [ "$(info gone .keeper_pid)" != "$keeper" ]
    cloche exec gone -- true
    rm -r "$CLOCHE_ROOT/sandboxes/gone"
    keeper=$(info gone .keeper_pid)
    [ "$(cloche doctor --repair --json | jq -c '[.orphans, .doors, .alive]')" = '[1,1,["other"]]' ]
    wait_until 5 is_dead "$keeper"
    cloche destroy other
    nothing_stays
}

@test "the state directory deleted underneath: destroy still ends it" {
    cloche create gone -- sleep 1000
    keeper=$(info gone .keeper_pid)
    rm -r "$CLOCHE_ROOT/sandboxes/gone"
    run --separate-stderr cloche destroy gone
    expect_status 0
    wait_until 5 is_dead "$keeper"
    nothing_stays
}

@test "a deleted directory, and a new one of its name: the former's end leaves it alone" {
    cloche create a
    mv "$CLOCHE_ROOT/sandboxes/a" "$CLOCHE_ROOT/sandboxes/b"
    mkdir -m 700 "$CLOCHE_ROOT/sandboxes/a"
    touch "$CLOCHE_ROOT/sandboxes/a/precious"
    cloche destroy a
    [ -e "$CLOCHE_ROOT/sandboxes/a/precious" ]
    rm -r "$CLOCHE_ROOT/sandboxes/a" "$CLOCHE_ROOT/sandboxes/b"
}

@test "two roots that share a run directory: the second is refused, the first lives" {
    cloche create a
    CLOCHE_ROOT=$CLOCHE_ROOT/second run --separate-stderr cloche create --json a
    expect_status 1
    expect_error keeper.socket
    cloche exec a -- true
    [ "$(CLOCHE_ROOT=$CLOCHE_ROOT/second cloche list --json)" = "[]" ]
    CLOCHE_ROOT=$CLOCHE_ROOT/second cloche doctor --repair --json >/dev/null
    cloche exec a -- true
    cloche destroy a
    rm -r "$CLOCHE_ROOT/second"
    nothing_stays
}

@test "a ruined spec: it is named, the others are kept, and it can be destroyed" {
    cloche create good
    cloche create bad
    for text in '' '{' '[]' '{"cloche":{"nonsense":1}}' "$(printf '\0\1\2')"; do
        kill -KILL "$(info bad .keeper_pid)"
        wait_until 5 status_is bad "failed(keeper)"
        printf '%s' "$text" >"$CLOCHE_ROOT/sandboxes/bad/spec.json"
        run --separate-stderr cloche restart --json bad
        expect_status 1
        [[ $(jq -r .error.message <<<"$stderr") == *bad* ]]
        run --separate-stderr cloche doctor --repair --json
        expect_status 1
        [ "$(jq -c '[.alive, [.ruined[].id]]' <<<"$output")" = '[["good"],["bad"]]' ]
        cloche list --json | jq -e 'length == 2' >/dev/null
        cloche exec good -- true
        cloche destroy bad
        cloche create bad
    done
    cloche destroy good bad
    nothing_stays
}

@test "a ruined record: shown as failed, and restarted" {
    cloche create a
    for text in '' '{' '[]' '"x"'; do
        kill -KILL "$(info a .keeper_pid)"
        wait_until 5 status_is a "failed(keeper)"
        printf '%s' "$text" >"$CLOCHE_ROOT/sandboxes/a/record.json"
        status_is a "failed(keeper)"
        [ "$(cloche list --json | jq -r '.[].status')" = "failed(keeper)" ]
        cloche restart a
        cloche exec a -- true
    done
    cloche destroy a
    nothing_stays
}

@test "two clients destroy at once: one does, the others are told; two restart a lost one at once" {
    for round in 1 2 3 4 5; do
        cloche create a -- sleep 1000
        if [ $((round % 2)) -eq 0 ]; then
            kill -KILL "$(info a .keeper_pid)"
            wait_until 5 status_is a "failed(keeper)"
        fi
        for i in 1 2 3 4; do
            cloche destroy --json a >"out.$i" 2>"err.$i" 3>&- &
        done
        wait || :
        [ "$(cat out.* | grep -c '"done"')" -eq 1 ]
        [ "$(cat err.* | jq -r .error.code | grep -cE '^(sandbox.unknown|sandbox.busy|keeper.gone)$')" -eq 3 ]
        nothing_stays
    done
    cloche create a
    kill -KILL "$(info a .keeper_pid)"
    wait_until 5 status_is a "failed(keeper)"
    for i in 1 2 3 4; do
        cloche restart --json a >"out.$i" 2>"err.$i" 3>&- &
    done
    wait || :
    status_is a running
    [ "$(cat out.* | grep -c '"done"')" -ge 1 ]
    cloche destroy a
}

@test "past its time while nobody watched: list and repair collect it" {
    cloche create old --ttl 2s
    cloche create idle --idle 2s
    cloche create young --ttl 1h
    for id in old idle young; do
        kill -KILL "$(info "$id" .keeper_pid)"
    done
    wait_until 10 eval '[ "$(cloche list --json | jq -r ".[].id")" = young ]'
    status_is young "failed(keeper)"
    cloche create rests --ttl 1s
    cloche stop rests || : # it may be collected already
    wait_until 10 eval '! cloche info rests 2>/dev/null || ! cloche doctor --repair >/dev/null'
    cloche destroy young
    nothing_stays
}

@test "what killed clients left half made is swept" {
    sleep 0 & dead=$!
    wait "$dead"
    sh -c 'sleep 0 & echo $! >unreaped; exec sleep 1000' 3>&- & parent=$!
    wait_until 5 eval '[ "$(ps -o stat= -p "$(cat unreaped)")" = Z ]'
    cloche create a
    mkdir "$CLOCHE_ROOT/sandboxes/.gone-$(cat unreaped)-z" "$CLOCHE_ROOT/sandboxes/.gone-$$-mine"
    mkdir "$CLOCHE_ROOT/sandboxes/.new-$dead-x" "$CLOCHE_ROOT/sandboxes/.gone-$dead-y"
    touch "$CLOCHE_ROOT/sandboxes/.gone-$dead-y/file"
    mkdir "$CLOCHE_ROOT/sandboxes/never"
    touch -d '1 hour ago' "$CLOCHE_ROOT/sandboxes/never"
    [ "$(cloche list --json | jq -r '.[] | "\(.id) \(.status)"' | sort | paste -sd,)" = "a running,never failed(keeper)" ]
    [ "$(ls -A "$CLOCHE_ROOT/sandboxes" | sort | paste -sd' ')" = ".gone-$$-mine a never" ]
    rmdir "$CLOCHE_ROOT/sandboxes/.gone-$$-mine"
    kill "$parent"
    cloche destroy a never
    nothing_stays
}
