template <int N, class A, class B> struct t : t<N - 1, t<N, A, B>, A>, t<N - 2, A, t<N, B, A>> {};
template <class A, class B> struct t<0, A, B> {};
template <class A, class B> struct t<-1, A, B> {};
int main() { return sizeof(t<40, int, char>); }
