/* Times several commands in one run, in turn: interleave ROUNDS PAUSE_MS FILE [MOUNT_NAMESPACE].
 * Each line of FILE is NAME<tab>COMMAND; words are separated by single spaces. Prints
 * NAME<tab>median<tab>p90 in milliseconds. Warm-up: a tenth of the rounds, at least 3. */
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MAX_COMMANDS 16
#define MAX_ROUNDS   1000
#define MAX_WORDS    128

static int compare(const void *a, const void *b)
{
    const double *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

static double now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

/** All commands are forked alike; one whose name begins with "@" enters the mount namespace @ns
 * first. */
static double run(char **argv, int ns)
{
    int status;
    double start = now_ms();
    pid_t pid = fork();
    if (pid == 0) {
        int null = open("/dev/null", O_RDWR);
        if (null < 0 || dup2(null, 0) < 0 || dup2(null, 1) < 0 ||
            (ns >= 0 && setns(ns, CLONE_NEWNS) < 0))
            _exit(126);
        execvp(argv[0], argv);
        _exit(127);
    }
    if (pid < 0 || waitpid(pid, &status, 0) < 0 || status != 0) {
        fprintf(stderr, "interleave: %s failed\n", argv[0]);
        exit(1);
    }
    return now_ms() - start;
}

int main(int argc, char **argv)
{
    static char names[MAX_COMMANDS][64], lines[MAX_COMMANDS][4096];
    static char *words[MAX_COMMANDS][MAX_WORDS];
    static double times[MAX_COMMANDS][MAX_ROUNDS];
    if (argc != 4 && argc != 5)
        return 2;
    int rounds = atoi(argv[1]), pause_ms = atoi(argv[2]), count = 0;
    int ns = argc == 5 ? open(argv[4], O_RDONLY | O_CLOEXEC) : -1;
    FILE *f = fopen(argv[3], "r");
    if (f == NULL || rounds < 1 || rounds > MAX_ROUNDS)
        return 2;
    while (count < MAX_COMMANDS && fgets(lines[count], sizeof lines[count], f) != NULL) {
        char *save, *name = strtok_r(lines[count], "\t", &save),
                    *command = strtok_r(NULL, "\n", &save);
        if (command == NULL)
            continue;
        snprintf(names[count], sizeof names[count], "%s", name);
        int n = 0;
        for (char *w = strtok_r(command, " ", &save); w != NULL && n < MAX_WORDS - 1;
             w = strtok_r(NULL, " ", &save))
            words[count][n++] = w;
        count++;
    }
    fclose(f);
    int warm_up = rounds / 10 < 3 ? 3 : rounds / 10;
    int order[MAX_COMMANDS];
    for (int j = 0; j < count; j++)
        order[j] = j;
    srandom(1); /* the same orders each time */
    for (int i = -warm_up; i < rounds; i++) {
        for (int k = 0; k < count; k++) {
            /* anybody may come after anybody: what the kernel clears up behind one is paid by the
             * next, and a large one leaves nothing of the next in the processor's caches */
            int other = k + (int)(random() % (count - k)), j = order[other];
            order[other] = order[k];
            order[k] = j;
            if (pause_ms > 0) {
                struct timespec t = {pause_ms / 1000, (long)(pause_ms % 1000) * 1000000L};
                nanosleep(&t, NULL);
            }
            double ms = run(words[j], names[j][0] == '@' ? ns : -1);
            if (i >= 0)
                times[j][i] = ms;
        }
    }
    for (int j = 0; j < count; j++) {
        qsort(times[j], (size_t)rounds, sizeof times[j][0], compare);
        printf("%s\t%.3f\t%.3f\n", names[j] + (names[j][0] == '@'), times[j][rounds / 2],
               times[j][rounds * 9 / 10]);
    }
    return 0;
}
