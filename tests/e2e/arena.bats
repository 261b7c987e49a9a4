# State in an arena: handed over as a mapping. Each row of the failure table that arenas have their own answer to, and modules that
# do with theirs what they must not. tests/modules/arena.c has the words; its arena is 1 MiB here, unless a test says otherwise.
# Not in the virtual machine: compilers take minutes there, and what modules run in is tested by other files.
load helper
load counter

MODULE=arena

# arena NAME [FLAGS...]: NAME.so
arena() { SOURCE=arena build "$@" -pthread; }

# arena_box BYTES [FLAGS...]: version 1 is GOOD; each word of its first 64 KiB is its number, the fifth is 99
arena_box() {
    local bytes=$1
    shift
    arena one "$@"
    jq -n --argjson bytes "$bytes" '{ociVersion: "1.1.0", cloche: {modules: {arena: {arena_bytes: $bytes}}}}' >spec.json
    create box --spec spec.json
    cloche reload box arena=one.so >/dev/null
    call "fill 64" >/dev/null
    call "put 4 99" >/dev/null
    confirm box 1
    call sum >sum
}

same() { call sum | cmp - sum; }

@test "a reload, a rollback, a restart: every byte is there" {
    arena_box 1000000
    [ "$(call size)" = 1003520 ] # whole pages
    local n
    for n in two three four; do
        arena $n
        tried $n
        expect_status 0
        same
        [ "$(call "get 125439")" = 101 ] # what its init wrote there is gone
        call "put 70000 $RANDOM" >/dev/null
        call sum >sum
        confirm box "$(call version)"
    done
    cloche rollback box arena 2 >/dev/null
    same
    confirm box 2
    call "put 9 9" >/dev/null
    call sum >sum
    cloche restart box >/dev/null
    same
    [ "$(call version)" = 2 ]
    [ "$(call calls)" -gt 15 ] # what is outside has come along
}

@test "what the old version left, bit by bit, and nothing at all" {
    arena_box 1048576
    arena two
    cloche reload box arena=two.so >/dev/null
    call "put 4 5" >/dev/null
    call "fill 512" >/dev/null
    confirm box 2
    cloche rollback box arena 1 --state snapshot >/dev/null
    same
    cloche rollback box arena 2 --state empty >/dev/null
    [ "$(call "get 4") $(call "get 131071")" = "0 102" ]
}

@test "another schema: migrated up, and down again; to a version without an arena, refused" {
    arena_box 1048576
    arena two -DSCHEMA=2
    cloche reload box arena=two.so >/dev/null
    same
    call "put 6 66" >/dev/null
    call sum >sum
    confirm box 2
    cloche rollback box arena 1 >/dev/null
    same
    confirm box 1
    arena three -DFLAGS=CLOCHE_DETERMINISTIC
    tried three
    fails 7 rehearse
    [[ $stderr = *"the state has an arena"* ]]
    same
}

@test "a crash in probation: the parked version has its arena as it left it, and answers what was answered since" {
    arena_box 1048576
    arena two "-DFAULT_HANDLE=(handled == 5 ? CRASH : 0)"
    tried two
    expect_status 0
    call "put 1 1000" >/dev/null
    call "put 2 2000" >/dev/null
    call "fill 4" >/dev/null
    call "put 3 3000" >/dev/null
    [ "$(call "get 3")" = 3000 ] # of this one version 2 died
    [ "$(call version)" = 1 ]
    [ "$(call "get 0") $(call "get 1") $(call "get 4") $(call "get 600")" = "1 2 5 601" ]
    wait_until 10 ended
    [ "$(last .state)" = ROLLED_BACK ]
    [ "$(last '.detail | .lost_updates, .replayed, .replies_differ' | xargs)" = "0 4 0" ]
    # and its own crash later brings it to the same
    call sum >sum
    call crash >/dev/null 2>&1 || :
    wait_until 10 same
}

