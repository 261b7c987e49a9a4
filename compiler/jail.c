#include "compiler/jail.h"

#include "base/cleanup.h"

#include "compiler/identity.h"

#include <limits.h>
#include <string.h>
#include <sys/stat.h>

#define PROFILE "compile"

struct jail {
    struct spec *spec;
    struct sandbox *sandbox;
};

static int add_directories(struct spec *s, const struct jail_run *run, struct error *err)
{
    struct strings paths = {0};
    identity_glob(s->arena, &run->tc->paths, &paths);
    for (size_t i = 0; i < paths.count; i++) {
        /* /lib is a link to /usr/lib on a merged system: the directory itself is bound */
        char real[PATH_MAX];
        if (realpath(paths.items[i], real) != NULL && spec_show(s, real, paths.items[i], err) < 0)
            return -1;
    }
    const struct {
        const char *name;
        bool has;
    } own[] = {{"src", run->has_sources}, {"include", run->has_headers}, {"obj", run->has_objects}};
    for (size_t i = 0; run->workdir != NULL && i < sizeof own / sizeof *own; i++) {
        if (own[i].has && spec_show(s, arena_printf(s->arena, "%s/%s", run->workdir, own[i].name),
                                    arena_printf(s->arena, "/%s", own[i].name), err) < 0)
            return -1;
    }
    return 0;
}

static struct spec *make_spec(const struct jail_run *run, struct error *err)
{
    _cleanup_spec_ struct spec *s = spec_new();
    if (spec_apply_profile(s, PROFILE, err) < 0)
        return NULL;
    s->rootfs = ROOTFS_EMPTY;
    s->rootfs_path = NULL;
    s->rootfs_readonly = true;
    s->args = run->argv;
    s->cwd = run->has_sources ? "/src" : "/";
    s->terminal = false;
    s->enforce_required = s->enforce_required && !run->best_effort;
    s->env = (struct strings){0};
    strings_set_env(s->arena, &s->env, "PATH=" TOOLCHAIN_PATH);
    strings_set_env(s->arena, &s->env, "HOME=/tmp");
    for (size_t i = 0; i < run->tc->env.count; i++)
        strings_set_env(s->arena, &s->env, run->tc->env.items[i]);

    if (run->wall_ms > 0)
        s->wall_ms = run->wall_ms;
    if (run->cpu_ms > 0)
        s->cpu_time_ms = run->cpu_ms;
    if (run->memory_bytes > 0)
        s->resources.memory_bytes = run->memory_bytes;
    else if (s->resources.memory_bytes < run->tc->memory_bytes)
        s->resources.memory_bytes = run->tc->memory_bytes;
    if (s->resources.processes < run->tc->processes)
        s->resources.processes = run->tc->processes;
    s->output_bytes = JAIL_LOG_LIMIT;
    /* an artifact cannot outgrow this: the tool gets SIGXFSZ */
    if (spec_set_rlimit(s, "fsize", run->output_bytes, run->output_bytes, err) < 0 ||
        spec_set_rlimit(s, "core", 0, 0, err) < 0 || add_directories(s, run, err) < 0 ||
        spec_validate(s, err) < 0)
        return NULL;
    return TAKE_PTR(s);
}

int jail_start(struct jail **ret, const struct jail_run *run, struct error *err)
{
    _cleanup_spec_ struct spec *spec = make_spec(run, err);
    if (spec == NULL)
        return -1;
    int fds[2] = {run->output_fd, run->depfile_fd};
    struct sandbox_options options = SANDBOX_OPTIONS_INIT;
    options.input.kind = STREAM_NULL;
    options.output = (struct stream){.kind = STREAM_CAPTURE, .max_bytes = JAIL_LOG_MAX};
    options.error = (struct stream){.kind = STREAM_CAPTURE, .max_bytes = JAIL_LOG_MAX};
    options.pass_fds = fds;
    options.pass_fd_count = run->output_fd < 0 ? 0 : run->depfile_fd < 0 ? 1 : 2;
    /* the spec's own arena holds the jail: they end together */
    struct jail *j = arena_alloc(spec->arena, sizeof *j);
    if (sandbox_run(&j->sandbox, spec, &options, err) < 0)
        return -1;
    j->spec = TAKE_PTR(spec);
    *ret = j;
    return 0;
}

struct sandbox *jail_sandbox(const struct jail *j)
{
    return j->sandbox;
}

void jail_finish(struct jail *j, struct arena *a, struct jail_result *ret)
{
    sandbox_report(j->sandbox, &ret->report);
    size_t out_size = 0, err_size = 0;
    const char *out = sandbox_captured(j->sandbox, 1, &out_size);
    const char *err = sandbox_captured(j->sandbox, 2, &err_size);
    char *log = arena_alloc(a, out_size + err_size + 2);
    size_t n = err_size;
    if (err_size > 0)
        memcpy(log, err, err_size);
    if (n > 0 && out_size > 0 && log[n - 1] != '\n')
        log[n++] = '\n';
    if (out_size > 0)
        memcpy(log + n, out, out_size);
    ret->log = log;
    ret->log_size = n + out_size;
}

void jail_free(struct jail *j)
{
    if (j == NULL)
        return;
    sandbox_free(j->sandbox);
    spec_free(j->spec);
}

int jail_run_once(struct arena *a, const struct jail_run *run, struct jail_result *ret,
                  struct error *err)
{
    _cleanup_jail_ struct jail *j = NULL;
    struct report report;
    if (jail_start(&j, run, err) < 0 || sandbox_wait(j->sandbox, &report, err) < 0)
        return -1;
    jail_finish(j, a, ret);
    return 0;
}

const char *jail_profile_digest(struct arena *a)
{
    const char *digest = config_builtin_digest("profiles/" PROFILE ".json");
    const char *config = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
    const char *text = digest != NULL ? digest : "";
    const char *paths[] = {
        "/etc/cloche/profiles/" PROFILE ".json",
        config != NULL ? arena_printf(a, "%s/cloche/profiles/" PROFILE ".json", config)
        : home != NULL ? arena_printf(a, "%s/.config/cloche/profiles/" PROFILE ".json", home)
                       : NULL,
    };
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        struct stat st;
        if (paths[i] != NULL && stat(paths[i], &st) == 0)
            text = arena_printf(a, "%s %s %lld %lld.%09ld", text, paths[i], (long long)st.st_size,
                                (long long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
    }
    return text;
}
