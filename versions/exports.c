#include "versions/elf.h"

#include "base/cleanup.h"
#include "base/io.h"
#include "base/syscalls.h"
#include "versions/elf_image.h"

#include <string.h>

#define LIBRARY_CAP (256u * 1024 * 1024)

/* where a loader looks when nothing says otherwise */
static const char *const library_dirs[] = {
    "lib/" ELF_HOST_LIB_DIR, "usr/lib/" ELF_HOST_LIB_DIR, "lib64", "usr/lib64", "lib", "usr/lib"};

struct library {
    const char *soname;
    const char **symbols; /* defined ones, sorted */
    size_t symbol_count;
    struct strings needed;
};

struct elf_exports {
    struct arena *arena;
    int root;
    struct library *libraries;
    size_t library_count;
};

struct elf_exports *elf_exports_new(const char *root, struct error *err)
{
    int fd = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        error_set(err, "verify.unreadable", errno, "cannot open root \"%s\"", root);
        return NULL;
    }
    struct arena *a = arena_new();
    struct elf_exports *x = arena_alloc(a, sizeof *x);
    x->arena = a;
    x->root = fd;
    return x;
}

void elf_exports_free(struct elf_exports *x)
{
    if (x == NULL)
        return;
    close(x->root);
    arena_free(x->arena);
}

int elf_exports_fd(const struct elf_exports *x)
{
    return x != NULL ? x->root : -1;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static int open_library(const struct elf_exports *x, const char *soname)
{
    for (size_t i = 0; i < sizeof library_dirs / sizeof *library_dirs; i++) {
        char path[512];
        int n = snprintf(path, sizeof path, "%s/%s", library_dirs[i], soname);
        if (n < 0 || (size_t)n >= sizeof path)
            continue;
        int fd = sys_openat2(x->root, path, O_RDONLY, 0, RESOLVE_IN_ROOT);
        if (fd >= 0)
            return fd;
    }
    return -1;
}

static void read_symbols(struct arena *a, const struct elf_image *e, struct library *l)
{
    l->symbols = arena_alloc(a, (size_t)e->symbol_count * sizeof *l->symbols);
    for (uint64_t i = 1; i < e->symbol_count; i++) {
        Elf64_Sym s;
        if (!elf_image_symbol(e, i, &s))
            break;
        const char *name = elf_image_string(e, s.st_name);
        if (s.st_shndx != SHN_UNDEF && ELF64_ST_BIND(s.st_info) != STB_LOCAL && name != NULL)
            l->symbols[l->symbol_count++] = arena_strdup(a, name);
    }
    qsort(l->symbols, l->symbol_count, sizeof *l->symbols, by_name);
}

/* The index of a library, read now if it was not before; -1 when there is none. */
static ssize_t find_library(struct elf_exports *x, const char *soname)
{
    for (size_t i = 0; i < x->library_count; i++)
        if (strcmp(x->libraries[i].soname, soname) == 0)
            return (ssize_t)i;

    _cleanup_close_ int fd = open_library(x, soname);
    if (fd < 0)
        return -1;
    _cleanup_free_ char *data = NULL;
    ssize_t size = io_read_to_end(fd, LIBRARY_CAP, &data);
    struct elf_image e;
    if (size < 0 || elf_image_open(&e, data, (size_t)size, NULL) < 0)
        return -1;

    struct library l = {.soname = arena_strdup(x->arena, soname)};
    read_symbols(x->arena, &e, &l);
    for (size_t i = 0; i < e.needed_count; i++) {
        const char *name = elf_image_string(&e, e.needed[i]);
        if (name != NULL)
            strings_add(x->arena, &l.needed, name);
    }
    x->libraries = arena_grow(x->arena, x->libraries, x->library_count, sizeof l);
    x->libraries[x->library_count] = l;
    return (ssize_t)x->library_count++;
}

struct closure {
    size_t members[ELF_MAX_NEEDED];
    size_t count;
};

static bool add_library(struct elf_exports *x, struct closure *c, const char *soname)
{
    ssize_t index = find_library(x, soname);
    if (index < 0)
        return false;
    for (size_t i = 0; i < c->count; i++)
        if (c->members[i] == (size_t)index)
            return true;
    if (c->count < ELF_MAX_NEEDED)
        c->members[c->count++] = (size_t)index;
    return true;
}

static bool defined(const struct elf_exports *x, const struct closure *c, const char *name)
{
    for (size_t i = 0; i < c->count; i++) {
        const struct library *l = &x->libraries[c->members[i]];
        if (bsearch(&name, l->symbols, l->symbol_count, sizeof *l->symbols, by_name) != NULL)
            return true;
    }
    return false;
}

int elf_exports_check(struct elf_exports *x, const struct elf_info *info, struct error *err)
{
    /* the worker itself has libc loaded, so it resolves also for a module that does not name it */
    struct closure c = {0};
    add_library(x, &c, "libc.so.6");
    for (size_t i = 0; i < info->needed.count; i++) {
        if (!add_library(x, &c, info->needed.items[i])) {
            error_set(err, "verify.library", 0, "needs library \"%s\", which is not there",
                      info->needed.items[i]);
            return error_hint(err, "install it in the sandbox's root, or link it statically");
        }
    }
    for (size_t i = 0; i < c.count; i++) { /* grows while it is walked: breadth first */
        const struct strings *needed = &x->libraries[c.members[i]].needed;
        for (size_t k = 0; k < needed->count; k++)
            add_library(x, &c, needed->items[k]);
    }
    for (size_t i = 0; i < info->import_count; i++) {
        const struct elf_import *m = &info->imports[i];
        if (m->weak || defined(x, &c, m->name))
            continue;
        error_set(err, "verify.undefined", 0,
                  "symbol \"%s\" is not defined in it, nor in a library that it needs", m->name);
        return error_hint(err, "link with -Wl,-z,defs to see all of them");
    }
    return 0;
}
