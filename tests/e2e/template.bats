# Roots that are made once and shown to every sandbox that says the same (isolation/template.c).
load helper

setup() {
    cloche_setup
    need_root
}

inside() { run --separate-stderr cloche run "$@"; }
templates() { (cd "$CLOCHE_RUN/templates" 2>/dev/null && ls -d ????????????????); }
count() { templates | wc -l; }
# The root's inode tells whose it is; a tmpfs of its own begins at 1 or 2.
root_of() { cloche run "$@" stat -c %i /; }
twice() { root_of "$@" >first-root && root_of "$@"; }
shown() { stat -c %i "$CLOCHE_RUN/templates/$(templates)/root"; }

@test "sandboxes that say the same are shown one root" {
    root_of
    [ "$(count)" = 0 ] # what nobody asks for again is not worth the making
    [ "$(root_of)" = "$(root_of --profile student --memory 64m)" ]
    [ "$(count)" = 1 ]
    [ "$(root_of)" = "$(shown)" ]
}

@test "what says something else has another" {
    twice
    first=$(templates)
    twice -u 1234
    twice -v "$WORK:/somewhere/else"
    twice --hostname other
    [ "$(count)" = 4 ]
    inside -u 1234 sh -c 'id -un; id -u; grep -c 1000 /etc/passwd'
    expect_output $'user\n1234\n0'
    inside -v "$WORK:/somewhere/else" ls -d /somewhere/else
    expect_output /somewhere/else
    [ "$(templates | grep -c "$first")" = 1 ]
}

@test "nobody inside can change it" {
    twice
    before=$(cd "$CLOCHE_RUN/templates" && find . -printf '%p %m %u %s %T@\n' | sort)
    inside sh -c 'for f in /new /etc/new /dev/new /home/new /var/new; do echo x >$f; mkdir $f; done
        rm /etc/passwd /dev/null /bin; chmod 777 / /etc /dev; chmod 666 /etc/passwd; chown 1000 /
        mv /etc /home; ln /etc/passwd /tmp/p; ln -s x /lnk; touch / /etc/passwd /dev/null; mount -o remount,rw /
        truncate -s 0 /etc/group; echo x >>/etc/hosts; mknod /dev/x c 1 1; true'
    expect_status 0
    after=$(cd "$CLOCHE_RUN/templates" && find . -printf '%p %m %u %s %T@\n' | sort)
    [ "$before" = "$after" ]
    # nor root inside, which has a root of its own
    inside -u 0 --cap-add CAP_SYS_ADMIN --cap-add CAP_DAC_OVERRIDE --seccomp unconfined sh -c 'mount -o remount,rw,bind / ; echo x >/etc/passwd; echo x >/dev/new; true'
    after=$(cd "$CLOCHE_RUN/templates" && find . -printf '%p %m %u %s %T@\n' | sort)
    [ "$before" = "$after" ]
}

@test "its devices are those of the host, and work" {
    twice
    inside sh -c 'cd /dev; stat -c "%n %F %t:%T %a" null zero full random urandom tty; echo x >null; head -c 3 zero | od -An -tx1
        head -c 1 urandom | wc -c; ls -l fd ptmx | sed "s/.*-> //"; echo x >full'
    expect_status 1
    expect_output $'null character special file 1:3 666
zero character special file 1:5 666
full character special file 1:7 666
random character special file 1:8 666
urandom character special file 1:9 666
tty character special file 5:0 666
 00 00 00
1
/proc/self/fd
pts/ptmx'
    expect_stderr_line 'I/O error|No space left'
}

@test "the caller's umask is not in it" {
    (umask 077 && twice -v "$WORK:/a/b/c")
    inside -v "$WORK:/a/b/c" sh -c 'stat -c %a / /etc /a /a/b /dev/null /etc/passwd /root'
    expect_output $'755\n755\n755\n755\n666\n444\n700'
}

@test "who may write to a root, or be root in it, has one of its own" {
    own() {
        for i in 1 2 3; do [ "$(cloche run "$@" stat -f -c %T /)" = tmpfs ] || differ "file system of /" "$(cloche run "$@" stat -f -c %T /)" tmpfs; done
    }
    own -u 0
    own --cap-add CAP_NET_RAW
    cloche spec --profile student | jq '.root.readonly = false' >writable.json
    own --spec writable.json
    # the owner of the template is somebody inside
    cloche spec --profile student | jq '.linux.uidMappings = [{containerID: 0, hostID: 0, size: 1}, {containerID: 1000, hostID: 300000, size: 1}]
        | .linux.gidMappings = .linux.uidMappings' >mapped.json
    own --spec mapped.json
    cloche spec --profile student | jq '.mounts += [{destination: "/dev", type: "tmpfs", source: "tmpfs"}]' >dev.json
    own --spec dev.json
    [ ! -e "$CLOCHE_RUN/templates" ]
}

