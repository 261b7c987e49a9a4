# What happens when a step of a reload fails: who serves then, with which state, and what the history says.
# Beside modules.bats, which has each fault of a module once; here are the ways around it.
# Not in the virtual machine: compilers take minutes there, and what modules run in is tested by other files.
load helper
load counter

# --- 3: compile -------------------------------------------------------------------------------------------------

# refused STEP NAME CODE: no number was taken, no byte of it ran, version 1 never noticed.
refused() {
    fails "$1" "$2"
    expect_error "$3"
    after 3 1 REFUSED "$3"
    [ "$(cloche versions --json box counter | jq '.versions | length')" = 1 ]
    [ -z "$(ls "$CLOCHE_ROOT/sandboxes/box/stage")" ]
}

@test "step 3: what does not compile is shown with its place" {
    box
    printf '#include <cloche/module.h>\nint f(void) { return undeclared; }\n' >broken.c
    run --separate-stderr cloche reload --json box counter=broken.c
    [[ $stderr = *"broken.c:2:"*undeclared* ]] || differ diagnostics "$stderr" "broken.c:2: ... undeclared"
    refused 3 compile build.compile
    [ -s "$CLOCHE_ROOT/sandboxes/box/log/counter.build.log" ]
}

@test "step 3: a compiler that takes all memory or does not end, and version 1 answers meanwhile" {
    mkdir -p config/cloche/profiles
    jq '.cloche.limits += {cpu_ms: 1000, wall_ms: 2000}' "$CHECKOUT/config/profiles/compile.json" >config/cloche/profiles/compile.json
    export XDG_CONFIG_HOME=$PWD/config
    box
    cp "$CHECKOUT/tests/corpus/compile/attacks/template_bomb.cpp" bomb.cpp
    cloche reload --json box counter=bomb.cpp >out 2>err 3>&- &
    local pid=$! count=3
    while kill -0 $pid 2>/dev/null; do
        count=$((count + 1))
        [ "$(call add)" = $count ]
    done
    status=0
    wait $pid || status=$?
    [ "$count" -gt 5 ]
    stderr=$(cat err) output=$(cat out)
    fails 3 compile
    expect_error build.limit
    [ "$(last .state)" = REFUSED ]
    serves 1
    terminal
    wait_until 5 alone
}

@test "step 3: a newer attempt ends a running compile, an older one is told that it is busy" {
    mkdir -p config/cloche/profiles
    box
    cp "$CHECKOUT/tests/corpus/compile/attacks/template_bomb.cpp" bomb.cpp
    build two
    cloche reload --json box counter=bomb.cpp >out 2>err 3>&- &
    local pid=$!
    wait_until 5 at_step 3
    tried two
    expect_status 1
    expect_error reload.busy
    [ "$(jq -r .error.message <<<"$stderr")" = 'module "counter" is busy: attempt 2, step 3 (compile)' ]
    cloche reload --supersede box counter=two.so
    status=0
    wait $pid || status=$?
    [ "$status" -eq 1 ]
    [ "$(jq -r .error.code err)" = reload.superseded ]
    serves 2
    [ "$(cloche history --json box counter | jq -r '.attempts[1].state')" = SUPERSEDED ]
    confirm box 2
    terminal
    wait_until 5 alone # the compiler has gone, too
}

at_step() { [ "$(module .attempt.step)" = "$1" ]; }

# a source that takes a while to compile
slow() {
    cp "$CHECKOUT/tests/modules/counter.c" slow.c
    for i in {1..6000}; do echo "int f$i(int x) { return x * $i + (x >> ($i & 7)); }" >>slow.c; done
}

@test "step 3: what is to replace a version that fails its probation is built on when it does" {
    box
    slow
    build two "-DFAULT_HANDLE=CRASH"
    cloche reload box counter=two.so
    cloche reload --json box counter=slow.c >out 3>&- &
    local pid=$!
    wait_until 5 at_step 3
    [ "$(call add)" = 4 ] # version 1 does that
    wait_until 5 status_of 2 BAD # the client first, then the row
    at_step 3
    wait $pid
    [ "$(jq -r .active out)" = 3 ]
    [ "$(call add)" = 5 ]
    confirm box 3
    after 5 3 GOOD ""
}

@test "step 3: what is to replace a version that crashes is built on when it does" {
    box
    slow
    cloche reload --json box counter=slow.c >out 3>&- &
    local pid=$!
    wait_until 5 at_step 3
    run --separate-stderr call --json crash
    expect_error call.poison
    at_step 3
    wait $pid
    [ "$(jq -r .active out)" = 2 ]
    [ "$(call add)" = 4 ]
    confirm box 2
    after 4 2 GOOD ""
}

@test "step 3: --wait waits until the module is free" {
    box
    build two "-DFAULT_INIT=(usleep(300000), 0)"
    build three
    cloche reload box counter=two.so >first 3>&- &
    wait_until 5 under_way
    cloche reload --wait box counter=three.so >second 3>&- &
    local second=$!
    wait_until 10 serves 3
    cloche confirm box counter
    wait $second
    status_of 3 GOOD
    after 3 3 GOOD ""
}

@test "step 14: --wait ends with the time of a probation that no request came to" {
    build one
    build two
    create box --probation 100ms --module counter=one.so
    run --separate-stderr timeout 20 cloche reload --wait --json box counter=two.so
    expect_status 0
    [ "$(jq -c '[.state, .version, .active, .step]' <<<"$output")" = '["ACTIVATED",2,2,14]' ]
    status_of 2 PUBLISHED
    [ "$(call add)" = 1 ]
    wait_until 10 status_of 2 GOOD
}

under_way() { [ "$(module .attempt)" != null ]; }

# --- 4: verify --------------------------------------------------------------------------------------------------

