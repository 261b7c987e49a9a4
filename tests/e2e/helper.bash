# For every bats file: load helper
# Run them by tests/run (tests/run tests/e2e/x.bats): it starts the guard that finds left over processes.
#
# Each test gets a state and a run directory of its own (CLOCHE_ROOT, CLOCHE_RUN), an empty working directory ($WORK,
# also the current one), an empty TMPDIR, and `cloche` on the PATH. After the test the machine is compared with before;
# a leftover fails it (tests/lib/guard.h). A file that needs its own setup or teardown calls cloche_setup first, cloche_teardown last.
#
#   run --separate-stderr cloche run ...    $status, $output, $stderr as bats has them
#   expect_status N                         exact, and shows everything when it differs
#   expect_output TEXT | expect_stderr TEXT exact; "" for nothing
#   expect_stderr_line PATTERN              one line of stderr matches the extended regular expression
#   report FIELD [FILE]                     a jq path of report.json: report .verdict
#   expect_report FIELD VALUE [FILE]
#   expect_error CODE                       $output or $stderr is the --json error object with this code
#   wait_until SECONDS COMMAND...           polls; fails when the time is over (longer in the virtual machine)
#   begin_crowd ... end_crowd               between them the machine is a crowded one (isolation/bare.c)
#   need_root | need_user | need_subuid | need_cgroups | need_no_cgroups | need_cgroup2 | need_program NAME   skip with a reason
bats_require_minimum_version 1.5.0

CHECKOUT=$(cd "${BASH_SOURCE[0]%/*}/../.." && pwd -P)
CLOCHE_BUILD_DIR=$CHECKOUT/${CLOCHE_BUILD:-build}
CLOCHE=$CLOCHE_BUILD_DIR/cloche
# Software emulation is 10 to 20 times slower: deadlines grow, expectations stay.
CLOCHE_TEST_SCALE=${CLOCHE_VM:+20}
CLOCHE_TEST_SCALE=${CLOCHE_TEST_SCALE:-1}
export CHECKOUT CLOCHE_BUILD_DIR CLOCHE CLOCHE_TEST_SCALE

cloche_setup() {
    local top=$BATS_TEST_TMPDIR
    export CLOCHE_ROOT=$top/root CLOCHE_RUN=$top/run WORK=$top/work TMPDIR=$top/tmp
    PATH=$top/bin:$PATH
    "$CLOCHE_BUILD_DIR/tests/guard" begin "$top"
    cd "$WORK" || return 1
}

cloche_teardown() {
    "$CLOCHE_BUILD_DIR/tests/guard" end "$BATS_TEST_TMPDIR"
}

setup() { cloche_setup; }
teardown() { cloche_teardown; }

show_result() {
    printf 'status: %s\n' "$status"
    printf 'stdout: %s\n' "$output"
    printf 'stderr: %s\n' "${stderr-(not kept: use run --separate-stderr)}"
}

# differ NAME FOUND EXPECTED
differ() {
    printf '%s is "%s", expected "%s"\n' "$@"
    show_result
    return 1
}

expect_status() {
    [ "$status" -eq "$1" ] || differ "exit status" "$status" "$1"
}

expect_output() {
    [ "$output" = "$1" ] || differ stdout "$output" "$1"
}

expect_stderr() {
    [ "${stderr?use run --separate-stderr}" = "$1" ] || differ stderr "$stderr" "$1"
}

expect_stderr_line() {
    grep -Eq -- "$1" <<<"${stderr?use run --separate-stderr}" || differ "no line of stderr" "$stderr" "$1"
}

report() {
    jq -r "$1" "${2:-report.json}"
}

expect_report() {
    local found
    found=$(report "$1" "${3:-report.json}") || return 1
    [ "$found" = "$2" ] || {
        differ "report $1" "$found" "$2" || :
        cat "${3:-report.json}"
        return 1
    }
}

expect_error() {
    local found
    found=$(printf '%s\n%s\n' "$output" "${stderr-}" | jq -Rr 'fromjson? | objects | .error.code? // empty' | head -n 1)
    [ "$found" = "$1" ] || differ "error code" "$found" "$1"
}

wait_until() {
    local end=$((SECONDS + $1 * CLOCHE_TEST_SCALE))
    shift
    until "$@"; do
        if [ "$SECONDS" -ge "$end" ]; then
            printf 'the time is over, and still not: %s\n' "$*"
            return 1
        fi
        read -r -t 0.02 <> <(:) || :
    done
}

# The machine is a crowded one (isolation/bare.c) from begin_crowd to end_crowd.
begin_crowd() {
    coproc CROWD { exec "$CHECKOUT/tests/lib/crowd" 3>&-; }
    read -r _ <&"${CROWD[0]}"
}

end_crowd() {
    eval "exec ${CROWD[1]}>&-"
    wait "$CROWD_PID"
}

need_root() { [ "$(id -u)" -eq 0 ] || skip "needs root"; }

need_user() { [ "$(id -u)" -ne 0 ] || skip "needs an ordinary user"; }

need_subuid() {
    need_user
    grep -qs "^$(id -un):" /etc/subuid || skip "this user has no range in /etc/subuid"
}

need_program() { command -v "$1" >/dev/null || skip "no $1 on this machine"; }

# Where limits can be enforced: as root, or below a delegated group.
need_cgroups() {
    cgroups_usable || skip "no cgroup controllers delegated to this user"
}

cgroups_usable() {
    local group
    [ "$(id -u)" -ne 0 ] || return 0
    group=/sys/fs/cgroup$(sed -n 's/^0:://p' /proc/self/cgroup)
    [ -w "$group/cgroup.procs" ] && grep -qw memory "$group/cgroup.controllers"
}

# effort: what the profile of a sandbox with workers needs beside it where no control group limits memory. The sanitizers
# take terabytes of address space.
set_effort() {
    effort=()
    cgroups_usable && return
    effort=(--best-effort)
    [ "${CLOCHE_BUILD-}" != build-asan ] || effort+=(--memory 65536g)
}

# Where no limit can be enforced by a control group.
need_no_cgroups() {
    ! cgroups_usable || skip "this user has cgroup controllers"
}

need_cgroup2() {
    [ "$(stat -f -c %T /sys/fs/cgroup)" = cgroup2fs ] || skip "this machine has no pure cgroup v2"
    need_cgroups
}