@test "a crash at the first request, which waited for the switch: nothing of it is in what version 1 goes on with" {
    arena_box 1048576
    arena two "-DFAULT_HANDLE=(words[4] = 1, CRASH)"
    # waiting all the time, until the crash is answered for
    until [ -e stop ]; do echo "get 4"; done | call --lines >replies &
    wait_until 10 test -s replies
    cloche reload box arena=two.so >/dev/null 2>&1 || : # it may hear of the crash already
    wait_until 10 ended
    touch stop
    wait $!
    [ "$(sort -u replies)" = 99 ]
    [ "$(last '| .state, .detail.lost_updates' | xargs)" = "ROLLED_BACK 0" ]
    same
    call "put 4 5" >/dev/null # the files that were given away are not this one's any more
    call sum >sum
    call crash >/dev/null 2>&1 || :
    wait_until 10 same
}

@test "a crash in probation of a module that cannot be replayed: exactly what the parked version left" {
    arena_box 1048576 -DFLAGS=CLOCHE_STATE_ARENA
    arena two -DFLAGS=CLOCHE_STATE_ARENA "-DFAULT_HANDLE=(handled == 3 ? CRASH : 0)"
    cloche reload box arena=two.so >/dev/null
    call "fill 512" >/dev/null
    call "put 4 4" >/dev/null
    same
    wait_until 10 ended
    [ "$(last .detail.lost_updates)" = 2 ]
}

@test "more than the log takes in probation: the parked version has caught up, also in its arena" {
    arena_box 1048576
    arena two "-DFAULT_HANDLE=(handled == 6000 ? CRASH : 0)"
    cloche reload box arena=two.so >/dev/null
    awk 'BEGIN { for (i = 1; i < 6000; i++) print "put", i + 1000, i }' | call --lines >/dev/null
    [ "$(call "get 6999")" = 5999 ]
    [ "$(call version)" = 1 ]
    [ "$(call "get 1001") $(call "get 4") $(call "get 3000")" = "1 99 2000" ]
    wait_until 10 ended
    [ "$(last '.detail | .lost_updates, .replies_differ' | xargs)" = "0 0" ]
}

@test "the load in the pause fails: version 1 goes on in the arena that it had given away" {
    arena_box 1048576
    arena two "-DFAULT_LOAD=({ int n; char mark; int fd = open(\"/tmp/rehearsed\", O_RDWR | O_CREAT, 0666); n = (int)read(fd, &mark, 1); write(fd, \"x\", 1); close(fd); n == 1 ? REFUSE : 0; })" -Wno-unused-result
    tried two
    fails 11 load
    same
    call "put 8 8" >/dev/null
    call sum >sum
    arena three
    cloche reload box arena=three.so >/dev/null
    same
}

@test "save fails, and version 1 goes on; it dies over it, and begins from its checkpoint" {
    arena_box 1048576 "-DFAULT_SAVE=(words[4] == 1 ? REFUSE : words[4] == 2 ? CRASH : 0)"
    wait_until 5 test -s "$CLOCHE_ROOT/sandboxes/box/state/arena/good"
    call "put 4 1" >/dev/null
    call sum >sum
    arena two
    tried two
    fails 10 save
    same
    call "put 4 2" >/dev/null
    tried two
    expect_status 1
    wait_until 10 ended
    [ "$(call "get 0")" = 1 ]
    [ "$(call version)" = 1 ]
}

@test "a reload in probation, and one after the other" {
    arena_box 1048576
    local n
    for n in two three four; do
        arena $n
        cloche reload box arena=$n.so >/dev/null
        same
    done
    arena five "-DFAULT_HANDLE=(handled == 2 ? CRASH : 0)"
    cloche reload box arena=five.so >/dev/null
    [ "$(call "put 7 7"; call "get 7")" = 77 ]
    [ "$(call version)" = 1 ] # the last GOOD one
    wait_until 10 ended
    [ "$(last .detail.lost_updates)" = 0 ]
}

@test "the keeper is killed while a version is on probation, and later: the last checkpoint, whole or not at all" {
    arena_box 1048576
    arena two
    cloche reload box arena=two.so >/dev/null
    call "fill 512" >/dev/null
    kill -KILL "$(keeper_pid)"
    wait_until 10 gone
    cloche restart box >/dev/null
    same
    [ "$(call version)" = 1 ]
    kill -KILL "$(keeper_pid)"
    wait_until 10 gone
    # of a damaged one nothing is taken
    printf X | dd of="$CLOCHE_ROOT/sandboxes/box/state/arena/good" bs=1 seek=$((2097152 + 40)) conv=notrunc 2>/dev/null
    cloche restart box >/dev/null
    [ "$(call "get 4") $(call "get 131071")" = "0 101" ]
    cloche events box --json | grep -q state.lost
}

