# Volumes, tmpfs, root file systems, hostile ones among them.
# Not in the virtual machine: minutes under emulation; the attacks on roots and mounts run there
load helper

inside() { run --separate-stderr cloche run "$@"; }
busybox=/bin/busybox

# rootfs DIRECTORY: a small root file system of one static program.
rootfs() {
    mkdir -p "$1"/{bin,etc,tmp,proc,dev,sys,usr}
    cp $busybox "$1/bin/busybox"
    local name
    for name in sh cat ls id touch mount stat readlink df echo mkdir rm sleep head; do
        ln -s busybox "$1/bin/$name"
    done
    echo 'root:x:0:0:root:/:/bin/sh' >"$1/etc/passwd"
    chmod -R go+rX "$1"
}

owner() { stat -c %u:%g "$1"; }

@test "-v: read-write, and what is made there belongs to the caller" {
    mkdir shared
    [ "$(id -u)" -ne 0 ] || chown 4242:4343 shared
    before=$(owner shared)
    inside -v "$WORK/shared:/data" sh -c 'echo made >/data/file; mkdir /data/dir; id -u; stat -c %u /data /data/file'
    expect_status 0
    expect_output $'1000\n1000\n1000'
    [ "$(cat shared/file)" = made ]
    [ "$(owner shared/file)" = "$before" ]
    [ "$(owner shared/dir)" = "$before" ]
    inside -u 0 -v "$WORK/shared:/data:rw" sh -c 'stat -c %u:%g /data/file; rm -r /data/file /data/dir'
    expect_output 0:0
    [ -z "$(ls shared)" ]
}

@test "-v: another owner's files stay that owner's" {
    need_root
    mkdir shared
    chown 4242:4343 shared
    echo x >shared/of_root
    chmod 666 shared/of_root
    inside -v "$WORK/shared:/data" sh -c 'stat -c %u:%g /data/of_root; echo y >/data/of_root && rm /data/of_root'
    expect_status 0
    expect_output 0:0
    [ ! -e shared/of_root ]
}

@test "-v: what only root can do is no word without effect" {
    need_user
    inside -v "$WORK:/data:idmap" true
    expect_status 125
    expect_stderr "cloche: cannot map the owners of volume \"$WORK\": only root can; fix: leave idmap, uidMappings and gidMappings of the mount out"
    inside -v "$WORK:/data:strictatime" true
    expect_status 125
    expect_stderr "cloche: cannot set mount attributes of \"/data\": Operation not permitted; fix: what the host's mount has set (ro, nosuid, nodev, noexec, its way with atime) only root can take off: leave the option out"
}

@test "-v :ro: can be read and cannot be written, also below" {
    mkdir -p shared/below
    echo content >shared/file
    chmod 777 shared shared/below
    inside -v "$WORK/shared:/data:ro" sh -c 'cat /data/file; echo x >/data/file; echo x >/data/new; echo x >/data/below/new; rm /data/file; true'
    expect_status 0
    expect_output content
    [ "${#stderr_lines[@]}" -eq 4 ]
    [ "$(cat shared/file)" = content ]
    [ "$(ls shared)" = $'below\nfile' ]
    inside -v "$WORK/shared:/data:ro,rw" sh -c 'echo x >/data/new'
    expect_status 0
    inside -v "$WORK/shared:/data:rw,ro" sh -c 'echo x >/data/newer'
    expect_status 2
}

@test "-v :ro: the owner's own files can be read, and are the program's" {
    (umask 077 && mkdir private && echo secret >private/file && printf '#!/bin/sh\necho runs\n' >script && chmod 700 script)
    inside -v "$WORK/private:/data:ro" sh -c 'cat /data/file; stat -c %u:%g:%a /data /data/file; echo x >/data/file'
    expect_status 2
    expect_output $'secret\n1000:1000:700\n1000:1000:600'
    inside -v "$WORK/script:/script:ro" /script
    expect_output runs
    inside -v "$WORK/private/file:/file:ro" cat /file
    expect_output secret
}

@test "-v of a single file, of a file whose name has spaces, twice the same source" {
    echo one >'a b'
    inside -v "$WORK/a b:/etc/a file:ro" -v "$WORK/a b:/other:ro" cat '/etc/a file' /other
    expect_status 0
    expect_output $'one\none'
}

