# Modules: calls, reload, the rows of its failure table, rollback, supervision. The modules are tests/modules/counter.c,
# built with the fault that a test is about: build NAME [-DFAULT_...].
load helper

setup() {
    cloche_setup
    set_effort
    mkdir -p include/cloche
    cp "$CHECKOUT/versions/module.h" include/cloche/
}

teardown() {
    local id
    for id in $(cloche list --json 2>/dev/null | jq -r '.[].id'); do
        cloche destroy --force "$id" >/dev/null 2>&1 || :
    done
    rmdir "$CLOCHE_ROOT/sandboxes" "$CLOCHE_RUN/sandboxes" 2>/dev/null || :
    cloche_teardown
}

# build NAME [FLAGS...]: NAME.so
build() {
    local name=$1
    shift
    gcc -O1 -fPIC -shared -fvisibility=hidden -Wl,-z,defs,-z,now,-z,noexecstack -Iinclude -DLABEL="\"$name\"" "$@" \
        -o "$name.so" "$CHECKOUT/tests/modules/${SOURCE:-counter}.c"
}

# box [FLAGS...]: a sandbox with version 1 of the counter, GOOD and at 3
box() {
    build one "$@"
    cloche create box --profile plugin "${effort[@]}" >/dev/null
    cloche reload box counter=one.so >/dev/null
    cloche confirm box counter
    wait_until 5 status_of 1 GOOD
    call add >/dev/null && call add >/dev/null
    [ "$(call add)" = 3 ]
}

call() { cloche call box counter "$@"; }
last() { cloche history --json box counter | jq -r ".attempts[-1]$1"; }
status_of() { [ "$(cloche versions --json box counter | jq -r ".versions[] | select(.version == $1) | .status")" = "$2" ]; }
ended() { [ "$(cloche info --json box | jq -r '.children[0].module.attempt')" = null ]; }
serves() { [ "$(call version)" = "$1" ]; }

@test "a call is answered, by the version that serves" {
    box
    [ "$(call get)" = 3 ]
    [ "$(call version)" = 1 ]
    [ "$(echo -n add | call -)" = 4 ]
    printf get >request
    run --separate-stderr cloche call --json box counter @request
    expect_status 0
    expect_output '{"status":0,"version":1,"reply":"4"}'
    [ "$(yes add | head -n 5000 | call --lines | tail -n 1)" = 5004 ]
    [ "$(call "big 3000000" | wc -c)" -eq 3000000 ]
    [ "$(head -c 3000000 /dev/zero | call -)" = 5005 ]
}

@test "call --json: a reply that is no text comes as base64, any other as it is" {
    cloche create box --profile plugin "${effort[@]}" --module echo="$CHECKOUT/tests/modules/echo.c"
    local text
    for text in 'a\0b\303\244"\001\n' '\377' 'x\377\0' 'xy\300\200' ''; do
        printf "$text" >sent
        cloche call --json box echo @sent | jq -j 'if .reply_base64 then .reply_base64 | @text else .reply | @base64 end' >reply
        base64 -d reply | cmp - sent
    done
    [ "$(cloche call --json box echo $'\377')" = '{"status":0,"version":1,"reply":null,"reply_base64":"/w=="}' ]
}

