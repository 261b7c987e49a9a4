#include "config/builtin.h"

#include "config/spec.h"

#include <string.h>

static const struct builtin_file *find(const char *name)
{
    for (const struct builtin_file *f = builtin_files; f->name != NULL; f++) {
        if (strcmp(f->name, name) == 0)
            return f;
    }
    return NULL;
}

const char *config_builtin(const char *name, size_t *ret_size)
{
    const struct builtin_file *f = find(name);
    if (f == NULL)
        return NULL;
    if (ret_size != NULL)
        *ret_size = (size_t)(f->end - f->start);
    return f->start;
}

const char *config_builtin_digest(const char *name)
{
    const struct builtin_file *f = find(name);
    return f == NULL ? NULL : f->digest;
}
