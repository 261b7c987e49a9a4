/**
 * Syscall filters: an OCI seccomp object -> classic BPF, compiled once by libseccomp, then loaded
 * from a cache.
 *
 * Cache: <state>/cache/seccomp/<sha256>.bpf, the key over filter text, architecture, libseccomp
 * version and the actions this kernel knows; written by rename, checked on reading (header, length,
 * digest), rebuilt when damaged; an unwritable cache costs time, never safety. The native ABI only:
 * every other one is killed. Private to isolation/.
 */
#ifndef CLOCHE_ISOLATION_SECCOMP_H
#define CLOCHE_ISOLATION_SECCOMP_H

#include "base/error.h"
#include "config/spec.h"

#include <linux/filter.h>
#include <stdbool.h>
#include <stdint.h>

struct seccomp_filter {
    struct sock_filter *instructions; /* NULL: unconfined */
    unsigned short count;
    bool notifies;  /* some calls are answered by the parent: load with a listener */
    unsigned flags; /* SECCOMP_FILTER_FLAG_* that the list asks for */
};

/** Get the filter that @spec asks for, from the cache or built. Errors: seccomp.unknown_name,
 * seccomp.invalid, seccomp.unsupported. */
int seccomp_filter_get(struct seccomp_filter *ret, const struct spec *spec, struct error *err);
void seccomp_filter_free(struct seccomp_filter *f);

/** Load into the calling thread; async-signal-safe. no_new_privs must be set (or CAP_SYS_ADMIN
 * held). Returns the listener fd when f->notifies, else 0; -1 with errno. */
int seccomp_filter_load(const struct seccomp_filter *f);

/** Take one notification from @listener: the name (static; "syscall_NNN" buffers inside) and pid of
 * the caller, which stands still until it is answered or killed. Never waits. 0, or -1 with errno
 * (ENOENT: the caller is gone already; EAGAIN: there is none). */
int seccomp_receive_notification(int listener, const char **ret_name, int *ret_pid,
                                 uint64_t *ret_id);

/** The same, and answer it with EPERM. */
int seccomp_take_notification(int listener, const char **ret_name, int *ret_pid);

/** Build time and size, for the bench and doctor. */
int seccomp_filter_build(struct seccomp_filter *ret, const char *json, struct error *err);

/** Name of a native syscall number, static; NULL when unknown. */
const char *seccomp_syscall_name(int nr);

#endif
