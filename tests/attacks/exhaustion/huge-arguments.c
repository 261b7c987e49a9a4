/* Executes itself with ever larger arguments and environment, up to a quarter of the stack limit
 * that it has raised as far as it goes. */
#include "tests/attacks/exhaustion/bomb.h"

int main(int argc, char **argv)
{
    struct rlimit limit;
    size_t count = (size_t)1 << number(argc, argv, 1, 4), size = (128 << 10) - 1;
    char step[32], *text = malloc(size + 1);
    char **list = calloc(count + 4, sizeof(char *));

    only_inside();
    if (text == NULL || list == NULL || count > 1 << 16)
        return verdict();
    if (getrlimit(RLIMIT_STACK, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_STACK, &limit);
    }
    memset(text, 'x', size);
    text[size] = '\0';
    snprintf(step, sizeof(step), "%ld", number(argc, argv, 1, 4) + 1);
    list[0] = argv[0];
    list[1] = step;
    for (size_t i = 0; i < count; i++)
        list[2 + i] = text;
    execv("/proc/self/exe", list);
    if (errno != E2BIG && errno != ENOMEM)
        note("exec: %s", strerror(errno));
    return verdict();
}
