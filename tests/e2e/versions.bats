# Modules: built, judged, stored, listed, pinned, carried from one sandbox to another.
# Not in the virtual machine: compilers take minutes there, and what modules run in is tested by other files.
load helper

setup() {
    cloche_setup
    set_effort
    modules=$CHECKOUT/tests/modules
}

teardown() {
    local id
    for id in $(cloche list --json 2>/dev/null | jq -r '.[].id'); do
        cloche destroy --force "$id" >/dev/null 2>&1 || :
    done
    rmdir "$CLOCHE_ROOT/sandboxes" "$CLOCHE_RUN/sandboxes" 2>/dev/null || :
    cloche_teardown
}

create() { run --separate-stderr cloche create "${effort[@]}" "$@"; }
made() {
    create "$@"
    expect_status 0
}
versions() { cloche versions --json "$1" "$2" | jq -rc "$3"; }

# only ID MODULES [OPTION...]: a sandbox whose spec describes these modules
only() {
    local id=$1
    printf '{"ociVersion":"1.1.0","cloche":{"modules":%s}}\n' "$2" >"$id.json"
    shift 2
    create --json "$id" --spec "$id.json" "$@"
}

# The smallest module of any name.
module_source() {
    sed "s/\"echo\"/\"$1\"/" "$modules/echo.c"
}

@test "built, stored, listed; and the same source is not built again" {
    only app "{\"echo\":{\"source\":\"$modules/echo.c\"}}"
    expect_status 0
    [ "$(versions app echo '[.module, .active, (.versions | length)]')" = '["echo",1,1]' ]
    [ "$(versions app echo '.versions[0] | [.version, .status, .pinned, .collected, .schema]')" = '[1,"PUBLISHED",false,false,0]' ]
    local dir=$CLOCHE_ROOT/sandboxes/app/modules/echo/1
    [ "$(versions app echo '.versions[0].sha256')" = "$(sha256sum <"$dir/module.so" | cut -d' ' -f1)" ]
    [ "$(versions app echo '.versions[0].size_bytes')" = "$(stat -c %s "$dir/module.so")" ]
    [ "$(stat -c %a "$dir" "$dir"/*)" = $'755\n444\n444\n444' ]
    [ "$(jq -r .toolchain "$dir/manifest.json")" = c ]
    [[ $(jq -r .compiler "$dir/manifest.json") == gcc* ]]
    run cloche versions app echo
    expect_status 0
    [[ ${lines[0]} =~ VERSION.*STATUS.*ACTIVE.*SHA256 && ${lines[1]} =~ ^\ +1\ +PUBLISHED ]]
    cloche restart app
    [ "$(versions app echo '.versions | length')" = 1 ]
}

@test "one name in two sandboxes is two modules" {
    module_source same >a.c
    sed 's/request->size)/request->size \/ 2)/' a.c >b.c
    only one '{"same":{"source":"a.c"}}'
    expect_status 0
    only two '{"same":{"source":"b.c"}}'
    expect_status 0
    [ "$(versions one same '.versions[0].sha256')" != "$(versions two same '.versions[0].sha256')" ]
}

@test "every toolchain for modules, and a module of several files" {
    local toolchain
    for toolchain in c clang tcc; do
        command -v "${toolchain/#c/cc}" >/dev/null || command -v "$toolchain" >/dev/null || continue
        only "with-$toolchain" "{\"echo\":{\"source\":\"$modules/echo.c\",\"toolchain\":\"$toolchain\"}}"
        expect_status 0
        [ "$(jq -r .toolchain "$CLOCHE_ROOT/sandboxes/with-$toolchain/modules/echo/1/manifest.json")" = "$toolchain" ]
    done
    only more "{\"words\":{\"source\":\"$modules/words.cpp\"},\"parts\":{\"source\":\"$modules/parts\"}}"
    expect_status 0
    [ "$(jq -r '.libraries[0]' "$CLOCHE_ROOT/sandboxes/more/modules/words/1/manifest.json")" = libstdc++.so.6 ]
    [ "$(versions more parts '.versions | length')" = 1 ]
    only parts-tcc "{\"parts\":{\"source\":\"$modules/parts\",\"toolchain\":\"tcc\"}}"
    expect_status 0
}

