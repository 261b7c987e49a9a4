# linux.namespaces by path: membership is proved by the inodes of /proc/self/ns, and whatever cannot be joined is one
# clear error with nothing started.
load helper
load bundle

setup() {
    cloche_setup
    make_rootfs
    keeper=
}

teardown() {
    release
    cloche_teardown
}

# hold FLAG...: a process in new namespaces (unshare's words); $holder is its pid. A user namespace that unshare does not
# map gets the ids 200000 to 200999 of the host.
hold() {
    local by_hand=
    mkfifo go
    if [[ " $* " = *" --user "* && " $* " != *" --map-"* ]]; then by_hand=1; fi
    [ -n "$by_hand" ] || echo >go &
    unshare --fork --kill-child=KILL "$@" sh -c 'read -r go <go; echo ready; exec sleep 1000' >held 3>&- &
    keeper=$!
    if [ -n "$by_hand" ]; then
        wait_until 10 other_user "$keeper"
        echo "0 200000 1000" >/proc/$keeper/uid_map
        echo "0 200000 1000" >/proc/$keeper/gid_map
        echo >go
    fi
    wait_until 10 grep -q ready held
    holder=$(pgrep -P "$keeper")
}

other_user() { [ "$(readlink /proc/"$1"/ns/user)" != "$(readlink /proc/self/ns/user)" ]; }

release() {
    [ -n "$keeper" ] || return 0
    kill -KILL "$keeper" "$holder" || :
    wait "$keeper" || :
    keeper=
}

# joins TYPE...: the jq expression for a spec that joins the holder's namespaces of these types; the others are new.
joins() {
    local -A file=([network]=net [mount]=mnt)
    local type list=
    for type in pid mount ipc uts network user cgroup; do
        list+=", {type: \"$type\""
        case " $* " in *" $type "*) list+=", path: \"/proc/$holder/ns/${file[$type]-$type}\"" ;; esac
        list+="}"
    done
    echo ".linux.namespaces = [${list:2}]"
}

# Nothing is built in a joined mount namespace.
readonly as_it_is='.root.path = "/" | .mounts = []'
readonly show='for n in user pid mnt ipc uts net cgroup; do readlink /proc/self/ns/$n; done'

# member TYPE... [as-it-is]: the program is in the holder's namespaces of these types, and in none of its or ours for others.
member() {
    local -A file=([network]=net [mount]=mnt) seen=()
    local type name expression
    expression=$(joins "$@")
    case " $* " in *" mount "*) expression+=" | $as_it_is" ;; esac
    spec "$expression" "$show"
    inside
    expect_status 0
    for name in $output; do seen[${name%%:*}]=$name; done
    [ "${#seen[@]}" -eq 7 ]
    for type in pid mount ipc uts network user cgroup; do
        name=${file[$type]-$type}
        case " $* " in
        *" $type "*) [ "${seen[$name]}" = "$(readlink /proc/"$holder"/ns/"$name")" ] ;;
        *) [ "${seen[$name]}" != "$(readlink /proc/"$holder"/ns/"$name")" ] ;;
        esac || { differ "the $type namespace" "${seen[$name]}" "that of /proc/$holder, or not: $*"; return 1; }
        [ "${seen[$name]}" != "$(readlink /proc/self/ns/"$name")" ] || differ "the $type namespace" "${seen[$name]}" "not the host's"
    done
}

@test "root: user, with its maps as they are" {
    need_root
    hold --user --pid --mount --net --ipc --uts --cgroup
    member user
    holds "$(joins user)" 'cat /proc/self/uid_map /proc/self/gid_map | awk "{ print \$1, \$2, \$3 }"; id -u' $'0 200000 1000\n0 200000 1000\n0'
    spec "$(joins user) | .process.user = {uid: 1000, gid: 0}" true
    inside
    expect_status 125
    expect_stderr_line '^cloche: user 1000:0 of the program is not in the id maps of the sandbox; '
}

@test "root: pid, of a namespace that the host owns" {
    need_root
    hold --pid
    member pid
    # the holder is its first process, and /proc is of that namespace
    holds "$(joins pid)" 'cat /proc/1/comm' sleep
    holds "$(joins pid) | .linux.sysctl = {\"kernel.msgmax\": \"12345\"}" 'cat /proc/sys/kernel/msgmax' 12345
}

