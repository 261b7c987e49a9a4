#include <stddef.h>

unsigned long sum(const unsigned char *data, size_t size);