@test "step 4: what is no module is refused for one reason, and no byte of it ran" {
    box
    cat >edit.py <<'PY'
import struct, sys
data, name = bytearray(open("one.so", "rb").read()), sys.argv[1]
at = data.index(struct.pack("<IH", 0x31484c43, 1))
if name == "major": struct.pack_into("<H", data, at + 4, 2)
elif name == "minor": struct.pack_into("<H", data, at + 6, 9)
elif name == "flags": struct.pack_into("<I", data, at + 16, 0x100)
elif name == "machine": struct.pack_into("<H", data, 18, 183)
elif name == "class": data[4] = 1
elif name == "truncated": data = data[:len(data) // 2]
elif name == "head": data = data[:70]
elif name == "garbage": data = data[:64] + bytes(i * 7 % 256 for i in range(len(data) - 64))
elif name == "huge": data += b"\0" * (200 << 20)
open(name + ".so", "wb").write(data)
PY
    local name
    for name in major minor flags machine class truncated head garbage huge; do
        python3 edit.py "$name"
    done
    cat >touched.h <<'C'
#include <unistd.h>
__attribute__((constructor)) static void at_load_of_it(void) { (void)!write(1, "it ran\n", 7); }
C
    gcc -shared -fPIC -include touched.h -o symbol.so -x c /dev/null
    sed 's/CLOCHE_MODULE_WITH("counter"/CLOCHE_MODULE_WITH("other"/' "$CHECKOUT/tests/modules/counter.c" >other.c
    gcc -shared -fPIC -Iinclude -include touched.h -o name.so other.c
    COMPILER="gcc -shared -fPIC" build undefined -include touched.h "-DFAULT_INIT=nowhere_defined()" -Wno-implicit-function-declaration
    COMPILER="gcc -shared -fPIC" build library -include touched.h -Wl,--no-as-needed -lz
    build symbols "-DFAULT_INIT=(int)ptrace(PTRACE_TRACEME,0,0,0)"
    build stack -Wl,-z,execstack
    build rpath -Wl,-rpath,/tmp
    local what code
    while read -r what code; do
        tried "$what"
        fails 4 verify
        expect_error "$code"
        [[ $(jq -r .error.message <<<"$stderr") = *": $PWD/$what.so: "*"; version 1 still serves" ]]
        [ -n "$(jq -r .error.hint <<<"$stderr")" ] || differ fix "" "of $code"
        [ "$(last '| .state, .reason' | xargs)" = "REFUSED $code" ]
        serves 1
    done <<'TABLE'
symbol verify.no_symbol
major verify.major
minor verify.minor
flags verify.abi
name verify.name
undefined verify.undefined
library verify.library
symbols verify.symbol
machine verify.machine
class verify.class
truncated verify.truncated
head verify.truncated
garbage verify.garbage
huge verify.size
stack verify.exec_stack
rpath verify.runpath
TABLE
    refused 4 verify verify.runpath
    [[ $(cloche logs box counter) != *"it ran"* ]]
    # and it would have said so
    build two -include touched.h
    cloche reload box counter=two.so
    [[ $(cloche logs box counter) = *"it ran"* ]]
}

# --- 5: publish -------------------------------------------------------------------------------------------------

@test "step 5: a full disk: version 1 untouched, and a rollback works on it" {
    need_root
    # in a mount namespace of the keeper's and its clients' own
    mkdir small
    run unshare --mount --propagation private "$BASH" -c '
        set -eu
        bats_require_minimum_version() { :; }
        run() { shift; status=0; output=$("$@" 2>stderr.txt) || status=$?; stderr=$(cat stderr.txt); }
        mount -t tmpfs -o size=12m,mode=755 none small
        export CLOCHE_ROOT=$PWD/small/root
        source "$CHECKOUT/tests/e2e/helper.bash"
        source "$CHECKOUT/tests/e2e/counter.bash"
        setup_only() { mkdir -p include/cloche; cp "$CHECKOUT/versions/module.h" include/cloche/; effort=(); }
        setup_only
        box
        build two
        cloche reload box counter=two.so >/dev/null
        confirm box 2
        build three
        head -c 20m /dev/zero >small/filler 2>/dev/null || :
        run --separate-stderr cloche reload --json box counter=three.so
        echo "reload: $status $(jq -r .error.code <<<"$stderr") $(jq -r .error.message <<<"$stderr")"
        echo "calls: $(call add) by $(call version)"
        echo "stage: $(ls small/root/sandboxes/box/stage) versions: $(ls small/root/sandboxes/box/modules/counter | paste -sd " ")"
        cloche rollback box counter 1 >/dev/null
        echo "calls: $(call add) by $(call version)"
        rm small/filler
        cloche reload box counter=three.so >/dev/null
        echo "calls: $(call add) by $(call version)"
        cloche destroy --force box >/dev/null
        rmdir small/root/sandboxes run/sandboxes 2>/dev/null || :
        '
    echo "$output"
    expect_status 0
    [[ ${lines[0]} = 'reload: 1 '*' step 5 (publish) of module "counter": '*'No space left on device'* ]]
    [ "${lines[1]}" = "calls: 4 by 2" ]
    [ "${lines[2]}" = "stage:  versions: 1 2 current" ]
    [ "${lines[3]}" = "calls: 5 by 1" ]
    [ "${lines[4]}" = "calls: 6 by 3" ]
}

@test "a disk that is full at each write in turn: who serves goes on, and what was half written is finished or gone" {
    need_root
    mkdir small
    build label-0000
    # one page more is free in each round, so that each write is the first that fails; then all is well for one reload
    run unshare --mount --propagation private "$BASH" -c '
        set -eu
        bats_require_minimum_version() { :; }
        mount -t tmpfs -o size=12m,mode=755 none small
        export CLOCHE_ROOT=$PWD/small/root
        source "$CHECKOUT/tests/e2e/helper.bash"
        source "$CHECKOUT/tests/e2e/counter.bash"
        effort=()
        cloche_setup() { :; }
        another() { number=$((${number:-0} + 1)); sed "s/label-0000/label-$(printf %04d $number)/" label-0000.so >$number.so; }
        another
        cp 1.so one.so
        create box
        first box
        count=3
        for pages in $(seq 0 26); do
            cat /dev/zero >small/filler 2>/dev/null || :
            truncate -s -$((pages * 4096)) small/filler
            before=$(call version) went=GOOD
            another
            cloche reload --json box counter=$number.so >out 2>err || went=$(jq -r .error.message err)
            count=$((count + 1))
            [ "$(call add)" = $count ] || echo "round $pages: the count is not $count"
            [ -z "$(ls small/root/sandboxes/box/stage)" ] || echo "round $pages: left in stage"
            if [ "$went" = GOOD ]; then
                before=$(jq -r .active out)
                cloche confirm box counter 2>err || went="ACTIVATED: $(cat err)"
            fi
            [ "$(call version)" = "$before" ] || echo "round $pages: version $before does not serve"
            rm small/filler
            [ "${went%%:*}" != ACTIVATED ] || cloche confirm box counter
            wait_until 10 ended
            echo "$pages $went"
            another
            cloche reload box counter=$number.so >/dev/null
            [ "$(call get)" = $count ] || echo "round $pages: the count is not $count any more"
            cloche confirm box counter
            wait_until 10 ended
        done
        terminal
        cloche destroy --force box >/dev/null
        rmdir small/root/sandboxes run/sandboxes 2>/dev/null || :
        '
    echo "$output"
    expect_status 0
    [[ ${lines[0]} = "0 step 5 (publish) of module \"counter\": cannot reserve space"*"No space left on device; version 1 still serves" ]]
    [ "${lines[-1]}" = "26 GOOD" ]
    # the artifact, the database, what follows the switch: each has been the first to fail
    [[ $output = *"cannot publish module"* ]]
    [[ $output = *"database or disk is full"* ]]
    [[ $output = *"ACTIVATED: "*"cannot write the probation checkpoint"* ]]
    ! grep -qv '^[0-9]* \(GOOD\|.*No space left on device\|.*disk is full\)\(; version [0-9]* still serves\)\?$' <<<"$output"
}

@test "step 5: the bytes of a version that is BAD" {
    box
    build two "-DFAULT_INIT=REFUSE"
    tried two
    tried two
    fails 5 publish
    [ "$(jq -r .error.message <<<"$stderr")" = 'step 5 (publish) of module "counter": these are the bytes of version 2, which is BAD; version 1 still serves' ]
    [ "$(jq -r .error.hint <<<"$stderr")" = "cloche history box counter says why" ]
}

# --- 6, 7: start and rehearse -----------------------------------------------------------------------------------

@test "steps 6 and 7: what hangs there is killed when its time is over, and version 1 answers all the while" {
    build one
    build init "-DFAULT_INIT=HANG"
    build load "-DFAULT_LOAD=HANG"
    build migrate -DSCHEMA=2 "-DFAULT_MIGRATE=HANG"
    build health "-DFAULT_HEALTH=HANG"
    local id pids=() slowest=0 count=3
    for id in init load migrate health; do
        create $id
        first $id
        cloche reload --json $id counter=$id.so 2>$id.err 3>&- &
        pids+=($!)
    done
    local before
    until ! kill -0 "${pids[@]}" 2>/dev/null; do
        count=$((count + 1))
        for id in init load migrate health; do
            before=${EPOCHREALTIME/./}
            [ "$(cloche call $id counter add)" = $count ]
            before=$((${EPOCHREALTIME/./} - before))
            [ $before -le "$slowest" ] || slowest=$before
        done
    done
    for pid in "${pids[@]}"; do ! wait "$pid"; done
    echo "# slowest call: $slowest us"
    [ "$slowest" -lt 1000000 ] # each of those waits is longer, and none is before the pause
    while read -r id step; do
        stderr=$(cat $id.err) status=1
        fails "${step%% *}" "${step#* }"
        [[ $(jq -r .error.message <<<"$stderr") = *": $id"*" took too long; version 1 still serves" ]]
        [ "$(jq -r .error.hint <<<"$stderr")" = "cloche logs $id counter" ]
        [ "$(cloche call $id counter version)" = 1 ]
        [ "$(cloche history --json $id counter | jq -r '.attempts[-1].state')" = BAD ]
        status_in $id 2 BAD
        BOX=$id terminal
        BOX=$id wait_until 5 alone
    done <<<$'init 6 start\nload 7 rehearse\nmigrate 7 rehearse\nhealth 7 rehearse'
    [ "$(cloche history --json migrate counter | jq -r '.attempts[-1].reason')" = "migrate 1->2" ]
    [ "$(took health)" -lt "$(took load)" ] # of the same step: each has its own time
}

took() { cloche history --json "$1" counter | jq '.attempts[-1].detail.total_us'; }

@test "steps 6 and 14: that the sandbox was paused is no fault of the new version" {
    need_cgroups # a freezer
    box
    build two "-DFAULT_INIT=(usleep(300000), 0)"
    cloche reload box counter=two.so >/dev/null 3>&- &
    local pid=$!
    wait_until 5 at_step 6
    cloche pause box
    run timeout 4 cloche call box counter add # longer than init may take; its client does not wait
    expect_status 124
    cloche resume box
    wait $pid
    cloche pause box
    run timeout 4 cloche call box counter add # and health
    expect_status 124
    cloche resume box
    [ "$(call add)" = 6 ]
    confirm box 2
    after 6 2 GOOD ""
}

@test "step 6: its constructor and init leave nobody behind" {
    box
    local where
    for where in LOAD_TIME INIT; do
        build two "-DFAULT_$where=(OFFSPRING, CRASH)" "-DWHERE=\"$where\""
        tried two
        fails 6 start
        after 3 1 BAD init
    done
    # also of a version that is given up for another reason, and whose stop hangs
    build three "-DFAULT_INIT=OFFSPRING" "-DFAULT_LOAD=REFUSE"
    tried three
    fails 7 rehearse
    after 3 1 BAD load
}

@test "step 6: a constructor that makes a blocked system call, one that takes all memory" {
    box
    build two "-DFAULT_LOAD_TIME=FILTERED"
    tried two
    fails 6 start
    [[ $stderr = *kexec_load* ]] || differ message "$stderr" kexec_load
    after 3 1 BAD init
    need_cgroups
    build three "-DFAULT_LOAD_TIME=MEMORY"
    tried three
    fails 6 start
    after 3 1 BAD init
}

# --- 10, 11: save and load --------------------------------------------------------------------------------------

# a FAULT_SAVE that works for the rehearsal's copy and the checkpoints, and not in the pause: the second within 50 ms
@test "step 10: version 1 dies while it saves: it is brought up again with all that it had answered" {
    box "-DFAULT_SAVE=({ static int saves; count >= 5 && ++saves >= 2 ? CRASH : 0; })"
    build two # before the count is 5: a checkpoint is a save, too
    [ "$(call add) $(call add)" = "4 5" ]
    tried two
    fails 10 save
    [ "$(call add)" = 6 ]
    [ "$(call version)" = 1 ]
    [ "$(last .state)" = ABORTED ]
    status_of 2 PUBLISHED
    terminal
}

@test "step 10: version 1's state is too large, or nonsense: aborted, it goes on" {
    box "-DFAULT_SAVE=({ static char big[1 << 20]; int rc = 0; for (int i = 0; count > 3 && i < 1024 && rc == 0; i++) rc = out->write(out, big, sizeof big); rc; })"
    [ "$(call add)" = 4 ]
    build two
    tried two
    expect_status 1
    [ "$(jq -r .error.hint <<<"$stderr")" = "cloche logs box counter; without its state: --state empty" ]
    after 4 1 ABORTED save
}

@test "step 10: who cannot save gives way to one that wants nothing of it, and is gone back to" {
    box "-DFAULT_SAVE=(count > 3 ? REFUSE : 0)"
    [ "$(call add)" = 4 ]
    build two "-DFAULT_HANDLE=(count == 2 ? CRASH : 0)"
    tried two
    fails 7 rehearse
    [ "$(jq -r .error.hint <<<"$stderr")" = "cloche logs box counter; without its state: --state empty" ]
    after 4 1 ABORTED save
    tried two --state empty
    expect_status 0
    [ "$(call add)$(call add)" = 12 ] # the third crashes, and all three are answered by version 1
    [ "$(call add)" = 7 ]
    wait_until 10 ended
    after 7 1 ROLLED_BACK "$(last .reason)"
    [ "$(last .detail.replayed)" = 2 ]
    [ "$(last .detail.lost_updates)" = 0 ]
    build three
    tried three --state empty
    expect_status 0
    confirm box 3
    after 0 3 GOOD ""
}

@test "step 11: the load in the pause fails where the rehearsal did not: version 1 is un-paused, the new one is BAD" {
    box
    build two "-DFAULT_LOAD=({ int n; char mark; int fd = open(\"/tmp/rehearsed\", O_RDWR | O_CREAT, 0666); n = (int)read(fd, &mark, 1); write(fd, \"x\", 1); close(fd); n == 1 ? REFUSE : 0; })" -Wno-unused-result
    tried two
    fails 11 load
    after 3 1 BAD load
    status_of 2 BAD
    [ "$(call add)" = 4 ]
}

@test "step 7: many slow requests are no request that does not end" {
    box
    build two
    for _ in 1 2 3 4 5 6 7 8 9 10 11 12; do echo "sleep 300"; done | call --lines >slow 3>&- &
    wait_until 5 much_in_hand
    tried two
    expect_status 0
    wait
    [ "$(paste -sd ' ' slow)" = "4 5 6 7 8 9 10 11 12 13 14 15" ]
    [ "$(call get) $(call version)" = "15 2" ]
}

much_in_hand() { [ "$(module .in_hand)" -ge 6 ]; } # for longer than a drain waits

# --- 14: probation ----------------------------------------------------------------------------------------------

# rolled_back COUNT REASON-PATTERN: version 1 serves with this count, version 2 is BAD
rolled_back() {
    local count=$1 reason=$2
    wait_until 10 ended
    reason=$(last .reason)
    [[ $reason =~ $2 ]] || differ reason "$reason" "$2"
    after "$count" 1 ROLLED_BACK "$reason"
    status_of 2 BAD
    [ "$(last .detail.lost_updates)" = "${3:-0}" ]
    [ "$(last .detail.replies_differ)" = 0 ]
}

# probation FLAGS...: a second version serves
probation() {
    box
    build two "$@"
    tried two
    expect_status 0
    [ "$(jq -r .state <<<"$output")" = ACTIVATED ]
}

@test "step 14: a signal, an exit, a blocked system call, memory: each is taken back, and its request answered" {
    local fault reason
    while read -r fault reason; do
        probation "-DFAULT_HANDLE=(handled == 3 ? $fault : 0)"
        [ "$(call add; call add; call add)" = $'4\n5\n6' ] || [ "$(call get)" = 6 ]
        rolled_back 6 "$reason"
        cloche destroy --force box
    done <<'TABLE'
CRASH signal 11
EXIT exit with status 0
(abort(),1) signal 6
(raise(SIGBUS),1) signal 7
(kill(getpid(),SIGFPE),1) signal 8
OVERFLOW signal 11
CHAINED signal 4
FILTERED kexec_load
TABLE
    need_cgroups
    probation "-DFAULT_HANDLE=(handled == 2 ? MEMORY : 0)"
    [ "$(call add)$(call add)" = 45 ]
    rolled_back 5 "memory|signal 9|signal 6"
}

@test "step 14: health fails three times" {
    probation "-DFAULT_HEALTH=(count > 3 ? REFUSE : 0)"
    [ "$(call add)" = 4 ]
    wait_until 10 ended
    rolled_back 4 "health failed three times"
}

@test "step 14: health fails three times, however short the probation is" {
    build one
    build two "-DFAULT_HEALTH=(count > 0 ? REFUSE : 0)"
    create box --probation 1s --module counter=one.so
    cloche confirm box counter
    cloche reload box counter=two.so
    [ "$(call add)" = 1 ]
    rolled_back 1 "health failed three times"
}

@test "step 14: who cannot save, or not what it said, is not confirmed" {
    probation "-DFAULT_SAVE=REFUSE"
    run --separate-stderr cloche confirm --json box counter
    expect_error reload.rolled_back
    rolled_back 3 "save_state: save_state answered 3"
    build three "-DFAULT_HANDLE=({ char *m = (char *)&cloche_module_v1, *page = (char *)((uintptr_t)m & -4096ul); mprotect(page, 8192, PROT_READ | PROT_WRITE); ((struct cloche_module *)m)->abi.state_schema = 7; 0; })"
    cloche reload box counter=three.so
    [ "$(call add)" = 4 ]
    run --separate-stderr cloche confirm --json box counter
    expect_error reload.rolled_back
    wait_until 10 ended
    after 4 1 ROLLED_BACK 'save_state: state of module "counter": has schema 7, expected 1'
    status_of 3 BAD
}

@test "step 15: whose row GOOD cannot be written stays on probation" {
    probation
    coproc LOCK { python3 -c 'if True:
        import sqlite3, sys
        db = sqlite3.connect(sys.argv[1], isolation_level=None)
        db.execute("BEGIN IMMEDIATE")
        print("held", flush=True)
        sys.stdin.read()' "$CLOCHE_ROOT/sandboxes/box/sandbox.db" 3>&-; }
    read -r _ <&"${LOCK[0]}"
    run --separate-stderr cloche confirm --json box counter
    eval "exec ${LOCK[1]}>&-"
    wait "$LOCK_PID"
    expect_error store.busy
    status_of 2 PUBLISHED
    [ "$(call add)" = 4 ]
    confirm box 2
    after 4 2 GOOD ""
}

@test "step 15: a disk without room for its state: it is tried again later, and not with each request" {
    need_root
    # in a mount namespace of the keeper's and its clients' own
    run unshare --mount --propagation private "$BASH" -c '
        set -eu
        bats_require_minimum_version() { :; }
        source "$CHECKOUT/tests/e2e/helper.bash"
        source "$CHECKOUT/tests/e2e/counter.bash"
        mkdir -p include/cloche; cp "$CHECKOUT/versions/module.h" include/cloche/; effort=()
        failed() { [ "$(grep -c checkpoint.failed "$CLOCHE_ROOT/sandboxes/box/events.jsonl")" = "$1" ]; }
        build one
        build two
        create box --probation 100ms --module counter=one.so
        cloche confirm box counter
        cloche reload box counter=two.so >/dev/null
        wait_until 5 [ -e "$CLOCHE_ROOT/sandboxes/box/state/counter/left-1" ] # the last that the switch writes
        mount -t tmpfs -o nr_inodes=1 none "$CLOCHE_ROOT/sandboxes/box/state"
        call add >/dev/null
        wait_until 10 failed 1
        for i in 1 2 3 4 5 6 7 8 9 10; do call add >/dev/null; done
        ! cloche confirm box counter
        failed 2
        umount "$CLOCHE_ROOT/sandboxes/box/state"
        cloche confirm box counter
        echo "$(call add) by $(call version): $(last .state)"
        cloche destroy --force box >/dev/null
        '
    echo "$output"
    expect_status 0
    [ "${lines[-1]}" = "12 by 2: GOOD" ]
}

@test "step 14: health hangs: it is its own time that is over, and no request's" {
    probation "-DFAULT_HEALTH=({ static int n; ++n == 2 ? HANG : 0; })"
    # the second is asked a second after the switch; whoever calls then waits behind it
    wait_until 10 called_until_taken_back
    rolled_back "$(call get)" "^health took too long$"
}

called_until_taken_back() { call --timeout 30s add >/dev/null && ended; }

@test "step 14: what a rolled back version forked is gone with it" {
    probation "-DFAULT_HANDLE=(handled == 2 ? (OFFSPRING, CRASH) : 0)"
    [ "$(call add)$(call add)" = 45 ]
    wait_until 5 ended
    alone # the row is written when they are gone
    rolled_back 5 "signal 11"
}

@test "step 14: the crash of a process that it forked is not its own" {
    probation "-DFAULT_HANDLE=(handled == 2 ? CHILD_CRASH : 0)"
    [ "$(call add)$(call add)$(call add)" = 456 ]
    confirm box 2
    after 6 2 GOOD ""
}

@test "step 14: a crash without any request, and one with a thousand in hand" {
    probation "-DFAULT_HEALTH=({ static int n; ++n > 1 ? CRASH : 0; })"
    rolled_back 3 "signal 11"
    build three "-DFAULT_HANDLE=(handled == 700 ? CRASH : 0)"
    tried three
    yes add | head -n 1000 | call --lines >replies
    seq 4 1003 | cmp - replies
    wait_until 10 ended
    status_of 3 BAD
    after 1003 1 ROLLED_BACK "$(last .reason)"
    [ "$(last .detail.lost_updates)" = 0 ]
}

@test "step 14: more than the log takes: the parked version has caught up meanwhile, and nothing is lost" {
    probation "-DFAULT_HANDLE=(handled == 6000 ? CRASH : 0)"
    yes add | head -n 5990 | call --lines | cmp - <(seq 4 5993)
    for i in $(seq 9); do [ "$(call add)" = $((5993 + i)) ]; done
    [ "$(call add)" = 6003 ]
    rolled_back 6003 "signal 11"
}

# large COUNT: as many requests of 30 000 bytes, each of which takes 2 ms; their replies
large() {
    local line
    printf -v line 'sleep 2 %030000d' 0
    for ((i = 0; i < $1; i++)); do echo "$line"; done | timeout 60 cloche call --lines box counter
}

@test "step 14: large requests are answered again by a version that is slow" {
    gcc -shared -fPIC -o little.so "$CHECKOUT/tests/lib/little.c"
    LD_PRELOAD=$PWD/little.so probation "-DFAULT_AFTER=60" "-DFAULT_HANDLE=CRASH"
    [ "$(large 70)" = "$(seq 4 73)" ]
    rolled_back 73 "signal 11"
}

@test "step 14: the old version does not survive the way back: one terminal row, and a better one can come" {
    box "-DFAULT_HANDLE=((r->flags & CLOCHE_REQUEST_REPLAY) != 0 ? CRASH : 0)"
    build two "-DFAULT_HANDLE=(is(r, \"crash\") ? CRASH : 0)"
    build three
    tried two
    [ "$(call add)" = 4 ]
    run --separate-stderr call crash
    expect_status 1
    wait_until 10 ended
    [ "$(last '| .state, .reason' | paste -sd '|')" = "ROLLED_BACK|signal 11 (Segmentation fault)" ]
    terminal
    tried three
    expect_status 0
    serves 3
}

@test "step 15: a version whose state cannot be had does not become GOOD" {
    probation "-DFAULT_SAVE=({ static int n; ++n, REFUSE; })"
    [ "$(call add)" = 4 ]
    run --separate-stderr cloche confirm --json box counter
    expect_status 1
    expect_error reload.rolled_back
    rolled_back 4 save_state
}

@test "a save that hangs is ended by its own time; who called meanwhile is answered, however little patience it has" {
    # only where this file is, and once
    box '-DFAULT_SAVE=(unlink("/tmp/armed") == 0 ? HANG : 0)'
    build two
    cloche exec box -- touch /tmp/armed
    cloche reload --json box counter=two.so >out 2>err 3>&- &
    local pid=$!
    wait_until 5 disarmed
    [ "$(call --timeout 1s add)" = 4 ]
    status=0
    wait $pid || status=$?
    stderr=$(cat err)
    fails 7 rehearse
    [[ $(jq -r .error.message <<<"$stderr") = *": save_state took too long; version 1 comes up again" ]]
    after 4 1 ABORTED save
    status_of 2 PUBLISHED
    build three "-DFAULT_SAVE=HANG"
    tried three
    expect_status 0
    call add >/dev/null
    run --separate-stderr cloche confirm --json box counter
    expect_error reload.rolled_back
    after 5 1 ROLLED_BACK "save_state took too long"
}

disarmed() { ! cloche exec box -- test -e /tmp/armed; }

@test "destroyed during probation, behind a child that takes all of the grace: the keeper lives to say so" {
    build one
    build two
    # a shell that runs no program, which SIGTERM does not end
    jq -n '{ociVersion: "1.1.0", cloche: {modules: {counter: {}}, children: [{id: "counter", kind: "module", module: "counter"},
        {id: "deaf", kind: "command", ready: "line",
         args: ["sh", "-c", "trap : TERM; echo >&$CLOCHE_READY_FD; while :; do read -r x </dev/zero; done"]}]}}' >spec.json
    create box --spec spec.json
    first box
    tried two
    cloche destroy box
    [ "$(cloche events --json box | tail -n 3 | jq -r .event | paste -sd' ')" = "reload.ended reload.stop destroy.stop" ]
}