@test "root: each of the others, and all together" {
    need_root
    hold --user --pid --mount --net --ipc --uts --cgroup
    member ipc uts network cgroup
    member user pid
    member user network
    member mount
    member mount user
    member user pid mount ipc uts network cgroup
}

@test "root: of namespaces that the host owns" {
    need_root
    hold --pid --mount --net --ipc --uts --cgroup
    member mount
    member pid mount ipc uts network cgroup
    holds "$(joins ipc) | .mounts += [{destination: \"/dev/mqueue\", type: \"mqueue\", source: \"mqueue\"}]" \
        'mount | grep -c " /dev/mqueue type mqueue "' 1
}

@test "root: time" {
    need_root
    hold --time --boottime 1000000
    holds "$(joins) | .linux.namespaces += [{type: \"time\", path: \"/proc/$holder/ns/time\"}]" \
        'readlink /proc/self/ns/time; [ "$(cut -d. -f1 /proc/uptime)" -ge 1000000 ] && echo later' "$(readlink /proc/"$holder"/ns/time)"$'\nlater'
}

@test "an ordinary user: what he owns, with his user namespace" {
    need_user
    hold --user --map-root-user --pid --mount --net --ipc --uts --cgroup
    member user
    member user network ipc uts cgroup
    member user mount network
    spec "$(joins network)" true
    inside
    expect_status 125
    expect_stderr "cloche: cannot join network namespace \"/proc/$holder/ns/net\": Operation not permitted; fix: joining needs root, or a user namespace of one's own that owns it and is joined, too"
}

@test "an ordinary user with control groups: pid, too" {
    need_user
    need_cgroups
    hold --user --map-root-user --pid --mount
    member user pid
}

@test "without a control group that ends it as a whole, no pid namespace is joined" {
    need_user
    need_no_cgroups
    hold --user --map-root-user --pid --mount
    spec "$(joins user pid)" 'echo ran'
    inside
    expect_status 125
    expect_output ""
    expect_stderr "cloche: cannot join pid namespace \"/proc/$holder/ns/pid\": there is no control group by which the sandbox could be ended as a whole; fix: it takes cgroup v2 and Linux 5.14, as root or delegated: cloche doctor shows them"
}

# Processes of the joined namespace, but for its first and what that one has not reaped.
alive() { ps -e -o stat=,pidns=,args= | awk -v ns="$(stat -Lc %i /proc/"$holder"/ns/pid)" '$2 == ns && $1 !~ /^Z/' | wc -l; }
alone() { [ "$(alive)" -eq 1 ]; }
crowded() { [ "$(alive)" -ge 4 ]; }

@test "root: a tree in a joined pid namespace ends as a whole: by itself, by a limit, with its caller" {
    need_root
    hold --pid
    holds "$(joins pid)" 'sleep 1000 >/dev/null & echo done' "done"
    alone
    spec "$(joins pid) | .cloche = {limits: {wall_ms: 200}}" 'sleep 1000 & sleep 1000'
    jq '.root.path = env.WORK + "/rootfs" | .cloche.rootfs = {path: .root.path}' config.json >with-root.json
    run --separate-stderr cloche run --spec with-root.json --report report.json
    expect_status 124
    expect_report .verdict time_limit
    alone
    spec "$(joins pid)" 'sleep 1000 & sleep 1000'
    cloche run --spec config.json 3>&- &
    caller=$!
    wait_until 10 crowded
    kill -KILL $caller
    wait $caller || :
    wait_until 10 alone
    # sweeps the killed one's groups, once its init, which holds their lock, is gone, too
    wait_until 10 eval 'cloche run -- true && [ -z "$(find /sys/fs/cgroup -type d -name "run-$caller-*" 2>/dev/null)" ]'
}

# refused TYPE PATH MESSAGE
refused() {
    spec "(.linux.namespaces[] | select(.type == \"$1\")).path = \"$2\" | if \"$1\" == \"mount\" then $as_it_is else . end" 'echo ran'
    run --separate-stderr timeout 20 cloche run --spec config.json
    expect_status 125
    expect_output ""
    expect_stderr "$3"
}