@test "a reply in pieces, small and large, written and reserved, with lines of the log between them" {
    local SOURCE=pieces asked n letter
    build pieces
    cloche create box --profile plugin "${effort[@]}" >/dev/null
    cloche reload box pieces=pieces.so >/dev/null
    for asked in "0" "1 r1" "r32768" "32768" "32769" "r32769" "1000 l 40000 r5 l 100000 l 7" "r100000 40000 r40000" \
        "32760 8 l 1" "r32768 r1 l 32769 r0 0" "3000000 l r3000000"; do
        letter=97
        : >wanted
        for n in $asked; do
            [ "$n" = l ] || head -c "${n#r}" /dev/zero | tr '\0' "\\$(printf %o $letter)" >>wanted
            letter=$((letter + 1))
        done
        cloche call box pieces "$asked" >got || differ "asking \"$asked\"" "$?" 0
        cmp got wanted || differ "the reply to \"$asked\"" "$(wc -c <got) bytes" "$(wc -c <wanted)"
    done
    # beyond the cap, in memory and in the file: refused, and nothing of it is left for the next
    local most
    most=$(printf '1048576 %.0s' {1..63}) # and one more is 64 MiB
    for asked in "1048576 1!" "r1048576 r1!" "1048570 r7!" "1000000 50000!"; do
        run --separate-stderr cloche call --json box pieces "$most$asked"
        expect_status 1
        expect_output '{"status":-1,"version":1,"reply":""}'
    done
    [ "$(cloche call box pieces "3 r2")" = aaabb ]
}

@test "info says which version serves" {
    box
    [[ $(cloche info box) = *"counter: running, restarts 0, version 1 serving"* ]]
}

@test "what cannot be called says why" {
    box
    run --separate-stderr cloche call --json box nosuch x
    expect_status 1
    expect_error module.unknown
    run --separate-stderr cloche call --json nosuch counter x
    expect_status 1
    expect_error sandbox.unknown
    run --separate-stderr cloche call box
    expect_status 2
    run --separate-stderr cloche call --json box counter @<(head -c 67108865 /dev/zero)
    expect_status 2
    expect_error call.too_large
    # of a module that nothing serves
    printf '#include <cloche/module.h>\n' >nothing.c
    run --separate-stderr cloche reload --json box empty=nothing.c
    expect_status 1
    [[ $(jq -r .error.message <<<"$stderr") = *"; nothing serves" ]]
    run --separate-stderr cloche call --json box empty x
    expect_error module.none
    [ -n "$(jq -r .error.hint <<<"$stderr")" ]
    run --separate-stderr cloche reload --json box counter=one.so --state snapshot
    expect_status 2
    expect_error usage.state
    touch it.f90
    run --separate-stderr cloche reload --json box counter=it.f90
    expect_error toolchain.unknown
    [[ $(jq -r .error.hint <<<"$stderr") = *"C or C++"* ]]
}

@test "a reload keeps the state, migrates it, and says what serves" {
    box
    build two -DSCHEMA=2
    run --separate-stderr cloche reload --json box counter=two.so
    expect_status 0
    [ "$(jq -r '.version, .active, .state' <<<"$output" | xargs)" = "2 2 ACTIVATED" ]
    [ "$(call add)" = 4 ]
    serves 2
    cloche confirm box counter
    wait_until 5 status_of 2 GOOD
    [ "$(last .state)" = GOOD ]
    [ "$(readlink "$CLOCHE_ROOT/sandboxes/box/modules/counter/current")" = 2 ]
}

@test "a rollback takes the state down again; without a way down it is refused" {
    box
    build two -DSCHEMA=2
    cloche reload box counter=two.so
    cloche confirm box counter
    wait_until 5 status_of 2 GOOD
    [ "$(call add)" = 4 ]
    cloche rollback box counter
    serves 1
    [ "$(call add)" = 5 ]
    cloche confirm box counter
    build three -DSCHEMA=2 -DONE_WAY
    cloche reload box counter=three.so
    cloche confirm box counter
    wait_until 5 status_of 3 GOOD
    run --separate-stderr cloche rollback --json box counter 1
    expect_status 1
    expect_error module.migrate
    serves 3
    cloche rollback box counter 1 --state empty
    [ "$(call get)" = 0 ]
    serves 1
}

@test "a rollback to the state as it was when the version was left" {
    box
    build two -DSCHEMA=2 -DONE_WAY
    cloche reload box counter=two.so
    cloche confirm box counter
    wait_until 5 status_of 2 GOOD
    [ "$(call add) $(call add)" = "4 5" ]
    cloche rollback box counter 1 --state snapshot
    serves 1
    [ "$(call get)" = 3 ]
    cloche rollback box counter 2 --state snapshot
    serves 2
    [ "$(call get)" = 5 ]
    cloche rollback box counter 1 --state empty
    [ "$(call get)" = 0 ]
}

