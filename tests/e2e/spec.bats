# Specs as files: printed, judged, run; profiles listed.
load helper

@test "spec prints what run takes" {
    # without control groups a user can have a best effort only
    local effort=()
    [ "$(id -u)" -eq 0 ] || effort=(--best-effort)
    cloche spec "${effort[@]}" --profile student --memory 99m -e GREETING=hello -v "$WORK:/data:ro" --tmpfs /scratch:1m \
        -- /bin/sh -c 'echo $GREETING; id -u; cat /data/file; df /scratch >/dev/null && echo scratch' >spec.json
    echo content >file
    [ "$(jq -c '[.linux.resources.memory.limit, .cloche.profile, .process.args[0]]' spec.json)" = '[103809024,"student","/bin/sh"]' ]
    run --separate-stderr cloche run --spec spec.json
    expect_status 0
    expect_output "$(printf 'hello\n1000\ncontent\nscratch')"
    expect_stderr ""
    run --separate-stderr cloche run --spec spec.json -e GREETING=bye -- /bin/sh -c 'echo $GREETING'
    expect_status 0
    expect_output bye
}

@test "spec by way of a pipe, and again to the same text" {
    cloche spec --profile ci >one.json
    cloche spec --spec one.json >two.json
    cmp one.json two.json
    run --separate-stderr bash -c 'cloche spec -- /bin/echo piped | cloche run --spec /dev/stdin'
    expect_status 0
    expect_output piped
}

@test "spec without options is complete, with a command to be replaced" {
    run --separate-stderr cloche spec
    expect_status 0
    expect_stderr ""
    [ "$(jq -c '[.ociVersion, .process.args, .root.path, .hostname, .cloche.rootfs, .cloche.network, .cloche.seccomp]' <<<"$output")" = \
        '["1.1.0",["/bin/sh"],"/","sandbox","host","none","tight"]' ]
}

@test "errors of spec" {
    run --separate-stderr cloche spec --profile studnet
    expect_status 1
    expect_output ""
    expect_stderr 'cloche: there is no profile "studnet"; did you mean "student"?; fix: use one of ci, compile, plugin, relaxed, standard, strict, student'
    run --separate-stderr cloche spec --memry 1g
    expect_status 2
    expect_output ""
    run --separate-stderr bash -c 'cloche spec >/dev/full'
    expect_status 1
    expect_stderr "cloche: cannot write the spec to standard output: No space left on device"
    run --separate-stderr cloche spec -w relative
    expect_output ""
    [ "$status" -ne 0 ]
}

@test "a refused spec runs nothing and says everything" {
    cat >bad.json <<END
{ "process": { "cwd": "x", "args": [ "/bin/touch", "/work/ran" ] }, "hooks": { "prestart": [ { "path": "/bin/true" } ] },
  "cloche": { "limits": { "wall_ms": "10s", "memory_byte": 5 } } }
END
    run --separate-stderr cloche run -v "$WORK:/work:rw" --spec bad.json
    expect_status 125
    expect_output ""
    expect_stderr "cloche: bad.json: 4 problems:
process.cwd: expected an absolute path, found \"x\" (a string)
hooks.prestart: hooks are not supported: they run programs on the host, outside the sandbox
cloche.limits.wall_ms: expected a number of milliseconds > 0, found \"10s\" (a string)
cloche.limits.memory_byte: no such property; did you mean \"memory_bytes\"?"
    [ ! -e ran ]
    run --separate-stderr cloche run --json --spec bad.json
    expect_status 125
    expect_error spec.invalid
    [ "$(jq -r .error.path <<<"$stderr")" = process.cwd ]

    # what only the whole file shows, too; not what may only follow from another problem
    cat >bad.json <<END
{ "hostname": "a b", "process": { "args": [ 1 ], "capabilities": { "permitted": [ "CAP_NONE" ], "effective": [ "CAP_KILL" ] } },
  "linux": { "namespaces": [ { "type": "mount" }, { "type": "tim" } ], "timeOffsets": { "boottime": { "secs": 1 } },
             "cgroupsPath": "/../x", "sysctl": { "kernel.panic": "1", "net.core.somaxconn": "1" } } }
END
    run --separate-stderr cloche run --spec bad.json -- true
    expect_status 125
    expect_stderr 'cloche: bad.json: 6 problems:
process.args[0]: expected a string, found 1
process.capabilities.permitted[0]: expected a capability like "CAP_NET_BIND_SERVICE", found "CAP_NONE" (a string)
linux.namespaces[1].type: expected one of "user", "pid", "mount", "ipc", "uts", "network", "cgroup", "time", found "tim" (a string); did you mean "time"?
hostname: has a character that a name cannot have: "a b"
linux.cgroupsPath: may not contain "..": "/../x"
linux.sysctl["kernel.panic"]: belongs to no namespace and would change the host'

    printf '{\n "a": 01 }' >syntax.json
    run --separate-stderr cloche run --spec syntax.json -- true
    expect_status 125
    expect_stderr "cloche: syntax.json: not valid JSON: line 2, column 7: a number may not begin with 0"
}

