# cloche compile, toolchains and cache, as a user types them.
# Not in the virtual machine: compilers take minutes there, and the sandbox that they run in is tested by the other files.
load helper

setup() {
    cloche_setup
    export XDG_CONFIG_HOME=$WORK/config NO_COLOR=1 CLOCHE_SECRET=swordfish
    effort=()
    cgroups_usable || effort=(--best-effort)
    corpus=$CHECKOUT/tests/corpus/compile
    printf '#include <stdio.h>\nint main(void)\n{\n    puts("hi");\n    return 0;\n}\n' >hello.c
}

compile() { cloche compile "${effort[@]}" "$@"; }
field() { jq -r "$1" <<<"$output"; }

# one_of VALUE WORD...
one_of() {
    local value=$1 word
    shift
    for word; do [ "$value" = "$word" ] && return 0; done
    return 1
}

@test "a program compiles, runs, and the second time comes from the cache" {
    run --separate-stderr compile hello.c --json
    expect_status 0
    expect_stderr ""
    [ "$(field '.verdict, .cache_hit, .compiled, .toolchain, .output')" = $'ok\nfalse\n1\nc\nhello' ]
    [ "$(field .artifact_sha256)" = "$(sha256sum <hello | cut -d' ' -f1)" ]
    [ "$(./hello)" = hi ]
    run --separate-stderr compile hello.c -o again --json
    [ "$(field '.verdict, .cache_hit, .compiled')" = $'ok\ntrue\n0' ]
    cmp hello again
    run --separate-stderr compile hello.c -O0 --json
    [ "$(field .cache_hit)" = false ]
    run --separate-stderr cloche cache stats --json
    [ "$(field '.entries, .hits, .misses, .poisoned')" = $'2\n1\n2\n0' ]
}

@test "what is wrong is shown with the user's own names, and failed compiles are remembered" {
    mkdir deep
    printf 'int main(void)\n{\n    return x\n}\n' >deep/bad.c
    for round in 1 2; do
        run --separate-stderr compile deep/bad.c
        expect_status 1
        expect_output ""
        expect_stderr_line "^deep/bad.c:3:12: error: 'x' undeclared"
        expect_stderr_line '^    3 \|     return x$'
        expect_stderr_line '^      \|            \^$'
        expect_stderr_line '^cloche: compile_error: 2 errors$'
        [ ! -e bad ]
    done
    cp deep/bad.c other.c
    run --separate-stderr compile other.c --json
    expect_status 1
    [ "$(field '.cache_hit, .diagnostics[0].file, .diagnostics[0].line')" = $'false\nother.c\n3' ]
    cd deep
    run --separate-stderr compile bad.c --json
    [ "$(field '.cache_hit, .diagnostics[0].file')" = $'true\nbad.c' ]
}

@test "warnings, warnings as errors, defines and libraries" {
    printf '#include <math.h>\nint main(void) { int unused; return N + (int)sqrt(0.0); }\n' >w.c
    run --separate-stderr compile w.c -Wall -DN=0 -lm
    expect_status 0
    expect_stderr_line "warning: unused variable 'unused' \[-Wunused-variable\]"
    run --separate-stderr compile w.c -Wall -DN=0 --warnings-as-errors
    expect_status 1
    expect_stderr_line "error: unused variable"
    run --separate-stderr compile w.c
    expect_status 1
    expect_stderr_line "'N' undeclared"
    run --separate-stderr compile w.c '-DN=0;x' '-D1x'
    expect_status 1
    expect_stderr_line 'cannot define "1x"'
}