@test "NO_REDISPATCH: the request that a worker died of is answered with an error, once" {
    build one "-DFLAGS=(CLOCHE_DETERMINISTIC | CLOCHE_NO_REDISPATCH)"
    create box
    first box
    build two "-DFLAGS=(CLOCHE_DETERMINISTIC | CLOCHE_NO_REDISPATCH)" "-DFAULT_HANDLE=(handled == 2 ? CRASH : 0)"
    tried two
    expect_status 0
    [ "$(call add)" = 4 ]
    run --separate-stderr cloche call --json box counter add
    expect_status 1
    expect_error call.died
    rolled_back 4 "signal 11"
}

# --- after GOOD -------------------------------------------------------------------------------------------------

@test "a version that keeps crashing later is given up for the GOOD one before it, once, and never ping-pong" {
    box
    build two "-DFAULT_HANDLE=(count >= 6 ? CRASH : 0)"
    tried two
    [ "$(call add)" = 4 ]
    confirm box 2
    [ "$(call add)$(call add)" = 56 ]
    for i in $(seq 8); do call add >/dev/null 2>&1 || :; done
    wait_until 10 serves 1
    [ "$(last '| .kind, .cause' | paste -sd ' ')" = "rollback automatic" ]
    [ "$(call get)" -ge 6 ]
    # that one crashes, too: it is not tried the other way round
    for i in $(seq 12); do call crash >/dev/null 2>&1 || :; done
    ! serves 2 2>/dev/null
    [ "$(cloche history --json box counter | jq '[.attempts[] | select(.cause == "automatic")] | length')" = 1 ]
    terminal "$(last .ended | grep -c false)"
}

