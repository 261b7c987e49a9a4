#include "isolation/caps.h"

#include "base/cleanup.h"
#include "base/io.h"

#include <criterion/criterion.h>
#include <linux/securebits.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define BIT(cap) (1ULL << (cap))
#define ASKED    (BIT(CAP_NET_BIND_SERVICE) | BIT(CAP_KILL) | BIT(CAP_CHOWN))

struct sets {
    unsigned long long inheritable, permitted, effective, bounding, ambient;
    int no_new_privileges;
};

/* In a child: apply what @spec asks for, then exec cat over /proc/self/status. */
static void child(const struct spec *spec, const struct caps_plan *plan, int out)
{
    if (caps_drop_bounding(plan) < 0 || caps_keep_over_identity() < 0)
        _exit(101);
    if (setresgid(spec->gid, spec->gid, spec->gid) < 0 ||
        setresuid(spec->uid, spec->uid, spec->uid) < 0)
        _exit(102);
    if (caps_apply(plan) < 0)
        _exit(103);
    /* nothing comes back, nothing can be unlocked */
    if (prctl(PR_SET_SECUREBITS, 0) == 0 || prctl(PR_SET_KEEPCAPS, 1) == 0 ||
        prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_CHOWN, 0, 0) == 0 ||
        prctl(PR_CAPBSET_DROP, CAP_CHOWN, 0, 0, 0) == 0)
        _exit(104);
    dup2(out, 1);
    execl("/bin/cat", "cat", "/proc/self/status", NULL);
    _exit(105);
}

static struct sets after_exec(const struct spec *spec)
{
    struct error err = ERROR_INIT;
    struct caps_plan plan;
    int pipe_fds[2], status;
    cr_assert_eq(caps_plan_make(&plan, spec, &err), 0, "%s", err.message);
    cr_assert_eq(pipe(pipe_fds), 0);
    pid_t pid = fork();
    if (pid == 0)
        child(spec, &plan, pipe_fds[1]);
    close(pipe_fds[1]);
    _cleanup_free_ char *text = NULL;
    cr_assert_gt(io_read_to_end(pipe_fds[0], 65536, &text), 0);
    close(pipe_fds[0]);
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_assert_eq(status, 0, "the child ended with status %#x", (unsigned)status);
    caps_plan_free(&plan);

    struct sets s;
    const char *at = strstr(text, "CapInh:");
    cr_assert_not_null(at);
    int n = sscanf(at,
                   "CapInh: %llx CapPrm: %llx CapEff: %llx CapBnd: %llx CapAmb: %llx NoNewPrivs: "
                   "%d",
                   &s.inheritable, &s.permitted, &s.effective, &s.bounding, &s.ambient,
                   &s.no_new_privileges);
    cr_assert_eq(n, 6);
    return s;
}

static struct spec make_spec(uid_t uid, struct spec_capabilities c)
{
    return (struct spec){.uid = uid, .gid = uid, .capabilities = c, .no_new_privileges = true};
}

#define NEEDS_ROOT()                                                                               \
    if (geteuid() != 0)                                                                            \
    cr_skip_test("needs root")

static void expect_none(uid_t uid)
{
    struct spec spec = make_spec(uid, (struct spec_capabilities){0});
    struct sets s = after_exec(&spec);
    cr_expect_eq(s.inheritable | s.permitted | s.effective | s.bounding | s.ambient, 0);
    cr_expect_eq(s.no_new_privileges, 1);
}

Test(caps, nothing_by_default)
{
    NEEDS_ROOT();
    expect_none(1000);
    expect_none(0); /* uid 0 means nothing either */
}

Test(caps, root_inside_gets_what_runc_gives_it)
{
    NEEDS_ROOT();
    struct spec spec = make_spec(
        0, (struct spec_capabilities){
               .bounding = ASKED, .permitted = ASKED, .effective = ASKED, .ambient = ASKED});
    struct sets s = after_exec(&spec);
    cr_expect_eq(s.permitted, ASKED);
    cr_expect_eq(s.effective, ASKED);
    cr_expect_eq(s.bounding, ASKED);
    cr_expect_eq(s.inheritable, 0);
    cr_expect_eq(s.ambient, 0);
}

Test(caps, a_user_keeps_what_is_ambient)
{
    NEEDS_ROOT();
    const uint64_t one = BIT(CAP_NET_BIND_SERVICE);
    struct spec spec = make_spec(1000, (struct spec_capabilities){.bounding = ASKED,
                                                                  .permitted = ASKED,
                                                                  .effective = ASKED,
                                                                  .inheritable = ASKED,
                                                                  .ambient = one});
    struct sets s = after_exec(&spec);
    cr_expect_eq(s.permitted, one);
    cr_expect_eq(s.effective, one);
    cr_expect_eq(s.ambient, one);
    cr_expect_eq(s.bounding, ASKED);

    spec.capabilities.inheritable = 0; /* as crun spec writes it */
    s = after_exec(&spec);
    cr_expect_eq(s.permitted | s.effective | s.ambient | s.inheritable, 0);
}

Test(caps, new_privileges_only_when_asked)
{
    NEEDS_ROOT();
    struct spec spec = make_spec(1000, (struct spec_capabilities){0});
    spec.no_new_privileges = false;
    cr_expect_eq(after_exec(&spec).no_new_privileges, 0);
}

static const struct {
    struct spec_capabilities c;
    const char *code, *message;
} wrong[] = {
    {{.effective = BIT(CAP_KILL)},
     "caps.invalid",
     "process.capabilities.effective has CAP_KILL, which process.capabilities.permitted does not "
     "have"},
    {{.inheritable = BIT(CAP_CHOWN), .permitted = BIT(CAP_CHOWN)},
     "caps.invalid",
     "process.capabilities.inheritable has CAP_CHOWN, which process.capabilities.bounding does not "
     "have"},
    {{.bounding = BIT(63)},
     "caps.unknown",
     "process.capabilities: this kernel has no such capability"},
};

Test(caps, sets_that_do_not_fit)
{
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct error err = ERROR_INIT;
        struct caps_plan plan;
        struct spec spec = make_spec(1000, wrong[i].c);
        cr_expect_eq(caps_plan_make(&plan, &spec, &err), -1);
        cr_expect_str_eq(err.code, wrong[i].code);
        cr_expect_str_eq(err.message, wrong[i].message);
    }
}

Test(caps, a_failing_step_is_reported)
{
    NEEDS_ROOT();
    /* without CAP_SETPCAP nothing can be dropped: closed, not open */
    struct error err = ERROR_INIT;
    struct caps_plan plan;
    struct spec spec = make_spec(1000, (struct spec_capabilities){0});
    int status;
    cr_assert_eq(caps_plan_make(&plan, &spec, &err), 0);
    pid_t pid = fork();
    if (pid == 0) {
        if (setresuid(1000, 1000, 1000) < 0)
            _exit(2);
        _exit(caps_drop_bounding(&plan) < 0 && caps_apply(&plan) < 0 ? 0 : 1);
    }
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_expect_eq(status, 0);
    caps_plan_free(&plan);
}
