# cloche run -t at a real terminal (terminal.py plays the caller).
# Not in the virtual machine: a pty is the same everywhere, and a shell at one takes minutes under emulation
load helper

at_terminal() { run --separate-stderr python3 "$CHECKOUT/tests/e2e/terminal.py" "$@"; }

@test "-t: the program has a terminal of its own, as large as the caller's, and it is the program's controlling one" {
    at_terminal -- cloche run -t sh -c 'tty; stty size; [ -t 0 ] && [ -t 1 ] && [ -t 2 ] && echo all; echo through >/dev/tty'
    expect_status 0
    expect_output $'status 0\n/dev/pts/0\n24 80\nall\nthrough'
}

@test "-t: exit status and signals of the program" {
    at_terminal -- cloche run -t sh -c 'exit 42'
    expect_output "status 42"
    at_terminal -- cloche run -t sh -c 'kill -SEGV $$'
    expect_output "status 139"
}

@test "-t: what is typed arrives once, is echoed once, and line editing is the program's terminal's" {
    at_terminal expect:ready 'send:hellp\x7fo\n' -- cloche run -t sh -c 'echo ready; read -r line; echo "got $line"'
    expect_status 0
    expect_output $'status 0\nready\nhellp\b \bo\ngot hello'
}

@test "-t: a change of the window's size arrives, with its signal" {
    at_terminal expect:ready resize:50x132 expect:changed -- cloche run -t \
        perl -e '$| = 1; $SIG{WINCH} = sub { print "changed ", `stty size`; exit }; print "ready\n"; sleep 100 while 1'
    expect_status 0
    expect_output $'status 0\nready\nchanged 50 132'
}

@test "-t: ^C interrupts the program, not cloche" {
    at_terminal expect:ready 'send:\x03' expect:caught -- cloche run -t \
        sh -c 'trap "echo caught; exit 5" INT; echo ready; while :; do sleep 0.05; done'
    expect_status 0
    [ "${lines[0]}" = "status 5" ]
    at_terminal expect:ready 'send:\x03' -- cloche run -t sh -c 'echo ready; exec sleep 100'
    [ "${lines[0]}" = "status 130" ]
}

@test "-t: job control inside: ^Z stops the foreground job only" {
    # One process without a fork: a shell that is stopped between vfork and exec never shows as stopped. The commas
    # keep what is expected apart from its echo.
    at_terminal 'expect:$ ' "send:perl -e '\$| = 1; \$SIG{CONT} = sub { print \"went\", \" on\", \$/ }; print \"u\", \"p\", \$/; sleep 100 while 1'\n" expect:up \
        'send:\x1a' expect:Stopped 'expect:\n$ ' 'send:fg\n' 'expect:went on' 'send:\x03' 'expect:\n$ ' 'send:exit 3\n' -- \
        cloche run -t -e 'PS1=$ ' bash --norc --noprofile --noediting -i
    expect_status 0
    [ "${lines[0]}" = "status 3" ]
    [[ $output != *"no job control"* ]]
}

@test "-t: the end of the input" {
    at_terminal expect:ready 'send:a\n\x04' -- cloche run -t sh -c 'echo ready; cat; echo end'
    expect_status 0
    expect_output $'status 0\nready\na\na\nend'
}

@test "-t: SIGKILL of the program: the caller's terminal is as before" {
    at_terminal -- cloche run -t sh -c 'stty raw -echo; kill -KILL $$'
    expect_status 0
    expect_output "status 137"
}

@test "-t: time limit: the caller's terminal is as before" {
    at_terminal -- cloche run -t --timeout 300ms sh -c 'stty raw -echo; exec sleep 100'
    expect_status 0
    expect_output "status 124"
}

@test "-t: SIGTERM and SIGHUP to cloche reach the program" {
    at_terminal expect:ready kill:SIGTERM -- cloche run -t sh -c 'trap "exit 6" TERM; echo ready; while :; do sleep 0.05; done'
    expect_status 0
    [ "${lines[0]}" = "status 6" ]
    at_terminal expect:ready kill:SIGHUP -- cloche run -t sh -c 'echo ready; exec sleep 100'
    expect_status 0
    [ "${lines[0]}" = "status 129" ]
}

@test "-t: a setup that fails leaves the terminal as it was, and says why" {
    at_terminal -- cloche run -t -w /nowhere true
    expect_status 0
    expect_output $'status 125\ncloche: cannot change to working directory "/nowhere": No such file or directory; fix: it must exist inside the sandbox'
}

@test "-t without a terminal: a pty all the same" {
    run --separate-stderr bash -c 'cloche run -t sh -c "tty; cat; echo end" </dev/null'
    expect_status 0
    expect_output $'/dev/pts/0\r\nend\r'
    run --separate-stderr bash -c 'echo line | cloche run -t sh -c "read -r x; echo got \$x"'
    expect_status 0
    [[ $output = *$'got line\r' ]]
}

