#error "[2J]0;owned Â›2J ÿ"
int [31mx;
int main(void) { return 0; }