@test "flags and defines of the spec reach the compiler, as far as the toolchain allows" {
    sed '1i #if N != 7\n#error N\n#endif' "$modules/echo.c" >n.c
    only app '{"echo":{"source":"n.c","defines":["N=7"],"flags":["-O1"]}}'
    expect_status 0
    only two '{"echo":{"source":"n.c"}}'
    expect_status 1
    expect_error build.compile
    only three '{"echo":{"source":"n.c","defines":["N=7"],"flags":["-Wl,-rpath,/x"]}}'
    expect_status 1
    expect_error compile.flag
    [ "$(cloche list --json)" = '[{"id":"app"' ] || [ "$(cloche list --json | jq -r '.[].id')" = app ]
}

@test "what is refused: one clear error that names the step, and nothing stays" {
    mkdir bad bad/empty bad/many
    cloche compile "${effort[@]}" --module "$modules/echo.c" -o good.so
    printf 'hello\n' >bad/garbage.so
    head -c 3000 good.so >bad/truncated.so
    : >bad/nothing.so
    cp good.so bad/machine.so
    printf '\xb7' | dd of=bad/machine.so bs=1 seek=18 conv=notrunc status=none
    truncate -s 200M bad/large.so
    module_source other >bad/name.c
    printf '#include <cloche/module.h>\n#undef CLOCHE_MODULE_MAJOR\n#define CLOCHE_MODULE_MAJOR 9\n' >bad/major.c
    cat "$modules/echo.c" >>bad/major.c
    sed 's/MAJOR 9/MAJOR 1\n#undef CLOCHE_MODULE_MINOR\n#define CLOCHE_MODULE_MINOR 99/' bad/major.c >bad/minor.c
    printf 'int x;\n' >bad/nomodule.c
    printf 'int f(void) { return missing; }\n' >bad/error.c
    sed '1i extern int nobody(void);' "$modules/echo.c" | sed 's/(void)self;/return nobody();/' >bad/undefined.c
    printf '#include "/dev/zero"\n' >bad/endless.c
    ln -s /etc/passwd bad/link.c
    mkfifo bad/fifo.c
    local i
    for i in $(seq 4200); do printf 'int x%s;\n' "$i" >"bad/many/f$i.c"; done
    local file code step
    while read -r file code step; do
        # without control groups the compiler itself runs out of memory
        [ "$code" != build.endless ] || { cgroups_usable && code=build.limit || code=build.compile; }
        only refused "{\"echo\":{\"source\":\"bad/$file\"}}"
        expect_status 1
        expect_error "$code"
        [[ $(jq -r .error.message <<<"$stderr") == "module \"echo\": $step: "* ]] || differ "$file" "$stderr" "$step"
    done <<'END'
garbage.so verify.garbage verify
truncated.so verify.truncated verify
nothing.so verify.truncated verify
machine.so verify.machine verify
large.so verify.size verify
name.c verify.name verify
major.c verify.major verify
minor.c verify.minor verify
nomodule.c verify.no_symbol verify
error.c build.compile compile
undefined.c build.compile compile
endless.c build.endless compile
empty toolchain.unknown compile
many compile.source snapshot
link.c compile.source snapshot
fifo.c compile.source snapshot
missing.c compile.source snapshot
END
    [ "$(cloche list --json)" = '[]' ]
    [ -z "$(ls -A "$CLOCHE_ROOT/sandboxes")" ]
}

@test "a bad reload: one clear error, the old version serves, no number is taken, the history says why" {
    mkdir bad
    made app --module "echo=$modules/echo.c"
    [ "$(cloche call app echo hello)" = hello ]
    cloche compile "${effort[@]}" --module "$modules/echo.c" -o good.so
    printf 'hello\n' >bad/garbage.so
    head -c 3000 good.so >bad/truncated.so
    cp good.so bad/machine.so
    printf '\xb7' | dd of=bad/machine.so bs=1 seek=18 conv=notrunc status=none
    truncate -s 200M bad/large.so
    module_source other >bad/name.c
    printf 'int x;\n' >bad/nomodule.c
    printf 'int f(void) { return missing; }\n' >bad/error.c
    mkfifo bad/fifo.c
    local file code
    while read -r file code; do
        run --separate-stderr timeout 30 cloche reload --json app echo "bad/$file"
        expect_status 1
        expect_error "$code"
        [[ $(jq -r .error.message <<<"$stderr") == *"step "[2-4]* ]] || differ "$file" "$stderr" "a step"
        [ "$(cloche call app echo again)" = again ]
    done <<'END'
garbage.so verify.garbage
truncated.so verify.truncated
machine.so verify.machine
large.so verify.size
name.c verify.name
nomodule.c verify.no_symbol
error.c build.compile
fifo.c compile.source
END
    run --separate-stderr cloche reload --json app missing
    expect_status 1
    expect_error module.unknown
    run --separate-stderr cloche reload --json app echo bad/nowhere.c
    [ "$status" -ne 0 ]
    [ "$(versions app echo '.versions | length')" = 1 ]
    [ "$(cloche history --json app echo | jq -c '[.attempts[1:][] | .state] | unique')" = '["REFUSED"]' ]
    run --separate-stderr cloche reload app echo good.so
    expect_status 0
    [[ $output == "echo: unchanged, version 1 serves" ]]
}

