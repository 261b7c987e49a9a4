/* With -t: leave the terminal raw, without echo, at an odd size, and die by SIGKILL. The runner
 * compares the caller's terminal settings before and after. */
#include "tests/attacks/terminal/terminal.h"

int main(void)
{
    struct winsize size = {.ws_row = 1, .ws_col = 1};
    struct termios raw;

    if (!isatty(STDIN_FILENO))
        skip("stdin is no terminal");
    if (tcgetattr(STDIN_FILENO, &raw) == 0) {
        cfmakeraw(&raw);
        tcsetattr(STDIN_FILENO, TCSANOW, &raw);
    }
    ioctl(STDIN_FILENO, TIOCSWINSZ, &size);
    kill(getpid(), SIGKILL);
    return verdict();
}