@test "-v :O: the program writes, the host keeps its files" {
    mkdir -p tree/dir
    echo old >tree/file
    echo gone >tree/dir/removed
    chmod -R a+rwX tree
    inside -v "$WORK/tree:/w:O" sh -c 'cd /w; echo new >file; rm dir/removed; echo more >other; ls . dir; cat file'
    expect_status 0
    expect_output $'.:\ndir\nfile\nother\n\ndir:\nnew'
    [ "$(cat tree/file tree/dir/removed)" = $'old\ngone' ]
    [ "$(ls tree)" = $'dir\nfile' ]
    inside -v "$WORK/tree:/w:O" cat /w/file
    expect_output old
}

@test "-v :O,ro: what is laid over cannot be written either" {
    local words
    mkdir -p tree
    echo old >tree/file
    chmod -R a+rwX tree
    for words in O,ro ro,O; do
        inside -v "$WORK/tree:/w:$words" sh -c 'cat /w/file; echo new >/w/file'
        [ "$status" -ne 0 ]
        expect_output old
        [[ $stderr = *"ead-only file system"* || $stderr = *"ermission denied"* ]]
    done
}

@test "-v :O: directories of the host can be removed and renamed" {
    # In a user namespace overlayfs notes that in user.* attributes, and the layer that it writes to is a tmpfs.
    [ "$(printf '%s\n' 6.6 "$(uname -r)" | sort -V | head -n 1)" = 6.6 ] ||
        skip "this kernel's tmpfs has no user attributes"
    mkdir -p tree/dir tree/old
    touch tree/dir/removed tree/old/file
    chmod -R a+rwX tree
    inside -v "$WORK/tree:/w:O" sh -c 'cd /w; rm -r dir; mv old new; ls . new'
    expect_status 0
    expect_output $'.:\nnew\n\nnew:\nfile'
    [ "$(ls tree tree/dir tree/old)" = "$(printf 'tree:\ndir\nold\n\ntree/dir:\nremoved\n\ntree/old:\nfile')" ]
}

@test "-v :O: bounded by the size of /tmp" {
    need_cgroups
    mkdir tree
    chmod 777 tree
    inside --profile strict --ulimit fsize=unlimited -v "$WORK/tree:/w:O" sh -c 'head -c 20m /dev/zero >/w/big'
    expect_status 1
    expect_stderr "head: error writing 'standard output': No space left on device"
    [ -z "$(ls tree)" ]
}

@test "-v: device nodes and set-user-id files of a volume mean nothing" {
    need_root
    mkdir shared
    mknod shared/null c 1 3
    chmod 666 shared/null
    cp /bin/busybox shared/id
    chmod 4755 shared/id
    inside -v "$WORK/shared:/data" sh -c 'echo x >/data/null; /data/id -u'
    expect_output 1000
    expect_stderr "sh: 1: cannot create /data/null: Permission denied"
}

@test "-v over what is there: /etc, /tmp, /usr/local; nested volumes in their order" {
    mkdir -p a/inner b
    echo a >a/file
    echo b >b/file
    inside -v "$WORK/a:/tmp/x:ro" -v "$WORK/b:/tmp/x/inner:ro" cat /tmp/x/file /tmp/x/inner/file
    expect_status 0
    expect_output $'a\nb'
    inside -v "$WORK/b:/usr/local:ro" cat /usr/local/file
    expect_output b
}

@test "the mounts of a sandbox are not seen outside, and none stays" {
    before=$(cut -d' ' -f5- /proc/self/mountinfo)
    inside --tmpfs /mnt -v "$WORK:/w" sh -c true
    expect_status 0
    [ "$(cut -d' ' -f5- /proc/self/mountinfo)" = "$before" ]
}

