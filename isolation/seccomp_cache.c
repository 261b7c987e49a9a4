/*
 * Where a filter comes from: the cache, or a compilation (seccomp_compile.c, seccomp_compact.c). A
 * start that finds its filter in the cache never gets there.
 */
#include "isolation/seccomp.h"

#include "base/cleanup.h"
#include "base/io.h"
#include "base/state.h"
#include "config/builtin.h"
#include "isolation/seccomp_private.h"

#include <fcntl.h>
#include <nettle/sha2.h>
#include <seccomp.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

/* Raise it when the same list compiles to something else than before. */
#define FORMAT_VERSION 2

enum { KEY_SIZE = 2 * SHA256_DIGEST_SIZE };

struct cache_header {
    char magic[8];
    uint32_t count, flags, notifies, reserved;
    uint8_t digest[SHA256_DIGEST_SIZE]; /* over the fields before and the instructions */
};

static const char cache_magic[8] = {'c', 'l', 'o', 'c', 'h', 'e', 'F', FORMAT_VERSION};

static void hex(char ret[KEY_SIZE + 1], const uint8_t digest[SHA256_DIGEST_SIZE])
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < SHA256_DIGEST_SIZE; i++) {
        ret[2 * i] = digits[digest[i] >> 4];
        ret[2 * i + 1] = digits[digest[i] & 15];
    }
    ret[KEY_SIZE] = '\0';
}

static void cache_key(char ret[KEY_SIZE + 1], const char *text_digest, struct seccomp_abilities can)
{
    char text[256];
    int n = snprintf(text, sizeof text, "%d %s %s %d.%d.%d notify=%d", FORMAT_VERSION, text_digest,
#if defined __x86_64__
                     "x86_64",
#elif defined __aarch64__
                     "aarch64",
#else
                     "other",
#endif
                     SCMP_VER_MAJOR, SCMP_VER_MINOR, SCMP_VER_MICRO, can.notify);
    struct sha256_ctx ctx;
    uint8_t digest[SHA256_DIGEST_SIZE];
    sha256_init(&ctx);
    sha256_update(&ctx, (size_t)n, (const uint8_t *)text);
    sha256_digest(&ctx, sizeof digest, digest);
    hex(ret, digest);
}

static void header_digest(const struct cache_header *h, const struct sock_filter *instructions,
                          uint8_t ret[SHA256_DIGEST_SIZE])
{
    struct sha256_ctx ctx;
    sha256_init(&ctx);
    sha256_update(&ctx, offsetof(struct cache_header, digest), (const uint8_t *)h);
    sha256_update(&ctx, h->count * sizeof *instructions, (const uint8_t *)instructions);
    sha256_digest(&ctx, SHA256_DIGEST_SIZE, ret);
}

/* True when @dir holds the filter, whole and ours. Anything else means: build it. */
static bool cache_read(int dir, const char *name, struct seccomp_filter *ret)
{
    _cleanup_close_ int fd = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    struct stat st;
    struct cache_header h;
    if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_uid != geteuid() ||
        (st.st_mode & 0022) != 0 || io_read_full(fd, &h, sizeof h) != (ssize_t)sizeof h)
        return false;
    if (memcmp(h.magic, cache_magic, sizeof h.magic) != 0 || h.count == 0 ||
        h.count > BPF_MAXINSNS ||
        (uint64_t)st.st_size != sizeof h + h.count * sizeof(struct sock_filter))
        return false;

    size_t size = h.count * sizeof(struct sock_filter);
    _cleanup_free_ struct sock_filter *instructions = malloc(size);
    uint8_t digest[SHA256_DIGEST_SIZE];
    if (instructions == NULL || io_read_full(fd, instructions, size) != (ssize_t)size)
        return false;
    header_digest(&h, instructions, digest);
    if (memcmp(digest, h.digest, sizeof digest) != 0)
        return false;
    *ret = (struct seccomp_filter){.instructions = TAKE_PTR(instructions),
                                   .count = (unsigned short)h.count,
                                   .notifies = h.notifies != 0,
                                   .flags = h.flags};
    return true;
}

/* Best effort: a filter that is not kept is built again. One writer at a time holds the lock of the
 * one temporary file of this key; a writer that dies leaves that file to the next. */