# fails STEP REASON FLAGS...: such a version is refused at that step, and version 1 never noticed
fails() {
    local step=$1 reason=$2
    shift 2
    box
    build two "$@"
    run --separate-stderr cloche reload --json box counter=two.so
    expect_status 1
    jq -r .error.message <<<"$stderr" | grep -q "^step $step " || differ message "$stderr" "step $step"
    [ "$(call add)" = 4 ]
    serves 1
    [ "$(last .state)" = BAD ]
    [ "$(last .reason)" = "$reason" ]
    status_of 2 BAD
}

@test "step 6: the constructor crashes" { fails 6 init -DFAULT_LOAD_TIME=CRASH; }
@test "step 6: the constructor exits without a word" { fails 6 init -DFAULT_LOAD_TIME=EXIT; }
@test "step 6: init crashes" { fails 6 init -DFAULT_INIT=CRASH; }
@test "step 6: init refuses" { fails 6 init -DFAULT_INIT=REFUSE; }
@test "step 6: init hangs" { fails 6 init -DFAULT_INIT=HANG; }
@test "step 7: load crashes" { fails 7 rehearsal -DFAULT_LOAD=CRASH; }
@test "step 7: load refuses" { fails 7 load -DFAULT_LOAD=REFUSE; }
@test "step 7: migrate refuses" { fails 7 "migrate 1->2" -DSCHEMA=2 -DFAULT_MIGRATE=REFUSE; }
@test "step 7: migrate crashes" { fails 7 "migrate 1->2" -DSCHEMA=2 -DFAULT_MIGRATE=CRASH; }
@test "step 7: health refuses" { fails 7 health -DFAULT_HEALTH=REFUSE; }

@test "step 9: a request that does not end aborts; --force-drain gives it to the new version" {
    box
    build two
    call "sleep 3000" >slow 3>&- &
    wait_until 5 in_hand
    run --separate-stderr cloche reload --json box counter=two.so
    expect_status 1
    expect_error reload.drain
    wait
    [ "$(cat slow)" = 4 ]
    [ "$(last .state)" = ABORTED ]
    status_of 2 PUBLISHED
    serves 1
    build three
    call "sleep 1500" >slow 3>&- &
    wait_until 5 in_hand
    cloche reload --force-drain box counter=three.so
    serves 3
    wait
    grep -Eq '^[45]$' slow
}

in_hand() { [ "$(cloche info --json box | jq -r '.children[0].module.in_hand')" = 1 ]; }

@test "step 10: a save that refuses aborts, and the old version goes on" {
    box "-DFAULT_SAVE=(count >= 3 ? REFUSE : 0)"
    build two
    run --separate-stderr cloche reload --json box counter=two.so
    expect_status 1
    expect_error module.save
    [ "$(call add)" = 4 ]
    serves 1
    [ "$(last .state)" = ABORTED ]
}

@test "step 14: a new version that crashes is taken back, nothing is lost, the request is answered" {
    box
    build two -DSCHEMA=2 "-DFAULT_HANDLE=(handled == 4 ? CRASH : 0)"
    cloche reload box counter=two.so
    [ "$(call add) $(call add) $(call add)" = "4 5 6" ]
    [ "$(call add)" = 7 ]
    serves 1
    wait_until 5 ended
    [ "$(last .state)" = ROLLED_BACK ]
    status_of 2 BAD
    [ "$(last .detail | jq .lost_updates)" = 0 ]
    [ "$(call add)" = 8 ]
}

