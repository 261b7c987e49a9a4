/**
 * cloche/module.h: what a module is. C11 and C++, self-contained; a module links to nothing of
 * Cloche's.
 *
 * Theory of operation. A module is a shared object that exports one data symbol,
 * `cloche_module_v1`, made by CLOCHE_MODULE or CLOCHE_MODULE_WITH at the end of a source file.
 * Cloche reads the first 32 bytes of it, and the name, from the file, before a byte of the module
 * runs; a worker then loads it (RTLD_NOW | RTLD_LOCAL) in a process of its own, inside the sandbox,
 * and calls, always from the same thread and never two at once:
 *
 *     init -> [load_state] -> (handle | health | save_state | extension callbacks)* -> stop
 *
 * On a reload the serving version saves its state, the new one loads it, in two processes; code is
 * never swapped within a process, so static variables are fine and nothing needs to be undone by
 * hand. When the schemas differ, `migrate` of the version that knows both rewrites the state.
 *
 *     #include <cloche/module.h>
 *
 *     static int handle(void *self, const struct cloche_request *request,
 *                       struct cloche_reply *reply)
 *     {
 *         return cloche_reply_write(reply, request->data, request->size);
 *     }
 *     CLOCHE_MODULE("echo", .init = cloche_no_init, .handle = handle);
 *
 * Every function answers 0 for success; anything else is a failure (of `handle`: the status that
 * the client gets, beside what was written to the reply).
 *
 * Growth. Structures grow at their end only: what the other side was built with is in module_size
 * and struct_size. A new optional feature is an extension by string id. CLOCHE_MODULE_MINOR rises
 * with each appended field; a host refuses a module of a newer minor than its own, and runs older
 * ones.
 */
#ifndef CLOCHE_MODULE_H
#define CLOCHE_MODULE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define CLOCHE_MODULE_SYMBOL "cloche_module_v1"
#define CLOCHE_MODULE_MAGIC  0x31484c43u /* "CLH1" as bytes of a little-endian file */
#define CLOCHE_MODULE_MAJOR  1
#define CLOCHE_MODULE_MINOR  1

/** libc that the module was compiled for; a worker of another one cannot load it. */
#define CLOCHE_LIBC_GLIBC 1
#define CLOCHE_LIBC_OTHER 2
#ifdef __GLIBC__
#define CLOCHE_LIBC CLOCHE_LIBC_GLIBC
#else
#define CLOCHE_LIBC CLOCHE_LIBC_OTHER
#endif

/* Flags of a module */

/** The same state and the same request always give the same state and the same reply (use
 * request->received_ms for the time): after a rollback, acknowledged requests are replayed and no
 * update is lost. */
#define CLOCHE_DETERMINISTIC 1u
/** A request whose worker died is answered with an error instead of being dispatched again. */
#define CLOCHE_NO_REDISPATCH 2u
/** The state lives in host->arena and holds no pointers: it is handed over as a mapping, in a time
 * that does not depend on its size. save_state and load_state then only pass what is outside, less
 * than 2 MiB. Needs a state schema; not with CLOCHE_THREADS. */
#define CLOCHE_STATE_ARENA 4u
/** The module starts threads of its own; it is then never stopped between two instructions of
 * theirs without `stop` having been called. (In the pause of a reload save_state and load_state of
 * one that does not say so run on one processor, to which whatever they start is bound.) */
#define CLOCHE_THREADS     8u
#define CLOCHE_FLAGS_KNOWN 15u

/** What Cloche can know about a module without running it: 32 bytes, no padding, no pointers. */
struct cloche_abi {
    uint32_t magic;
    uint16_t major, minor;
    uint32_t module_size; /* sizeof (struct cloche_module) when the module was compiled */
    uint8_t pointer_size, long_size, little_endian, libc;
    uint32_t flags;
    uint32_t state_schema;     /* 0: there is no state to keep */
    uint32_t state_schema_min; /* the oldest schema that `migrate` can read */
    uint32_t reserved;
};

