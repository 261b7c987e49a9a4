/* What every command says on the way out: errors and JSON strings. */
#include "runtime/cli/cli.h"

void cli_print_json_string(FILE *out, const char *text)
{
    fputc('"', out);
    for (const unsigned char *p = (const unsigned char *)text; *p != '\0'; p++) {
        if (*p == '"' || *p == '\\')
            fprintf(out, "\\%c", *p);
        else if (*p == '\n')
            fputs("\\n", out);
        else if (*p < 0x20)
            fprintf(out, "\\u%04x", *p);
        else
            fputc(*p, out);
    }
    fputc('"', out);
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
