# The examples as a reader runs them, their output compared whole. Copied, because one of them builds in its own tree.
load helper

setup() {
    cloche_setup
    cp -r "$CHECKOUT/examples" "$WORK/examples"
    # An ordinary user without control groups: as the README says.
    CLOCHE_FLAGS=
    cgroups_usable || CLOCHE_FLAGS=--best-effort
    export CLOCHE_FLAGS CLOCHE=$BATS_TEST_TMPDIR/bin/cloche
}

# a_report: the only line of stderr, parsed.
a_report() {
    [ "${#stderr_lines[@]}" -ge 1 ] || differ stderr "$stderr" "a report"
    tail -n 1 <<<"$stderr" >report.json
}

@test "student: a submission is compiled, run with its input, and reported" {
    seq 1 1000 >input
    run --separate-stderr examples/student/run examples/student/sum.c input
    expect_status 0
    expect_output 500500
    a_report
    expect_report .verdict ok
    expect_report .exit_code 0
    expect_report .stdout_bytes 7
    run --separate-stderr examples/student/run examples/student/sum.c
    expect_status 0
    expect_output 0
}

@test "student: what does not compile is the compiler's error" {
    echo 'int main(void) { return nothing; }' >broken.c
    run --separate-stderr examples/student/run broken.c
    expect_status 1
    expect_output ""
    expect_stderr_line "^/src/main.c:1:25: error: .nothing. undeclared"
}

@test "student: a fork bomb, a memory bomb, a call into the network" {
    need_cgroups
    local program verdict code
    while read -r program verdict code; do
        run --separate-stderr examples/student/run "examples/student/$program.c"
        expect_status "$code"
        expect_output ""
        a_report
        expect_report .verdict "$verdict"
    done <<'END'
forkbomb process_limit 137
hungry memory_limit 137
caller runtime_error 1
END
    expect_stderr_line '^connect: Network is unreachable$'
}

# readme HEADING: the commands of the first block below it, those left out that need a person or the network.
readme() {
    awk -v heading="## $1" '$0 == heading { found = 1 } found && /^```/ { if (inside) exit; inside = 1; next } inside' "$CHECKOUT/README.md" |
        grep '^cloche ' | grep -v -e ' -t ' -e 'npm ci'
}

@test "README: the lines for a teacher and for a CI job run as they are" {
    need_cgroups
    need_program make
    local line
    cp examples/student/sum.c .
    seq 4 >input
    mkdir -p tests out debian/{bin,dev,etc,proc,tmp} rootfs/{bin,dev,proc,tmp}
    cp input tests/one.in
    echo 10 >tests/one.out
    printf 'test:\n\techo tested\ninstall:\n\techo installed >$(DESTDIR)/installed\n' >Makefile
    printf '#!/bin/sh\necho done\n' >ci.sh
    chmod +x ci.sh
    echo A=1 >ci.env
    cp /bin/busybox debian/bin/cat
    cp /bin/busybox rootfs/bin/true
    echo debian >debian/etc/os-release
    jq -n '{ociVersion: "1.1.0", root: {path: "rootfs"}, process: {cwd: "/", args: ["/bin/true"], user: {uid: 0, gid: 0}}}' >config.json
    chmod -R go+rX .
    while read -r line; do
        run --separate-stderr bash -o pipefail -c "$line"
        expect_status 0 || differ line "$line" "to end well"
    done < <(readme "For a teacher"; readme "For a CI job")
    [ "$(cat output)" = 10 ]
    [ "$(jq -r .verdict report.json)" = ok ]
    [ "$(cat out/installed)" = installed ]
}

@test "ci: make test of a project, which stays as it is and has no network" {
    need_program make
    run --separate-stderr examples/ci/run
    expect_status 0
    expect_output "cc -O1 -Wall -o words words.c
printf 'glass over a seedling\\n' | ./words | grep -qx 4
all tests pass"
    [ "$(ls examples/ci/project)" = $'Makefile\nwords.c' ]
    sed -i 's/-qx 4/-qx 5/' examples/ci/project/Makefile
    run --separate-stderr examples/ci/run
    expect_status 2
    expect_stderr_line '^make: \*\*\* \[Makefile:4: test\] Error 1$'
}