/* --- what the host gives --------------------------------------------------------------------- */

/** Valid from init until stop has returned. */
struct cloche_host {
    uint32_t struct_size;
    uint16_t major, minor;
    const char *module; /* its name */
    uint32_t version;   /* its number */
    uint32_t reserved;
    /** Of CLOCHE_STATE_ARENA, else NULL. Zeroed in init, which may lay it out; where a state is
     * taken over, it is as it was left from load_state on, and what init wrote is gone. It stays at
     * one address as long as the process lives, at another in the next; a fork does not get it. */
    void *arena;
    size_t arena_size; /* "arena_bytes" of the spec, or 16 MiB */
    void *opaque;      /* the host's own */
    /** A host feature by id, or NULL: &struct cloche_log_v1 for CLOCHE_LOG_ID, ... */
    const void *(*get_extension)(const struct cloche_host *, const char *id);
};

/** The request was given to another worker before, which died or was rolled back. */
#define CLOCHE_REQUEST_AGAIN 1u
/** Replayed after a rollback; the client has its reply already, this one is compared and dropped.
 */
#define CLOCHE_REQUEST_REPLAY 2u

/** One request; valid until handle returns. */
struct cloche_request {
    uint32_t struct_size;
    uint32_t flags;       /* CLOCHE_REQUEST_* */
    uint64_t id;          /* the same when dispatched again or replayed */
    uint64_t received_ms; /* since 1970, when it was accepted; the same when dispatched again */
    const void *data;     /* never NULL, aligned for any type */
    size_t size;
};

/** Collects the reply; it is sent when handle returns. */
struct cloche_reply {
    uint32_t struct_size;
    uint32_t reserved;
    void *opaque;
    /** Append; -1 when the reply grows past the host's cap or memory is gone. */
    int (*write)(struct cloche_reply *, const void *data, size_t size);
    /** Append @size bytes that the module fills before it returns; NULL as write's -1. Valid until
     * the next write or reserve. */
    void *(*reserve)(struct cloche_reply *, size_t size);
};

/** Takes the state, in order. */
struct cloche_writer {
    uint32_t struct_size;
    uint32_t schema; /* that the bytes will be labelled with */
    void *opaque;
    int (*write)(struct cloche_writer *, const void *data, size_t size);
    /** 1.1: in migrate, when either side has one: the arena to fill, zeroed; else NULL. */
    void *arena;
    size_t arena_size;
};

/** Gives the state back, in the same order. */
struct cloche_reader {
    uint32_t struct_size;
    uint32_t schema;    /* that the bytes are labelled with */
    uint64_t remaining; /* bytes not yet read */
    void *opaque;
    /** All @size bytes and 0, or nothing and -1 when fewer remain. */
    int (*read)(struct cloche_reader *, void *data, size_t size);
    /** 1.1: in migrate, the arena of the state that is read, or NULL. */
    const void *arena;
    size_t arena_size;
};

/* --- what the module gives ------------------------------------------------------------------- */

/** Reasons of stop. */
enum cloche_stop {
    CLOCHE_STOP_SHUTDOWN = 0, /* the sandbox ends */
    CLOCHE_STOP_REPLACED = 1, /* a newer version serves and is confirmed */
    CLOCHE_STOP_REJECTED = 2  /* this version is given up, or was only a rehearsal */
};

