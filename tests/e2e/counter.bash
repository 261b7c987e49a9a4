# For bats files about a module that is changed while it serves: load helper, load counter
# (MODULE: another name than "counter" for what call, last, confirm and fails speak of)
#
# The module is tests/modules/counter.c, built with the fault that a test is about:
#   build NAME [FLAGS...]       NAME.so; $SOURCE instead of the counter; tests/modules/faults.h is in front of it
#   box [FLAGS...]              sandbox "box" with version 1, GOOD, whose count is 3
#   call ARGS... | last PATH    of the counter in "box"; of its last attempt
#   tried NAME [OPTIONS]        reload to NAME.so as a user types it, errors as JSON
#   fails STEP NAME             that one said so, with a status that is not zero
#   after COUNT VERSION STATE REASON   who serves, with which count, and the last attempt's one end
: "${CHECKOUT:?load helper first}"
MODULE=counter

setup() {
    cloche_setup
    mkdir -p include/cloche
    cp "$CHECKOUT/versions/module.h" include/cloche/
    set_effort
}

teardown() {
    local id
    for id in $(cloche list --json 2>/dev/null | jq -r '.[].id'); do
        cloche destroy --force "$id" >/dev/null 2>&1 || :
    done
    rmdir "$CLOCHE_ROOT/sandboxes" "$CLOCHE_RUN/sandboxes" 2>/dev/null || :
    cloche_teardown
}

build() {
    local name=$1
    shift
    ${COMPILER:-gcc -O1 -fPIC -shared -fvisibility=hidden -Wl,-z,defs,-z,now,-z,noexecstack} -Iinclude \
        -DLABEL="\"$name\"" "$@" -include "$CHECKOUT/tests/modules/faults.h" -o "$name.so" \
        "$CHECKOUT/tests/modules/${SOURCE:-counter}.c"
}

create() { cloche create "$1" --profile plugin "${effort[@]}" "${@:2}" >/dev/null; }

box() {
    build one "$@"
    create box
    first box
}

# first ID: its first version is one.so, and GOOD.
first() {
    cloche reload "$1" counter=one.so >/dev/null
    [ "$(cloche call "$1" counter add)" = 1 ]
    confirm "$1" 1
    [ "$(cloche call "$1" counter add; cloche call "$1" counter add)" = 23 ]
}

# confirm ID VERSION: and it is GOOD.
confirm() {
    cloche confirm "$1" $MODULE
    wait_until 10 status_in "$1" "$2" GOOD
}

# a pause that does not end fails its test, not the whole suite
call() { timeout $((20 * CLOCHE_TEST_SCALE)) cloche call box $MODULE "$@"; }
last() { cloche history --json box $MODULE | jq -r ".attempts[-1]$1"; }
status_in() { [ "$(cloche versions --json "$1" $MODULE | jq -r ".versions[] | select(.version == $2) | .status")" = "$3" ]; }
status_of() { status_in box "$@"; }
serves() { [ "$(call version)" = "$1" ]; }
module() { cloche info --json "${2:-box}" | jq -r ".children[0].module$1"; }
ended() { [ "$(module .attempt)" = null ]; }
in_hand() { [ "$(module .in_hand)" = "${1:-1}" ]; }
keeper_pid() { cloche info --json "${1:-box}" | jq .keeper_pid; }
gone() { [ "$(cloche info --json "${1:-box}" | jq -r .status)" = "failed(keeper)" ]; }

tried() { run --separate-stderr cloche reload --json box $MODULE="$1.so" "${@:2}"; }

fails() {
    expect_status 1
    [[ $(jq -r .error.message <<<"$stderr") = "step $1 ($2) of module \"$MODULE\": "* ]] ||
        differ message "$stderr" "step $1 ($2)"
}

after() {
    wait_until 10 ended
    [ "$(call get) $(call version)" = "$1 $2" ] || differ "count and version" "$(call get) $(call version)" "$1 $2"
    [ "$(last '| .state, .reason' | paste -sd '|')" = "$3|$4" ] ||
        differ "the last attempt" "$(last '| .state, .reason' | paste -sd '|')" "$3|$4"
    terminal
    [ "$(cloche versions --json box counter | jq .active)" = "$2" ]
    [ "$(readlink "$CLOCHE_ROOT/sandboxes/box/modules/counter/current")" = "$2" ] ||
        differ current "$(readlink "$CLOCHE_ROOT/sandboxes/box/modules/counter/current")" "$2"
    wait_until 5 alone
}

# terminal [OPEN]: every attempt has exactly one terminal row, its last; OPEN of them have none yet.
terminal() {
    python3 - "$CLOCHE_ROOT/sandboxes/${BOX:-box}/sandbox.db" "${1:-0}" <<'PY'
import sqlite3, sys
db = sqlite3.connect(f"file:{sys.argv[1]}?mode=ro", uri=True)
rows = db.execute("SELECT sequence, attempt, state FROM history ORDER BY sequence").fetchall()
assert [r[0] for r in rows] == list(range(1, len(rows) + 1)), "gaps"
end = {"GOOD", "BAD", "ROLLED_BACK", "REFUSED", "ABORTED", "UNCHANGED", "SUPERSEDED"}
attempts = {}
for _, attempt, state in rows:
    attempts.setdefault(attempt, []).append(state)
open_ones = 0
for attempt, states in attempts.items():
    ends = [s for s in states if s in end]
    assert len(ends) <= 1 and (not ends or states[-1] == ends[0]), (attempt, states)
    open_ones += not ends
assert open_ones == int(sys.argv[2]), attempts
PY
}

# alone [WORKERS]: below the keeper there is nothing but init and WORKERS workers: the serving one and two in reserve.
alone() {
    [ "$(workers "$(keeper_pid "${BOX:-box}")")" = "${1:-3} ${1:-3}" ]
}

# workers PID: how many processes of cloche-worker are below it, and how many leaves its tree has in all.
workers() {
    ps -eo pid=,ppid=,args= | awk -v top="$1" '
        { parent[$1] = $2; name[$1] = $3; inner[$2] = 1 }
        function below(p) { for (; p in parent; p = parent[p]) if (p == top) return 1; return 0 }
        END { for (p in parent) if (p != top && below(p)) { w += name[p] == "cloche-worker"; leaves += !(p in inner) }
              print w + 0, leaves + 0 }'
}