# --- rollback ---------------------------------------------------------------------------------------------------

# good NAME FLAGS...: the next version is NAME.so, and GOOD
good() {
    local number
    build "$@"
    cloche reload box counter="$1.so" >/dev/null
    number=$(call version)
    call add >/dev/null
    confirm box "$number"
}

@test "rollback: unknown, BAD, serving, collected, and without one before: refused, nothing changes" {
    box
    local code number
    run --separate-stderr cloche rollback --json box counter
    expect_status 1
    expect_error reload.no_previous
    build two -DFAULT_INIT=CRASH
    tried two
    expect_status 1
    while read -r number code; do
        run --separate-stderr cloche rollback --json box counter "$number"
        expect_status 1
        expect_error "$code"
        [[ $(jq -r .error.message <<<"$stderr") = 'step 1 (slot) of module "counter": '*'; version 1 still serves' ]]
    done <<<$'9 store.unknown_version\n2 reload.bad_version\n1 reload.active'
    for number in 3 4 5 6 7 8 9 10 11 12 13; do
        good v$number
    done
    run --separate-stderr cloche rollback --json box counter 1
    expect_status 1
    expect_error store.collected
    [[ $(jq -r .error.message <<<"$stderr") = *'; version 13 still serves' ]]
    serves 13
    [ "$(call get)" = 14 ]
    terminal
}