static void cache_write(int dir, const char *name, const struct seccomp_filter *f)
{
    char temporary[KEY_SIZE + 8];
    snprintf(temporary, sizeof temporary, "%.*s.new", KEY_SIZE, name);
    struct cache_header h = {.count = f->count, .flags = f->flags, .notifies = f->notifies};
    memcpy(h.magic, cache_magic, sizeof h.magic);
    header_digest(&h, f->instructions, h.digest);

    _cleanup_close_ int fd =
        openat(dir, temporary, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
    struct stat held, named;
    if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) < 0 || fstat(fd, &held) < 0 ||
        fstatat(dir, temporary, &named, AT_SYMLINK_NOFOLLOW) < 0 || held.st_ino != named.st_ino ||
        !S_ISREG(held.st_mode) || held.st_uid != geteuid())
        return;
    if (ftruncate(fd, 0) < 0 || io_write_all(fd, &h, sizeof h) < 0 ||
        io_write_all(fd, f->instructions, f->count * sizeof *f->instructions) < 0 ||
        renameat(dir, temporary, dir, name) < 0)
        unlinkat(dir, temporary, 0);
}

static int build(struct seccomp_filter *ret, const char *json, size_t size,
                 struct seccomp_abilities can, struct error *err)
{
    struct seccomp_program program, small;
    if (seccomp_compile(&program, json, size, can, err) < 0)
        return -1;
    if (seccomp_compact(&small, &program, seccomp_native_arch())) {
        free(program.instructions);
        program = small;
    }
    if (program.count > BPF_MAXINSNS) {
        free(program.instructions);
        return error_set(err, "seccomp.unsupported", 0,
                         "the syscall filter is too long: %zu instructions, the kernel takes %d",
                         program.count, BPF_MAXINSNS);
    }
    *ret = (struct seccomp_filter){.instructions = program.instructions,
                                   .count = (unsigned short)program.count,
                                   .notifies = program.notifies,
                                   .flags = program.flags};
    return 0;
}

int seccomp_filter_build(struct seccomp_filter *ret, const char *json, struct error *err)
{
    return build(ret, json, strlen(json), seccomp_probe(), err);
}

static int unknown_name(const char *name, struct error *err)
{
    static const char folder[] = "seccomp/";
    char names[256] = "";
    size_t used = 0;
    for (const struct builtin_file *f = builtin_files; f->name != NULL; f++) {
        if (strncmp(f->name, folder, sizeof folder - 1) != 0)
            continue;
        const char *base = f->name + sizeof folder - 1;
        int n = snprintf(names + used, sizeof names - used, "%s%.*s", used > 0 ? ", " : "",
                         (int)strcspn(base, "."), base);
        if (n < 0 || (size_t)n >= sizeof names - used)
            break;
        used += (size_t)n;
    }
    error_set(err, "seccomp.unknown_name", 0, "there is no syscall filter \"%.64s\"", name);
    return error_hint(err, "the filters are: %s; or give linux.seccomp in a spec", names);
}

int seccomp_filter_get(struct seccomp_filter *ret, const struct spec *spec, struct error *err)
{
    const char *text = NULL, *digest = NULL;
    size_t size = 0;
    char own[KEY_SIZE + 1], name[KEY_SIZE + 8], builtin[128];

    switch (spec->seccomp.kind) {
    case SECCOMP_UNCONFINED:
        *ret = (struct seccomp_filter){0};
        return 0;
    case SECCOMP_NAMED:
        snprintf(builtin, sizeof builtin, "seccomp/%.100s.json", spec->seccomp.name);
        text = config_builtin(builtin, &size);
        digest = config_builtin_digest(builtin);
        if (text == NULL || digest == NULL)
            return unknown_name(spec->seccomp.name, err);
        break;
    case SECCOMP_JSON:
        text = spec->seccomp.json;
        size = strlen(text);
        if (size > SPEC_MAX_BYTES)
            return error_set(err, "seccomp.invalid", 0, "linux.seccomp: %zu bytes, more than %d",
                             size, SPEC_MAX_BYTES);
        struct sha256_ctx ctx;
        uint8_t raw[SHA256_DIGEST_SIZE];
        sha256_init(&ctx);
        sha256_update(&ctx, size, (const uint8_t *)text);
        sha256_digest(&ctx, sizeof raw, raw);
        hex(own, raw);
        digest = own;
        break;
    }

    struct seccomp_abilities can = seccomp_probe();
    cache_key(name, digest, can);
    memcpy(name + KEY_SIZE, ".bpf", 5);
    _cleanup_close_ int dir = state_open_dir("cache/seccomp", NULL);
    if (dir >= 0 && cache_read(dir, name, ret))
        return 0;
    if (build(ret, text, size, can, err) < 0)
        return -1;
    if (dir >= 0)
        cache_write(dir, name, ret);
    return 0;
}