@test "--rootfs DIR: a system of one's own; ids, writing, the host is not there" {
    rootfs root
    mkdir root/secret
    inside --rootfs root -- /bin/sh -c 'ls /; cat /etc/passwd; id -u; echo x >/tmp/x && cat /tmp/x'
    expect_status 0
    expect_output $'bin\ndev\netc\nproc\nsecret\nsys\ntmp\nusr\nroot:x:0:0:root:/:/bin/sh\n1000\nx'
    inside --rootfs root -u 0 -- /bin/sh -c 'echo x >/made'
    expect_status 1
    expect_stderr "/bin/sh: can't create /made: Read-only file system"
    [ -z "$(ls root/tmp)" ]
    # writable only when a spec says so
    echo '{"ociVersion":"1.1.0","process":{"args":["/bin/sh","-c","echo x >/made; stat -c %u:%g /made"],"cwd":"/","user":{"uid":0,"gid":0}},
        "root":{"path":"root","readonly":false}}' >config.json
    inside --spec config.json
    expect_status 0
    expect_output 0:0
    [ "$(owner root/made)" = "$(owner root)" ]
    rm root/made
    inside --spec config.json --read-only
    [ ! -e root/made ]
}

@test "--rootfs DIR: the program is looked for there only" {
    rootfs root
    run -127 --separate-stderr cloche run --rootfs root -- perl
    expect_stderr 'cloche: command "perl" not found in the sandbox; fix: give a path inside the sandbox, or set PATH with -e'
}

# After each hostile root: the outside is as it was.
outside_untouched() {
    [ "$(ls outside)" = kept ]
    [ "$(cat outside/kept)" = kept ]
}

@test "hostile root: /dev, /proc, /tmp and /sys are symlinks out" {
    rootfs root
    mkdir outside
    echo kept >outside/kept
    chmod -R a+rwX outside
    rmdir root/dev root/proc root/tmp root/sys
    ln -s "$WORK/outside" root/dev
    ln -s ../../../../../../../../../../../../../proc root/proc
    ln -s "../../../../../../../../../../../..$WORK/outside" root/tmp
    ln -s / root/sys
    run --separate-stderr cloche run --rootfs root -- /bin/sh -c 'echo x >/tmp/x; ls -d /proc/self; echo ran'
    [ "$status" -eq 0 ] || [ "$status" -eq 125 ]
    outside_untouched
}

@test "hostile root: symlinks in the way of mount points and of the program" {
    rootfs root
    mkdir outside
    echo kept >outside/kept
    chmod -R a+rwX outside
    ln -s "$WORK/outside" root/mnt
    ln -s /../../../../.. root/up
    run --separate-stderr cloche run --rootfs root --tmpfs /mnt/x --tmpfs "/up/$WORK/outside/y" -- /bin/sh -c 'echo ran'
    [ "$status" -eq 0 ] || [ "$status" -eq 125 ]
    outside_untouched
    ln -s "../../../../../../../../../..$CLOCHE" root/bin/prog
    run -127 --separate-stderr cloche run --rootfs root -- /bin/prog version
    expect_output ""
}

@test "hostile root: its null device is a file, its passwd a FIFO, its working directory a loop" {
    rootfs root
    echo x >root/dev/null
    rm root/etc/passwd
    mkfifo root/etc/passwd
    ln -s loop root/loop
    inside --rootfs root -- /bin/sh -c 'echo gone >/dev/null; stat -c %F /dev/null'
    expect_status 0
    expect_output 'character special file'
    [ "$(cat root/dev/null)" = x ]
    inside --rootfs root -w /loop -- /bin/sh -c 'echo ran'
    expect_status 125
    expect_output ""
    # libc's words differ
    expect_stderr_line '^cloche: cannot change to working directory "/loop": .*; fix: it must exist inside the sandbox$'
}

@test "own /proc: only one's own processes, nothing of the host's settings can be written" {
    inside -u 0 sh -c 'set -- /proc/[0-9]*; echo $#; for f in /proc/sys/kernel/hostname /proc/sysrq-trigger /proc/sys/vm/overcommit_memory; do
        [ ! -e $f ] || (echo x >$f) 2>/dev/null && [ -e $f ] && echo "$f written"; done; true'
    expect_status 0
    expect_output 1
}

@test "own /dev: a handful of nodes, own pseudo terminals, no others can be made" {
    inside -u 0 sh -c 'cd /dev; ls | tr "\n" " "; ls pts; mknod /dev/sda b 8 0 2>/dev/null || echo refused; echo x >/dev/full'
    expect_output $'fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero ptmx\nrefused'
    expect_stderr 'sh: 1: echo: echo: I/O error'
}