struct cloche_module {
    struct cloche_abi abi;
    const char *name;  /* required: [A-Za-z0-9][A-Za-z0-9_.-]{0,63}; the name it is loaded under */
    const char *label; /* for people, may be NULL: "2024-05 pricing fix" */
    /** Required. Make ready; *self is passed to all others. 2 s. */
    int (*init)(const struct cloche_host *, void **self);
    /** Required. Answer one request. */
    int (*handle)(void *self, const struct cloche_request *, struct cloche_reply *);
    /** Required with a state schema. Write all of the state; must not change it. */
    int (*save_state)(void *self, struct cloche_writer *);
    /** Required with a state schema. Read what save_state of the same schema wrote. */
    int (*load_state)(void *self, struct cloche_reader *);
    /** Rewrite a state of schema @from as one of schema @to. Pure: sees no self, may run before
     * init. One of the two is this version's own schema, so that it can go both ways; refuse
     * (non-zero) what is unknown. */
    int (*migrate)(uint32_t from, uint32_t to, struct cloche_reader *, struct cloche_writer *);
    /** Fit to serve? Asked after each load and now and then; absent means yes. 1 s. */
    int (*health)(void *self);
    /** Last call. What is not freed goes with the process. */
    void (*stop)(void *self, int reason);
    /** What the module offers the host, by id, or NULL: &struct cloche_timer_handler_v1, ... */
    const void *(*get_extension)(void *self, const char *id);
};

/* --- extensions ------------------------------------------------------------------------------ */

/** cloche.log/1, of the host: a line for `cloche logs`. */
#define CLOCHE_LOG_ID "cloche.log/1"
enum cloche_log_level { CLOCHE_LOG_ERROR, CLOCHE_LOG_WARNING, CLOCHE_LOG_INFO, CLOCHE_LOG_DEBUG };
struct cloche_log_v1 {
    uint32_t struct_size;
    void (*write)(const struct cloche_host *, int level, const char *text, size_t size);
};

/** cloche.timer/1. Host side: run a timer; module side: be told. Timers belong to a worker: a new
 * version starts its own in init or load_state. */
#define CLOCHE_TIMER_ID "cloche.timer/1"
struct cloche_timer_v1 {
    uint32_t struct_size;
    /** After @delay_ms, then every @period_ms (0: once). A pending timer of that token is replaced.
     */
    int (*start)(const struct cloche_host *, uint64_t token, uint64_t delay_ms, uint64_t period_ms);
    int (*cancel)(const struct cloche_host *, uint64_t token);
};
struct cloche_timer_handler_v1 {
    uint32_t struct_size;
    void (*expired)(void *self, uint64_t token);
};

/** cloche.children/1. Start programs beside the module, supervised, in the same sandbox. @spec_json
 * is an entry of the supervision tree: {"id":"thumbs","kind":"command","args":["/bin/convert"]}. */
#define CLOCHE_CHILDREN_ID "cloche.children/1"
struct cloche_children_v1 {
    uint32_t struct_size;
    int (*start)(const struct cloche_host *, const char *spec_json, uint64_t *ret_child);
    int (*stop)(const struct cloche_host *, uint64_t child);
};
struct cloche_children_handler_v1 {
    uint32_t struct_size;
    /** It ended and is not being restarted; @status as of waitpid(2). */
    void (*ended)(void *self, uint64_t child, int status);
};

/* --- small helpers, so that nothing needs linking -------------------------------------------- */

/** `.init` of a module that has nothing to make ready. */
static inline int cloche_no_init(const struct cloche_host *host, void **self)
{
    (void)host;
    (void)self;
    return 0;
}

static inline int cloche_reply_write(struct cloche_reply *reply, const void *data, size_t size)
{
    return reply->write(reply, data, size);
}

static inline size_t cloche_text_size(const char *text)
{
    size_t n = 0;
    while (text[n] != '\0')
        n++;
    return n;
}

static inline int cloche_reply_text(struct cloche_reply *reply, const char *text)
{
    return reply->write(reply, text, cloche_text_size(text));
}

static inline int cloche_reply_number(struct cloche_reply *reply, int64_t number)
{
    char digits[20];
    size_t at = sizeof digits;
    uint64_t rest = number < 0 ? 0 - (uint64_t)number : (uint64_t)number;
    do
        digits[--at] = (char)('0' + rest % 10);
    while ((rest /= 10) != 0);
    if (number < 0)
        digits[--at] = '-';
    return reply->write(reply, digits + at, sizeof digits - at);
}

static inline int cloche_write(struct cloche_writer *out, const void *data, size_t size)
{
    return out->write(out, data, size);
}

