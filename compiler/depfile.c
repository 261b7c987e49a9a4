#include "compiler/depfile.h"

#include <string.h>
#include <sys/stat.h>

bool depfile_stamp(struct cache_dep *d)
{
    struct stat st;
    if (stat(d->path, &st) < 0)
        return false;
    d->size = (uint64_t)st.st_size;
    d->mtime_ns = st.st_mtim.tv_sec * 1000000000LL + st.st_mtim.tv_nsec;
    return true;
}

/* The next word of a make rule; the backslash escapes blanks and "#", "$$" is "$". NULL at the
 * end. */
static char *next_word(struct arena *a, const char **at, const char *end)
{
    const char *p = *at;
    while (p < end && (*p == ' ' || *p == '\t' || *p == '\n' || *p == '\r' ||
                       (*p == '\\' && p + 1 < end && p[1] == '\n')))
        p += *p == '\\' ? 2 : 1;
    if (p >= end) {
        *at = end;
        return NULL;
    }
    const char *start = p;
    while (p < end && *p != ' ' && *p != '\t' && *p != '\n' && *p != '\r') {
        if (*p == '\\' && p + 1 < end && p[1] == '\n')
            break;
        p += *p == '\\' && p + 1 < end ? 2 : 1;
    }
    if (p > end)
        p = end;
    *at = p;
    char *word = arena_alloc(a, (size_t)(p - start) + 1), *out = word;
    for (const char *q = start; q < p; q++) {
        if (*q == '\\' && q + 1 < p && (q[1] == ' ' || q[1] == '#' || q[1] == '\\'))
            q++;
        else if (*q == '$' && q + 1 < p && q[1] == '$')
            q++;
        *out++ = *q;
    }
    *out = '\0';
    return word;
}

static bool below(const struct strings *roots, const char *path)
{
    if (strstr(path, "/../") != NULL && strncmp(path, "/usr/", 5) != 0)
        return false;
    for (size_t i = 0; i < roots->count; i++) {
        size_t n = strlen(roots->items[i]);
        if (strncmp(path, roots->items[i], n) == 0 && (path[n] == '/' || path[n] == '\0'))
            return true;
    }
    return false;
}

bool depfile_parse(struct arena *a, const char *text, size_t size, const struct sources *s,
                   const struct strings *roots, bool project, struct cache_dep **deps,
                   size_t *count)
{
    const char *at = text, *end = text + size;
    bool target = true;
    for (char *word; (word = next_word(a, &at, end)) != NULL;) {
        size_t n = strlen(word);
        if (target) {
            /* one rule only: its target ends with the first colon */
            target = n == 0 || word[n - 1] != ':';
            continue;
        }
        struct cache_dep d = {.path = word};
        const struct source_file *file = sources_find(s, word);
        if (file != NULL) {
            if (!project)
                continue;
            d.path = file->inside;
            d.digest = file->digest;
        } else if (strncmp(word, "/include/", 9) == 0) {
            continue;
        } else if (word[0] != '/' || !below(roots, word) || strchr(word, '\n') != NULL ||
                   !depfile_stamp(&d)) {
            return false;
        }
        if (*count == CACHE_DEPS_MAX)
            return false;
        *deps = arena_grow(a, *deps, *count, sizeof **deps);
        (*deps)[(*count)++] = d;
    }
    return !target;
}
