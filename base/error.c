#define BASE_ERROR_DEFINES
#include "base/error.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

int error_set(struct error *err, const char *code, int errnum, const char *fmt, ...)
{
    if (err == NULL)
        return -1;
    err->code = code;
    err->errnum = errnum;
    err->hint[0] = err->path[0] = '\0';

    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(err->message, sizeof err->message, fmt, ap);
    va_end(ap);
    if (errnum != 0 && n >= 0 && (size_t)n < sizeof err->message)
        snprintf(err->message + n, sizeof err->message - (size_t)n, ": %s", strerror(errnum));
    if (errnum == EMFILE) /* wherever it was met, and whatever that place says */
        snprintf(err->hint, sizeof err->hint, "allow this process more open files: ulimit -n 256");
    return -1;
}

int error_hint(struct error *err, const char *fmt, ...)
{
    if (err == NULL || err->hint[0] != '\0')
        return -1;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(err->hint, sizeof err->hint, fmt, ap);
    va_end(ap);
    return -1;
}

int error_path(struct error *err, const char *path)
{
    if (err != NULL)
        snprintf(err->path, sizeof err->path, "%s", path);
    return -1;
}

int error_wrap(struct error *err, const char *fmt, ...)
{
    if (err == NULL)
        return -1;
    char context[512];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(context, sizeof context - 2, fmt, ap);
    va_end(ap);
    if (n < 0)
        return -1;
    size_t len = strlen(context);
    context[len++] = ':';
    context[len++] = ' ';

    size_t keep = strnlen(err->message, sizeof err->message - 1 - len);
    memmove(err->message + len, err->message, keep);
    memcpy(err->message, context, len);
    err->message[len + keep] = '\0';
    return -1;
}

int error_append(struct error *err, const char *fmt, ...)
{
    if (err == NULL)
        return -1;
    char what[512];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(what, sizeof what, fmt, ap);
    va_end(ap);
    size_t len = strlen(err->message);
    snprintf(err->message + len, sizeof err->message - len, "%s%s",
             strchr(err->message, '\n') != NULL ? "\n" : "; ", what);
    return -1;
}
