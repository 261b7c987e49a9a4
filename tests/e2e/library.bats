# libcloche: what it exports, and long-lived sandboxes from a C program (tests/library/keep.c).
load helper

keep=$CHECKOUT/${CLOCHE_KEEP:-${CLOCHE_BUILD:-build}/tests/library/keep}

setup() { cloche_setup; }

teardown() {
    local id
    for id in $(cloche list --json 2>/dev/null | jq -r '.[].id'); do
        cloche destroy --force "$id" >/dev/null 2>&1 || :
    done
    rmdir "$CLOCHE_ROOT/sandboxes" "$CLOCHE_RUN/sandboxes" 2>/dev/null || :
    cloche_teardown
}

keeps() {
    export CLOCHE_KEEPER=$CLOCHE_BUILD_DIR/cloche-keeper
    run --separate-stderr "$keep" "$1"
    expect_stderr ""
    expect_output ""
    expect_status 0
    [ "$(cloche list --json)" = "[]" ]
}

@test "the names that the library exports are those of cloche.h, with a version" {
    need_program nm
    grep -E '^CLOCHE_API' "$CHECKOUT/runtime/cloche.h" | grep -oE 'cloche_[a-z_]+\(' | tr -d '(' | sort >promised
    nm -D --defined-only "$CLOCHE_BUILD_DIR/libcloche.so" | awk '$2 != "A" { print $3 }' | sort >exported
    [ -s promised ]
    sed 's/$/@@CLOCHE_0/' promised | diff - exported
}

@test "a C++ compiler takes the header" {
    need_program g++
    printf '#include "runtime/cloche.h"\nint main() { cloche_options o = {}; o.size = sizeof o; return o.deadline_ms != 0; }\n' >x.cpp
    g++ -Wall -Wextra -Werror -I"$CHECKOUT" -o x x.cpp
    ./x
}

@test "threads share a handle" { keeps threads; }
@test "of threads that make one id, one wins" { keeps one-winner; }
@test "deadlines: nobody waits longer, nothing half-made stays" { keeps deadline; }
@test "operations that were begun end with an event" { keeps operations; }
@test "followed sandboxes: what happens in them comes as events" { keeps follow; }
@test "of many events at once only their text is kept" { keeps flood; }
@test "batches: a result each" { keeps batch; }
@test "files, logs, limits" { keeps files; }
@test "one command after the other with the fewest processes" {
    need_cgroups
    keeps limit
}

@test "modules: calls in flight, reload, rollback, what is stored" {
    mkdir dir
    cp "$CHECKOUT/tests/modules/echo.c" dir
    sed 's/(void)self;/(void)self, (void)"second";\n    static volatile int n;\n    n++;/' dir/echo.c >dir/second.c
    sed '1a #include <unistd.h>
        s/return cloche_reply_write.*/for (;;) pause();/; s/"echo"/"never"/' dir/echo.c >dir/never.c
    sed '1a #include <stdlib.h>
        1a #include <unistd.h>
        s/return cloche_reply_write/usleep(1000 * (unsigned)atoi((const char *)request->data)); &/; s/"echo"/"slow"/' \
        dir/echo.c >dir/slow.c
    sed 's/"echo"/"again"/' dir/echo.c >dir/again.c
    printf 'nonsense\n' >dir/broken.c
    export CLOCHE_KEEPER=$CLOCHE_BUILD_DIR/cloche-keeper
    local config='{"ociVersion":"1.1.0"}'
    cgroups_usable || config='{"ociVersion":"1.1.0","cloche":{"enforce":"best-effort"}}'
    run --separate-stderr timeout 60 "$CLOCHE_BUILD_DIR/tests/library/modules" "$WORK/dir" "$config"
    expect_stderr ""
    expect_output ""
    expect_status 0
    [ "$(cloche list --json)" = "[]" ]
}

@test "a batch of the command line: a line each in order, the exit status of the worst" {
    cloche create a
    cloche create b
    cloche create c
    for command in pause resume; do
        [ "$(id -u)" -eq 0 ] || continue
        run --separate-stderr cloche $command c a b
        expect_output $'c\na\nb'
        expect_status 0
    done
    run --separate-stderr cloche restart --json b none a c
    expect_status 1
    expect_output '{"id":"b","done":"restart"}
{"id":"a","done":"restart"}
{"id":"c","done":"restart"}'
    expect_error sandbox.unknown
    [ "$(wc -l <<<"$stderr")" -eq 1 ]
    [ "$(cloche list --json | jq -c 'map(.restarts)')" = "[1,1,1]" ]
    run --separate-stderr cloche destroy a/b
    expect_status 2
    run --separate-stderr cloche destroy a a/b none c b
    expect_status 1
    expect_output $'a\nc\nb'
    [ "$(wc -l <<<"$stderr")" -eq 2 ]
}

@test "a batch waits for its slowest, not for the sum" {
    for id in a b c d e f; do
        cloche create "$id" -- sh -c 'trap : TERM; while :; do read -r x </dev/zero; done' >/dev/null
    done
    begun=$EPOCHREALTIME
    cloche destroy a b c d e f >/dev/null
    took=$(jq -n "$EPOCHREALTIME - $begun")
    # each takes the 5 s of grace
    jq -en "$took >= 4.5 and $took < 15 * $CLOCHE_TEST_SCALE" || { echo "$took s"; false; }
}

@test "make install PREFIX: what was built for another place is built for this one" {
    need_program make
    need_program gcc
    for prefix in /one /two; do
        env -u MAKEFLAGS make -s -C "$CHECKOUT" "BUILD=$WORK/build" "PREFIX=$prefix" "$WORK/build/cloche.pc" "$WORK/build/obj/runtime/launch.o"
        [ "$(grep -o '/[a-z]*/include' build/cloche.pc)" = "$prefix/include" ]
        grep -q "$prefix/bin" build/obj/runtime/launch.o
    done
}
