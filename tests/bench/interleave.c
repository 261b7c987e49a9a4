/* Times several commands in one run, in turn: interleave ROUNDS PAUSE_MS FILE. Each line of FILE is
 * NAME<tab>COMMAND; words are separated by single spaces. Prints NAME<tab>median<tab>p90 in
 * milliseconds. Warm-up: a tenth of the rounds, at least 3. */
#include <fcntl.h>
#include <spawn.h>
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

static double run(char **argv)
{
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
    pid_t pid;
    int status;
    double start = now_ms();
    if (posix_spawnp(&pid, argv[0], &actions, NULL, argv, environ) != 0 ||
        waitpid(pid, &status, 0) < 0 || status != 0) {
        fprintf(stderr, "interleave: %s failed\n", argv[0]);
        exit(1);
    }
    double end = now_ms();
    posix_spawn_file_actions_destroy(&actions);
    return end - start;
}

int main(int argc, char **argv)
{
    static char names[MAX_COMMANDS][64], lines[MAX_COMMANDS][4096];
    static char *words[MAX_COMMANDS][MAX_WORDS];
    static double times[MAX_COMMANDS][MAX_ROUNDS];
    if (argc != 4)
        return 2;
    int rounds = atoi(argv[1]), pause_ms = atoi(argv[2]), count = 0;
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
    for (int i = -warm_up; i < rounds; i++) {
        for (int j = 0; j < count; j++) {
            if (pause_ms > 0) {
                struct timespec t = {pause_ms / 1000, (long)(pause_ms % 1000) * 1000000L};
                nanosleep(&t, NULL);
            }
            double ms = run(words[j]);
            if (i >= 0)
                times[j][i] = ms;
        }
    }
    for (int j = 0; j < count; j++) {
        qsort(times[j], (size_t)rounds, sizeof times[j][0], compare);
        printf("%s\t%.3f\t%.3f\n", names[j], times[j][rounds / 2], times[j][rounds * 9 / 10]);
    }
    return 0;
}
