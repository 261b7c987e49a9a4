template <int N> struct t { static const int v = t<N + 1>::v; };
int main() { return t<0>::v; }