@test "versions that fail are collected, too: who tries again and again fills no disk" {
    box
    local n
    for n in 2 3 4 5 6 7 8 9 10 11 12; do
        build v$n -DFAULT_INIT=REFUSE
        tried v$n
        expect_status 1
    done
    [ "$(cloche versions --json box counter | jq -c '[.versions[].version]')" = "[1,4,5,6,7,8,9,10,11,12]" ]
    [ "$(cd "$CLOCHE_ROOT/sandboxes/box/modules/counter" && ls -d [0-9]* | wc -l)" = 10 ]
    serves 1
    terminal
}

@test "rollback --state migrate, snapshot, empty" {
    box
    good two -DSCHEMA=2 # 4
    [ "$(call add)" = 5 ]
    cloche rollback box counter 1 --state snapshot
    [ "$(call get) $(call version)" = "3 1" ]
    confirm_by_call
    cloche rollback box counter 2 --state migrate
    [ "$(call get) $(call version)" = "4 2" ]
    confirm_by_call
    cloche rollback box counter 1 --state migrate
    [ "$(call get) $(call version)" = "5 1" ]
    confirm_by_call
    cloche rollback box counter 2 --state empty
    [ "$(call get) $(call version)" = "0 2" ]
    run --separate-stderr cloche rollback --json box counter 1 --state nonsense
    expect_status 2
    terminal 1
}