@test "step 14: without DETERMINISTIC the record says how many updates were lost" {
    box -DFLAGS=0
    build two -DFLAGS=0 "-DFAULT_HANDLE=(handled == 3 ? CRASH : 0)"
    cloche reload box counter=two.so
    [ "$(call add) $(call add)" = "4 5" ]
    [ "$(call add)" = 4 ]
    wait_until 5 ended
    [ "$(last .detail | jq .lost_updates)" = 2 ]
}

@test "step 14: a hang is taken back when the request's time is over" {
    box
    build two "-DFAULT_HANDLE=HANG"
    cloche reload box counter=two.so
    [ "$(call --timeout 300ms add)" = 4 ]
    serves 1
    wait_until 5 ended
    status_of 2 BAD
}

@test "step 14: a request that kills both is poison, and the new version only suspect" {
    box
    build two
    cloche reload box counter=two.so
    run --separate-stderr cloche call --json box counter crash
    expect_status 1
    expect_error call.poison
    wait_until 5 ended
    status_of 2 SUSPECT
    [ "$(call add)" = 4 ]
    serves 1
    [ "$(cat "$CLOCHE_ROOT"/sandboxes/box/poison/counter-*)" = crash ]
}

@test "a sandbox that its first version cannot serve says what that died of" {
    build dead "-DFAULT_INIT=(__builtin_trap(), 1)"
    jq -n --arg so "$PWD/dead.so" '{ociVersion: "1.1.0", cloche: {max_restarts: 1, modules: {counter: {source: $so}}}}' >config.json
    for _ in {1..20}; do # it may be gone before the keeper has heard that it is there
        run --separate-stderr cloche create box --profile plugin "${effort[@]}" --spec config.json
        expect_stderr 'cloche: child "counter" ended too often (step 6 (start) of module "counter": init: signal 4 (Illegal instruction); nothing serves), its supervisor gave up'
    done
}

@test "a module is no child before it serves: any number may fail to" {
    cloche create box --profile plugin "${effort[@]}"
    build one
    printf 'int x' >broken.c
    for i in {1..70}; do
        run --separate-stderr cloche reload --json box "m$i=broken.c"
        expect_error build.compile
    done
    [ "$(cloche info --json box | jq -c .children)" = '[]' ]
    cloche reload box counter=one.so
    [ "$(cloche info --json box | jq -c '[.children[] | [.id, .state]]')" = '[["counter","running"]]' ]
    cloche restart box
    [ "$(cloche info --json box | jq -c '[.children[] | [.id, .state]]')" = '[["counter","running"]]' ]
    [ "$(cloche call box counter add)" = 1 ]
}

@test "the first version of all fails: nothing serves, and a better one can come" {
    build bad -DFAULT_INIT=REFUSE
    build worse "-DFAULT_HANDLE=CRASH"
    build good
    cloche create box --profile plugin "${effort[@]}"
    run --separate-stderr cloche reload --json box counter=bad.so
    expect_status 1
    expect_error module.init
    run --separate-stderr cloche call --json box counter get
    expect_error module.none
    cloche reload box counter=worse.so
    run --separate-stderr cloche call --json box counter get
    expect_status 1
    wait_until 5 ended
    cloche reload box counter=good.so
    [ "$(call add)" = 1 ]
}

@test "a version that crashes later is restarted with its state" {
    box
    run --separate-stderr cloche call --json box counter crash
    expect_status 1
    expect_error call.poison
    [ "$(call add)" = 4 ]
    serves 1
}

@test "a GOOD version that crashes again and again gives way to the one before, once" {
    box
    build two "-DFAULT_HANDLE=(count >= 6 ? CRASH : 0)"
    cloche reload box counter=two.so
    cloche confirm box counter
    wait_until 5 status_of 2 GOOD
    [ "$(call add) $(call add) $(call add)" = "4 5 6" ]
    for i in 1 2 3; do
        cloche call --json box counter add >/dev/null 2>&1 || :
    done
    wait_until 10 serves 1
    [ "$(call get)" -ge 6 ]
    [ "$(cloche history --json box counter | jq -r '.attempts[-1] | .kind + .cause + (.to | tostring)')" = rollbackautomatic1 ]
}