@test "a mount point that lies elsewhere than its path says is made where it lies" {
    mkdir tree config
    ln -s /var tree/var
    echo here >config/file
    for i in 1 2 3; do
        inside -v "$WORK/tree:/tree" -v "$WORK/config:/tree/var/config" cat /var/config/file
        expect_status 0
        expect_output here
        inside -v "$WORK/tree:/tree:O" -v "$WORK/config:/tree/var/config" cat /var/config/file
        expect_output here
        inside -v "$WORK/config:/sbin" cat /usr/sbin/file
        expect_output here
        inside --tmpfs /scratch -v "$WORK/config:/scratch/a/b" cat /scratch/a/b/file
        expect_output here
    done
    [ "$(count)" = 1 ]
}

@test "without a template there is a root of its own, and no complaint" {
    mkdir -p "$CLOCHE_RUN"
    : >"$CLOCHE_RUN/templates"
    twice
    inside sh -c 'stat -f -c %T /; echo x >/dev/null && cat /etc/hostname /etc/passwd | wc -l'
    expect_status 0
    [ "${lines[0]}" = tmpfs ]
    rm "$CLOCHE_RUN/templates"
    # somebody else makes one
    mkdir "$CLOCHE_RUN/templates"
    root_of
    exec 8>"$CLOCHE_RUN/templates/new.lock"
    flock 8
    [ "$(cloche run stat -f -c %T / 8>&-)" = tmpfs ]
    exec 8>&-
    # who may make no devices
    run --separate-stderr setpriv --bounding-set -mknod -- "$CLOCHE" run stat -f -c %T /
    expect_output tmpfs
    [ "$(ls "$CLOCHE_RUN/templates")" = $'asked\nnew.lock' ]
    twice
    [ "$(count)" = 1 ]
}

@test "a directory that others could have written to is not trusted" {
    twice
    name=$(templates)
    chmod 777 "$CLOCHE_RUN/templates/$name"
    echo 'evil:x:0:0::/:/bin/sh' >"$CLOCHE_RUN/templates/$name/root/etc/passwd"
    for i in 1 2; do
        inside sh -c 'grep -c evil /etc/passwd'
        expect_output 0
    done
    [ "$(stat -c %a "$CLOCHE_RUN/templates/$name")" = 700 ]
    chown 1234 "$CLOCHE_RUN/templates/$name"
    twice
    [ "$(stat -c %u "$CLOCHE_RUN/templates/$name")" = 0 ]
    ln -s / "$WORK/elsewhere"
    rm -r "$CLOCHE_RUN/templates/$name"
    ln -s "$WORK/elsewhere" "$CLOCHE_RUN/templates/$name"
    twice
    [ "$(cloche run stat -f -c %T /)" = tmpfs ]
    rm "$CLOCHE_RUN/templates/$name"
}

@test "one that is not what it says is made again, and a killed maker's rest goes" {
    twice
    name=$(templates)
    : >"$CLOCHE_RUN/templates/$name/plan"
    rm "$CLOCHE_RUN/templates/$name/root/dev/null"
    mkdir -p "$CLOCHE_RUN/templates/new/root/etc"
    twice
    inside sh -c 'echo x >/dev/null'
    expect_status 0
    [ "$(templates)" = "$name" ]
    [ -c "$CLOCHE_RUN/templates/$name/root/dev/null" ]
    [ ! -e "$CLOCHE_RUN/templates/new" ]
    # also who need not make one
    mkdir -p "$CLOCHE_RUN/templates/new/root/etc"
    inside true
    [ ! -e "$CLOCHE_RUN/templates/new" ]
}

@test "there are at most 64, and none is removed that somebody is shown" {
    mkfifo hold
    root_of -v "$WORK:/held"
    cloche run --timeout 60s -v "$WORK:/held" sh -c 'echo started >/held/started; read x </held/hold; cat /etc/passwd' >out &
    wait_until 20 test -s started
    held=$(templates)
    for ((i = 0; i < 63; i++)); do mkdir "$CLOCHE_RUN/templates/$(printf %016x $i)"; done
    twice # nor soon after the last time: a crowd of plans would make each other's go with every start
    [ "$(count)" = 64 ]
    touch -d '11 minutes ago' "$CLOCHE_RUN/templates/new.lock"
    twice
    [ "$(count)" = 2 ]
    [ "$(templates | grep -c "$held")" = 1 ]
    echo >hold
    wait
    grep -q ^user: out
}

