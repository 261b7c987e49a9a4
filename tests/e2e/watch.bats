# Watched sources: whatever an editor does, the last content ends up live, and errors leave the old version serving.
# Not in the virtual machine: compilers take minutes there.
load helper

setup() {
    cloche_setup
    set_effort
    mkdir src
    value 1 >src/m.c
    followers=()
}

teardown() {
    local id
    [ ${#followers[@]} -eq 0 ] || kill "${followers[@]}" 2>/dev/null || :
    for id in $(cloche list --json 2>/dev/null | jq -r '.[].id'); do
        cloche destroy --force "$id" >/dev/null 2>&1 || :
    done
    rmdir "$CLOCHE_ROOT/sandboxes" "$CLOCHE_RUN/sandboxes" 2>/dev/null || :
    cloche_teardown
}

# A module that answers N.
value() {
    cat <<END
#include <cloche/module.h>
#include <signal.h>

static int handle(void *self, const struct cloche_request *request, struct cloche_reply *reply)
{
    (void)self;
    if (request->size == 5)
        raise(SIGSEGV);
    return cloche_reply_number(reply, $1);
}
CLOCHE_MODULE("m", .init = cloche_no_init, .handle = handle);
END
}

made() {
    cloche create "${effort[@]}" app --module m=src/m.c --probation 300ms "$@" >/dev/null
}

# follow FILE [WORD...]: cloche watch --json in the background, once it watches.
follow() {
    local file=$1
    shift
    cloche watch --json app m "$@" >"$file" 2>"$file.err" 3>&- &
    followers+=($!)
    wait_until 5 grep -qs '"watching"' "$file"
}

answers() { [ "$(cloche call app m x)" = "$1" ]; }
event() { grep -qs "\"event\":\"$1\"" "${2:-log}"; }
events() { grep -c "\"event\":\"$1\"" "${2:-log}" || :; }
good() { [ "$(cloche versions --json app m | jq .good)" = "$1" ]; }
versions() { cloche versions --json app m | jq '.versions | length'; }

@test "a save is live, whatever way the editor saves" {
    made
    answers 1
    follow log
    value 2 >src/m.c # in place
    wait_until 10 answers 2
    value 3 >src/.m.c.new && mv src/.m.c.new src/m.c # beside it, then renamed
    wait_until 10 answers 3
    mv src/m.c src/m.c~ && value 4 >src/m.c # a backup first
    wait_until 10 answers 4
    rm src/m.c && value 5 >src/m.c # removed first
    wait_until 10 answers 5
    wait_until 5 eval '[ "$(events live)" -ge 4 ]'
    jq -se 'map(select(.event == "live") | .ms > 0 and .pause_us >= 0 and .version > 1) | all' log >/dev/null
    [ "$(jq -r 'select(.event == "changed") | .files[0]' log | sort -u)" = m.c ]
}

@test "what does not change the content compiles nothing" {
    made
    follow log
    touch src/m.c
    value 1 >src/m.c
    wait_until 10 event unchanged
    [ "$(versions)" = 1 ]
    [ "$(events live)" = 0 ]
    value 2 >src/other.c # a module of one file is that file
    value 2 >src/m.c
    wait_until 10 answers 2
    [ "$(versions)" = 2 ]
}

@test "errors are shown with their place, the old version serves, and the next save is live" {
    made
    follow log
    value missing >src/m.c
    wait_until 10 event failed
    answers 1
    [ "$(jq -r 'select(.event == "failed") | .code, .step, .active, .diagnostics[0].line' log)" = $'build.compile\n3\n1\n9' ]
    [[ $(jq -r 'select(.event == "failed") | .text' log) == *"m.c:9:"*missing* ]]
    cloche logs app m.build | grep -q "m.c:9:.*missing"
    sed 's/"m"/"other"/' src/m.c | sed 's/missing/1/' >src/n.c && mv src/n.c src/m.c
    wait_until 10 eval '[ "$(events failed)" -eq 2 ]'
    [ "$(jq -rs '[.[] | select(.event == "failed")][1].code' log)" = verify.name ]
    value 2 >src/m.c
    wait_until 10 answers 2
    [ "$(cloche history --json app m | jq -r '[.attempts[] | select(.cause == "watch") | .state | . == "REFUSED"] | map(select(.)) | length')" = 2 ]
}

@test "a version that crashes after it was live is taken back, and that is shown" {
    made
    answers 1
    wait_until 10 good 1
    follow log
    value 2 | sed 's/request->size == 5/request->size > 0/' >src/m.c
    wait_until 10 event live
    answers 1 # by version 1: version 2 crashed on it
    wait_until 10 event rolled_back
    [ "$(jq -r 'select(.event == "rolled_back") | .active' log)" = 1 ]
    value 3 >src/m.c
    wait_until 10 answers 3
    wait_until 10 event confirmed
}

@test "a file and the headers beside it" {
    value LIMIT | sed '1i #include "limit.h"' >src/m.c
    printf '#define LIMIT 7\n' >src/limit.h
    printf 'not C\n' >src/other.c
    made
    answers 7
    follow log
    printf '#define LIMIT 8\n' >src/limit.h
    wait_until 10 answers 8
    printf 'not C, either\n' >src/other.c
    mkdir src/below
    printf '#define LIMIT 9\n' >src/below/limit.h
    value 10 >src/m.c
    wait_until 10 answers 10
    [ "$(jq -r 'select(.event == "changed") | .files[]' log)" = $'limit.h\nm.c' ]
}

@test "a directory: every file of it counts, and those that appear" {
    mkdir lib
    cp "$CHECKOUT"/tests/modules/parts/* lib
    cloche create "${effort[@]}" app --module parts=lib --watch --probation 300ms >/dev/null
    [ "$(cloche call app parts b)" = 9 ]
    sed -i 's/sqrt(\(.*\)))/\1)/' lib/parts.c
    wait_until 10 eval '[ "$(cloche call app parts b)" = 98 ]'
    sed -i 's/n += \*data++/n += 2ul * *data++/' lib/sum.c
    wait_until 10 eval '[ "$(cloche call app parts b)" = 196 ]'
    mkdir lib/deep
    printf '#define ADD 1000\n' >lib/deep/add.h
    sed -i 's|"sum.h"|"sum.h"\n#include "deep/add.h"|; s|n = 0;|n = ADD;|' lib/sum.c
    wait_until 10 eval '[ "$(cloche call app parts b)" = 1196 ]'
    printf '#define ADD 2000\n' >lib/deep/add.h
    wait_until 10 eval '[ "$(cloche call app parts b)" = 2196 ]'
    # all of it goes and comes back, as with a checkout
    cp -r lib saved
    sed -i 's/2000/3000/' saved/deep/add.h
    rm -r lib
    mv saved lib
    wait_until 10 eval '[ "$(cloche call app parts b)" = 3196 ]'
    printf '#define ADD 4000\n' >lib/deep/add.h
    wait_until 10 eval '[ "$(cloche call app parts b)" = 4196 ]'
}

@test "a hundred saves in a second end with the last content live" {
    made
    follow log
    local i
    for i in $(seq 2 101); do
        value "$i" >src/m.c
        read -r -t 0.01 <> <(:) || :
    done
    wait_until 20 answers 101
    [ "$(versions)" -lt 50 ]
}

@test "a save that the next one follows within the debounce leaves nothing" {
    made
    follow log --debounce 250ms
    echo broken >src/m.c
    value 2 >src/m.c
    wait_until 10 answers 2
    wait_until 10 good 2
    [ "$(events changed) $(events live) $(events failed)" = "1 1 0" ]
    [ "$(cloche history --json app m | jq '[.attempts[] | select(.cause == "watch")] | length')" = 1 ]
}

@test "a newer save ends a compile that is running" {
    made
    follow log
    local name=big$$ i
    {
        value 2
        for i in $(seq 40000); do printf 'int f%d_%s(int x) { return x * %d + (x >> 3) %% 7; }\n' "$i" "$name" "$i"; done
    } >src/big.c
    mv src/big.c src/m.c
    wait_until 10 event step
    value 3 >src/m.c
    wait_until 10 answers 3
    wait_until 10 event superseded
    [ "$(jq -r 'select(.event == "live") | .version' log | wc -l)" = 1 ]
    [ "$(cloche history --json app m | jq -r '[.attempts[] | select(.cause == "watch") | .state][0]')" = SUPERSEDED ]
}

@test "kept by the sandbox: over a restart, with what was saved meanwhile, until unwatch" {
    made
    run --separate-stderr cloche watch -d app m
    expect_status 0
    expect_output "$WORK/src/m.c"
    value 2 >src/m.c
    wait_until 10 answers 2
    kill -KILL "$(cloche info --json app | jq .keeper_pid)"
    wait_until 5 eval '[ "$(cloche info --json app | jq -r .status)" = "failed(keeper)" ]'
    value 3 >src/m.c
    cloche restart app
    wait_until 10 answers 3
    value 4 >src/m.c
    wait_until 10 answers 4
    cloche unwatch app m
    value 5 >src/m.c
    run --separate-stderr cloche unwatch --json app m
    expect_status 1
    expect_error watch.none
    cloche restart app
    answers 4
}

@test "followers: each sees it, the watch ends with the one that began it" {
    made
    follow first
    follow second
    value 2 >src/m.c
    wait_until 10 event live first
    wait_until 10 event live second
    kill "${followers[0]}"
    wait "${followers[1]}" || :
    followers=()
    run --separate-stderr cloche unwatch --json app m
    expect_error watch.none
    # with unwatch all of them end well
    follow third
    cloche unwatch app m
    wait "${followers[0]}"
    followers=()
}

@test "what cannot be watched: one clear error" {
    made
    mkdir -p secret/src many wide below/a/closed
    chmod 0 secret below/a/closed
    ln -s "$WORK/src" link
    local i
    for i in $(seq 4100); do mkdir "many/d$i"; done
    for i in $(seq 10000); do : >"wide/f$i.c"; done
    local path code
    while read -r path code; do
        [ "$path" != secret/src ] || [ "$(id -u)" -ne 0 ] || continue
        run --separate-stderr timeout 10 cloche watch --json -d app m "$path"
        expect_status 1
        expect_error "$code"
    done <<'END'
missing watch.unreadable
secret/src watch.unreadable
many watch.too_many
/dev/null watch.unreadable
END
    if [ "$(id -u)" -ne 0 ]; then
        run --separate-stderr cloche watch --json -d app m below
        expect_error watch.unreadable
        [ "$(jq -r .error.message <<<"$stderr")" = "cannot watch \"$PWD/below/a/closed\": Permission denied" ]
        [[ $(jq -r .error.hint <<<"$stderr") = *--exclude ]]
        cloche watch --json -d --exclude closed app m below | jq -e '.directories == 2'
        cloche unwatch app m
    fi
    run --separate-stderr cloche watch --json -d app other
    expect_error module.unknown
    run --separate-stderr cloche watch --json -d nowhere m
    expect_error sandbox.unknown
    run --separate-stderr cloche watch --json app
    expect_status 2
    # ten thousand files are one directory; that they are no module is the snapshot's to say
    follow log wide
    run --separate-stderr cloche watch --json -d app m src
    expect_error watch.exists
    printf 'int x;\n' >wide/f1.c
    wait_until 20 event failed
    [ "$(jq -r 'select(.event == "failed") | .code' log)" = compile.source ]
    answers 1
    chmod 700 secret below/a/closed
}
