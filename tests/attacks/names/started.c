/* Runs when Cloche has taken a name, id, number or path that it has to refuse. */
#include "tests/attacks/attack.h"

int main(void)
{
    breach("a sandbox was started");
    return verdict();
}