confirm_by_call() {
    local version
    version=$(call version)
    call add >/dev/null
    cloche confirm box counter
    wait_until 10 ended
    [ "$(call version)" = "$version" ]
}

@test "rollback from a version without state to one that keeps some: refused with the choices, nothing is forgotten" {
    box
    sed '/^CLOCHE_MODULE_WITH/,$d' "$CHECKOUT/tests/modules/counter.c" >plain.c
    echo 'CLOCHE_MODULE("counter", .init = init, .handle = handle);' >>plain.c
    gcc -O1 -fPIC -shared -Iinclude -o plain.so plain.c
    tried plain
    expect_status 0
    run --separate-stderr cloche rollback --json box counter 1
    fails 6 start
    expect_error module.migrate
    [ "$(jq -r .error.hint <<<"$stderr")" = "choose what becomes of the state: --state snapshot or empty" ]
    serves 2
    cloche rollback box counter 1 --state snapshot
    [ "$(call get) $(call version)" = "3 1" ]
}

@test "a rollback whose version fails is taken back like a reload" {
    build one "-DFAULT_HEALTH=(access(\"/tmp/sick\", F_OK) == 0 ? REFUSE : 0)"
    create box
    first box
    good two "-DFAULT_HANDLE=(count == 5 ? close(open(\"/tmp/sick\", O_CREAT | O_RDWR, 0600)) : 0)"
    [ "$(call add)" = 5 ]
    call add >/dev/null
    run --separate-stderr cloche rollback --json box counter 1
    expect_status 1
    fails 7 rehearse
    serves 2
    [ "$(last .state)" = ABORTED ]
    status_of 1 GOOD
    terminal
}