@test "a directory: objects side by side, only what changed again, one link" {
    mkdir -p app/inc
    printf '#include "inc/x.h"\n#include <stdio.h>\nint main(void) { printf("%%d\\n", f(3)); return 0; }\n' >app/main.c
    printf '#include "inc/x.h"\nint f(int a) { return a + X; }\n' >app/f.c
    printf '#define X 4\nint f(int);\n' >app/inc/x.h
    printf 'int unrelated;\n' >app/g.c
    steps() { run --separate-stderr compile app -o out --json && expect_status 0 && [ "$(field '.compiled, .reused')" = "$1" ]; }
    steps $'4\n0'
    [ "$(./out)" = 7 ]
    steps $'0\n4'
    printf '#define X 5\nint f(int);\n' >app/inc/x.h
    steps $'3\n1'
    [ "$(./out)" = 8 ]
    printf 'int unrelated = 1;\n' >app/g.c
    steps $'2\n2'
    touch app/*.c
    steps $'0\n4'
    printf 'broken\n' >app/g.c
    run --separate-stderr compile app -o out
    expect_status 1
    expect_stderr_line '^app/g.c:1'
}

@test "a header of the system that changes is noticed" {
    need_root
    mkdir -p "$XDG_CONFIG_HOME/cloche/toolchains" system
    jq --arg d "$WORK/system" '.name = "own" | .extensions = [".own"] | .paths += [$d] |
        .compile |= map(if . == "/include" then $d else . end) | .compile += ["-x", "c"] |
        .compile |= (. - ["{sources}", "-x", "c"]) + ["-x", "c", "{sources}"]' \
        "$CHECKOUT/config/toolchains/c.json" >"$XDG_CONFIG_HOME/cloche/toolchains/own.json"
    echo '#define X 1' >system/sys.h
    printf '#include <sys.h>\nint main(void) { return X; }\n' >p.own
    run --separate-stderr compile p.own -o p --json
    expect_status 0
    run ./p
    expect_status 1
    echo '#define X   2' >system/sys.h
    run --separate-stderr compile p.own -o p --json
    expect_status 0
    [ "$(field .cache_hit)" = false ]
    run ./p
    expect_status 2
}

@test "languages: each that is installed compiles and refuses" {
    printf 'print(1)\n' >a.py; printf 'def f(:\n' >bad.py
    printf 'echo 1\n' >a.sh; printf 'if\n' >bad.sh
    printf 'int main() { return 0; }\n' >a.cpp; printf 'int main( { }\n' >bad.cpp
    printf 'console.log(1)\n' >a.js; printf 'let x = ;\n' >bad.js
    printf 'class Main { public static void main(String[] a) { } }\n' >a.java; printf 'class Main { int }\n' >bad.java
    cloche toolchains --json >list
    languages=("cpp cpp" "py python" "sh shell" "js javascript" "java java")
    [ -z "${CLOCHE_VM-}" ] || languages=("py python" "sh shell") # the others' start takes longer than a limit there
    for language in "${languages[@]}"; do
        read -r ending name <<<"$language"
        [ "$(jq -r --arg n "$name" '.[] | select(.name == $n) | .works' list)" = true ] || continue
        run --separate-stderr compile "a.$ending" -o out --json
        expect_status 0
        [ "$(field .toolchain)" = "$name" ]
        run --separate-stderr compile "bad.$ending" --json
        expect_status 1
        [ "$(field '.verdict, .diagnostics[0].file, .diagnostics[0].severity')" = "compile_error"$'\n'"bad.$ending"$'\nerror' ]
        [ "$(field '.diagnostics[0].line > 0')" = true ]
    done
    for name in c cpp python shell; do
        [ "$(jq -r --arg n "$name" '.[] | select(.name == $n) | .works' list)" = true ]
    done
}

@test "a language more is one file" {
    mkdir -p "$XDG_CONFIG_HOME/cloche/toolchains"
    cat >"$XDG_CONFIG_HOME/cloche/toolchains/upper.json" <<'EOF'
{ "name": "upper", "extensions": [".up"], "programs": ["bash", "tr"], "version": ["bash", "--version"],
  "compile": ["/bin/sh", "-c", "{ echo '#!/bin/sh'; tr a-z A-Z <\"$1\"; } >\"$0\"", "{output}", "{sources}"],
  "run": ["/bin/sh", "{program}"], "paths": ["/usr/bin", "/usr/lib", "/lib", "/lib64", "/bin"] }
EOF
    echo 'echo hello' >x.up
    run --separate-stderr cloche toolchains upper
    expect_status 0
    [[ $output = upper*.up*bash* ]]
    run --separate-stderr compile x.up -o x
    expect_status 0
    [ "$(tail -n 1 x)" = "ECHO HELLO" ]
    echo '{ "name": "upper", "extension": [".up"] }' >"$XDG_CONFIG_HOME/cloche/toolchains/upper.json"
    run --separate-stderr compile x.up -o x --json
    expect_status 1
    expect_error toolchain.invalid
}

@test "a tool that changes in any of its parts is another tool" {
    mkdir -p "$XDG_CONFIG_HOME/cloche/toolchains" parts/a
    jq -n --arg w "$WORK" '{ name: "own", extensions: [".own"], programs: ["bash", "\($w)/tool"],
        version: ["bash", "--version"], compile: ["/bin/cp", "{source}", "{output}"], run: ["/bin/sh", "{program}"],
        identity: ["\($w)/parts/*/one", "\($w)/parts/*/two.*", "\($w)/plain", "\($w)/parts/*/none"],
        paths: ["/usr/bin", "/usr/lib", "/lib", "/lib64", "/bin"] }' >"$XDG_CONFIG_HOME/cloche/toolchains/own.json"
    echo x | tee real parts/a/one parts/a/two.x plain >x.own
    chmod +x real
    ln -s real tool
    changes=(true "echo longer >>real" "touch -d @1 real" "echo longer >parts/a/one" "touch -d @1 parts/a/two.x"
        "touch -d @1 plain" "mkdir parts/b; echo x >parts/b/one" "rm parts/b/one" "mv parts/a/two.x parts/a/two.y"
        "cp -p real other; ln -sf other tool")
    for change in "${changes[@]}"; do
        eval "$change"
        for hit in false true; do
            run --separate-stderr compile x.own -o x --json
            # without the part that came, it is the tool that it was
            [ "$change" = "rm parts/b/one" ] || [ "$(field .cache_hit)" = "$hit" ] || { echo "$change: $output"; return 1; }
        done
    done
}

