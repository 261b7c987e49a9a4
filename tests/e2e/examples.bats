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
    [ "$(grep -c '^== ' <<<"$output")" -eq 8 ]
    grep -A6 '^== a class' <<<"$output" | awk 'NR > 3 { print $1, $2, $3 }' >found
    diff - found <<'END'
alice.c ok 4/4
bob.c wrong_answer 3/4
carol.py ok 4/4
dave.sh wrong_answer 0/4
END
}