@test "what is no namespace, or another, or the caller's own, is one error and nothing runs" {
    local -A file=([network]=net [mount]=mnt)
    mkfifo fifo
    touch plain
    python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind("socket")'
    ln -s loop loop
    for type in user pid mount network ipc uts cgroup; do
        name=${file[$type]-$type}
        for path in "$WORK"/{fifo,plain,socket,rootfs} /dev/null /proc/self/status; do
            refused $type "$path" "cloche: cannot join $type namespace \"$path\": it is not a namespace; fix: give /proc/PID/ns/$name of a process in it, or a file it is bound to"
        done
        refused $type "$WORK/missing" "cloche: cannot open $type namespace \"$WORK/missing\": No such file or directory; fix: give /proc/PID/ns/$name of a living process in it, or a file it is bound to"
        refused $type "$WORK/loop" "cloche: cannot open $type namespace \"$WORK/loop\": Too many levels of symbolic links; fix: give /proc/PID/ns/$name of a living process in it, or a file it is bound to"
        [ $type = uts ] || refused $type /proc/self/ns/uts "cloche: cannot join $type namespace \"/proc/self/ns/uts\": it is a uts namespace; fix: give /proc/PID/ns/$name"
    done
    for type in user pid mount; do
        path=/proc/self/ns/${file[$type]-$type}
        refused $type "$path" "cloche: cannot join $type namespace \"$path\": it is the caller's own; fix: leave the path out for a new one, or name that of another sandbox"
    done
}

@test "a user namespace without maps is refused" {
    need_root
    unshare --user sh -c 'echo ready; exec sleep 1000' >held 3>&- &
    keeper=$! holder=$!
    wait_until 10 grep -q ready held
    refused user "/proc/$holder/ns/user" 'cloche: the user namespace to join has no id maps (uid_map); fix: write them before anybody joins'
}

@test "root: a pid namespace whose first process has ended is refused" {
    need_root
    hold --pid
    exec 9<"/proc/$holder/ns/pid"
    kill -KILL "$holder"
    wait "$keeper" || :
    keeper=
    refused pid "/proc/$$/fd/9" 'cloche: cannot make the namespaces of the sandbox: Cannot allocate memory; fix: the first process of a joined PID namespace must be alive'
    exec 9<&-
}

@test "a joined mount namespace is not built in: what asks for it is an error" {
    hold --user --map-root-user --mount
    spec "$(joins user mount) | .linux.maskedPaths = [\"/x\"] | .process.terminal = true" 'echo ran'
    inside
    expect_status 125
    expect_output ""
    expect_stderr 'cloche: 4 problems:
root.path: nothing is mounted in a mount namespace joined by path: leave it out (root.path may be "/")
mounts: nothing is mounted in a mount namespace joined by path: leave it out (root.path may be "/")
process.terminal: nothing is mounted in a mount namespace joined by path: leave it out (root.path may be "/")
linux.maskedPaths: nothing is mounted in a mount namespace joined by path: leave it out (root.path may be "/")'
}

@test "root: a long-lived sandbox joins no pid namespace" {
    need_root
    hold --pid
    spec "$(joins pid)" true
    run --separate-stderr cloche create box --spec config.json
    expect_status 1
    expect_stderr "cloche: cannot join pid namespace \"/proc/$holder/ns/pid\": each command of a long-lived sandbox gets a PID namespace of its own; fix: leave the path out, or use cloche run"
    [ ! -e "$CLOCHE_ROOT/sandboxes/box" ]
}

@test "root of a container's user namespace is an ordinary user" {
    mkdir volume
    for mount in "" --mount; do
        run --separate-stderr unshare --user --map-root-user $mount -- "$CLOCHE" run --best-effort -v "$WORK/volume:/v" \
            sh -c 'id -u; cat /proc/self/uid_map; touch /v/made'
        expect_status 0
        [ "$(tr -s ' ' <<<"$output")" = $'1000\n 1000 0 1' ]
        [ "$(stat -c %u volume/made)" = "$(id -u)" ]
    done
    run --separate-stderr unshare --user --map-root-user -- "$CLOCHE" doctor
    [[ $output != *"blocks from"* ]]
}