@test "-t: a flood of output arrives whole" {
    at_terminal -- cloche run -t sh -c 'stty -opost; i=0; while [ $i -lt 5000 ]; do echo "line $i"; i=$((i+1)); done'
    expect_status 0
    [ "${#lines[@]}" -eq 5001 ]
    [ "${lines[5000]}" = "line 4999" ]
}

@test "-t: what is typed while the program writes arrives" {
    need_program strace
    export ASAN_OPTIONS=${ASAN_OPTIONS-}:detect_leaks=0
    # cloche looks first when both are there, something typed and something written
    at_terminal 'send:first\n' 'expect:got first' 'send:second\n' 'expect:got second' -- \
        strace -qq -o calls -e trace=epoll_wait,epoll_pwait -e inject=epoll_wait,epoll_pwait:delay_enter=200000:when=1 \
        "$CLOCHE" run -t sh -c 'echo written; while read -r line; do echo "got $line"; [ "$line" != second ] || exit 0; done'
    expect_status 0
    [ "${lines[0]}" = "status 0" ]
}

@test "-t: limits hold at a terminal that nobody reads" {
    at_terminal unread -- cloche run -t --timeout 300ms yes
    expect_status 0
    [ "${lines[0]}" = "status 124" ]
    at_terminal unread -- cloche run -t --cpu-time 200ms --best-effort sh -c 'yes & while :; do :; done'
    expect_status 0
    [ "${lines[0]}" = "status 124" ]
    at_terminal unread -- cloche run --output-limit 16m --timeout 300ms yes
    expect_status 0
    [ "${lines[0]}" = "status 124" ]
}

@test "-t: limits hold at a terminal of another user, as after su" {
    need_root
    local i
    for i in 1 2 3; do # what is left of the terminal's room differs
        at_terminal unread -- setpriv --reuid 23501 --regid 23501 --clear-groups env -u CLOCHE_ROOT -u CLOCHE_RUN HOME=/nonexistent \
            "$CLOCHE" run --best-effort -t --timeout 300ms python3 -c $'import os\nwhile 1: os.write(1, b"x" * 3001)'
        expect_status 0
        [ "${lines[0]}" = "status 124" ]
    done
}

@test "-t: the output goes where stdout goes" {
    # shellcheck disable=SC2016
    at_terminal 'send:line\n' -- sh -c 'exec cloche run -t sh -c "read -r x; echo got \$x" >out'
    expect_status 0
    [ "${lines[0]}" = "status 0" ]
    [ "$(cat out)" = $'line\r\ngot line\r' ]
}

# both_ways SCRIPT: the script's HOW is "run -t", and then "exec -t ID"
both_ways() {
    local how
    cloche create box
    for how in "run -t" "exec -t box"; do
        run --separate-stderr env HOW="$how" timeout -k 1 "$((20 * ${CLOCHE_TEST_SCALE:-1}))" bash -c "$1"
        expect_status 0
        expect_output "$2"
    done
    cloche destroy box
}

@test "-t: much input and much output pass each other, from a pipe and from a file" {
    # what the program writes is counted: of the echo the kernel drops what is not taken in time
    # shellcheck disable=SC2016
    both_ways 'yes | head -50000 | cloche $HOW sed s/y/z/ | tr -dc z | wc -c' 50000
    seq 50000 >numbers
    # shellcheck disable=SC2016
    both_ways 'cloche $HOW sh -c "stty -echo; sleep 0.2; wc -c" <numbers | tail -c 8' $'288894\r'
}

@test "-t: the end of an input that ends within a line" {
    # shellcheck disable=SC2016
    both_ways 'printf abc | cloche $HOW sh -c "stty -echo; wc -c" | tr -d abc' $'3\r'
}

@test "-t: a reader who leaves: the terminal hangs up" {
    # shellcheck disable=SC2016
    both_ways 'cloche $HOW yes </dev/null | head -c 1; echo " ${PIPESTATUS[0]}"' 'y 129'
}

@test "-t: TERM is passed on, unless it is given" {
    # shellcheck disable=SC2016
    both_ways 'TERM=abc cloche $HOW sh -c "echo \$TERM" </dev/null; TERM=abc cloche ${HOW/-t/-e TERM=x -t} sh -c "echo \$TERM" </dev/null' $'abc\r\nx\r'
}

@test "without -t the program sees the caller's terminal, but cannot take it" {
    at_terminal -- cloche run sh -c '[ -t 0 ] && echo terminal; (exec </dev/tty) 2>/dev/null || echo no controlling terminal'
    expect_status 0
    expect_output $'status 0\nterminal\nno controlling terminal'
}
