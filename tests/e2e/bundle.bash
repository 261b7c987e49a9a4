# For files that write OCI bundles: load bundle, behind helper.

# A root file system of busybox in the working directory.
make_rootfs() {
    mkdir -p rootfs/{bin,etc,proc,dev,sys,tmp,home,mnt}
    cp /bin/busybox rootfs/bin/busybox
    local name
    for name in sh cat ls id stat hostname env grep mount touch df cut readlink echo mkdir rm sysctl awk date ulimit sleep; do
        ln -s busybox "rootfs/bin/$name"
    done
    chmod -R go+rX rootfs
}

# spec JQ SCRIPT: config.json of the smallest kind, changed by a jq expression; the command is /bin/sh -c SCRIPT.
spec() {
    jq -n "{ociVersion: \"1.1.0\", root: {path: \"rootfs\"},
            process: {cwd: \"/\", args: [\"/bin/sh\", \"-c\", \$script], env: [\"PATH=/bin\"], user: {uid: 0, gid: 0}},
            mounts: [{destination: \"/proc\", type: \"proc\", source: \"proc\"}],
            linux: {namespaces: [\"pid\", \"mount\", \"ipc\", \"uts\", \"network\", \"user\", \"cgroup\" | {type: .}]}}
           | $1" --arg script "$2" >config.json
}

inside() { run --separate-stderr cloche run --spec config.json "$@"; }

# holds JQ SCRIPT OUTPUT: with this change, the script says exactly that.
holds() {
    spec "$1" "$2"
    inside
    expect_status 0
    expect_output "$3"
}
