// testlib's convention: argv 1 the input, 2 the output, 3 the answer. Two numbers with the sum of the input's two.
#include <fstream>
#include <iostream>

int main(int, char **argv)
{
    std::ifstream in(argv[1]), out(argv[2]);
    int a, b, x, y;
    if (!(in >> a >> b))
        return 3;
    if (!(out >> x >> y)) {
        std::cerr << "wrong output format: two numbers expected\n";
        return 2;
    }
    if (x + y == a + b) {
        std::cerr << "ok\n";
        return 0;
    }
    if (x == a) {
        std::cerr << "points 0.5 half of it\n";
        return 7;
    }
    std::cerr << "wrong answer: the sum is " << x + y << "\n";
    return 1;
}
