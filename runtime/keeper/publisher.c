/* The publisher: this program executed anew, because a connection of SQLite does not survive a
 * fork, nor may a copy of the keeper open one of its own. It opens the store, which a compile need
 * not wait for, makes one change to it, answers and is gone. */
#include "runtime/keeper/builder.h"

#include "base/cleanup.h"
#include "base/io.h"
#include "base/packet.h"
#include "compiler/compiler.h"
#include "runtime/protocol.h"
#include "versions/versions.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

static uint64_t now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

struct facts {
    int fds[JOB_FDS];
    struct frame *frame; /* only its body is used */
    struct strings depends, deny_symbols, allow_libraries;
};

static void read_list(const struct facts *f, struct arena *a, const char *key, struct strings *ret)
{
    for (const char *d = NULL; (d = frame_next(f->frame, key, d)) != NULL;)
        strings_add(a, ret, d);
}

static bool read_facts(struct facts *f, struct arena *a)
{
    f->frame = arena_alloc(a, sizeof *f->frame);
    if (lseek(f->fds[JOB_FACTS], 0, SEEK_SET) < 0)
        return false;
    ssize_t n = io_read_full(f->fds[JOB_FACTS], f->frame->body, sizeof f->frame->body);
    if (n <= 0 || f->frame->body[n - 1] != '\0')
        return false;
    f->frame->head.size = (uint32_t)n;
    read_list(f, a, "depends", &f->depends);
    read_list(f, a, "deny_symbols", &f->deny_symbols);
    read_list(f, a, "allow_libraries", &f->allow_libraries);
    return true;
}

static int publish(struct versions *v, struct arena *a, const struct facts *f,
                   struct fields *answer, struct error *err)
{
    struct elf_info elf;
    uint32_t number = 0;
    char *data = NULL, *log = NULL;
    ssize_t size = lseek(f->fds[JOB_ARTIFACT], 0, SEEK_SET) < 0
                       ? -1
                       : io_read_to_end(f->fds[JOB_ARTIFACT], COMPILE_ARTIFACT_MAX, &data);
    ssize_t log_size = lseek(f->fds[JOB_LOG], 0, SEEK_SET) < 0
                           ? -1
                           : io_read_to_end(f->fds[JOB_LOG], COMPILE_SOURCES_MAX, &log);
    if (size < 0)
        return error_set(err, "build.memory", errno, "cannot read the artifact");
    if (elf_inspect(a, data, (size_t)size, &elf, err) < 0)
        return -1;
    const struct store_artifact artifact = {
        .data = data,
        .size = (size_t)size,
        .elf = &elf,
        .toolchain = frame_get(f->frame, "toolchain"),
        .compiler = frame_get(f->frame, "compiler"),
        .source_sha256 = frame_get(f->frame, "source_sha256"),
        .depends = &f->depends,
        .log = log,
        .log_size = log_size > 0 ? (size_t)log_size : 0,
    };
    uint64_t attempt = (uint64_t)frame_get_int(f->frame, "attempt", 0, INT64_MAX, 0);
    int rc = store_publish(v, frame_get(f->frame, "module"), &artifact, attempt, &number, err);
    if (rc < 0)
        return -1;
    fields_add(answer, "status", rc == 1 ? "unchanged" : "published");
    fields_add_int(answer, "number", number);
    return 0;
}

/** Fields of @from that the answer repeats. */
static void copy_facts(const struct facts *from, struct fields *to)
{
    static const char *const names[] = {"step",       "verdict",   "toolchain", "cached",
                                        "schema",     "flags",     "sha256",    "snapshot_us",
                                        "compile_us", "verify_us", "waited_us"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const char *value = frame_get(from->frame, names[i]);
        if (value != NULL)
            fields_add(to, names[i], value);
    }
    const char *text = frame_get(from->frame, "text");
    if (text != NULL)
        fields_add(to, "text", text);
    const char *diagnostics = frame_get(from->frame, "diagnostics");
    fields_add(to, "diagnostics", diagnostics != NULL ? diagnostics : "[]");
}

