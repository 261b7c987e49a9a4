/**
 * Modules compiled while the tests run, by every compiler of the machine, below
 * $CLOCHE_BUILD/tests/modules. A test calls modules_build() with a command in which @I is the
 * include option, @D this directory of sources and @O the output.
 */
#ifndef CLOCHE_TESTS_UNIT_MODULES_H
#define CLOCHE_TESTS_UNIT_MODULES_H

#include "base/cleanup.h"
#include "base/io.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define SHARED "-fPIC -shared -fvisibility=hidden -Wl,-z,defs,-z,now,-z,noexecstack "
#define GCC    "gcc -O2 " SHARED "@I -o @O "

/** Bytes that end where the next page cannot be touched: reading one byte too many is a crash. */
struct guarded {
    unsigned char *data, *map;
    size_t size, map_size;
};

static inline struct guarded guarded_new(const void *data, size_t size)
{
    size_t pages = (size + 4095) / 4096 * 4096;
    struct guarded g = {.size = size, .map_size = pages + 4096};
    g.map = mmap(NULL, g.map_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    cr_assert(g.map != MAP_FAILED);
    cr_assert_eq(mprotect(g.map + pages, 4096, PROT_NONE), 0);
    g.data = g.map + pages - size;
    if (size > 0)
        memcpy(g.data, data, size);
    return g;
}

static inline void guarded_free(struct guarded *g)
{
    munmap(g->map, g->map_size);
}

static inline const char *modules_dir(void)
{
    static char dir[512];
    if (dir[0] == '\0') {
        const char *build = getenv("CLOCHE_BUILD");
        char command[4096];
        snprintf(dir, sizeof dir, "%s/tests/modules", build != NULL ? build : "build");
        snprintf(command, sizeof command,
                 "mkdir -p %s/include/cloche && cp versions/module.h %s/include/cloche/.new.$$ && "
                 "mv %s/include/cloche/.new.$$ %s/include/cloche/module.h",
                 dir, dir, dir, dir);
        cr_assert_eq(system(command), 0, "%s", command);
    }
    return dir;
}

static inline bool modules_have(const char *program)
{
    char command[128];
    snprintf(command, sizeof command, "command -v %s >/dev/null", program);
    return system(command) == 0;
}

/** The bytes of what @command makes, to be freed; @name must be the test's own. */
static inline size_t modules_build(const char *name, const char *command, char **ret)
{
    char line[4096], out[1024];
    size_t n = 0;
    snprintf(out, sizeof out, "%s/%s", modules_dir(), name);
    unlink(out);
    for (const char *p = command; *p != '\0' && n < sizeof line - 600; p++) {
        if (p[0] == '@' && p[1] != '\0' && strchr("IDO", p[1]) != NULL) {
            p++;
            n += (size_t)(*p == 'I'   ? snprintf(line + n, 600, "-I%s/include", modules_dir())
                          : *p == 'D' ? snprintf(line + n, 600, "tests/unit/modules")
                                      : snprintf(line + n, 600, "%s", out));
        } else {
            line[n++] = *p;
        }
    }
    line[n] = '\0';
    cr_assert_eq(system(line), 0, "%s", line);
    _cleanup_close_ int fd = open(out, O_RDONLY | O_CLOEXEC);
    cr_assert(fd >= 0, "%s made no %s", line, out);
    ssize_t size = io_read_to_end(fd, 64 << 20, ret);
    cr_assert(size >= 0);
    return (size_t)size;
}

/** The same, of source text instead of a file. */
static inline size_t modules_build_text(const char *name, const char *options, const char *source,
                                        char **ret)
{
    char command[8192];
    snprintf(command, sizeof command, "printf '%%s' '%s' | " GCC "-x c - -x none %s", source,
             options);
    return modules_build(name, command, ret);
}

#endif