# --- one after the other ----------------------------------------------------------------------------------------

@test "a reload during probation: what is gone back to stays the last GOOD" {
    box
    build two
    build three "-DFAULT_HANDLE=(handled == 2 ? CRASH : 0)"
    tried two
    [ "$(call add)" = 4 ]
    tried three
    expect_status 0
    [ "$(call version)" = 3 ]
    [ "$(call add)" = 5 ]
    wait_until 10 ended
    [ "$(cloche history --json box counter | jq -r '.attempts[1].state')" = SUPERSEDED ]
    after 5 1 ROLLED_BACK "$(last .reason)"
    status_of 3 BAD
    [ "$(last .detail.lost_updates)" = 0 ]
}

@test "confirm: too early, and when nothing is on probation" {
    box
    run --separate-stderr cloche confirm --json box counter
    expect_status 1
    expect_error reload.none
    build two
    tried two
    [ "$(jq -r .version <<<"$output")" = 2 ]
    call add >/dev/null
    confirm box 2
    after 4 2 GOOD ""
}

@test "the same bytes again take no number, and cause nothing" {
    box
    tried one
    expect_status 0
    [ "$(jq -r '.state, .active' <<<"$output" | xargs)" = "UNCHANGED 1" ]
    after 3 1 UNCHANGED ""
}

# --- several modules --------------------------------------------------------------------------------------------

# named NAME FILE FLAGS...: the counter as module NAME, in FILE.so
named() {
    sed "s/CLOCHE_MODULE_WITH(\"counter\"/CLOCHE_MODULE_WITH(\"$1\"/" "$CHECKOUT/tests/modules/counter.c" >named.c
    gcc -O1 -fPIC -shared -fvisibility=hidden -Wl,-z,defs,-z,now,-z,noexecstack -Iinclude -DLABEL="\"$2\"" "${@:3}" \
        -include "$CHECKOUT/tests/modules/faults.h" -o "$2.so" named.c
}

# three [B-DEPENDS-ON]: modules a, b, c, each at version 1 with the count 1; a depends on b, and b on c
three() {
    jq -n --arg last "${1:-}" '{ociVersion: "1.1.0", cloche: {modules: {a: {depends: ["b"]}, b: {depends: ["c"]},
        c: (if $last == "" then {} else {depends: [$last]} end)}}}' >three.json
    cloche create box --profile plugin "${effort[@]}" --spec three.json >/dev/null
    local name
    for name in a b c; do
        named $name ${name}1
        cloche reload box $name=${name}1.so >/dev/null || return 1
        [ "$(cloche call box $name add)" = 1 ]
        cloche confirm box $name
        named $name ${name}2 -DSCHEMA=2
    done
    wait_until 10 quiet
}

quiet() { cloche info --json box | jq -e 'all(.children[]; .module.attempt == null)' >/dev/null; }
all_three() {
    local found
    found=$(for m in a b c; do echo "$(cloche call box $m version) $(cloche call box $m get)"; done | paste -sd ' ')
    [ "$found" = "$1" ] || differ "versions and counts of a, b, c" "$found" "$1"
}
ends_of() { for m in a b c; do cloche history --json box $m | jq -r '.attempts[-1].state'; done | paste -sd ' '; }

@test "several modules: one that fails in the pause takes the others back, all are un-paused" {
    three
    named b b3 -DSCHEMA=2 "-DFAULT_LOAD=({ char mark; int fd = open(\"/tmp/rehearsed\", O_RDWR | O_CREAT, 0666); int n = (int)read(fd, &mark, 1); write(fd, \"x\", 1); close(fd); n == 1 ? REFUSE : 0; })" -Wno-unused-result
    run --separate-stderr cloche reload --json box a=a2.so b=b3.so c=c2.so
    expect_status 1
    expect_error module.load
    all_three "1 1 1 1 1 1"
    [ "$(ends_of)" = "ABORTED BAD ABORTED" ]
    cloche reload box a=a2.so b=b2.so c=c2.so >/dev/null
    all_three "2 1 3 1 2 1" # of b, version 2 was the one that failed
    [ "$(for m in a b c; do cloche call box $m add; done)" = 222 ]
    terminal 3 # on probation
}

@test "several modules: the keeper killed between them leaves all of them as they were" {
    export CLOCHE_KEEPER_FAULT=$WORK/fault
    three
    local step
    for step in 9 11 12 13; do
        wait_until 10 quiet
        printf %s $step >fault
        cloche reload box a=a2.so b=b2.so c=c2.so >/dev/null 2>&1 || :
        wait_until 10 gone
        rm fault
        cloche restart box >/dev/null
        all_three "1 1 1 1 1 1" || { echo "# after a kill at step $step"; return 1; }
        # without its row INTENT an attempt has only been aborted
        [[ $(ends_of) =~ ^(ROLLED_BACK|ABORTED)\ (ROLLED_BACK|ABORTED)\ (ROLLED_BACK|ABORTED)$ ]]
        [ $step = 9 ] || [ "$(ends_of)" = "ROLLED_BACK ROLLED_BACK ROLLED_BACK" ]
        terminal
    done
}

