/* What every command says on the way out: errors and JSON strings. */
#include "runtime/cli/cli.h"

#include "base/io.h"
#include "runtime/cli/sandboxes.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void cli_hold_streams(void)
{
    int fd;
    while ((fd = open("/dev/null", O_RDWR)) >= 0 && fd <= 2)
        ;
    if (fd >= 0)
        close(fd);
}

int cli_told(int status)
{
    struct error err = ERROR_INIT;
    if ((fflush(stdout) == 0 && !ferror(stdout)) || status != 0)
        return status;
    error_set(&err, "cli.output", errno, "cannot write to standard output");
    error_hint(&err, "free some space, or send it elsewhere");
    return cli_fail(&err, false, EXIT_FAILURE);
}

void cli_print_json_bytes(FILE *out, const char *text, size_t size)
{
    fputc('"', out);
    for (size_t i = 0, n; i < size; i += n) {
        unsigned char c = (unsigned char)text[i];
        n = io_utf8_length(text + i, size - i);
        if (n == 0) {
            fputs("\\ufffd", out);
            n = 1;
        } else if (c == '"' || c == '\\')
            fprintf(out, "\\%c", c);
        else if (c == '\n')
            fputs("\\n", out);
        else if (c < 0x20)
            fprintf(out, "\\u%04x", c);
        else
            fwrite(text + i, 1, n, out);
    }
    fputc('"', out);
}

void cli_print_json_string(FILE *out, const char *text)
{
    cli_print_json_bytes(out, text, strlen(text));
}

int sandboxes_status(const struct error *err)
{
    return err->code != NULL && strcmp(err->code, "sandbox.bad_id") == 0 ? EXIT_USAGE : 1;
}

int cli_fail(const struct error *err, bool json, int status)
{
    if (!json) {
        fprintf(stderr, "cloche: %s", err->message);
        if (err->hint[0] != '\0')
            fprintf(stderr, "; fix: %s", err->hint);
        fputc('\n', stderr);
        return status;
    }
    const char *const fields[][2] = {
        {"code", err->code}, {"message", err->message}, {"hint", err->hint}, {"path", err->path}};
    fputs("{\"error\":{", stderr);
    for (size_t i = 0; i < 4; i++) {
        fprintf(stderr, "%s\"%s\":", i == 0 ? "" : ",", fields[i][0]);
        if (fields[i][1] == NULL || fields[i][1][0] == '\0')
            fputs("null", stderr);
        else
            cli_print_json_string(stderr, fields[i][1]);
    }
    fputs("}}\n", stderr);
    return status;
}