@test "oci: a bundle of runc, as it is" {
    need_program runc
    run examples/oci/run
    expect_status 0
    # A terminal: the shell's banner and echo come first, in an order that is the kernel's.
    [ "$(tr -d '\r' <<<"$output" | grep -x -A2 runc)" = $'runc\n0\n/bin /dev /proc /sys /tmp' ] || differ bundle "$output" "three lines"
}

@test "counter: the count goes from version to version and back" {
    run --separate-stderr examples/counter/run
    expect_status 0
    expect_output "version 1 counts in 32 bits:
1
2
3
version 2 counts in 64 bits, by tens, from where version 1 was:
13
version 1 again, with what version 2 counted:
14
create - -> 1: GOOD
reload 1 -> 2: GOOD
rollback 2 -> 1: GOOD"
}

@test "counter under load: edited, broken, taken back, and no request lost" {
    run --separate-stderr examples/counter/under-load
    expect_status 0
    [ "$(tail -n 4 <<<"$output" | head -n 2)" = $'create - -> 1: GOOD\nreload 1 -> 2: GOOD' ]
    [[ ${lines[-2]} == "reload 2 -> 3: ROLLED_BACK (signal "* ]]
    [[ ${lines[-1]} =~ ^[0-9]{4,}\ requests,\ 0\ lost,\ 0\ out\ of\ order$ ]]
}

@test "live: each save is seen, an error changes nothing" {
    run --separate-stderr examples/live/run
    expect_status 0
    [ "$(head -n 5 <<<"$output")" = "hello, you
good morning, you
good morning, you
good night, you
what cloche watch has shown:" ]
    [ "$(grep -c '^version . live in ' <<<"$output")" = 2 ]
    grep -q "greet.c:8:.*no member named .length." <<<"$output"
}

@test "plugin: a host program and its users' plug-ins" {
    [ "${CLOCHE_BUILD-}" != build-asan ] || need_cgroups # set_effort says why
    export CLOCHE_CONFIG='{"ociVersion":"1.1.0"}'
    cgroups_usable || CLOCHE_CONFIG='{"ociVersion":"1.1.0","cloche":{"enforce":"best-effort"}}'
    run --separate-stderr "$CHECKOUT/examples/plugin/run"
    expect_status 0
    expect_output "upper: GLASS OVER A SEEDLING
count: 4 different words so far
thief: there is no /etc/shadow to be seen
thief: error module.none
upper: STILL HERE
upper: not replaced: build.compile
upper: AND HERE
upper: replaced
upper: BETTER!
count: 8 different words so far"
}

@test "quickstart: all of it" {
    need_cgroups
    [ -z "${CLOCHE_VM-}" ] || skip "too slow under emulation"
    run examples/quickstart
    expect_status 0
    # Of times and memory only the places; of the class, what learning's own test does not compare.
    sed -E '/^\{"verdict":"ok","exit_code":0,.*\}$/s/.*/REPORT/; /^== a class/,$d' <<<"$output" >found
    cat >wanted <<'END'
== a submission: compiled and run by two calls of cloche run
500500
REPORT

== a hostile one: forkbomb.c
verdict: process_limit ("needed more processes than the limit")
exit status: 137

== a hostile one: hungry.c
verdict: memory_limit ("needed more than the memory limit")
exit status: 137

== a hostile one: caller.c
connect: Network is unreachable
verdict: runtime_error ("exited with status 1")
exit status: 1

END
    diff wanted found
    [ "$(grep -c '^== ' <<<"$output")" -eq 9 ]
    [[ ${lines[-1]} =~ ^[0-9]+\ requests,\ 0\ lost,\ 0\ out\ of\ order$ ]]
    grep -A6 '^== a class' <<<"$output" | awk 'NR > 3 { print $1, $2, $3 }' >found
    diff - found <<'END'
alice.c ok 4/4
bob.c wrong_answer 3/4
carol.py ok 4/4
dave.sh wrong_answer 0/4
END
}
