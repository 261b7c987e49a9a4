/* Lies outside of every sandbox's root. That it runs at all is the breach: the runner names it by
 * way of /proc/self/fd/N/../.. as the command. */
#include "tests/attacks/attack.h"

int main(void)
{
    breach("a program of the host was started");
    return verdict();
}
