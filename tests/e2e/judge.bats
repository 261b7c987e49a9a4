# cloche judge, as a teacher types it.
# Not in the virtual machine: compilers take minutes there, and the sandbox that they run in is tested by the other files.
load helper

setup() {
    cloche_setup
    export XDG_CONFIG_HOME=$WORK/config NO_COLOR=1
    effort=()
    cgroups_usable || effort=(--best-effort)
    corpus=$CHECKOUT/tests/corpus/judge
    mkdir tests
    for i in 1 2 3; do
        echo "$i $((i * 10))" >tests/$i.in
        echo $((i * 11)) >tests/$i.out
    done
    echo 'a, b = map(int, input().split()); print(a + b)' >right.py
    echo 'a, b = map(int, input().split()); print(a + b if a < 3 else 0)' >wrong.py
}

judge() { cloche judge "${effort[@]}" "$@"; }
field() { jq -r "$1" <<<"$output"; }

@test "a class: verdicts, points, table, exit status" {
    run --separate-stderr judge right.py --tests tests
    expect_status 0
    [[ ${lines[1]} =~ ^right\.py\ +ok\ +3/3\ +3/3\  ]]
    run --separate-stderr judge right.py wrong.py --tests tests
    expect_status 1
    [[ ${lines[2]} =~ ^wrong\.py\ +wrong_answer\ +2/3\ +2/3\ .*test\ 3:\ line\ 1:\ expected\ \"33\",\ found\ \"0\"$ ]]
    [[ ${lines[3]} =~ ^1\ of\ 2\ passed,\ 3\ tests\ each ]]
}

@test "sixty submissions, each with the verdict of its name" {
    need_cgroups
    local submissions=("$corpus"/sum/submissions/*) limits=(--cpu-time 1s --timeout 8s --stop) least=60
    if [ -n "${CLOCHE_VM-}" ]; then # emulation takes twenty times as long: a few of each kind, and patience
        submissions=("$corpus"/sum/submissions/{ok-plain,ok-leaves_a_child,wrong_answer-r,wrong_answer-w,runtime_error,memory_limit,output_limit,blocked,time_limit-loops}*.c)
        limits=(--cpu-time 5s --timeout 20s --stop) least=12
    fi
    run --separate-stderr judge "${submissions[@]}" --tests "$corpus/sum/tests" "${limits[@]}" --json
    expect_status 1
    [ "$(field '.submissions | length')" -ge "$least" ]
    found=$(field '.submissions[] | (.name | split("/")[-1] | split("-")[0]) as $expected | select($expected != .verdict) |
        "\(.name): \(.verdict), \([.tests[].verdict] | join(" ")), \(.detail)"')
    [ -z "$found" ] || { echo "$found"; return 1; }
    # killed for time: the time that was allowed, not more
    [ "$(jq --arg slow "${CLOCHE_VM-}" '[.submissions[].tests[] | select(.verdict == "time_limit") | select(.cpu_ms > 5000 or .wall_ms > 20000 or ($slow == "" and (.cpu_ms > 1000 or .wall_ms > 8000)))] | length' <<<"$output")" = 0 ]
}

@test "equal inputs give equal verdicts, a hundred times" {
    echo 'import sys; sys.exit(int(input().split()[0]) + 6)' >exits.py
    echo 'int main(void) { for (;;); }' >loops.c
    rounds=100
    [ -z "${CLOCHE_VM-}" ] || rounds=4
    for i in $(seq $rounds); do
        judge right.py wrong.py exits.py --tests tests --stop --json |
            jq -c '[.submissions[] | [.verdict, .points, .passed, .failed, .skipped, [.tests[].verdict]]]' >>rounds || [ $? -eq 1 ]
    done
    [ "$(sort -u rounds | wc -l)" = 1 ]
    [ "$(head -n 1 rounds)" = '[["ok",3,3,0,0,["ok","ok","ok"]],["wrong_answer",2,2,1,0,["ok","ok","wrong_answer"]],["runtime_error",0,0,1,2,["runtime_error","skipped","skipped"]]]' ]
}

@test "the answers are nowhere inside" {
    echo secret-answer-1234 >tests/1.out
    cat >search.py <<'EOF'
import os
for top, dirs, files in os.walk("/"):
    if top in ("/usr", "/sys"):
        dirs.clear()
        continue
    for f in files:
        try:
            fd = os.open(os.path.join(top, f), os.O_RDONLY | os.O_NONBLOCK)
            data = os.read(fd, 1 << 16)
            os.close(fd)
        except OSError:
            continue
        if b"secret-" + b"answer" in data and not top.startswith("/judge"):
            print(top, f)
            raise SystemExit(0)
print("nothing")
EOF
    run --separate-stderr judge search.py --tests tests --json
    [ "$(field '.submissions[0].tests[0] | [.verdict, .message] | join(" ")')" = \
        'wrong_answer line 1: expected "secret-answer-1234", found "nothing"' ]
}

@test "checkers" {
    mkdir t
    : >t/1.in
    check() { # OUTPUT ANSWER VERDICT OPTIONS...
        printf '%b' "$2" >t/1.out
        printf "cat <<'EOF'\n%b\nEOF\n" "$1" >s.sh
        run --separate-stderr judge s.sh --tests t --json "${@:4}"
        [ "$(field '.submissions[0].verdict')" = "$3" ] || { echo "$*: $output"; return 1; }
    }
    check '1  2\n3' '1 2 3' ok
    check '1 2 4' '1 2 3' wrong_answer
    check '1 2 3' '1 2 3\n' ok --checker exact
    check '1  2 3' '1 2 3\n' wrong_answer --checker exact
    check '0.3333333' '0.33333333' ok --tolerance 1e-6
    check '0.3334' '0.33333333' wrong_answer --checker float
    check '1000001' '1000000' ok --tolerance 0,1e-5
    check 'nan' '1' wrong_answer --tolerance 1
    check 'b\na' 'a\nb\n' ok --checker unordered
    check 'b\na\na' 'a\nb\n' wrong_answer --checker unordered
}

@test "a checker program, points, and a checker that fails" {
    echo 'print(0, 7)' >a.py; echo 'print(3, 0)' >b.py; echo 'print(1, 1)' >c.py; echo 'print()' >d.py
    run --separate-stderr judge a.py b.py c.py d.py --tests "$corpus/pair" --json
    expect_status 1
    [ "$(field '.submissions[] | [.verdict, .points, .tests[0].message] | join("|")')" = "\
ok|1|ok
wrong_answer|0.5|points 0.5 half of it
wrong_answer|0|wrong answer: the sum is 2
wrong_answer|0|wrong output format: two numbers expected" ]
    echo 'int main(void) { return 3; }' >broken.c
    run --separate-stderr judge a.py --tests "$corpus/pair" --checker broken.c --json
    [ "$(field '.submissions[0].verdict')" = setup_error ]
    echo 'int main(void) { return }' >broken.c
    run --separate-stderr judge a.py --tests "$corpus/pair" --checker broken.c --json
    expect_status 1
    expect_error judge.checker
}

@test "the tests of a submission follow each other in one closed network, until one goes wrong" {
    mkdir nets
    for i in 1 2 3 4; do echo "$i" >nets/$i.in; : >nets/$i.out; done
    # SO_NETNS_COOKIE: no two network namespaces ever have the same, as inode numbers may
    cookie='int.from_bytes(s.getsockopt(socket.SOL_SOCKET, 71, 8), "little")'
    cat >one.py <<EOF
import os, socket
s = socket.socket(socket.AF_UNIX)
s.bind("\\0left behind")
if input() == "2":
    os.kill(os.getpid(), 9)
print($cookie)
EOF
    cp one.py two.py
    cat >tell.c <<'EOF'
#include <stdio.h>
#include <sys/socket.h>
int main(int argc, char **argv)
{
    unsigned long long program = 0, own = 0;
    socklen_t size = sizeof own;
    FILE *f = fopen(argv[2], "r");
    if (f == NULL || fscanf(f, "%llu", &program) != 1 ||
        getsockopt(socket(AF_UNIX, SOCK_STREAM, 0), SOL_SOCKET, 71, &own, &size) < 0)
        return 3;
    fprintf(stderr, "%llu %llu\n", program, own);
    return 0;
}
EOF
    run --separate-stderr judge one.py two.py --tests nets --checker tell.c --jobs 1 --json
    [ "$(field '[.submissions[].tests[].verdict] | join(" ")')" = "ok runtime_error ok ok ok runtime_error ok ok" ]
    local programs checkers host unique=3
    host=$(python3 -c "import socket; s = socket.socket(socket.AF_UNIX); print($cookie)")
    programs=$(field '.submissions[].tests[] | select(.verdict == "ok").message | split(" ")[0]')
    checkers=$(field '.submissions[].tests[] | select(.verdict == "ok").message | split(" ")[1]')
    # in the order of the tests 1 3 4, 1 3 4: the fourth shares what the third had, and nothing else is shared
    [ "$(id -u)" = 0 ] && unique=2
    [ "$(head -n 3 <<<"$programs" | uniq | wc -l)" = $unique ]
    [ "$(tail -n 3 <<<"$programs" | uniq | wc -l)" = $unique ]
    [ "$( (sort -u <<<"$programs"; sort -u <<<"$checkers"; echo "$host") | sort | uniq -d)" = "" ]
    [ "$(sort -u <<<"$programs" | wc -l)" = $((unique * 2)) ]
}

@test "each test counts from zero, and has its own limits" {
    need_cgroups
    # what they do, one after the other in one slot
    cat >each.py <<'EOF'
import os, time
what = input().split()
if what[0] == "spin":
    while time.process_time() < 0.4:
        pass
elif what[0] == "hold":
    bytearray(int(what[1]) << 20)
elif what[0] == "fork":
    here, there = os.pipe()
    for _ in range(2):
        if os.fork() == 0:
            os.close(there)
            os.read(here, 1)
            os._exit(0)
    os.close(there)
    os.wait(), os.wait()
print(1)
EOF
    mkdir counts
    local tests=(spin spin "hold 48" small "hold 48" fork small "hold 48") limits i
    for i in "${!tests[@]}"; do echo "${tests[i]}" >counts/$i.in; echo 1 >counts/$i.out; done
    limits='{"limits": {"cpu_ms": 1000, "memory_bytes": 100663296}, "tests": [{"input": "0.in"}, {"input": "1.in"}, {"input": "2.in"}, {"input": "3.in"},
        {"input": "4.in", "limits": {"memory_bytes": 33554432}}, {"input": "5.in"}, {"input": "6.in"}, {"input": "7.in"}]}'
    [ -z "${CLOCHE_VM-}" ] || limits=${limits/1000/20000}
    echo "$limits" >counts/tests.json
    run --separate-stderr judge each.py --tests counts --jobs 1 --json
    [ "$(field '[.submissions[0].tests[].verdict] | join(" ")')" = "ok ok ok ok memory_limit ok ok ok" ]
    [ "$(field '[.submissions[0].tests[].processes_peak] | join(" ")')" = "1 1 1 1 1 3 1 1" ]
    [ "$(field '[.submissions[0].tests[] | .memory_peak_bytes > 40000000] | join(" ")')" = "false false true false false false false true" ]
    [ "$(field '[.submissions[0].tests[] | .cpu_ms >= 400] | join(" ")')" = "true true false false false false false false" ]
    [ "$(field '[.submissions[0].tests[:2][] | (.user_ms + .system_ms - .cpu_ms | fabs) < 2] | all')" = true ]
}

@test "interactive problems" {
    cat >halves.c <<'EOF'
#include <stdio.h>
#include <string.h>
int main(void)
{
    char answer[10];
    for (int low = 1, high = 1000;;) {
        int guess = (low + high) / 2;
        printf("%d\n", guess);
        fflush(stdout);
        if (scanf("%9s", answer) != 1)
            return 1;
        if (strcmp(answer, "yes") == 0)
            return 0;
        if (strcmp(answer, "more") == 0)
            low = guess + 1;
        else
            high = guess - 1;
    }
}
EOF
    printf 'i = 1\nwhile True:\n    print(i, flush=True)\n    if input() == "yes": break\n    i += 1\n' >counts.py
    echo 'import time; time.sleep(100)' >sleeps.py
    echo 'int main(void) { return 0; }' >leaves.c
    echo 'int main(void) { *(volatile int *)0 = 1; }' >crashes.c
    echo 'int main(void) { for (;;) if (!fputs("x", stdout)) ; }' | sed '1i #include <stdio.h>' >floods.c
    rounds="1 2 3 4 5"
    [ -z "${CLOCHE_VM-}" ] || rounds=1
    for round in $rounds; do
        run --separate-stderr judge halves.c counts.py sleeps.py leaves.c crashes.c floods.c --tests "$corpus/guess" --timeout "${CLOCHE_VM:+1}2s" --json
        expect_status 1
        found=$(field '.submissions[] | [.verdict, .points, .tests[0].verdict, .tests[1].verdict] | join(" ")')
        [ "$found" = "\
ok 4 ok ok
wrong_answer 1 ok wrong_answer
time_limit 0 time_limit time_limit
wrong_answer 0 wrong_answer wrong_answer
runtime_error 0 runtime_error runtime_error
wrong_answer 0 wrong_answer wrong_answer" ] || { echo "$found"; return 1; }
    done
}

@test "tests.json: names, points, arguments, limits of one test" {
    cat >tests/tests.json <<'EOF'
{ "limits": { "cpu_ms": 5000 }, "points": 2,
  "tests": [ { "name": "first", "input": "1.in" },
             { "name": "worth more", "input": "2.in", "answer": "2.out", "points": 5 },
             { "name": "hurry", "input": "3.in", "limits": { "wall_ms": 5000 }, "arguments": ["slow"] } ] }
EOF
    printf 'import sys, time\na, b = map(int, input().split())\nif "slow" in sys.argv: time.sleep(60)\nprint(a + b)\n' >s.py
    run --separate-stderr judge s.py --tests tests --json
    [ "$(field '.submissions[0] | .points, .max_points, (.tests[] | [.name, .verdict, .points, .max_points] | join("|"))')" = "\
7
9
first|ok|2|2
worth more|ok|5|5
hurry|time_limit|0|2" ]
}

@test "JUnit XML" {
    printf 'print("<&\\"\\x1b\\xff>")\n' >odd.py
    echo 'x = (' >broken.py
    run --separate-stderr judge right.py odd.py broken.py --tests tests --stop --junit out.xml
    expect_status 1
    [ "$(python3 - out.xml <<'EOF'
import sys, xml.etree.ElementTree as tree
root = tree.parse(sys.argv[1]).getroot()
print(len(root.findall(".//testcase")), len(root.findall(".//failure[@type='wrong_answer']")),
      len(root.findall(".//error[@type='compile_error']")), len(root.findall(".//skipped")))
for suite in root:
    cases = suite.findall("testcase")
    assert int(suite.get("tests")) == len(cases)
    assert int(suite.get("failures")) == len(suite.findall("testcase/failure"))
    assert int(suite.get("errors")) == len(suite.findall("testcase/error"))
    assert int(suite.get("skipped")) == len(suite.findall("testcase/skipped"))
EOF
)" = "10 1 1 5" ]
}

@test "bad input: all of it told at once, nothing run" {
    mkdir none answers both list json
    touch answers/1.out answers/2.ans
    touch both/1.in both/2.in both/2.out both/3.out
    touch list/1.in list/1.out
    echo '{ "tests": [ { "input": "9.in", "point": 1 } ], "checker": "nope", "points": -1 }' >list/tests.json
    echo '{' >json/tests.json
    while IFS='|' read -r directory code says; do
        run --separate-stderr judge right.py --json --tests "$directory"
        expect_status 1
        expect_error "$code"
        while [ -n "$says" ]; do
            [[ $stderr = *"${says%%;*}"* ]] || differ "stderr of $directory" "$stderr" "${says%%;*}"
            [[ $says = *\;* ]] || break
            says=${says#*;}
        done
    done <<'EOF'
missing|judge.tests|missing;No such file
none|judge.tests|there are none
answers|judge.tests|1.out;2.ans;an answer without a test
both|judge.tests|3.out;an answer without a test;a test without an answer
list|judge.tests|nope;point;points
json|judge.tests|tests.json
right.py|judge.tests|right.py
EOF
    run --separate-stderr judge --tests tests
    expect_status 2
    run --separate-stderr judge right.py --tests tests --profile nosuch
    expect_status 1
    expect_output ""
    expect_stderr_line '^cloche: there is no profile "nosuch"; '
    run --separate-stderr judge right.py
    expect_status 2
    run --separate-stderr judge missing.py right.py --tests tests --json
    expect_status 1
    [ "$(field '.submissions[] | .verdict')" = $'compile_error\nok' ]
    ln -s /etc/shadow shadow.py
    run --separate-stderr judge shadow.py --tests tests --json
    [ "$(field '.submissions[0] | .verdict, (.detail | test("symbolic link"))')" = $'compile_error\ntrue' ]
}

@test "the example course" {
    need_cgroups
    # its limits are those of a real machine
    [ -z "${CLOCHE_VM-}" ] || return 0
    mkdir results
    run --separate-stderr "$CHECKOUT/examples/learning/grade" "$WORK/results"
    expect_status 0
    [ "$(grep -Eo '^[a-z]+\.[a-z]+ +[a-z_]+' <<<"$output" | tr -s ' ')" = "\
alice.c ok
bob.c wrong_answer
carol.py ok
dave.sh wrong_answer
eve.c process_limit
alice.cpp ok
bob.cpp compile_error
carol.py ok
dave.sh ok
eve.py memory_limit
alice.c ok
bob.c wrong_answer
carol.py ok
dave.py time_limit" ]
    ls results/1-sum.xml results/2-words.xml results/3-roots.xml
}

@test "the library: compile and judge by runtime/cloche.h" {
    program=$CLOCHE_BUILD_DIR/tests/library/grade
    run --separate-stderr "$program" right.py tests out.xml
    expect_status 0
    [ "$(sed -n 1p <<<"$output" | jq -r '.verdict, .toolchain')" = $'ok\npython' ]
    [ "${lines[1]}" = 1 ]
    [ "$(sed -n 3p <<<"$output" | jq -c '[.all_passed, .submissions[0].passed]')" = '[true,3]' ]
    [ -s out.xml ]
    run --separate-stderr "$program" wrong.py tests out.xml
    expect_status 1
    [ "$(sed -n 3p <<<"$output" | jq -r '.submissions[0].verdict')" = wrong_answer ]
    run --separate-stderr "$program" missing.py tests out.xml
    expect_status 3
    [[ $output = "compile.source: "* ]]
    run --separate-stderr "$program" right.py nowhere out.xml
    expect_status 3
    [[ ${lines[2]} = "judge.tests: "* ]]
}

@test "names and answers in any script, and names that are no text" {
    rm tests/*
    echo x >'tests/größe.in' && echo да >'tests/größe.out'
    echo x >'tests/größ2.in' && echo да >'tests/größ2.out'
    echo 'print("нет")' >нет.py
    cp нет.py $'odd\xff.py'
    run --separate-stderr judge нет.py $'odd\xff.py' --tests tests --junit out.xml --details
    expect_status 1
    [[ ${lines[1]} =~ ^нет\.py\ {6}wrong_answer\ .*\ \ test\ größ2:\ line\ 1:\ expected\ \"да\",\ found\ \"нет\"$ ]]
    [[ ${lines[2]} =~ ^\ {4}größ2\ {12}wrong_answer ]]
    [[ ${lines[4]} =~ ^odd\?\.py\ {5}wrong_answer ]]
    run --separate-stderr python3 -c 'if True:
        import xml.etree.ElementTree as E
        case = E.parse("out.xml").getroot()[0][1]
        print(case.get("name"), case[0].get("message"))'
    expect_output 'größe line 1: expected "да", found "нет"'
    run --separate-stderr judge $'odd\xff.py' --tests tests --json
    expect_status 1
    [ "$(field '.submissions[0] | .name, .tests[1].name')" = $'odd?.py\ngröße' ]
    iconv -f UTF-8 -t UTF-8 <<<"$output" >/dev/null
}
