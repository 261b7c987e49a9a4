/* testlib's convention: argv 1 the input, 2 the output to keep, 3 the answer; stdin and stdout are
 * the submission's. */
#include <stdio.h>

int main(int argc, char **argv)
{
    int secret, guess;
    FILE *input = argc < 4 ? NULL : fopen(argv[1], "r"),
         *output = argc < 4 ? NULL : fopen(argv[2], "w");
    if (input == NULL || output == NULL || fscanf(input, "%d", &secret) != 1)
        return 3;
    for (int i = 1; i <= 20; i++) {
        if (scanf("%d", &guess) != 1) {
            fprintf(stderr, "no guess\n");
            return 2;
        }
        puts(guess == secret ? "yes" : guess < secret ? "more" : "less");
        fflush(stdout);
        if (guess == secret) {
            fprintf(stderr, "found after %d\n", i);
            return 0;
        }
    }
    fprintf(stderr, "too many guesses\n");
    return 1;
}
