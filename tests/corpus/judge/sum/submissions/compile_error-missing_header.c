#include "not_there.h"
int main(void) { return 0; }
