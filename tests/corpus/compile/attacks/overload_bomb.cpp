struct x {};
template <class T> auto f(T t) -> decltype(f(f(f(t))));
int main() { f(x()); }