@test "a sandbox that has failed for a module is mended by a reload of it" {
    build bad "-DFAULT_HANDLE=CRASH"
    build good
    cloche create box --profile plugin "${effort[@]}" --module counter=bad.so --module echo="$CHECKOUT/tests/modules/echo.c"
    cloche confirm box counter
    cloche confirm box echo
    for _ in 1 2; do
        run --separate-stderr cloche call --json box counter add
        expect_status 1
    done
    wait_until 5 is failed
    run --separate-stderr cloche call --json box echo hi
    expect_error module.failed
    cloche reload box counter=good.so
    wait_until 5 is running
    [ "$(cloche info --json box | jq -c '[.children[].state]')" = '["running","running"]' ]
    [ "$(cloche call box echo hi)" = hi ]
    [ "$(call add)" = 1 ]
    cloche confirm box counter
    run --separate-stderr cloche call --json box counter crash
    [ "$(call add)" = 2 ] # it is supervised again
}

is() { [ "$(cloche info --json box | jq -r .status)" = "$1" ]; }

@test "the state outlives a restart, and a keeper that is killed" {
    box
    cloche restart box
    [ "$(call add)" = 4 ]
    wait_until 5 checkpoint 4
    kill -9 "$(cloche info --json box | jq .keeper_pid)"
    wait_until 5 gone
    cloche restart box
    [ "$(call get)" = 4 ]
}

gone() { [ "$(cloche info --json box | jq -r .status)" = "failed(keeper)" ]; }
checkpoint() { [ "$(od -An -j144 -N4 -td4 "$CLOCHE_ROOT/sandboxes/box/state/counter/good" | tr -d ' ')" = "$1" ]; }

@test "a keeper that is killed during probation comes back on the last GOOD version" {
    box
    wait_until 5 checkpoint 3
    build two -DSCHEMA=2
    cloche reload box counter=two.so
    serves 2
    kill -9 "$(cloche info --json box | jq .keeper_pid)"
    wait_until 5 gone
    cloche restart box
    serves 1
    [ "$(call get)" = 3 ]
    [ "$(last .state)" = ROLLED_BACK ]
    [ "$(last .reason)" = keeper-crash ]
}

# echo_module NAME [FLAGS...]: a module called NAME, as NAME.so
echo_module() {
    gcc -O1 -fPIC -shared -fvisibility=hidden -Wl,-z,defs,-z,now,-z,noexecstack -Iinclude -DNAME="\"$1\"" "${@:2}" \
        -o "$1.so" "$CHECKOUT/tests/modules/named.c"
}

@test "several modules are one transaction: all or none" {
    box
    build two
    echo_module a -DVERSION=1
    echo_module b -DVERSION=1
    run --separate-stderr cloche reload --json box a=a.so b=b.so
    expect_status 0
    [ "$(jq -r 'map(.module + .state) | sort | join(" ")' <<<"$output")" = "aACTIVATED bACTIVATED" ]
    [ "$(cloche call box a) $(cloche call box b)" = "1 1" ]
    echo_module a -DVERSION=2
    echo_module b -DVERSION=2 -DREFUSES
    run --separate-stderr cloche reload --json box a=a.so b=b.so counter=two.so
    expect_status 1
    expect_error module.init
    [ "$(cloche call box a) $(cloche call box b) $(call version)" = "1 1 1" ]
    [ "$(cloche history --json box a | jq -r '.attempts[-1] | .state + .reason')" = ABORTEDgroup ]
    [ "$(last .state)" = ABORTED ]
    echo_module b -DVERSION=3
    cloche reload box a=a.so b=b.so counter=two.so
    [ "$(cloche call box a) $(cloche call box b) $(call version)" = "2 3 2" ]
    [ "$(call add)" = 4 ]
}

