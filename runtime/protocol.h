/**
 * The words between a client and a keeper, defined once for both.
 *
 * Theory of operation. A client connects to a sandbox's control socket (unix, SEQPACKET; the keeper
 * looks at the peer's uid) and sends one REQUEST; the keeper answers with any number of DATA and
 * then one OK or ERROR of the same serial. Fds travel as SCM_RIGHTS. A frame is a fixed head and a
 * body of fields: "key=value" texts, each NUL-terminated; keys may repeat ("arg"). There is no
 * length inside the body to be believed, so a parser is one memchr, and the smallest client needs
 * no JSON. What people or programs read as a whole (info, stats) is JSON text in the field "json".
 *
 * A frame that breaks a rule is an error of the connection, never of the keeper.
 */
#ifndef CLOCHE_RUNTIME_PROTOCOL_H
#define CLOCHE_RUNTIME_PROTOCOL_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PROTOCOL_MAGIC    0x434c4348U /* "CLCH" */
#define PROTOCOL_VERSION  1
#define PROTOCOL_MAX_BODY (128 * 1024)
#define PROTOCOL_MAX_FDS  4
#define JSON_MAX_BYTES    (64 * 1024 * 1024)

/* the bodies of the last two are no fields: runtime/calls.h */
enum frame_type {
    FRAME_REQUEST = 1,
    FRAME_DATA,
    FRAME_OK,
    FRAME_ERROR,
    FRAME_CALLS,
    FRAME_REPLIES
};

struct frame_head {
    uint32_t magic;
    uint16_t version, type;
    uint32_t serial, size; /* of the body */
};

/** A received frame; large, so never on a stack. */
struct frame {
    struct frame_head head;
    int fds[PROTOCOL_MAX_FDS];
    int fd_count;
    char body[PROTOCOL_MAX_BODY];
};

/** A body being written. */
struct fields {
    char *data;
    size_t used;
    bool too_large;
};

#define FIELDS_INIT                                                                                \
    {                                                                                              \
        0                                                                                          \
    }

void fields_add(struct fields *f, const char *key, const char *value);
void fields_add_int(struct fields *f, const char *key, int64_t value);
/** Text of any size: as the field "json", or where that is too large as a file, whose fd is
 * returned to be sent along and closed. -1: no file is needed. */
int fields_add_json(struct fields *f, const char *text);
void fields_add_error(struct fields *f, const struct error *err);
void fields_free(struct fields *f);
#define _cleanup_fields_ __attribute__((cleanup(fields_free), unused))

/** Whether @size bytes, a head and a body, belong together. Everything below relies on it. */
bool frame_check(const struct frame_head *head, const char *body, size_t size);

/** First value of @key, or NULL; a frame of calls or replies has none. */
const char *frame_get(const struct frame *f, const char *key);
/** The values of @key one after the other: start with NULL. */
const char *frame_next(const struct frame *f, const char *key, const char *last);
/** A whole number of @key between @min and @max, else @otherwise. */
int64_t frame_get_int(const struct frame *f, const char *key, int64_t min, int64_t max,
                      int64_t otherwise);
/** What fields_add_json() put there, to be freed; NULL: nothing. At most JSON_MAX_BYTES of it. */
char *frame_take_json(const struct frame *f);
/** The error that an ERROR frame carries. Returns -1. */
int frame_error(const struct frame *f, struct error *err);

/** -1 with errno; E2BIG: the fields do not fit. @flags: MSG_DONTWAIT or 0. */
int frame_send(int socket, enum frame_type type, uint32_t serial, const struct fields *fields,
               const int *fds, int fd_count, int flags);

/** The same with a body as it is. */
int frame_send_body(int socket, enum frame_type type, uint32_t serial, const void *body,
                    size_t size, const int *fds, int fd_count, int flags);

/** 1: a frame, whose fds are the caller's; 0: the other end is gone; -1: errno, EPROTO for what is
 * no frame. */
int frame_receive(int socket, struct frame *ret, int flags);
void frame_close_fds(struct frame *f);

#endif