@test "dependents come along by --cascade; what depends on itself in a circle is refused" {
    three
    cloche reload --cascade box c=c2.so >/dev/null
    [ "$(cloche call box c version)" = 2 ]
    all_three "1 1 1 1 2 1"
    [ "$(cloche history --json box a | jq '.attempts | length')" = 2 ]
    [ "$(cloche history --json box b | jq '.attempts | length')" = 2 ]
    cloche destroy --force box >/dev/null
    run --separate-stderr three a
    if [ "$status" -eq 0 ]; then
        run --separate-stderr cloche reload --json --cascade box c=c2.so
    fi
    [ "$status" -ne 0 ]
    expect_error module.cycle
}

# --- any: processors --------------------------------------------------------------------------------------------

# Whoever is below the keeper, itself and its threads may run where this test may.
unbound() {
    local pid
    for pid in $(ps -eo pid=,ppid= | awk -v top="$(keeper_pid)" '
        { parent[$1] = $2 }
        END { for (p in parent) { for (q = p; q in parent && q != top; q = parent[q]); if (q == top) print p } }'); do
        cat /proc/"$pid"/task/*/status 2>/dev/null || :
    done | grep ^Cpus_allowed_list: | sort -u | cmp -s - <(grep ^Cpus_allowed_list: /proc/self/status)
}

@test "after a switch, a load that fails and a crash on probation all may run where they could before" {
    box
    wait_until 5 unbound
    build two
    cloche reload box counter=two.so >/dev/null
    [ "$(call add)" = 4 ]
    wait_until 5 unbound
    confirm box 2
    build three "-DFAULT_LOAD=({ int fd = open(\"/tmp/rehearsed\", O_RDWR | O_CREAT | O_EXCL, 0666); close(fd); fd < 0 ? REFUSE : 0; })"
    tried three
    fails 11 load
    wait_until 5 unbound
    build four "-DFAULT_HANDLE=CRASH"
    cloche reload box counter=four.so >/dev/null
    [ "$(call add)" = 5 ]
    wait_until 10 ended
    wait_until 5 unbound
}

# --- any: the keeper --------------------------------------------------------------------------------------------

@test "the keeper killed at each step: the last GOOD version with its last checkpoint, and one terminal row" {
    export CLOCHE_KEEPER_FAULT=$WORK/fault
    box
    build two -DSCHEMA=2
    local step expected number=1 count=3
    for step in 1 2 3 4 5 6 7 8 9 10 11 12 13 14; do
        wait_until 10 checkpoint $count
        build two -DSCHEMA=2 "-DROUND=$step"
        if [ "$step" -le 4 ]; then # these steps need something to compile
            printf '#define LABEL "%s"\n' "$step" | cat - "$CHECKOUT/tests/modules/counter.c" >two.c
            set -- two.c
        else
            build "two$step" -DSCHEMA=2
            set -- "two$step.so"
        fi
        printf %s "$step" >fault
        cloche reload box "counter=$1" >/dev/null 2>&1 || :
        wait_until 10 gone || { echo "# at step $step"; return 1; }
        rm fault
        cloche restart box >/dev/null
        [ "$(call get) $(call version)" = "$count 1" ] || differ "after a kill at step $step" "$(call get) $(call version)" "$count 1"
        expected=ABORTED
        [ "$step" -le 8 ] || expected=ROLLED_BACK
        [ "$(last '| .state, .reason' | xargs)" = "$expected keeper-crash" ] ||
            differ "after a kill at step $step" "$(last '| .state, .reason' | xargs)" "$expected keeper-crash"
        terminal
        [ "$(readlink "$CLOCHE_ROOT/sandboxes/box/modules/counter/current")" = 1 ]
        [ -z "$(ls "$CLOCHE_ROOT/sandboxes/box/stage")" ]
        [ "$(call add)" = $((++count)) ]
        wait_until 5 alone
    done
    # confirmed: before the row GOOD it is taken back, behind it the new one stays
    for step in 15 16; do
        wait_until 10 checkpoint $count
        build "two$step"
        cloche reload box "counter=two$step.so" >/dev/null
        [ "$(call add)" = $((count + 1)) ]
        printf %s "$step" >fault
        cloche confirm box counter >/dev/null 2>&1 || :
        wait_until 10 gone
        rm fault
        cloche restart box >/dev/null
        terminal
        if [ $step = 15 ]; then
            [ "$(call get) $(call version) $(last .state)" = "$count 1 ROLLED_BACK" ]
        else
            [ "$(call get) $(last .state)" = "$((count + 1)) GOOD" ]
            [ "$(call version)" -gt 1 ]
        fi
    done
}

checkpoint() { [ "$(od -An -j144 -N4 -td4 "$CLOCHE_ROOT/sandboxes/box/state/counter/good" | tr -d ' ')" = "$1" ]; }

@test "step 14: N dies while its log is full and M answers it: nobody waits for ever, nothing is lost" {
    local SOURCE=late MODULE=late
    build m -DSLOW_US=300 -DSLOW_FROM=0
    build n -DSLOW_US=2000 -DSLOW_FROM=4050 -DCRASH_AT=4120
    create box
    cloche reload box late=m.so >/dev/null
    [ "$(call x)" = 1 ]
    cloche confirm box late
    cloche reload box late=n.so >/dev/null
    yes x | head -n 6000 | timeout 100 cloche call --lines box late >got
    seq 2 6001 | cmp - got
    wait_until 10 ended
    [ "$(last .state)" = ROLLED_BACK ]
}

@test "what was given up is not gone back to by a reload after it" {
    local SOURCE=late MODULE=late
    build m
    build n -DLATE -DSTEP=1000
    create box
    cloche reload box late=m.so >/dev/null
    [ "$(call x)" = 1 ]
    cloche confirm box late
    cloche reload box late=n.so >/dev/null
    [ "$(call x)" = 1001 ]
    cloche confirm box late
    # two workers die of each: the third time it is given up, and the one before answers
    run call crash
    run call crash
    [ "$(call crash)" = 1002 ]
    [ "$(last .cause) $(last .to)" = "automatic 1" ]
    cloche reload box late=n.so >/dev/null
    [ "$(call crash)" = 1003 ]
    [ "$(call x)" = 1004 ]
    wait_until 10 ended
    [ "$(cloche history --json box late | jq -r '.attempts[-1] | [.state, .from, .to] | @json')" = '["ROLLED_BACK",1,2]' ]
    [ "$(cloche info --json box | jq -r .status)" = running ]
}
