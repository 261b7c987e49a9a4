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
shown() { stat -c %i "$CLOCHE_RUN/templates/$(templates)/root"; }

@test "sandboxes that say the same are shown one root" {
    [ "$(root_of)" = "$(root_of --profile student --memory 64m)" ]
    [ "$(count)" = 1 ]
    [ "$(root_of)" = "$(shown)" ]
}

@test "what says something else has another" {
    root_of
    first=$(templates)
    root_of -u 1234
    root_of -v "$WORK:/somewhere/else"
    root_of --hostname other
    [ "$(count)" = 4 ]
    inside -u 1234 sh -c 'id -un; id -u; grep -c 1000 /etc/passwd'
    expect_output $'user\n1234\n0'
    inside -v "$WORK:/somewhere/else" ls -d /somewhere/else
    expect_output /somewhere/else
    [ "$(templates | grep -c "$first")" = 1 ]
}

@test "nobody inside can change it" {
    root_of
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
    (umask 077 && root_of -v "$WORK:/a/b/c")
    inside -v "$WORK:/a/b/c" sh -c 'stat -c %a / /etc /a /a/b /dev/null /etc/passwd /root'
    expect_output $'755\n755\n755\n755\n666\n444\n700'
}

@test "who may write to a root, or be root in it, has one of its own" {
    own() { [ "$(cloche run "$@" stat -f -c %T /)" = tmpfs ] || differ "file system of /" "$(cloche run "$@" stat -f -c %T /)" tmpfs; }
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

@test "without a template there is a root of its own, and no complaint" {
    mkdir -p "$CLOCHE_RUN"
    : >"$CLOCHE_RUN/templates"
    inside sh -c 'stat -f -c %T /; echo x >/dev/null && cat /etc/hostname /etc/passwd | wc -l'
    expect_status 0
    [ "${lines[0]}" = tmpfs ]
    rm "$CLOCHE_RUN/templates"
    # somebody else makes one
    mkdir "$CLOCHE_RUN/templates"
    exec 8>"$CLOCHE_RUN/templates/new.lock"
    flock 8
    [ "$(cloche run stat -f -c %T / 8>&-)" = tmpfs ]
    exec 8>&-
    # who may make no devices
    run --separate-stderr setpriv --bounding-set -mknod -- "$CLOCHE" run stat -f -c %T /
    expect_output tmpfs
    [ "$(ls "$CLOCHE_RUN/templates")" = new.lock ]
    root_of
    [ "$(count)" = 1 ]
}

@test "a directory that others could have written to is not trusted" {
    root_of
    name=$(templates)
    chmod 777 "$CLOCHE_RUN/templates/$name"
    echo 'evil:x:0:0::/:/bin/sh' >"$CLOCHE_RUN/templates/$name/root/etc/passwd"
    inside sh -c 'grep -c evil /etc/passwd'
    expect_output 0
    [ "$(stat -c %a "$CLOCHE_RUN/templates/$name")" = 700 ]
    chown 1234 "$CLOCHE_RUN/templates/$name"
    root_of
    [ "$(stat -c %u "$CLOCHE_RUN/templates/$name")" = 0 ]
    ln -s / "$WORK/elsewhere"
    rm -r "$CLOCHE_RUN/templates/$name"
    ln -s "$WORK/elsewhere" "$CLOCHE_RUN/templates/$name"
    [ "$(cloche run stat -f -c %T /)" = tmpfs ]
    rm "$CLOCHE_RUN/templates/$name"
}

@test "one that is not what it says is made again, and a killed maker's rest goes" {
    root_of
    name=$(templates)
    : >"$CLOCHE_RUN/templates/$name/plan"
    rm "$CLOCHE_RUN/templates/$name/root/dev/null"
    mkdir -p "$CLOCHE_RUN/templates/new/root/etc"
    inside sh -c 'echo x >/dev/null'
    expect_status 0
    [ "$(templates)" = "$name" ]
    [ -c "$CLOCHE_RUN/templates/$name/root/dev/null" ]
    [ ! -e "$CLOCHE_RUN/templates/new" ]
}

@test "there are at most 64, and none is removed that somebody is shown" {
    mkfifo hold
    cloche run --timeout 60s -v "$WORK:/held" sh -c 'echo started >/held/started; read x </held/hold; cat /etc/passwd' >out &
    wait_until 20 test -s started
    held=$(templates)
    for ((i = 0; i < 63; i++)); do mkdir "$CLOCHE_RUN/templates/$(printf %016x $i)"; done
    root_of
    [ "$(count)" = 2 ]
    [ "$(templates | grep -c "$held")" = 1 ]
    echo >hold
    wait
    grep -q ^user: out
}

@test "a long-lived sandbox keeps its template, and lets go of it" {
    cloche create box -- sleep 1000 >/dev/null
    name=$(templates)
    ! flock -n -x "$CLOCHE_RUN/templates/$name" true
    cloche exec box sh -c 'echo x >/dev/null; cat /etc/passwd' | grep -q ^user:
    cloche destroy box
    flock -n -x "$CLOCHE_RUN/templates/$name" true
    rmdir "$CLOCHE_ROOT/sandboxes" "$CLOCHE_RUN/sandboxes" 2>/dev/null || :
}
