# Every language that is shipped as data: a sum compiles, is judged right, and an error is shown with its place.
# Not in the virtual machine: compilers take minutes there, and no field of theirs depends on the kernel
load helper

setup() {
    cloche_setup
    export XDG_CONFIG_HOME=$WORK/config NO_COLOR=1
    effort=()
    cgroups_usable || effort=(--best-effort)
    mkdir tests
    for i in 1 2 3; do
        echo "$i $((i * 10))" >tests/$i.in
        echo $((i * 11)) >tests/$i.out
    done
}

field() { jq -r "$1" <<<"$output"; }

# language NAME SOURCE WORSE: SOURCE adds two numbers; with the sed expression WORSE it does not compile.
language() {
    cloche toolchains "$1" --json | jq -e '.[0].works' >/dev/null || skip "the toolchain $1 is not installed"
    run --separate-stderr cloche judge "${effort[@]}" --toolchain "$1" --timeout 20s --cpu-time 10s "$2" --tests tests --json
    expect_status 0
    [ "$(field '.submissions[0] | .verdict, .passed')" = $'ok\n3' ]
    # one that is wrong is told from one that does not compile
    echo 12 >tests/1.out
    run --separate-stderr cloche judge "${effort[@]}" --toolchain "$1" --timeout 20s --cpu-time 10s "$2" --tests tests --json
    expect_status 1
    [ "$(field '.submissions[0] | .verdict, .passed')" = $'wrong_answer\n2' ]
    mkdir worse
    sed "$3" "$2" >"worse/$2"
    cmp -s "$2" "worse/$2" && return 1
    run --separate-stderr cloche compile "${effort[@]}" --toolchain "$1" "worse/$2" --json
    expect_status 1
    [ "$(field '.verdict, .diagnostics[0].file, .diagnostics[0].severity, .diagnostics[0].line')" = "compile_error"$'\n'"worse/$2"$'\nerror\n'"$(sed -n '/sum = /=' "$2")" ] || {
        show_result
        return 1
    }
}

@test "c, clang and tcc" {
    cat >sum.c <<'SOURCE'
#include <stdio.h>

int main(void)
{
    int a, b, sum;
    if (scanf("%d %d", &a, &b) != 2)
        return 1;
    sum = a + b;
    printf("%d\n", sum);
    return 0;
}
SOURCE
    language c sum.c 's/sum = a + b/sum = a + missing/'
    rm -r worse
    echo 11 >tests/1.out
    for name in clang tcc; do
        cloche toolchains $name --json | jq -e '.[0].works' >/dev/null || continue
        language $name sum.c 's/sum = a + b/sum = a + missing/'
        rm -r worse
        echo 11 >tests/1.out
    done
}

@test "cpp" {
    cat >sum.cpp <<'SOURCE'
#include <iostream>

int main()
{
    int a, b;
    std::cin >> a >> b;
    int sum = a + b;
    std::cout << sum << std::endl;
}
SOURCE
    language cpp sum.cpp 's/sum = a + b/sum = a + missing/'
}

@test "python" {
    cat >sum.py <<'SOURCE'
a, b = map(int, input().split())
sum = a + b
print(sum)
SOURCE
    language python sum.py 's/sum = a + b/sum = a +/'
}

@test "shell" {
    cat >sum.sh <<'SOURCE'
read -r a b
sum=$((a + b)) # sum = a + b
echo "$sum"
SOURCE
    language shell sum.sh 's/^sum=.*/sum=)/'
}

@test "javascript" {
    need_cgroups # its runtime takes more address space than a limit by rlimit leaves
    cat >sum.js <<'SOURCE'
const [a, b] = require("fs").readFileSync(0, "utf8").split(/\s+/).map(Number);
const sum = a + b;
console.log(sum);
SOURCE
    language javascript sum.js 's/sum = a + b/sum = a +/'
}

@test "java" {
    need_cgroups # its runtime takes more address space than a limit by rlimit leaves
    cat >Sum.java <<'SOURCE'
import java.util.Scanner;

class Main {
    public static void main(String[] arguments) {
        Scanner in = new Scanner(System.in);
        int sum = in.nextInt() + in.nextInt();
        System.out.println(sum);
    }
}
SOURCE
    language java Sum.java 's/sum = in/sum = out/'
}

@test "go" {
    need_cgroups # its runtime takes more address space than a limit by rlimit leaves
    cat >sum.go <<'SOURCE'
package main

import "fmt"

func main() {
	var a, b, sum int
	fmt.Scan(&a, &b)
	sum = a + b
	fmt.Println(sum)
}
SOURCE
    language go sum.go 's/sum = a + b/sum = a + missing/'
}

@test "rust" {
    cat >sum.rs <<'SOURCE'
use std::io::Read;

fn main() {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).unwrap();
    let numbers: Vec<i64> = text.split_whitespace().map(|w| w.parse().unwrap()).collect();
    let sum = numbers[0] + numbers[1];
    println!("{}", sum);
}
SOURCE
    language rust sum.rs 's/sum = numbers/sum = missing/'
}