@test "an error of the compiler is shown with its place, and all of it is kept" {
    sed 's/request->size)/request->sise)/' "$modules/echo.c" >wrong.c
    only app '{"echo":{"source":"wrong.c"}}'
    expect_status 1
    expect_error build.compile
    [[ $(jq -r .error.message <<<"$stderr") == *"$WORK/wrong.c:7:"*"no member named 'sise'"* ]]
    [ "$(jq -r .error.path <<<"$stderr")" = "$WORK/wrong.c" ]
    only app '{"echo":{"source":"wrong.c","toolchain":"fortran"}}'
    expect_error toolchain.unknown
    only app '{"echo":{"source":"wrong.c","toolchain":"python"}}'
    expect_error compile.toolchain
}

@test "policy: per profile, per spec, per module; the finding names symbol and file" {
    local denied="{\"denied\":{\"source\":\"$modules/denied.c\"}}"
    only free "$denied"
    expect_status 0
    local profile
    for profile in student strict; do
        only "p-$profile" "$denied" --profile "$profile"
        expect_status 1
        expect_error verify.symbol
        [[ $stderr == *denied.c*'\"execlp\"'*'\"system\"'* || $stderr == *denied.c*'\"system\"'*'\"execlp\"'* ]]
    done
    only plugged "$denied" --profile plugin
    expect_status 0
    only own "{\"denied\":{\"source\":\"$modules/denied.c\",\"deny_symbols\":[\"exec*\"]}}"
    expect_error verify.symbol
    only small "{\"echo\":{\"source\":\"$modules/echo.c\",\"size_bytes\":1000}}"
    expect_error verify.size
    cloche compile "${effort[@]}" --module "$modules/words.cpp" -o words.so
    only libraries '{"words":{"source":"words.so","allow_libraries":["libc.so.6"]}}'
    expect_error verify.library
    [[ $stderr == *words.so*'libstdc++.so.6'* ]]
    printf '{"ociVersion":"1.1.0","cloche":{"module_policy":{"deny_symbols":["system"]},"modules":%s}}' "$denied" >spec.json
    create --json spec --spec spec.json
    expect_error verify.symbol
    printf '{"ociVersion":"1.1.0","cloche":{"module_policy":{"deny":[]}}}' >spec.json
    create --json spec --spec spec.json
    expect_error spec.invalid
}

@test "pinned and let go" {
    only app "{\"echo\":{\"source\":\"$modules/echo.c\"}}"
    run --separate-stderr cloche pin app echo 1
    expect_status 0
    expect_output "app echo 1"
    [ "$(versions app echo '.versions[0].pinned')" = true ]
    cloche unpin app echo 1
    [ "$(versions app echo '.versions[0].pinned')" = false ]
    run --separate-stderr cloche pin --json app echo 2
    expect_status 1
    expect_error store.unknown_version
    run --separate-stderr cloche pin --json app other 1
    expect_error module.unknown
    local number
    for number in 0 -1 x 99999999999; do
        run --separate-stderr cloche pin --json app echo -- "$number"
        expect_status 2
        expect_error usage.version
    done
    [ "$(cloche events --json app | jq -r 'select(.event == "pin.exception") | .code')" = store.unknown_version ]
}

