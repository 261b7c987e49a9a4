/* The caller's environment holds its tokens. The runner starts Cloche with one (argv[1], a word
 * without its first letter, so that the argument is not found itself): it must be in no process's
 * environment, memory or command line that can be read here. */
#include "tests/attacks/attack.h"

static void search(const char *path, const char *secret)
{
    static char text[1 << 16];
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, text, sizeof(text)) : -1;

    if (n > 0 && memmem(text, (size_t)n, secret, strlen(secret)) != NULL)
        breach("%s holds the caller's secret", path);
    if (fd >= 0)
        close(fd);
}

int main(int argc, char **argv)
{
    static const char *const files[] = {"environ", "cmdline", "auxv", "task/1/environ"};
    char secret[256], path[300];
    DIR *proc = opendir("/proc");
    struct dirent *e;

    if (argc < 2)
        skip("which secret?");
    snprintf(secret, sizeof(secret), "S%s", argv[1]);
    for (char **v = environ; *v != NULL; v++)
        if (strstr(*v, secret) != NULL)
            breach("the environment has %s", *v);
    while (proc != NULL && (e = readdir(proc)) != NULL)
        for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
            snprintf(path, sizeof(path), "/proc/%s/%s", e->d_name, files[i]);
            search(path, secret);
        }
    if (proc != NULL)
        closedir(proc);

    /* The rest of the last page of the stack, above this environment: strings of the exec. */
    const char *top = environ[0] != NULL ? environ[0] : argv[0];
    size_t left = 4096 - ((uintptr_t)top & 4095);

    if (memmem(top, left, secret, strlen(secret)) != NULL)
        breach("the stack holds the caller's secret");
    return verdict();
}