@test "many calls over many reloads: none is lost, each is answered once and in order" {
    box
    build two -DSCHEMA=2
    build three "-DFAULT_HANDLE=(handled == 40 ? CRASH : 0)"
    (
        for i in $(seq 40); do
            yes add | head -n 500
            read -r -t 0.03 <> <(:) || :
        done
    ) | call --lines >replies 3>&- &
    for i in 1 2 3; do
        cloche reload --supersede box counter=two.so || :
        cloche reload --supersede box counter=three.so || :
        cloche rollback --supersede box counter 1 || :
    done
    wait
    seq 4 20003 | cmp - replies
}

@test "before any version is GOOD, what served before is what is gone back to" {
    build one
    build two
    build bad -DFAULT_HANDLE=CRASH
    cloche create box --profile plugin "${effort[@]}" >/dev/null
    for name in one two bad; do cloche reload box counter=$name.so >/dev/null; done
    [ "$(call add)" = 1 ]
    wait_until 5 status_of 3 BAD
    serves 1
    [ "$(last .state)" = ROLLED_BACK ]
}

@test "call --lines: a line is answered when it comes, not at the end of the input" {
    box
    coproc lines { cloche call --lines box counter 3>&-; }
    local pid=$lines_PID reply i out
    exec {out}<&"${lines[0]}" # bash forgets the array when the command has ended
    for i in 4 5; do
        echo add >&"${lines[1]}"
        read -r -t 5 reply <&"$out"
        [ "$reply" = "$i" ]
    done
    printf add >&"${lines[1]}"
    eval "exec ${lines[1]}>&-"
    read -r -t 5 reply <&"$out"
    [ "$reply" = 6 ]
    exec {out}<&-
    wait "$pid"
}

parent() { cloche call box parent "$1"; }
ended_are() { [ "$(parent ended)" = "$1" ]; }
ticked() { [ "$(parent ticks)" -ge 2 ]; }

@test "a module starts children and timers; both end with their worker" {
    SOURCE=parent build parent
    cloche create box --profile plugin "${effort[@]}"
    cloche reload box parent=parent.so
    [ "$(parent '{"id":"one","kind":"command","args":["sh","-c","echo hello; exit 3"]}')" = 1 ]
    wait_until 5 ended_are "1 768"
    cloche logs box parent/one | grep -qx hello
    parent '{"id":"two","kind":"supervisor","children":[]}' >/dev/null
    wait_until 5 ended_are "2 32512"
    parent '{"id":"x","kind":"command","args":["true"]}]}, "x": {"y": [' >/dev/null
    wait_until 5 ended_are "3 32512"
    parent '{"id":"three","kind":"command","args":["sleep","1234"]}' >/dev/null
    wait_until 5 sleeps
    parent timer
    wait_until 5 ticked
    SOURCE=parent build parent -DOTHER -O2
    cloche reload box parent=parent.so
    cloche confirm box parent
    wait_until 5 no_sleeper
    [ "$(parent ended)" = "0 0" ]
}

@test "timers while it works are told behind that, and are no flood" {
    SOURCE=parent build parent
    cloche create box --profile plugin "${effort[@]}"
    cloche reload box parent=parent.so
    parent busy
    [ "$(parent ticks)" -ge 1 ]
    wait_until 5 ticked
    # the very worker that was busy
    [ "$(cloche events box --json | grep -c reload.ended)" = 0 ]
}

@test "a timer that comes once is not lost while its worker is parked" {
    SOURCE=parent build parent
    SOURCE=parent build bad -DBAD
    cloche create box --profile plugin "${effort[@]}"
    cloche reload box parent=parent.so
    cloche confirm box parent
    parent once
    cloche reload box parent=bad.so
    parent work # twice 0.3 s: the timer expires meanwhile
    parent work
    parent bad >/dev/null # version 2 dies of it, and version 1 answers
    wait_until 5 ticked_once
}

ticked_once() { [ "$(parent ticks)" = 1 ]; }

sleeps() { cloche top box | grep -q sleep; }
no_sleeper() { ! sleeps; }
