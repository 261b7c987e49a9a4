static_assert(sizeof(char) == 2, "no");
int main() {}