static int import(struct versions *v, struct arena *a, const struct facts *f, struct fields *answer,
                  struct error *err)
{
    struct store_imported *list;
    size_t count;
    struct error ignored = ERROR_INIT;
    const struct elf_policy policy = {
        .name = frame_get(f->frame, "module"),
        .size_cap_bytes = (uint64_t)frame_get_int(f->frame, "size_bytes", 0, INT64_MAX, 0),
        .deny_symbols = &f->deny_symbols,
        .allow_libraries = &f->allow_libraries,
        .exports = elf_exports_new(frame_get(f->frame, "root"), &ignored)};
    int rc = store_import(v, a, policy.name, &policy, f->fds[JOB_ARTIFACT], &list, &count, err);
    if (rc < 0)
        return -1;
    cJSON *array = cJSON_CreateArray();
    for (size_t i = 0; i < count; i++) {
        cJSON *o = cJSON_CreateObject();
        cJSON_AddNumberToObject(o, "from", list[i].from);
        cJSON_AddNumberToObject(o, "version", list[i].to);
        cJSON_AddBoolToObject(o, "known", list[i].known);
        cJSON_AddItemToArray(array, o);
    }
    _cleanup_free_ char *text = cJSON_PrintUnformatted(array);
    cJSON_Delete(array);
    fields_add(answer, "status", "published");
    fields_add(answer, "imported", text != NULL ? text : "[]");
    fields_add_int(answer, "number", count > 0 ? list[count - 1].to : 0);
    return 0;
}

static int pin(struct versions *v, struct arena *a, const struct facts *f, struct fields *answer,
               struct error *err)
{
    uint32_t number = (uint32_t)frame_get_int(f->frame, "number", 0, UINT32_MAX, 0);
    bool pinned = frame_get_int(f->frame, "pinned", 0, 1, 0) == 1;
    (void)a;
    if (store_pin(v, frame_get(f->frame, "module"), number, pinned, err) < 0)
        return -1;
    fields_add(answer, "status", "published");
    fields_add_int(answer, "number", number);
    return 0;
}

static const struct {
    const char *name;
    int (*call)(struct versions *v, struct arena *a, const struct facts *f, struct fields *answer,
                struct error *err);
} changes[] = {{"publish", publish}, {"import", import}, {"pin", pin}};

static int change(struct versions *v, const struct facts *f, struct arena *a, struct fields *answer,
                  struct error *err)
{
    const char *name = frame_get(f->frame, "step");
    for (size_t i = 0; name != NULL && i < sizeof changes / sizeof *changes; i++) {
        if (strcmp(changes[i].name, name) == 0)
            return changes[i].call(v, a, f, answer, err);
    }
    return error_set(err, "build.publisher", 0, "the publisher does not know what to do");
}

/** False: there is none, since nothing came of the build. */
static bool wait_for_job(struct facts *f)
{
    char text[4];
    const struct iovec part = {.iov_base = text, .iov_len = sizeof text};
    unsigned count = 0;
    ssize_t n;
    do
        n = packet_receive(FD_JOB, &part, 1, f->fds, JOB_FDS, &count, 0);
    while (n < 0 && errno == EINTR);
    return n > 0 && count == JOB_FDS;
}

void builder_publish(void)
{
    _cleanup_arena_ struct arena *a = arena_new();
    _cleanup_fields_ struct fields f = FIELDS_INIT;
    struct versions *v = NULL;
    struct error err = ERROR_INIT;
    struct facts facts = {0};
    umask(022); /* what the workers are to see is made with modes */
    fcntl(FD_JOB, F_SETFD, FD_CLOEXEC);
    fcntl(FD_STATE, F_SETFD, FD_CLOEXEC);
    int rc = versions_open(FD_STATE, &v, &err);
    if (!wait_for_job(&facts))
        _exit(0);
    uint64_t began = now_us();
    if (!read_facts(&facts, a) || frame_get(facts.frame, "module") == NULL)
        rc = error_set(&err, "build.publisher", 0, "the publisher was told nothing");
    if (rc == 0)
        rc = change(v, &facts, a, &f, &err);
    versions_close(v);
    if (rc < 0) {
        fields_add(&f, "status", "failed");
        fields_add_error(&f, &err);
    }
    if (facts.frame != NULL)
        copy_facts(&facts, &f);
    fields_add_int(&f, "publish_us", (int64_t)(now_us() - began));
    /* else the keeper says that the builder was lost */
    _exit(frame_send(facts.fds[JOB_ANSWER], FRAME_OK, 0, &f, NULL, 0, 0) < 0);
}
