# --network none, loopback, host and bridge. Bridges live in a network namespace of the test.
load helper

# A client that says what became of its connection: tcp HOST PORT.
tcp='use Socket; my ($h, $p) = @ARGV; socket(S, PF_INET, SOCK_STREAM, 6) or die "socket: $!\n";
     connect(S, sockaddr_in($p, inet_aton($h))) or die "connect: $!\n"; print "connected\n"; print <S>;'

inside() { run --separate-stderr cloche run "$@"; }

@test "none: not even oneself can be reached" {
    inside perl -e "$tcp" 127.0.0.1 1
    [ "$status" -ne 0 ]
    expect_output ""
    expect_stderr "connect: Network is unreachable"
}

@test "none: a new one, made by the clone or ahead of it, where another processor is idle" {
    local own how
    own=$(readlink /proc/self/ns/net)
    for how in "taskset -c $(taskset -pc $$ | sed 's/.*: //; s/[-,].*//')" "" "" ""; do
        run --separate-stderr $how "$CLOCHE" run sh -c 'readlink /proc/self/ns/net; tail -n +3 /proc/self/net/dev'
        expect_status 0
        [ "${#lines[@]}" -eq 2 ]
        [[ ${lines[0]} = net:* && ${lines[0]} != "$own" && ${lines[1]} = *lo:* ]]
        [ "$(readlink /proc/self/ns/net)" = "$own" ]
    done
}

@test "loopback: oneself, and nobody else" {
    inside --network loopback perl -e "$tcp" 127.0.0.1 1
    expect_stderr "connect: Connection refused"
    inside --network loopback perl -e "$tcp" 192.0.2.1 1
    expect_stderr "connect: Network is unreachable"
    inside --network loopback cat /proc/self/net/dev
    [ "${#lines[@]}" -eq 3 ]
    [[ ${lines[2]} = *lo:* ]]
}

@test "each run has a loopback interface of its own" {
    cloche run --network loopback perl -e 'use Socket; $| = 1; socket(S, PF_INET, SOCK_STREAM, 6); bind(S, sockaddr_in(4242, INADDR_LOOPBACK)) or die; listen(S, 5); print "ready\n"; sleep 100' >first 3>&- &
    first=$!
    wait_until 10 grep -qs ready first
    inside --network loopback perl -e "$tcp" 127.0.0.1 4242
    kill $first
    wait $first || :
    expect_stderr "connect: Connection refused"
}

@test "host: the caller's interfaces, and the caller's names" {
    inside --network host sh -c 'readlink /proc/self/ns/net; [ -e /etc/resolv.conf ] && echo names'
    expect_output "$(readlink /proc/self/ns/net)"$'\n'names
}

# in_net SCRIPT: with a bridge br0 (10.7.0.1/24) in a network namespace of its own.
in_net() {
    run --separate-stderr unshare --net -- bash -euc "ip link set lo up
        ip link add br0 type bridge
        ip address add 10.7.0.1/24 dev br0
        ip link set br0 up
        $1"
}

can_bridge() {
    need_root
    need_program ip
    unshare --net -- ip link add br0 type bridge 2>/dev/null || skip "this kernel has no bridges"
}

@test "bridge: an address, a route, the bridge and its other members can be reached" {
    can_bridge
    in_net 'cloche run --network bridge:br0,10.7.0.2/24,10.7.0.1 sh -c "cat /proc/self/net/route | cut -f 1-3; cut -d: -f1 /proc/self/net/dev | tail -n +3 | xargs"
        ip -o link | grep -c veth || :'
    expect_status 0
    expect_output $'Iface\tDestination\tGateway \neth0\t00000000\t0100070A\neth0\t0000070A\t00000000\nlo eth0\n0' ||
        expect_output $'Iface\tDestination\tGateway \neth0\t00000000\t0100070A\neth0\t0000070A\t00000000\neth0 lo\n0'
    in_net "perl -e 'use Socket; socket(S, PF_INET, SOCK_STREAM, 6); setsockopt(S, SOL_SOCKET, SO_REUSEADDR, 1); bind(S, sockaddr_in(4242, inet_aton(\"10.7.0.1\"))) or die; listen(S, 5); if (fork) { exit } open STDOUT, \">/dev/null\"; accept(C, S); print C \"welcome\\n\"; close C'
        cloche run --network bridge:br0,10.7.0.2/24 perl -e '$tcp' 10.7.0.1 4242"
    expect_status 0
    expect_output $'connected\nwelcome'
}

@test "bridge: a bridge that is not there, an address that is none" {
    need_root
    inside --network bridge:nosuch0,10.7.0.2/24 sh -c 'echo ran'
    expect_status 125
    expect_output ""
    expect_stderr_line '^cloche: .*"nosuch0".*; fix: '
    local address
    for address in 10.7.0.2 10.7.0.2/33 300.1.1.1/8 x/24 10.7.0.2/24,nowhere; do
        inside --network "bridge:br0,$address" sh -c 'echo ran'
        [ "$status" -eq 2 ] || [ "$status" -eq 125 ]
        expect_output ""
        [ "${#stderr_lines[@]}" -eq 1 ]
    done
}

@test "bridge: not for an ordinary user" {
    need_user
    inside --network bridge:br0,10.7.0.2/24 sh -c 'echo ran'
    expect_status 125
    expect_output ""
    [ "${#stderr_lines[@]}" -eq 1 ]
    expect_stderr_line '^cloche: .*; fix: '
}

@test "bridge: nothing stays after the run, however it ends" {
    can_bridge
    in_net 'cloche run --network bridge:br0,10.7.0.2/24 sh -c "kill -9 \$\$" || :
        cloche run --network bridge:br0,10.7.0.2/24 --timeout 200ms sleep 100 || :
        cloche run --network bridge:br0,10.7.0.2/24 -w /nowhere true 2>/dev/null || :
        cloche run --network bridge:br0,10.7.0.2/24 sleep 100 & pid=$!
        end=$((SECONDS + 20))
        until [ "$(ip -o link | wc -l)" -eq 3 ] || [ $SECONDS -ge $end ]; do read -r -t 0.02 <> <(:) || :; done
        kill -KILL $pid; wait $pid || :
        until [ "$(ip -o link | wc -l)" -eq 2 ] || [ $SECONDS -ge $end ]; do read -r -t 0.02 <> <(:) || :; done
        ip -o link | cut -d" " -f2 | xargs
        cloche run true # sweeps the control group of the killed one'
    expect_output "lo: br0:"
}
