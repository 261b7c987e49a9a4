constexpr int f() { unsigned s = 0; for (unsigned i = 0; i < 4000000000u; i++) s += i; return s; }
constexpr int v = f();
int main() { return v; }
