# Compares the machine before and after a test, and names what the test left over. For bash; see tests/e2e/helper.bash.
#
#   leaks_snapshot DIRECTORY     writes what is there now
#   leaks_check DIRECTORY        fails, with a list on stderr, when there is more now; waits a while for what is
#                                just going (a killed tree takes the kernel some milliseconds)
#
# Other sessions run sandboxes on the same machine at the same time, so only what belongs to this test is compared:
#   processes   the descendants of tests/lib/guard.c, a subreaper: nothing escapes it
#   mounts, network links, System V IPC    all of this namespace; tests/run makes private ones (CLOCHE_TEST_PRIVATE),
#                                          without it only mounts that mention the test's directory
#   cgroups     cloche.slice/run-<pid>-<n> of the pids that "$CLOCHE_TEST_PIDS" lists (one a line)
#   files       what is below $CLOCHE_ROOT, $CLOCHE_RUN, $TMPDIR; the table below says what may stay

# Extended regular expressions of paths relative to CLOCHE_ROOT or CLOCHE_RUN that outlive a run by design.
leaks_files_that_stay='^(cache/seccomp/[0-9a-f]{64}\.bpf|cache/artifacts/.*|ids/.*|.*\.lock)$'

leaks_grace_s=$((3 * ${CLOCHE_TEST_SCALE:-1}))

leaks_processes() {
    [ -z "${CLOCHE_TEST_GUARD-}" ] || "${CLOCHE_BUILD_DIR:?}/tests/guard" --list
}

# Mount id, root, mount point, type: the options may change without a leak.
leaks_mounts() {
    local filter=
    [ -n "${CLOCHE_TEST_PRIVATE-}" ] || filter=${CLOCHE_ROOT%/*}
    awk -v filter="$filter" '
        filter == "" || index($0, filter) { for (i = 7; $i != "-"; i++); print $1, $4, $5, $(i + 1) }' /proc/self/mountinfo
}

leaks_links() {
    [ -n "${CLOCHE_TEST_PRIVATE-}" ] || return 0
    # Not /sys/class/net: it shows the namespace in which sysfs was mounted.
    awk -F: 'FNR > 2 { print "link", $1 }' /proc/self/net/dev
    [ ! -d /run/netns ] || find /run/netns -mindepth 1 -printf 'netns %f\n'
}

leaks_ipc() {
    [ -z "${CLOCHE_TEST_PRIVATE-}" ] || awk 'FNR > 1 { print FILENAME, $1, $2 }' /proc/sysvipc/shm /proc/sysvipc/sem /proc/sysvipc/msg
}

leaks_cgroups() {
    local pid
    [ -s "${CLOCHE_TEST_PIDS-/dev/null}" ] || return 0
    find /sys/fs/cgroup -type d -path '*/cloche.slice/run-*' -prune >"$1.all" 2>/dev/null
    sort -u "$CLOCHE_TEST_PIDS" | while read -r pid; do
        grep "/run-$pid-[^/]*\$" "$1.all"
    done
    rm -f "$1.all"
}

leaks_files() {
    local top
    for top in "${CLOCHE_ROOT-}" "${CLOCHE_RUN-}"; do
        [ ! -d "$top" ] || find "$top" -mindepth 1 ! -type d -printf '%P\n' | grep -vE "$leaks_files_that_stay" |
            awk -v top="$top" '{ print top "/" $0 }'
    done
    [ ! -d "${TMPDIR-}" ] || find "$TMPDIR" -mindepth 1 -maxdepth 1
}

leaks_kinds="processes mounts links ipc cgroups files"

# leaks_list DIRECTORY MOMENT. No pipe: its other end would be a process of this test.
leaks_list() {
    local kind
    for kind in $leaks_kinds; do
        "leaks_$kind" "$1/$kind" >"$1/$kind"
        sort -o "$1/$kind.$2" "$1/$kind"
    done
}

leaks_snapshot() {
    mkdir -p "$1"
    leaks_list "$1" before
}

leaks_compare() {
    local kind found=0
    leaks_list "$1" after
    for kind in $leaks_kinds; do
        comm -13 "$1/$kind.before" "$1/$kind.after" >"$1/$kind.left"
        [ ! -s "$1/$kind.left" ] || found=1
    done
    return "$found"
}

leaks_check() {
    local end=$((SECONDS + leaks_grace_s)) kind
    until leaks_compare "$1"; do
        if [ "$SECONDS" -ge "$end" ]; then
            for kind in $leaks_kinds; do
                sed "s/^/left over ($kind): /" "$1/$kind.left" >&2
            done
            return 1
        fi
        read -r -t 0.05 <> <(:) || :
    done
}
