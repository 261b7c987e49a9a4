constexpr int f() { for (;;); return 0; }
constexpr int v = f();
int main() { return v; }