@test "modules" {
    printf '#include <cloche/module.h>\nstatic int handle(void *s, const struct cloche_request *r, struct cloche_reply *p)\n{\n    (void)s;\n    return cloche_reply_write(p, r->data, r->size);\n}\nCLOCHE_MODULE("echo", .init = cloche_no_init, .handle = handle);\n' >echo.c
    run --separate-stderr compile --module echo.c
    expect_status 0
    nm -D echo.so | grep -q ' D cloche_module_v1$'
    printf 'int missing(void);\nint f(void) { return missing(); }\n' >undefined.c
    run --separate-stderr compile --module undefined.c
    expect_status 1
    expect_stderr_line "undefined reference to .missing"
    echo 'print(1)' >m.py
    run --separate-stderr compile --module m.py --json
    expect_status 1
    expect_error compile.toolchain
}

# The host's state must not decide: one source, many spoiled caches.
@test "a spoiled, foreign or missing cache never spoils a compile" {
    compile hello.c -o first
    entry=$(echo "$CLOCHE_ROOT"/cache/artifacts/*/)
    chmod -R u+w "$entry"
    for spoil in 'printf X | dd of=$entry/artifact bs=1 seek=100 conv=notrunc status=none' \
        'printf X | dd of=$entry/entry bs=1 seek=40 conv=notrunc status=none' ': >$entry/entry' 'rm $entry/artifact'; do
        eval "$spoil"
        run --separate-stderr compile hello.c -o out --json
        expect_status 0
        [ "$(field .cache_hit)" = false ]
        cmp first out
        chmod -R u+w "$entry"
    done
    # what is not even a directory, or has one in it, makes room
    for spoil in 'echo x >${entry%/}' 'ln -s /etc ${entry%/}' 'mkfifo ${entry%/}' 'mkdir -p $entry/entry'; do
        rm -rf "$entry"
        eval "$spoil"
        compile hello.c -o out
        cmp first out
        [ "$(ls "$CLOCHE_ROOT/cache/artifacts")" = "$(basename "$entry")" ]
        chmod -R u+w "$entry"
    done
    run --separate-stderr cloche cache stats --json
    [ "$(field .poisoned)" = 8 ]
    printf X | dd of="$entry/artifact" bs=1 seek=100 conv=notrunc status=none
    run --separate-stderr cloche cache verify
    expect_status 1
    expect_output "0 entries are good, 1 were bad and are removed"
    rm -rf "$CLOCHE_ROOT/cache/artifacts"
    echo junk >"$CLOCHE_ROOT/cache/artifacts"
    run --separate-stderr compile hello.c -o out
    expect_status 0
    rm "$CLOCHE_ROOT/cache/artifacts"
    compile hello.c -o out
    run --separate-stderr cloche cache clear
    expect_output "1 entries removed"
}

@test "a directory that cannot be read is not one without sources" {
    need_user
    mkdir closed
    chmod 0 closed
    run --separate-stderr compile --json closed -o out
    chmod 755 closed
    expect_error compile.source
    [ "$(jq -r .error.message <<<"$stderr")" = 'cannot compile "closed": Permission denied' ]
}

@test "bad input: each a clear error, nothing written" {
    mkdir empty headers links devices
    : >empty.c; printf 'int x\0y;\n' >binary.c; : >headers/only.h; echo 'int main(void) { }' >$'new\nline.c'
    head -c 17M /dev/zero | tr '\0' ' ' >giant.c
    ln -s ../hello.c links/a.c; ln -s /etc/passwd link.c; mkfifo fifo.c; echo text >notes.txt
    while IFS='|' read -r arguments code says; do
        eval "run --separate-stderr compile --json $arguments"
        [ "$status" -ne 0 ] || { echo "accepted: $arguments"; return 1; }
        expect_error "$code"
        [[ $stderr = *"$says"* ]] || differ "stderr of $arguments" "$stderr" "$says"
        [ ! -e out ]
    done <<'EOF'
missing.c -o out|compile.source|No such file
empty.c -o out|compile.source|the file is empty
binary.c -o out|compile.source|not text
giant.c -o out|compile.source|larger than 16 MiB
empty -o out|toolchain.unknown|a directory without sources
headers -o out|toolchain.unknown|a directory without sources
headers --toolchain c -o out|compile.source|nothing to compile
links -o out|toolchain.unknown|no toolchain
links/a.c -o out|compile.source|symbolic link
link.c -o out|compile.source|symbolic link
fifo.c -o out|compile.source|not a regular file
/dev/zero --toolchain c -o out|compile.source|toolchain
notes.txt -o out|toolchain.unknown|.cpp
notes.txt --toolchain c -o out|compile.source|does not take
$'new\nline.c' -o out|compile.source|control characters
hello.c --toolchain nope -o out|toolchain.unknown|python
hello.c -fplugin=x.so -o out|compile.flag|-O[0123sg]
hello.c hello.c -o out|compile.source|given twice
hello.c -o /nonexistent/dir/x|compile.output|/nonexistent/dir/x
hello.c --jobs 0|usage.value|from 1 to 256
hello.c --toolchain|usage.missing_value|--toolchain
hello.c --modul|usage.unknown_option|--module
-o out|usage.no_source|no source
-o out -dash.c|usage.no_source|goes behind --
hello.c -o /dev/full|compile.output|No space left
EOF
    cp hello.c ./-dash.c
    run --separate-stderr compile -o out -- -dash.c
    expect_status 0
    [ "$(./out)" = hi ]
    if [ ! -x /usr/bin/rustc ] && [ ! -x /usr/local/bin/rustc ]; then
        echo 'fn main() {}' >x.rs
        run --separate-stderr compile x.rs
        expect_status 1
        expect_stderr_line 'needs rustc.*apt-get install rustc$'
    fi
}

@test "limits of a compile" {
    need_cgroups
    run --separate-stderr compile "$corpus/attacks/template_bomb.cpp" --timeout ${CLOCHE_TEST_SCALE}s --json
    expect_status 1
    [ "$(field '.verdict, .artifact_sha256')" = $'time_limit\nnull' ]
    run --separate-stderr compile "$corpus/attacks/template_bomb.cpp" --timeout 1s --json
    [ "$(field .cache_hit)" = false ]
    run --separate-stderr compile hello.c --memory 3m --json
    expect_status 1
    [ "$(field .verdict)" = memory_limit ]
}

@test "sources that attack the compiler" {
    need_cgroups
    bad=0
    while IFS='|' read -r file options verdicts seconds hidden; do
        [[ $file = \#* ]] && continue
        # emulated, the bombs would take the suite's time; what looks for files is quick
        [[ -n ${CLOCHE_VM-} && $file != inc* && $file != probe* ]] && continue
        began=$SECONDS
        # shellcheck disable=SC2086
        run --separate-stderr compile --json "$corpus/attacks/$file" $options -o out --no-cache
        took=$((SECONDS - began)) verdict=$(jq -r '.verdict // .error.code' <<<"${output:-$stderr}")
        one_of "$verdict" $verdicts && [ "$took" -le $((seconds * CLOCHE_TEST_SCALE)) ] &&
            { [ -z "$hidden" ] || ! grep -aqE -- "$hidden" <<<"$(tr -d '\n\t' <<<"$output$stderr")"; } &&
            { [ "$verdict" != ok ] || ! grep -aq swordfish out; } ||
            { bad=1; echo "$file $options: $verdict after $took s, expected $verdicts within $seconds s"; }
    done <"$corpus/attacks.table"
    [ "$bad" -eq 0 ]
}

@test "a compiler that has been taken over" {
    need_cgroups
    mkdir -p "$XDG_CONFIG_HOME/cloche/toolchains"
    cat >"$XDG_CONFIG_HOME/cloche/toolchains/evil.json" <<'EOF'
{ "name": "evil", "extensions": [".evil"], "programs": ["bash"], "version": ["bash", "--version"],
  "compile": ["bash", "-c", "out=$1 dep=$2; shift 2; . \"$1\"", "evil", "{output}", "{depfile}", "{sources}"],
  "run": ["{program}"], "paths": ["/usr/bin", "/usr/lib", "/lib", "/lib64", "/bin"] }
EOF
    bad=0
    while IFS= read -r line; do
        [[ $line = \#* ]] && continue
        seconds=${line##*|} line=${line%|*} verdicts=${line##*|} script=${line%|*}
        [[ -n ${CLOCHE_VM-} && $script != *'"$out"'* ]] && continue
        printf '%s\n' "$script" >script.evil
        began=$SECONDS
        run --separate-stderr compile script.evil -o out --json --timeout $((4 * CLOCHE_TEST_SCALE))s --no-cache
        took=$((SECONDS - began)) verdict=$(jq -r '.verdict // .error.code' <<<"${output:-$stderr}")
        one_of "$verdict" $verdicts && [ "$took" -le $((seconds * CLOCHE_TEST_SCALE)) ] &&
            ! grep -q $'\033' <<<"$output$stderr" ||
            { bad=1; echo "$script: $verdict after $took s, expected $verdicts within $seconds s"; }
        [ "$(cat script.evil)" = "$script" ] || { bad=1; echo "$script: changed its source"; }
        rm -f out
    done <"$corpus/evil.table"
    [ "$bad" -eq 0 ]
}

@test "a full disk, or one that cannot be written: the compile works, nothing is kept" {
    need_root
    [ -n "${CLOCHE_TEST_PRIVATE-}" ] || skip "not started by tests/run"
    mount -t tmpfs -o size=32k tmpfs "$CLOCHE_ROOT"
    head -c 1M /dev/zero >"$CLOCHE_ROOT/fill" 2>/dev/null || :
    run --separate-stderr compile hello.c -o out --json
    [ "$(field '.verdict, .cache_hit')" = $'ok\nfalse' ] || { umount "$CLOCHE_ROOT"; show_result; return 1; }
    mount -o remount,ro "$CLOCHE_ROOT"
    run --separate-stderr compile hello.c -o out --json
    umount "$CLOCHE_ROOT"
    [ "$(field '.verdict, .cache_hit')" = $'ok\nfalse' ]
    [ "$(./out)" = hi ]
    mkdir disk
    mount -t tmpfs -o size=4k tmpfs disk
    run --separate-stderr compile hello.c -o disk/out --json
    found=$(ls disk)
    umount disk
    expect_status 1
    expect_error compile.output
    [ -z "$found" ]
}

@test "an artifact never takes the place of a source" {
    printf 'int main(void) { return 0; }\n' >one.c
    cp one.c two.c
    cp one.c kept.c
    for output in one.c ./one.c two.c; do
        run --separate-stderr compile one.c -o "$output"
        expect_status 1
        expect_stderr_line 'the artifact would overwrite the source'
    done
    cmp one.c kept.c
    cmp two.c kept.c
    printf 'print(1)\n' >a.py
    # a script's artifact is a script: the second time there is one
    for round in 1 2; do
        run --separate-stderr compile a.py -o b.py
        expect_status 0
    done
    run --separate-stderr compile a.py -o a.py
    expect_status 1
}

@test "an artifact takes the place of an older one whole, and leaves nothing beside it" {
    mkdir there
    for word in one two three; do
        printf 'print("%s")\n' "$word" >"$word.py"
        compile "$word.py" -o there/artifact
        [ "$(cat there/artifact)" = "$(cat "$word.py")" ]
        [ "$(ls -A there)" = artifact ]
        # who reads the older one goes on reading it
        [ "$word" = one ] || [ "$(cat <&9)" = "$(cat "$older.py")" ]
        exec 9<there/artifact
        older=$word
    done
    exec 9<&-
}

@test "what the linker says of the objects of a project is said of their sources" {
    mkdir -p p/lib
    printf 'int twice(void) { return 1; }\n' >p/lib/x.c
    printf 'int missing(void);\nint twice(void) { return 2; }\nint main(void) { return twice() + missing(); }\n' >p/y.c
    for round in new cached; do
        run --separate-stderr compile p
        expect_status 1
        # shellcheck disable=SC2154 # set by run
        [ "$stderr" = 'p/y.c: error: multiple definition of `twice'"'"'
p/lib/x.c: note: first defined here
p/y.c: error: undefined reference to `missing'"'"'
cloche: compile_error: 2 errors' ]
    done
}

@test "a refused flag's error names defines, and an ended compiler leaves no JSON on the terminal" {
    run --separate-stderr compile hello.c -D X=1
    expect_status 1
    expect_stderr_line ' -DNAME\[=VALUE\]$'
    cgroups_usable || skip "no cgroup controllers delegated to this user"
    run --separate-stderr compile hello.c --no-cache --memory 5m
    expect_status 1
    expect_stderr 'cloche: memory_limit: needed more than the memory limit'
}