@test "a long-lived sandbox keeps its template, whoever its commands are, and lets go of it" {
    cloche create --hostname here first -- sleep 1000 >/dev/null
    cloche create --hostname here box -- sleep 1000 >/dev/null
    name=$(templates)
    held() { for lock in "$CLOCHE_RUN/templates/$name"/[0-9a-f]; do flock -n -x "$lock" true || return 0; done && return 1; }
    held
    [ "$(cloche exec box stat -c %i /)" = "$(shown)" ]
    cloche exec box sh -c 'echo x >/dev/null; grep -q ^user: /etc/passwd'
    run --separate-stderr cloche exec -u 0 box -- sh -c 'cd /root && pwd; ls /root /etc/passwd; echo x >/dev/null; echo x >/etc/passwd'
    expect_status 2
    expect_output $'/root\n/etc/passwd\n\n/root:'
    expect_stderr_line 'Read-only file system'
    cloche destroy --force first box
    run held
    expect_status 1
    rmdir "$CLOCHE_ROOT/sandboxes" "$CLOCHE_RUN/sandboxes" 2>/dev/null || :
}

@test "who is killed while a template goes leaves none that looks whole" {
    twice
    here=$CLOCHE_RUN/templates/$(templates)
    for ((n = 1; n <= 12; n++)); do
        chmod 777 "$here" # so it is to be made again
        ! strace -qq -e trace=unlinkat -e inject=unlinkat:signal=KILL:when=$n -o calls "$CLOCHE" run true
        grep -q KILL calls
        [ ! -d "$here" ] || chmod 700 "$here"
        inside sh -c 'echo x >/dev/null && id -un && ls -d /etc/hosts /home /root /tmp /dev/full'
        expect_output $'user\n/dev/full\n/etc/hosts\n/home\n/root\n/tmp'
        twice
    done
}

# In a mount namespace of its own, the run directory on a tmpfs with these options.
on() {
    local options=$1
    shift
    mkdir -p "$CLOCHE_RUN"
    run --separate-stderr unshare -m sh -c 'mount -t tmpfs -o "$1" tmpfs "$2" && shift 2 && "$@"' sh "$options" "$CLOCHE_RUN" "$@"
}

@test "a run directory that allows no devices, programs and links, or is full" {
    twice='"$0" run true; "$0" run sh -c "[ \$(stat -c %i /) -lt 4 ]; echo \$?; echo x >/dev/null && id -un" && ls "$1/templates" | wc -l'
    on mode=700,nodev,noexec,nosymfollow sh -c "$twice" "$CLOCHE" "$CLOCHE_RUN"
    expect_output $'1\nuser\n3'
    for full in nr_inodes=25 size=16k; do
        on mode=700,$full sh -c "$twice" "$CLOCHE" "$CLOCHE_RUN"
        expect_output $'0\nuser\n2'
        expect_stderr ''
    done
}

@test "on a crowded machine init is born in the root, and sees none other" {
    mkdir -p held/file
    options=(-v ./held:/held -v "$WORK:/copy:O")
    twice "${options[@]}"
    mounts=$(cloche run "${options[@]}" cut -d' ' -f5 /proc/self/mountinfo)
    begin_crowd
    export ASAN_OPTIONS=${ASAN_OPTIONS-}:detect_leaks=0 # which needs ptrace itself
    run --separate-stderr strace -qq -f -o calls -e trace=pivot_root "$CLOCHE" run --report report.json "${options[@]}" \
        sh -c 'stat -c %i / /.. /../..; cut -d" " -f5 /proc/self/mountinfo; ls /held; echo x >/copy/new; pwd'
    end_crowd
    expect_status 0
    expect_output "$(shown)"$'\n'"$(shown)"$'\n'"$(shown)"$'\n'"$mounts"$'\nfile\n/'
    ! grep pivot_root calls || differ calls pivot_root none
    [ ! -e new ]
    expect_report .verdict ok # where it was asked for: the caller is back
}

@test "on a crowded machine a long-lived sandbox is like any other" {
    begin_crowd
    cloche create first -- sleep 1000 >/dev/null
    cloche create box -- sleep 1000 >/dev/null
    run --separate-stderr cloche exec box sh -c 'stat -c %i / /..; cat /proc/[0-9]*/comm | grep -c sleep; echo x >/tmp/x && cat /tmp/x'
    end_crowd
    expect_output "$(shown)"$'\n'"$(shown)"$'\n0\nx'
    cloche destroy --force first box
    rmdir "$CLOCHE_ROOT/sandboxes" "$CLOCHE_RUN/sandboxes" 2>/dev/null || :
}
