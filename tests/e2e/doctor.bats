# cloche doctor.
load helper

@test "the table: a line for each ability, a fix for each no, and the status of a student run" {
    run --separate-stderr cloche doctor
    expect_stderr ""
    [[ ${lines[0]} = "cloche 0.1.0, Linux $(uname -r) $(uname -m), user $(id -u)" ]]
    # under every "no" stands its fix
    awk 'substr($0, 54) ~ /^no( |$)/ { if (getline next_line <= 0 || next_line !~ /^      fix: ./) { print; bad = 1 } } END { exit bad }' <<<"$output"
    last=$(grep -A 1 'cloche run --profile student' <<<"$output")
    run --separate-stderr cloche run --profile student true
    if [ "$status" -eq 0 ]; then
        [[ $last = *" yes" ]]
        cloche doctor >/dev/null
    else
        [[ $last = *" no  ${stderr#cloche: }"* || $last = *" no  "* ]]
        ! cloche doctor >/dev/null
    fi
}

@test "--json: the same as data" {
    cloche doctor --json >doctor.json || [ $? -eq 1 ]
    [ "$(jq -r '.abilities | map(.group) | unique | join(" ")' doctor.json)" = "cgroup ids kernel mount namespace setting" ]
    [ "$(jq -r '.abilities | map(select(.group == "namespace").name) | join(" ")' doctor.json)" = "user pid mount ipc uts network cgroup time" ]
    [ "$(jq -r '.abilities | map(select(.group == "cgroup").name) | join(" ")' doctor.json)" = "memory pids cpu cpuset io hugetlb" ]
    jq -e '.abilities | map(select(.usable | not) | .fix != null) | all' doctor.json
    jq -e '.abilities | map(.usable or (.fix | length > 0)) | all' doctor.json
    [ "$(jq -r .user doctor.json)" = "$(id -u)" ]
    if [ "$(jq .student.usable doctor.json)" = true ]; then
        jq -e '.student.error == null' doctor.json
    else
        jq -e '.student.error | length > 0' doctor.json
    fi
}

@test "a user without user namespaces: no, with the setting that is in the way" {
    need_root
    # the limit of a new user namespace's own, not the machine's
    run --separate-stderr unshare --user --map-root-user --mount -- bash -c 'echo 0 >/proc/sys/user/max_user_namespaces && exec "$1" doctor' sh "$CLOCHE"
    expect_status 1
    [[ $output = *$'  user                                               no  No space left on device\n      fix: sysctl -w user.max_user_namespaces=10000 (now 0), or end some sandboxes'* ]]
}

@test "read-only control groups: no, with the remount" {
    need_root
    run --separate-stderr unshare --mount --propagation private -- bash -c 'mount --rbind /sys/fs/cgroup /sys/fs/cgroup; while read -r _ _ _ _ point _; do
        case $point in /sys/fs/cgroup*) mount -o remount,bind,ro "$point";; esac; done </proc/self/mountinfo; exec "$1" doctor --json' sh "$CLOCHE"
    expect_status 1
    [ "$(jq -r '.abilities[] | select(.group == "cgroup" and .name == "memory") | .usable' <<<"$output")" = false ]
    [[ $(jq -r '.abilities[] | select(.group == "cgroup" and .name == "memory") | .fix' <<<"$output") = "mount -o remount,rw /sys/fs/cgroup"* ]]
    [ "$(jq -r .student.usable <<<"$output")" = false ]
}

@test "usage" {
    run --separate-stderr cloche doctor --help
    expect_status 0
    [[ ${lines[0]} = "usage: cloche doctor "* ]]
    run --separate-stderr cloche doctor everything
    expect_status 2
    expect_stderr 'cloche: doctor takes no operand, found "everything"'
    run --separate-stderr cloche doctor --jsn
    expect_status 2
    expect_stderr 'cloche: unknown option "--jsn"; fix: did you mean --json?'
}

@test "doctor leaves nothing behind" {
    before=$(cut -d' ' -f5- /proc/self/mountinfo)
    cloche doctor >/dev/null || [ $? -eq 1 ]
    [ "$(cut -d' ' -f5- /proc/self/mountinfo)" = "$before" ]
}
