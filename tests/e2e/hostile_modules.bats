# Modules that mean harm: what they do to the keeper, to the module beside them, and what is left of them.
# tests/modules/hostile.c has the deeds. And modules by other compilers.
# Not in the virtual machine: compilers take minutes there, and what modules run in is tested by other files.
load helper
load counter

setup_file() {
    mkdir -p "$BATS_FILE_TMPDIR/include/cloche"
    cp "$CHECKOUT/versions/module.h" "$BATS_FILE_TMPDIR/include/cloche/"
    cd "$BATS_FILE_TMPDIR" || return 1
    SOURCE=hostile build hostile -I"$CHECKOUT" -pthread
    SOURCE=echo build echo
}

# pair: one sandbox with a hostile module and one that is its neighbour
pair() {
    create box
    cp "$BATS_FILE_TMPDIR"/*.so .
    cloche reload box echo=echo.so >/dev/null
    cloche reload box hostile=hostile.so >/dev/null
    cloche call box echo x >/dev/null
    cloche call box hostile x >/dev/null
    cloche confirm box echo
    cloche confirm box hostile
    wait_until 5 settled
    keeper=$(keeper_pid)
    files=$(open_files)
}

settled() { [ "$(cloche info --json box | jq -c '[.children[].module.attempt]')" = '[null,null]' ] && alone 4; }
open_files() { ls "/proc/$keeper/fd" | wc -l; }
as_before() { settled && [ "$(open_files)" -le "$files" ]; }
neighbour() { [ "$(cloche call box echo "is $1 well?")" = "is $1 well?" ]; }
pong() { [ "$(cloche call box hostile ping 2>/dev/null)" = pong ]; }

# does DEED OUTCOME: "done", or the code of the error that its client gets; then all is as it was. A deed that is to be
# cut off has a second; any other as long as a crowded machine may need.
does() {
    local outcome got patience=60s
    [[ "$2" != *call.timeout* ]] || patience=1s
    pair
    outcome=$(cloche call --json --timeout $patience box hostile "$1" 2>&1) || :
    got=$(jq -r 'if .error then .error.code else .reply end' <<<"$outcome")
    [[ "$got" =~ ^($2)$ ]] || differ "what \"$1\" came to" "$outcome" "$2"
    neighbour "$1"
    [ "$(keeper_pid)" = "$keeper" ]
    wait_until 10 pong
    neighbour "$1"
    wait_until 5 as_before || { echo "# $1: files $files, now $(open_files); $(workers "$keeper")"; return 1; }
    [ "$(cloche info --json box | jq -r .status)" = running ]
    cloche destroy --force box >/dev/null
}

@test "frames that are none, or not its own to send" {
    local deed
    for deed in forge-reply forge-done unknown-type short-packet long-record large-packet no-file unsealed-file huge-file other-file; do
        does $deed call.died
    done
    does down-types call.died
}

@test "packets whose number is not the next: sent before, ahead, of nothing" {
    local deed
    for deed in number-again number-ahead number-alone; do
        does $deed call.died
    done
}

@test "answers twice, answers what was not asked yet, and never" {
    does answer-twice first
    does answer-future future
    does never call.timeout
    does stop-itself call.timeout
    does talk call.timeout
    does steal-packets call.timeout
}

@test "floods: lines, files, timers, children; the neighbour is served meanwhile" {
    does many-files call.died
    does files-with-lines "call.died|done"
    does more-timers call.died
    does timers "done"
    pair
    cloche call --timeout 30s box hostile flood >flooded 3>&- &
    local pid=$! served=0
    while neighbour flood && kill -0 $pid 2>/dev/null; do served=$((served + 1)); done
    wait $pid || :
    [ $served -ge 3 ] || differ "calls served beside the flood" $served "3 or more"
    [ "$(du -sk "$CLOCHE_ROOT/sandboxes/box/log" | cut -f1)" -lt 5000 ]
    wait_until 10 as_before
}

@test "a log that is full, by threads that fill it while the keeper writes there" {
    does full-pipe "done|call.timeout"
}

@test "its socket closed, shut, all its files written to, its progress spoilt" {
    does close-socket call.died
    does shut-socket call.died
    does write-everywhere call.died
    does progress call.died
    does own-store "done"
}

@test "the memory that it shares with its keeper, scribbled over" {
    local deed
    for deed in box-size box-record box-forged box-file; do
        does $deed call.died
    done
    does box-future "call.timeout|call.died"
    does box-holes "done|call.timeout|call.died"
    does scribble "call.timeout|call.died"
}

@test "exits, jumps out of its function, overwrites its own ABI block" {
    does silent-exit call.died
    does loud-exit call.died
    does long-jump "call.died|"
    does thread-exit "call.died|call.timeout"
    does own-block "done"
}

@test "forks, and kills everybody it can see" {
    need_cgroups
    does forks-and-leaves call.died
    does kill-all call.died
}

crowded() { [ "$(cloche info --json box | jq -r '.children[] | select(.id == "hostile").last')" = "process limit" ]; }
second_serves() { cloche reload box echo=second.so; }
starts() { cloche exec box -- true; }

@test "takes all processes that there may be: it dies of that, its neighbours are started and reloaded" {
    need_cgroups
    pair
    SOURCE=echo build second -DOTHER -O2
    [ "$(cloche call box hostile crowd)" = done ]
    neighbour crowd
    wait_until 10 second_serves
    wait_until 10 crowded
    wait_until 10 starts
    wait_until 10 pong
    neighbour crowd
    [ "$(keeper_pid)" = "$keeper" ]
    cloche events --json box | grep -q '"kind":"processes","detail":"process limit","who":"hostile"'
    # a command that does it, too; the modules live
    run --separate-stderr cloche exec box -- bash -c 'set -m; for i in {1..200}; do sleep 1000 & done; wait'
    wait_until 10 starts
    [ "$(keeper_pid)" = "$keeper" ]
    neighbour "the command"
}

@test "all memory, also in files that nobody has mapped" {
    need_cgroups
    does all-memory call.died
    does memory-in-files call.died
}

@test "a reply above the cap is a failure of its own request" {
    pair
    run --separate-stderr cloche call --json box hostile huge-reply
    expect_status 1
    expect_output '{"status":-1,"version":1,"reply":""}'
    pong
}

@test "ptrace and reading others' memory end it" {
    does trace call.died
    does read-others call.died
}

@test "children that it starts, more than it may have, end with it" {
    pair
    cloche call box hostile children
    neighbour children
    run cloche call box hostile silent-exit
    expect_status 1
    wait_until 10 pong
    wait_until 10 as_before
}

# --- other compilers --------------------------------------------------------------------------------------------

# counts COMPILER...: a counter by that compiler serves, and its state goes to one by gcc and comes back
counts() {
    COMPILER="$*" build other
    build gcc -DSCHEMA=2
    create box
    cp other.so one.so
    first box
    tried gcc
    expect_status 0
    [ "$(call add)" = 4 ]
    confirm box 2
    cloche rollback box counter 1 >/dev/null
    [ "$(call add)" = 5 ]
    serves 1
}

@test "a module by clang" {
    need_program clang
    counts clang -O2 -fPIC -shared -fvisibility=hidden -Wl,-z,defs,-z,now,-z,noexecstack
}

@test "a module by tcc" {
    need_program tcc
    printf '#include <cloche/module.h>\nstatic int handle(void *self, const struct cloche_request *r, struct cloche_reply *reply)\n' >tiny.c
    printf '{ (void)self; return cloche_reply_write(reply, r->data, r->size); }\nCLOCHE_MODULE("tiny", .init = cloche_no_init, .handle = handle);\n' >>tiny.c
    create box --module tiny=tiny.c --toolchain tcc
    [ "$(cloche call box tiny hello)" = hello ]
    [[ $(jq -r .compiler "$CLOCHE_ROOT/sandboxes/box/modules/tiny/1/manifest.json") = tcc* ]]
}

@test "a module in C++" {
    need_program g++
    create box --module words="$CHECKOUT/tests/modules/words.cpp"
    cloche call box words "some words here" >first
    cp "$CHECKOUT/tests/modules/words.cpp" next.cpp
    echo '// changed' >>next.cpp
    echo 'static int another __attribute__((used));' >>next.cpp
    run --separate-stderr cloche reload --json box words=next.cpp
    expect_status 0
    [ "$(jq -r .active <<<"$output")" = 2 ]
}
