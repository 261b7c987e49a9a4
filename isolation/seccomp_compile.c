/*
 * OCI linux.seccomp -> one BPF program, through libseccomp.
 *
 * A list may hold several rules for one call. They are judged from the particular to the general:
 * rules on arguments that refuse, rules on arguments that allow, rules without arguments, the
 * default. So "allow ioctl" and "refuse ioctl if the request is TIOCSTI" mean what they say, and
 * "allow socket if the family is AF_UNIX" and "else EAFNOSUPPORT" can be written down, too.
 * libseccomp has no such order (a rule without arguments swallows the others of its call),
 * therefore each of the first three classes becomes a program of its own, whose "nothing matched"
 * is a jump to the next. Between rules of one class without arguments the most restrictive action
 * wins.
 */
#include "base/cleanup.h"
#include "isolation/seccomp_list.h"
#include "isolation/seccomp_private.h"

#include <errno.h>
#include <linux/filter.h>
#include <seccomp.h>
#include <stdlib.h>
#include <sys/mman.h>

/* "Nothing matched here": no list can ask for it, SCMP_ACT_TRACE is refused. */
#define CONTINUE SCMP_ACT_TRACE(0xc10c)

static void cleanup_filter(scmp_filter_ctx *ctx)
{
    if (*ctx != NULL)
        seccomp_release(*ctx);
}

static int failed(struct error *err, int rc, const char *what)
{
    return error_set(err, "seccomp.failed", rc < 0 ? -rc : 0, "libseccomp cannot %s", what);
}

static scmp_filter_ctx new_filter(uint32_t default_action)
{
    scmp_filter_ctx ctx = seccomp_init(default_action);
    if (ctx != NULL && seccomp_attr_set(ctx, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS) < 0) {
        seccomp_release(ctx);
        return NULL;
    }
    return ctx;
}

/* Append @ctx to the program. What it returns as CONTINUE becomes a jump to its end. */
static int append(struct seccomp_program *program, scmp_filter_ctx ctx, struct error *err)
{
    _cleanup_close_ int fd = memfd_create("seccomp", MFD_CLOEXEC);
    if (fd < 0)
        return error_set(err, "seccomp.failed", errno, "cannot make a memory file");
    int rc = seccomp_export_bpf(ctx, fd);
    if (rc < 0)
        return failed(err, rc, "generate the filter");
    off_t size = lseek(fd, 0, SEEK_END);
    size_t count = size < 0 ? 0 : (size_t)size / sizeof(struct sock_filter);
    if (count == 0 || (size_t)size % sizeof(struct sock_filter) != 0)
        return failed(err, 0, "generate the filter");

    struct sock_filter *all =
        reallocarray(program->instructions, program->count + count, sizeof *all);
    if (all == NULL)
        return failed(err, -ENOMEM, "generate the filter");
    program->instructions = all;
    struct sock_filter *own = all + program->count;
    if (pread(fd, own, (size_t)size, 0) != (ssize_t)size)
        return failed(err, -EIO, "generate the filter");
    for (size_t i = 0; i < count; i++) {
        if (own[i].code == (BPF_RET | BPF_K) && own[i].k == CONTINUE)
            own[i] = (struct sock_filter)BPF_STMT(BPF_JMP | BPF_JA, (uint32_t)(count - i - 1));
    }
    program->count += count;
    return 0;
}

static int append_conditions(struct seccomp_program *program, const struct seccomp_list *list,
                             bool allowing, struct error *err)
{
    __attribute__((cleanup(cleanup_filter))) scmp_filter_ctx ctx = NULL;
    for (size_t i = 0; i < list->rule_count; i++) {
        const struct seccomp_rule *r = &list->rules[i];
        if (seccomp_allows(r->action) != allowing)
            continue;
        if (ctx == NULL && (ctx = new_filter(CONTINUE)) == NULL)
            return failed(err, -ENOMEM, "make a filter");
        int rc = seccomp_rule_add_array(ctx, r->action, r->nr, r->arg_count, r->args);
        if (rc < 0 && rc != -EEXIST)
            return failed(err, rc, "add a rule");
    }
    return ctx == NULL ? 0 : append(program, ctx, err);
}

static int append_names(struct seccomp_program *program, const struct seccomp_list *list,
                        struct error *err)
{
    __attribute__((cleanup(cleanup_filter))) scmp_filter_ctx ctx = new_filter(list->default_action);
    if (ctx == NULL)
        return failed(err, -ENOMEM, "make a filter");
    for (int nr = 0; nr < SECCOMP_MAX_NUMBER; nr++) {
        if (!list->given[nr] || list->plain[nr] == list->default_action)
            continue;
        int rc = seccomp_rule_add_array(ctx, list->plain[nr], nr, 0, NULL);
        if (rc < 0)
            return failed(err, rc, "add a name");
    }
    return append(program, ctx, err);
}

int seccomp_compile(struct seccomp_program *ret, const char *json, size_t size,
                    struct seccomp_abilities can, struct error *err)
{
    _cleanup_free_ struct seccomp_list *list = calloc(1, sizeof *list);
    if (list == NULL)
        return error_set(err, "seccomp.failed", ENOMEM, "cannot compile the syscall filter");
    struct seccomp_program program = {0};
    int rc = -1;
    if (seccomp_list_read(list, json, size, can, err) == 0 &&
        append_conditions(&program, list, false, err) == 0 &&
        append_conditions(&program, list, true, err) == 0 && append_names(&program, list, err) == 0)
        rc = 0;
    program.flags = list->flags;
    program.notifies = list->notifies;
    free(list->rules);
    if (rc < 0) {
        free(program.instructions);
        return -1;
    }
    *ret = program;
    return 0;
}
