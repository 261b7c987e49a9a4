/* What only a worker with the address sanitizer needs: how a module ends is for the keeper to see,
 * so its signals are not caught; and limits of memory are for what is in use. */
const char *__asan_default_options(void);

__attribute__((visibility("default"))) const char *__asan_default_options(void)
{
    return "handle_segv=0:handle_sigbus=0:handle_sigfpe=0:handle_sigill=0:handle_abort=0:"
           "quarantine_size_mb=1";
}