@test "all of an arena that fits, again and again; and one of which little is used costs little" {
    [ "${CLOCHE_BUILD-}" != build-asan ] || skip "the sanitizers take memory, too"
    arena one
    arena two
    arena three
    jq -n '{ociVersion: "1.1.0", cloche: {modules: {arena: {arena_bytes: 60817408}}}}' >spec.json # 58 MiB
    create box --spec spec.json --memory 128m
    cloche reload box arena=one.so >/dev/null
    call "fill 59392" >/dev/null
    call sum >sum
    local name
    for name in two three two three; do
        tried $name
        expect_status 0
        same
        confirm box "$(call version)"
    done
    cloche destroy --force box >/dev/null
    jq '.cloche.modules.arena.arena_bytes = 60000000' spec.json >large.json
    create box --spec large.json
    cloche reload box arena=one.so >/dev/null
    call "fill 64" >/dev/null
    confirm box 1
    wait_until 5 test -s "$CLOCHE_ROOT/sandboxes/box/state/arena/good"
    [ "$(du -k "$CLOCHE_ROOT/sandboxes/box/state/arena/good" | cut -f1)" -lt 1000 ]
    [ "$(cloche info --json box | jq ".usage.memory_bytes // 0")" -lt 40000000 ]
}

@test "an arena that does not fit twice into the sandbox is refused before anything runs" {
    arena one
    jq -n '{ociVersion: "1.1.0", cloche: {modules: {arena: {arena_bytes: 67108864}}}}' >spec.json
    create box --spec spec.json --memory 128m
    run --separate-stderr cloche reload --json box arena=one.so
    expect_status 1
    expect_error module.arena
    local flags code
    while read -r flags code; do
        arena two "-DFLAGS=$flags" -DSCHEMA=0
        run --separate-stderr cloche reload --json box arena=two.so
        expect_error "$code"
    done <<<"CLOCHE_STATE_ARENA verify.abi"
    arena two "-DFLAGS=CLOCHE_STATE_ARENA|CLOCHE_THREADS"
    run --separate-stderr cloche reload --json box arena=two.so
    expect_error verify.abi
    [[ $stderr = *"together with THREADS"* ]]
}

# --- hostile ------------------------------------------------------------------------------------------------------

@test "an old version whose thread writes on after it gave its arena away: the new one and the keeper do not mind" {
    arena_box 1048576
    call scribble >/dev/null
    arena two
    tried two
    expect_status 0
    [ "$(call "get 600")" = 601 ] # where it did not write
    call "fill 64" >/dev/null
    call "put 4 99" >/dev/null
    confirm box 2
    same
}

shared() { [ "$(call share)" -gt 0 ]; }

@test "a mapping that it keeps: what it gave cannot be sealed, but it lives and is the way back; then it is in a file of its own" {
    arena_box 1048576
    wait_until 5 test -s "$CLOCHE_ROOT/sandboxes/box/state/arena/good"
    wait_until 5 shared
    call "put 4 1" >/dev/null
    arena two "-DFAULT_HANDLE=(handled == 2 ? CRASH : 0)"
    tried two
    expect_status 0
    call "put 5 5" >/dev/null
    [ "$(call "get 5") $(call "get 4") $(call version)" = "5 1 1" ]
    wait_until 10 ended
    [ "$(last '| .state, .detail.lost_updates' | xargs)" = "ROLLED_BACK 0" ]
    arena three
    cloche reload box arena=three.so >/dev/null
    [ "$(call "get 5") $(call "get 4") $(call version)" = "5 1 3" ]
    confirm box 3
}

@test "its file cannot be shrunk; a hole in it is its own loss" {
    arena_box 1048576
    [ "$(call shrink)" = 0 ]
    [ "$(call punch)" -gt 0 ]
    arena two
    tried two
    expect_status 0
    same
}
