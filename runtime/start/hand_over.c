/* The start program: `cloche run`, `exec` and `create` without what the plain ones do not need.
 *
 * A process of glibc with its shared objects takes 0.7 ms before main() where CPUID traps; a
 * quarter of a whole start. So `cloche` is a small static program with everything that a run needs
 * and nothing more: no JSON but what json.c writes, no libseccomp, no libnl, no sd-bus. The
 * functions below stand for those parts. Whoever calls one is handed over: the same command line
 * goes to the complete program beside this one. All of these calls come before anything was made,
 * so nothing is done twice; but the keeper of `cloche create`, which comes up while its spec is
 * read, is handed over, too. */
#include "runtime/start/hand_over.h"

#include "isolation/cgroup_impl.h"
#include "isolation/net.h"
#include "isolation/seccomp.h"
#include "isolation/seccomp_private.h"
#include "runtime/cli/cli.h"
#include "runtime/launch.h"
#include "runtime/spec_children.h"
#include "runtime/start/compiled.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char **command_line;
static int keeper = -1;

void hand_over(void)
{
    char path[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", path, sizeof path - sizeof CLOCHE_COMPLETE);
    if (n > 0) {
        path[n] = '\0';
        memcpy(strrchr(path, '/') + 1, CLOCHE_COMPLETE, sizeof CLOCHE_COMPLETE);
        if (keeper >= 0 && fcntl(keeper, F_SETFD, 0) == 0)
            keeper_announce(keeper);
        sigset_t none;
        sigemptyset(&none);
        sigprocmask(SIG_SETMASK, &none, NULL);
        signal(SIGPIPE, SIG_DFL);
        signal(SIGXFSZ, SIG_DFL);
        execv(path, command_line);
    }
    struct error err = ERROR_INIT;
    error_set(&err, "cloche.incomplete", errno, "cannot run the complete program%s%s",
              n > 0 ? " " : "", n > 0 ? path : "");
    error_hint(&err, n > 0 ? "install it beside cloche (make install does)" : "mount /proc");
    _exit(cli_fail(&err, false, EXIT_CLOCHE));
}

bool cli_wants_help(const char *command, const struct cli_option *options, int argc, char **argv)
{
    (void)command;
    (void)options;
    if (argc >= 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0))
        hand_over();
    return false;
}

int spec_apply_profile(struct spec *s, const char *name, struct error *err)
{
    (void)err;
    const char *config = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
    bool in_home = config == NULL || config[0] != '/';
    const char *user = in_home ? home : config;
    if (spec_valid_id(name)) {
        const char *installed[] = {arena_printf(s->arena, "/etc/cloche/profiles/%s.json", name),
                                   user == NULL
                                       ? "/dev/null/none"
                                       : arena_printf(s->arena, "%s%s/cloche/profiles/%s.json",
                                                      user, in_home ? "/.config" : "", name)};
        for (const struct compiled_profile *p = compiled_profiles; p->name != NULL; p++) {
            if (strcmp(p->name, name) == 0 && access(installed[0], F_OK) < 0 &&
                access(installed[1], F_OK) < 0) {
                p->apply(s);
                return 0;
            }
        }
    }
    hand_over();
}

int spec_apply_file(struct spec *s, const char *path, struct error *err)
{
    (void)s;
    (void)path;
    (void)err;
    hand_over();
}

int seccomp_filter_get(struct seccomp_filter *ret, const struct spec *spec, struct error *err)
{
    *ret = (struct seccomp_filter){0};
    if (spec->seccomp.kind == SECCOMP_UNCONFINED)
        return 0;
    const struct compiled_filter *f = compiled_filters;
    while (spec->seccomp.kind == SECCOMP_NAMED && f->name != NULL &&
           strcmp(f->name, spec->seccomp.name) != 0)
        f++;
    if (spec->seccomp.kind != SECCOMP_NAMED || f->name == NULL ||
        f->notifies != seccomp_probe().notify)
        hand_over();
    ret->instructions = malloc(f->count * sizeof *ret->instructions);
    if (ret->instructions == NULL)
        return error_set(err, "seccomp.load", ENOMEM, "cannot copy the syscall filter");
    memcpy(ret->instructions, f->instructions, f->count * sizeof *ret->instructions);
    ret->count = f->count;
    ret->notifies = f->notifies;
    ret->flags = f->flags;
    return 0;
}

int net_bridge_check(const struct spec *spec, struct error *err)
{
    (void)spec;
    (void)err;
    hand_over();
}

int net_bridge_attach(const struct spec *spec, pid_t init, const char *name, struct error *err)
{
    (void)spec;
    (void)init;
    (void)name;
    (void)err;
    hand_over(); /* not reached: net_bridge_check() comes first */
}

int cgroup_systemd_scope(struct error *err)
{
    (void)err;
    hand_over();
}

int spec_add_module(struct spec *spec, const struct spec_module *m, struct error *err)
{
    (void)spec;
    (void)m;
    (void)err;
    hand_over();
}

void spec_modules_below(struct spec *spec, const char *dir)
{
    (void)spec;
    (void)dir;
    hand_over(); /* not reached: spec_apply_file() comes first */
}

int main(int argc, char **argv)
{
    size_t bytes = ((size_t)argc + 1) * sizeof *argv;
    command_line = malloc(bytes);
    if (command_line == NULL)
        abort();
    memcpy(command_line, argv, bytes); /* `create` takes its id out of the other */
    signal(SIGCHLD, SIG_DFL);          /* some callers leave it ignored */
    if (argc >= 2 && strcmp(argv[1], "run") == 0)
        return cli_run(argc - 1, argv + 1);
    if (argc >= 2 && strcmp(argv[1], "exec") == 0)
        return cli_exec(argc - 1, argv + 1);
    cli_hold_streams();
    if (argc < 3 || strcmp(argv[1], "create") != 0 || !spec_valid_id(argv[2]))
        hand_over();
    keeper = keeper_spawn(argv[2], NULL);
    if (keeper >= 0)
        keeper_announce(keeper);
    return cli_told(cli_create(argc - 1, argv + 1));
}