@test "exported, looked into with tar, imported elsewhere: the same bytes, and nothing is GOOD there" {
    only from "{\"echo\":{\"source\":\"$modules/echo.c\"}}"
    cloche create to
    run --separate-stderr cloche export from echo
    expect_status 0
    expect_output echo.tar
    [ "$(tar tf echo.tar)" = $'cloche-versions.json\n1/module.so\n1/manifest.json\n1/build.log' ]
    cloche export -o - from echo | cmp - echo.tar
    run --separate-stderr cloche import to echo echo.tar
    expect_status 0
    expect_output "1 -> 1"
    cmp "$CLOCHE_ROOT/sandboxes/"{from,to}/modules/echo/1/module.so
    [ "$(versions to echo '.versions[0].status')" = PUBLISHED ]
    [ "$(jq -r .compiler "$CLOCHE_ROOT/sandboxes/to/modules/echo/1/manifest.json")" = \
        "$(jq -r .compiler "$CLOCHE_ROOT/sandboxes/from/modules/echo/1/manifest.json")" ]
    run --separate-stderr cloche import --json to echo - < <(cat echo.tar)
    expect_status 0
    [ "$(jq -c .versions <<<"$output")" = '[{"from":1,"version":1,"known":true}]' ]
    run --separate-stderr cloche import --json to other echo.tar
    expect_error archive.invalid
    head -c 5000 echo.tar >half.tar
    run --separate-stderr cloche import --json to echo half.tar
    expect_error archive.invalid
    run --separate-stderr cloche import --json to echo missing.tar
    expect_error archive.unreadable
    run --separate-stderr cloche import --json to echo "$WORK"
    expect_status 1
    run --separate-stderr cloche export --json from missing
    expect_error module.unknown
    [ ! -e missing.tar ]
    run --separate-stderr cloche export --json -o /nowhere/x.tar from echo
    expect_error archive.output
    # what does not pass the policy there does not come in, and nothing of it
    only strict "{\"echo\":{\"source\":\"$modules/echo.c\"}}" --profile strict
    only wild "{\"denied\":{\"source\":\"$modules/denied.c\"}}"
    cloche export -o denied.tar wild denied
    run --separate-stderr cloche import --json strict denied denied.tar
    expect_error verify.symbol
    run --separate-stderr cloche versions --json strict denied
    [ "$status" -ne 0 ] || [ "$(jq '.versions | length' <<<"$output")" = 0 ]
}

@test "without a keeper: what is stored can be read, changes wait for the restart" {
    only app "{\"echo\":{\"source\":\"$modules/echo.c\"}}"
    local before pid
    before=$(versions app echo '.versions | map(del(.active))')
    pid=$(cloche info --json app | jq .keeper_pid)
    kill -KILL "$pid"
    wait_until 5 bash -c '[ "$(cloche info --json app | jq -r .status)" = "failed(keeper)" ]'
    [ "$(versions app echo '.versions | map(del(.active))')" = "$before" ]
    [ "$(versions app echo .active)" = null ]
    cloche history app echo
    cloche export -o - app echo | tar t >list
    grep -qx 1/module.so list
    run --separate-stderr cloche versions --json app other
    expect_error module.unknown
    run --separate-stderr cloche pin --json app echo 1
    expect_status 1
    expect_error keeper.gone
    cloche restart app
    cloche pin app echo 1
    [ "$(versions app echo '.versions | length')" = 1 ]
}

@test "a module given twice is refused, and nothing is made" {
    run --separate-stderr cloche create box --module a=one.c --module ab=two.c --module a=two.c
    expect_status 2
    expect_stderr_line 'module "a" is given twice'
    [ "$(cloche list --json)" = "[]" ]
}

@test "questions about what is not there" {
    cloche create empty
    local command
    for command in versions history; do
        run --separate-stderr cloche "$command" --json empty nothing
        expect_status 1
        expect_error module.unknown
        run --separate-stderr cloche "$command" --json nowhere nothing
        expect_status 1
        expect_error sandbox.unknown
    done
    run --separate-stderr cloche versions --json empty
    expect_status 2
    expect_error usage.operand
    run --separate-stderr cloche history --json empty
    expect_status 0
    expect_output '{"attempts":[]}'
    for command in a/b '' .. "$(printf 'a%.0s' {1..65})"; do
        run --separate-stderr cloche create --json "${effort[@]}" new --module "$command=$modules/echo.c"
        [ "$status" -ne 0 ]
    done
    run --separate-stderr cloche create --json new --module echo
    expect_status 2
    expect_error usage.value
}

no_compiler() { ! pgrep -f "cc1plus.*$1" >/dev/null; }

@test "killed while it compiles: a create leaves no compiler behind" {
    local name=slow$$ i
    for i in $(seq 60); do
        printf 'template <int n> struct t%d { static constexpr int v = t%d<n - 1>::v + 1; };\n' "$i" "$i"
        printf 'template <> struct t%d<0> { static constexpr int v = 0; };\nint x%d = t%d<800>::v;\n' "$i" "$i" "$i"
    done >"$name.cpp"
    only none "{\"slow\":{\"source\":\"$name.cpp\"}}" 3>&- &
    wait_until 10 pgrep -f "cc1plus.*$name" >/dev/null
    [ "$(cloche info --json none | jq -r .status)" = compiling ]
    kill -KILL "$(cloche info --json none | jq .keeper_pid)"
    wait || :
    wait_until 10 no_compiler "$name"
}
