#include "sum.h"

unsigned long sum(const unsigned char *data, size_t size)
{
    unsigned long n = 0;
    while (size-- > 0)
        n += *data++;
    return n;
}