static inline int cloche_read(struct cloche_reader *in, void *data, size_t size)
{
    return in->read(in, data, size);
}

/* Integers are little-endian in a state, whatever the machine. */
static inline int cloche_write_u64(struct cloche_writer *out, uint64_t value)
{
    unsigned char b[8];
    for (int i = 0; i < 8; i++)
        b[i] = (unsigned char)(value >> (8 * i));
    return out->write(out, b, sizeof b);
}

static inline int cloche_read_u64(struct cloche_reader *in, uint64_t *ret)
{
    unsigned char b[8];
    if (in->read(in, b, sizeof b) != 0)
        return -1;
    *ret = 0;
    for (int i = 0; i < 8; i++)
        *ret |= (uint64_t)b[i] << (8 * i);
    return 0;
}

static inline int cloche_write_u32(struct cloche_writer *out, uint32_t value)
{
    unsigned char b[4];
    for (int i = 0; i < 4; i++)
        b[i] = (unsigned char)(value >> (8 * i));
    return out->write(out, b, sizeof b);
}

static inline int cloche_read_u32(struct cloche_reader *in, uint32_t *ret)
{
    unsigned char b[4];
    if (in->read(in, b, sizeof b) != 0)
        return -1;
    *ret = 0;
    for (int i = 0; i < 4; i++)
        *ret |= (uint32_t)b[i] << (8 * i);
    return 0;
}

/** Text with its length in front; read into @text of @room bytes, NUL-terminated; -1 when it does
 * not fit. */
static inline int cloche_write_text(struct cloche_writer *out, const char *text)
{
    size_t size = cloche_text_size(text);
    if (size > 0xffffffffu || cloche_write_u32(out, (uint32_t)size) != 0)
        return -1;
    return out->write(out, text, size);
}

static inline int cloche_read_text(struct cloche_reader *in, char *text, size_t room)
{
    uint32_t size;
    if (cloche_read_u32(in, &size) != 0 || size >= room || in->read(in, text, size) != 0)
        return -1;
    text[size] = '\0';
    return 0;
}

/** An extension of the host by id, or NULL. */
static inline const void *cloche_get(const struct cloche_host *host, const char *id)
{
    return host->get_extension != NULL ? host->get_extension(host, id) : NULL;
}

static inline void cloche_log(const struct cloche_host *host, int level, const char *text)
{
    const struct cloche_log_v1 *log = (const struct cloche_log_v1 *)cloche_get(host, CLOCHE_LOG_ID);
    if (log != NULL)
        log->write(host, level, text, cloche_text_size(text));
}

/* --- the declaration of a module ------------------------------------------------------------- */

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
#define CLOCHE_LITTLE_ENDIAN 0
#else
#define CLOCHE_LITTLE_ENDIAN 1
#endif

/* here and not at the definition, where a C++ compiler with -fvisibility=hidden comes too late */
extern const struct cloche_module cloche_module_v1 __attribute__((visibility("default")));

/** A module without state: CLOCHE_MODULE("name", .init = ..., .handle = ..., ...); in the order of
 * struct cloche_module where the compiler is a C++ one. */
#define CLOCHE_MODULE(module_name, ...) CLOCHE_MODULE_WITH(module_name, 0, 0, 0, __VA_ARGS__)

/** With CLOCHE_* flags, the schema of its state and the oldest one it can migrate from. */
#define CLOCHE_MODULE_WITH(module_name, module_flags, schema, schema_min, ...)                     \
    const struct cloche_module cloche_module_v1 = {                                                \
        .abi = {CLOCHE_MODULE_MAGIC, CLOCHE_MODULE_MAJOR, CLOCHE_MODULE_MINOR,                     \
                sizeof(struct cloche_module), sizeof(void *), sizeof(long), CLOCHE_LITTLE_ENDIAN,  \
                CLOCHE_LIBC, module_flags, schema, schema_min, 0},                                 \
        .name = module_name,                                                                       \
        __VA_ARGS__}

#ifdef __cplusplus
}
#endif

#endif