@test "doctor --spec lists what is ignored and what is wrong" {
    echo '{ "vendor": 1, "linux": { "resources": { "memory": { "limt": 5 } } } }' >ignored.json
    run --separate-stderr cloche doctor --spec ignored.json
    expect_status 0
    expect_output 'ignored: linux.resources.memory.limt (did you mean "limit"?)
ignored: vendor
ignored.json is a valid spec; Cloche ignores the properties above'
    expect_stderr ""
    echo '{ "vendor": 1, "process": { "cwd": 7 } }' >wrong.json
    run --separate-stderr cloche doctor --spec wrong.json --json
    expect_status 1
    [ "$(jq -c . <<<"$output")" = '{"spec":"wrong.json","ignored":["vendor"],"error":{"code":"spec.invalid","message":"process.cwd: expected an absolute path, found 7"}}' ]
    run --separate-stderr cloche doctor --spec nothing.json
    expect_status 1
    expect_output ""
    expect_stderr 'cloche: cannot read the spec "nothing.json": No such file or directory; fix: cloche spec > FILE writes one to start from'
}

@test "profiles, and one of the user's own" {
    export XDG_CONFIG_HOME=$WORK/config
    run --separate-stderr cloche profiles
    expect_status 0
    [ "$(awk '{ print $1 }' <<<"$output" | paste -sd' ')" = "ci compile plugin relaxed standard strict student" ]
    mkdir -p config/cloche/profiles
    echo '{ "cloche": { "extends": "student", "description": "For week 3.", "limits": { "wall_ms": 7 } } }' >config/cloche/profiles/week3.json
    run --separate-stderr cloche profiles --json
    expect_status 0
    [ "$(jq -c '.[] | select(.name == "week3")' <<<"$output")" = \
        '{"name":"week3","description":"For week 3.","memory_bytes":268435456,"processes":64,"cpu_ms":2000,"wall_ms":7,"output_bytes":16777216,"seccomp":"tight"}' ]
    [ "$(cloche spec --profile week3 | jq .cloche.limits.wall_ms)" = 7 ]
    run --separate-stderr cloche profiles week3
    expect_status 2
    expect_stderr 'cloche: unexpected argument "week3"'
}

@test "a bundle made by runc runs unchanged" {
    need_program runc
    need_program busybox
    mkdir -p bundle/rootfs/bin bundle/rootfs/proc bundle/rootfs/dev bundle/rootfs/sys
    cp "$(command -v busybox)" bundle/rootfs/bin/sh
    # runc has another file for users who are not root
    local rootless=()
    [ "$(id -u)" -eq 0 ] || rootless=(--rootless)
    (cd bundle && runc spec "${rootless[@]}")
    run --separate-stderr cloche doctor --spec bundle/config.json
    expect_status 0
    expect_output "bundle/config.json is a valid spec"
    # the same but for the terminal, which a test has not
    jq '.process.terminal = false | .process.args = ["sh", "-c", "echo in a bundle; hostname; id -u"]' bundle/config.json >bundle/plain.json
    run --separate-stderr cloche run --spec bundle/plain.json
    expect_status 0
    expect_output "$(printf 'in a bundle\nrunc\n0')"
}

@test "what cannot be meant is refused, with its place and what to do" {
    cloche spec >spec.json
    local edit words
    while IFS='|' read -r edit words; do
        jq "$edit" spec.json >wrong.json
        run --separate-stderr cloche run --spec wrong.json -- true
        expect_status 125
        expect_stderr "cloche: $words"
    done <<'END'
.linux.maskedPaths = ["/"]|linux.maskedPaths[0]: the root itself cannot be masked
.linux.devices = [{"path":"/dev/null","type":"c","major":1,"minor":5}]|"/dev/null" has its standard numbers in every sandbox, and no others; fix: leave it out, or give the device another name
.extends = "student"|wrong.json: extends: it belongs into "cloche": "cloche": {"extends": ...}
END
    run --separate-stderr env CLOCHE_RUN=relative "$CLOCHE" create box -- sleep 100
    [ "$status" -ne 0 ]
    expect_stderr 'cloche: CLOCHE_RUN is "relative", which is no absolute path; fix: set it to a directory from the root on, or unset it'
    printf 'no json' >filter
    run --separate-stderr cloche run --seccomp filter true
    expect_status 125
    [[ $stderr = *"found what is not JSON: filter"* ]]
    touch file
    run --separate-stderr cloche run -v "$PWD/file:/x:O" true
    expect_status 125
    [[ $stderr = *"must be a directory"* ]]
}
