/* The options that describe a sandbox, shared by `run` and what else makes one. Each writes one
 * field of the spec. */
#include "runtime/cli/cli.h"

#include "base/io.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/mount.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

static struct spec *spec_of(void *context)
{
    return ((struct cli_sandbox *)context)->spec;
}

static int skip(void *context, const char *text, struct error *err)
{
    (void)context;
    (void)text;
    (void)err;
    return 0;
}

static int set_profile(void *context, const char *text, struct error *err)
{
    (void)err;
    ((struct cli_sandbox *)context)->profile = text;
    return 0;
}

static int set_spec(void *context, const char *text, struct error *err)
{
    (void)err;
    ((struct cli_sandbox *)context)->spec_file = text;
    return 0;
}

static int set_rootfs(void *context, const char *text, struct error *err)
{
    struct spec *s = spec_of(context);
    if (strcmp(text, "host") == 0) {
        s->rootfs = ROOTFS_HOST;
    } else if (strcmp(text, "empty") == 0) {
        s->rootfs = ROOTFS_EMPTY;
    } else {
        char path[PATH_MAX];
        if (realpath(text, path) == NULL) {
            error_set(err, "rootfs.open", errno, "cannot open root file system \"%s\"", text);
            return error_hint(err, "give a directory, host, or empty");
        }
        s->rootfs = ROOTFS_DIR;
        s->rootfs_path = arena_strdup(s->arena, path);
    }
    return 0;
}

/** A profile's or a spec's mount at @destination gives way, that of another option does not. */
static struct spec_mount *add_mount(struct cli_sandbox *c, const char *destination,
                                    struct error *err)
{
    struct spec_mount *m = spec_add_mount(c->spec, destination);
    for (size_t i = 0; i < c->destinations.count; i++) {
        if (strcmp(c->destinations.items[i], m->destination) == 0) {
            error_set(err, "usage.destination", 0, "a second mount at \"%s\"", m->destination);
            error_hint(err, "leave one of them out");
            return NULL;
        }
    }
    strings_add(c->spec->arena, &c->destinations, m->destination);
    return m;
}

static int set_volume(void *context, const char *text, struct error *err)
{
    struct spec *s = spec_of(context);
    char *copy = arena_strdup(s->arena, text), *save = NULL;
    char *source = strtok_r(copy, ":", &save), *destination = strtok_r(NULL, ":", &save);
    char *words = strtok_r(NULL, "", &save);
    if (source == NULL || destination == NULL || destination[0] != '/') {
        error_set(err, "usage.volume", 0, "volume \"%s\" is not SRC:DST[:ro|rw|O]", text);
        return error_hint(err, "DST is an absolute path inside the sandbox");
    }
    char path[PATH_MAX];
    if (realpath(source, path) == NULL) {
        int saved = errno;
        error_set(err, "mount.source", saved, "cannot open mount source \"%s\"", source);
        error_path(err, source);
        return error_hint(err, saved == ENOENT ? "make it first, or correct the path"
                                               : "check that this user can reach it");
    }
    struct spec_mount *m = add_mount(context, destination, err);
    if (m == NULL)
        return -1;
    m->kind = MOUNT_BIND;
    m->source = arena_strdup(s->arena, path);
    m->recursive = true;
    m->attr_set = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV;
    for (char *word = words == NULL ? NULL : strtok_r(words, ",", &save); word != NULL;
         word = strtok_r(NULL, ",", &save)) {
        if (strcmp(word, "O") == 0)
            m->kind = MOUNT_OVERLAY;
        else if (strcmp(word, "rw") == 0) /* what the host has read-only stays so */
            m->attr_set &= ~(uint64_t)MOUNT_ATTR_RDONLY;
        else if (spec_mount_word(s, m, word, err) < 0)
            return error_hint(err, "SRC:DST:ro, rw or O, or an option word of mount(8)");
    }
    return 0;
}

static int set_tmpfs(void *context, const char *text, struct error *err)
{
    struct spec *s = spec_of(context);
    char *copy = arena_strdup(s->arena, text), *save = NULL;
    char *destination = strtok_r(copy, ":", &save), *words = strtok_r(NULL, "", &save);
    if (destination == NULL || destination[0] != '/') {
        error_set(err, "usage.tmpfs", 0, "tmpfs \"%s\" is not DST[:SIZE]", text);
        return error_hint(err, "DST is an absolute path inside the sandbox");
    }
    struct spec_mount *m = add_mount(context, destination, err);
    if (m == NULL)
        return -1;
    m->kind = MOUNT_FS;
    m->type = "tmpfs";
    m->attr_set = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV;
    const char *mode = "mode=1777";
    for (char *word = words == NULL ? NULL : strtok_r(words, ",", &save); word != NULL;
         word = strtok_r(NULL, ",", &save)) {
        uint64_t bytes;
        if (word[0] >= '0' && word[0] <= '9') {
            if (spec_parse_size(word, &bytes, err) < 0)
                return -1;
            strings_add(s->arena, &m->data,
                        arena_printf(s->arena, "size=%llu", (unsigned long long)bytes));
        } else {
            mode = strncmp(word, "mode=", 5) == 0 ? NULL : mode;
            if (spec_mount_word(s, m, word, err) < 0)
                return error_hint(err, "a size such as 64m, or an option word of tmpfs(5)");
        }
    }
    if (mode != NULL)
        strings_add(s->arena, &m->data, mode);
    return 0;
}

static int set_cwd(void *context, const char *text, struct error *err)
{
    struct spec *s = spec_of(context);
    if (text[0] != '/') {
        error_set(err, "spec.invalid", 0, "working directory \"%s\" is not absolute", text);
        return error_hint(err, "give a path inside the sandbox, beginning with /");
    }
    s->cwd = arena_strdup(s->arena, text);
    return 0;
}

static int set_env(void *context, const char *text, struct error *err)
{
    struct spec *s = spec_of(context);
    if (text[0] == '=' || text[0] == '\0')
        return error_set(err, "usage.env", 0, "\"%s\" is not KEY=VALUE", text);
    if (strchr(text, '=') == NULL) { /* as with Docker: the caller's value */
        const char *value = getenv(text);
        if (value == NULL)
            return 0;
        text = arena_printf(s->arena, "%s=%s", text, value);
    }
    strings_set_env(s->arena, &s->env, text);
    return 0;
}

/* Docker's rules: blanks before a name and a carriage return at the end of a line do not count, a
 * name has no blanks. */
static int set_env_file(void *context, const char *text, struct error *err)
{
    _cleanup_close_ int fd = open(text, O_RDONLY | O_CLOEXEC);
    _cleanup_free_ char *data = NULL;
    ssize_t size = fd < 0 ? -1 : io_read_to_end(fd, 1 << 20, &data);
    if (size < 0) {
        error_set(err, "usage.env_file", errno, "cannot read environment file \"%s\"", text);
        error_hint(err, "give a file of KEY=VALUE lines, at most 1 MiB");
        return error_path(err, text);
    }
    if (strlen(data) != (size_t)size) {
        error_set(err, "usage.env_file", 0, "environment file \"%s\" has NUL bytes", text);
        return error_path(err, text);
    }
    char *rest = data;
    for (unsigned number = 1; rest != NULL; number++) {
        char *line = strsep(&rest, "\n");
        size_t n = strlen(line);
        if (n > 0 && line[n - 1] == '\r')
            line[n - 1] = '\0';
        line += strspn(line, " \t");
        if (line[0] == '\0' || line[0] == '#')
            continue;
        size_t name = strcspn(line, "=");
        int rc = strcspn(line, " \t") < name
                     ? error_set(err, "usage.env", 0, "variable \"%.*s\" has a blank in its name",
                                 (int)name, line)
                     : set_env(context, line, err);
        if (rc < 0)
            return error_wrap(err, "%s:%u", text, number);
    }
    return 0;
}

static int set_user(void *context, const char *text, struct error *err)
{
    struct spec *s = spec_of(context);
    bool gid_given;
    uid_t uid;
    gid_t gid;
    if (spec_parse_user(text, &uid, &gid, &gid_given, err) < 0)
        return -1;
    s->uid = uid;
    s->gid = gid_given ? gid : uid;
    return 0;
}

static int set_hostname(void *context, const char *text, struct error *err)
{
    (void)err;
    spec_of(context)->hostname = arena_strdup(spec_of(context)->arena, text);
    return 0;
}

static int set_network(void *context, const char *text, struct error *err)
{
    struct spec *s = spec_of(context);
    static const struct {
        const char *word;
        enum spec_network mode;
    } modes[] = {{"none", NETWORK_NONE}, {"loopback", NETWORK_LOOPBACK}, {"host", NETWORK_HOST}};
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++) {
        if (strcmp(text, modes[i].word) != 0)
            continue;
        s->network = modes[i].mode;
        s->ns_new[NS_NETWORK] = s->network != NETWORK_HOST;
        return 0;
    }
    if (strncmp(text, "bridge:", 7) == 0) {
        char *copy = arena_strdup(s->arena, text + 7), *save = NULL;
        s->bridge = strtok_r(copy, ",", &save);
        s->address = strtok_r(NULL, ",", &save);
        s->gateway = strtok_r(NULL, ",", &save);
        if (s->bridge != NULL && s->address != NULL) {
            s->network = NETWORK_BRIDGE;
            s->ns_new[NS_NETWORK] = true;
            return 0;
        }
    }
    error_set(err, "usage.network", 0, "unknown network \"%s\"", text);
    return error_hint(err, "none, loopback, host, or bridge:NAME,ADDRESS/BITS[,GATEWAY]");
}

static int set_memory(void *context, const char *text, struct error *err)
{
    return spec_parse_size(text, &spec_of(context)->resources.memory_bytes, err);
}

static int set_memory_swap(void *context, const char *text, struct error *err)
{
    struct cli_sandbox *c = context;
    c->memory_swap_given = true;
    c->memory_swap_bytes = LIMIT_NONE;
    return strcmp(text, "-1") == 0 ? 0 : spec_parse_size(text, &c->memory_swap_bytes, err);
}

int cli_parse_processes(const char *text, uint64_t *ret, struct error *err)
{
    if (io_parse_u64(text, ret) && *ret >= 1 && *ret <= 4194304)
        return 0;
    error_set(err, "usage.number", 0, "\"%s\" is not a number of processes", text);
    return error_hint(err, "a whole number from 1 to 4194304");
}

int cli_parse_cpus(const char *text, uint64_t *ret_quota_us, struct error *err)
{
    char *end;
    double cpus = strtod(text, &end);
    if (end == text || *end != '\0' || text[strspn(text, "0123456789.")] != '\0' ||
        !isfinite(cpus) || cpus < 0.01 || cpus > 8192) {
        error_set(err, "usage.number", 0, "\"%s\" is not a number of CPUs", text);
        return error_hint(err, "0.01 to 8192, such as 1.5");
    }
    *ret_quota_us = spec_cpu_quota(cpus, CLI_CPU_PERIOD_US);
    return 0;
}

static int set_processes(void *context, const char *text, struct error *err)
{
    return cli_parse_processes(text, &spec_of(context)->resources.processes, err);
}

static int set_cpus(void *context, const char *text, struct error *err)
{
    struct spec_resources *r = &spec_of(context)->resources;
    r->cpu_period_us = CLI_CPU_PERIOD_US;
    return cli_parse_cpus(text, &r->cpu_quota_us, err);
}

static int set_cpu_time(void *context, const char *text, struct error *err)
{
    return spec_parse_duration(text, &spec_of(context)->cpu_time_ms, err);
}

static int set_timeout(void *context, const char *text, struct error *err)
{
    return spec_parse_duration(text, &spec_of(context)->wall_ms, err);
}

static int set_output(void *context, const char *text, struct error *err)
{
    return spec_parse_size(text, &spec_of(context)->output_bytes, err);
}

static bool rlimit_value(const char *text, uint64_t *ret)
{
    if (strcmp(text, "unlimited") == 0 || strcmp(text, "-1") == 0) {
        *ret = UINT64_MAX;
        return true;
    }
    return io_parse_u64(text, ret);
}

static int set_ulimit(void *context, const char *text, struct error *err)
{
    struct spec *s = spec_of(context);
    char *copy = arena_strdup(s->arena, text), *equals = strchr(copy, '=');
    uint64_t soft, hard;
    if (equals != NULL) {
        *equals = '\0';
        char *colon = strchr(equals + 1, ':');
        if (colon != NULL)
            *colon = '\0';
        if (rlimit_value(equals + 1, &soft) && (colon == NULL || rlimit_value(colon + 1, &hard)))
            return spec_set_rlimit(s, copy, soft, colon == NULL ? soft : hard, err);
    }
    error_set(err, "usage.ulimit", 0, "\"%s\" is not NAME=SOFT[:HARD]", text);
    return error_hint(err, "such as nofile=100:200, or core=unlimited");
}

static int set_seccomp(void *context, const char *text, struct error *err)
{
    struct spec *s = spec_of(context);
    if (strcmp(text, "default") == 0)
        return 0; /* what the profile says */
    if (strcmp(text, "unconfined") == 0) {
        s->seccomp = (struct spec_seccomp){.kind = SECCOMP_UNCONFINED};
        return 0;
    }
    char name[96];
    snprintf(name, sizeof name, "seccomp/%.64s.json", text);
    if (strchr(text, '/') == NULL && config_builtin(name, NULL) != NULL) {
        s->seccomp =
            (struct spec_seccomp){.kind = SECCOMP_NAMED, .name = arena_strdup(s->arena, text)};
        return 0;
    }
    _cleanup_close_ int fd = open(text, O_RDONLY | O_CLOEXEC);
    _cleanup_free_ char *data = NULL;
    if (fd < 0 || io_read_to_end(fd, SPEC_MAX_BYTES, &data) < 0) {
        error_set(err, "seccomp.unreadable", errno, "cannot read syscall filter \"%s\"", text);
        return error_hint(
            err, "a file with an OCI seccomp object, or default, unconfined, tight, build, wide");
    }
    s->seccomp = (struct spec_seccomp){.kind = SECCOMP_JSON,
                                       .name = arena_strdup(s->arena, text),
                                       .json = arena_strdup(s->arena, data)};
    return 0;
}

static int add_capability(void *context, const char *text, struct error *err)
{
    struct spec_capabilities *c = &spec_of(context)->capabilities;
    uint64_t mask;
    if (strcmp(text, "ALL") == 0 || strcmp(text, "all") == 0) {
        mask = 0;
        for (int i = 0; spec_capability_name(i) != NULL; i++)
            mask |= 1ULL << i;
    } else {
        int number = spec_capability_number(text);
        if (number < 0) {
            error_set(err, "caps.unknown", 0, "unknown capability \"%s\"", text);
            return error_hint(err, "a name of capabilities(7), such as NET_BIND_SERVICE");
        }
        mask = 1ULL << number;
    }
    c->bounding |= mask;
    c->effective |= mask;
    c->inheritable |= mask;
    c->permitted |= mask;
    c->ambient |= mask;
    return 0;
}

static int set_read_only(void *context, const char *text, struct error *err)
{
    (void)text;
    (void)err;
    spec_of(context)->rootfs_readonly = true;
    return 0;
}

static int set_terminal(void *context, const char *text, struct error *err)
{
    (void)text;
    (void)err;
    struct spec *s = spec_of(context);
    const char *term = getenv("TERM");
    for (size_t i = 0; i < s->env.count; i++)
        term = strncmp(s->env.items[i], "TERM=", 5) == 0 ? NULL : term;
    if (term != NULL)
        strings_add(s->arena, &s->env, arena_printf(s->arena, "TERM=%s", term));
    s->terminal = true;
    return 0;
}

static int set_json(void *context, const char *text, struct error *err)
{
    (void)text;
    (void)err;
    ((struct cli_sandbox *)context)->json = true;
    return 0;
}

static int set_best_effort(void *context, const char *text, struct error *err)
{
    (void)text;
    (void)err;
    spec_of(context)->enforce_required = false;
    return 0;
}

const struct cli_option cli_sandbox_options[] = {
    {0, "profile", "NAME", "start from this profile (cloche profiles)", set_profile},
    {0, "spec", "FILE", "start from this OCI config.json", set_spec},
    {0, "rootfs", "host|empty|DIR", "what the program sees as /, read-only", set_rootfs},
    {'v', "volume", "SRC:DST[:ro|rw|O]", "show SRC at DST; O: writes are dropped afterwards",
     set_volume},
    {0, "tmpfs", "DST[:SIZE]", "an empty file system in memory", set_tmpfs},
    {'w', "workdir", "DIR", "working directory", set_cwd},
    {'e', "env", "KEY=VALUE", "set a variable; KEY alone passes it on", set_env},
    {0, "env-file", "FILE", "variables from a file, one a line", set_env_file},
    {'u', "user", "UID[:GID]", "user inside", set_user},
    {0, "hostname", "NAME", "host name inside", set_hostname},
    {0, "network", "MODE", "none, loopback, host, bridge:NAME,ADDRESS[,GATEWAY]", set_network},
    {0, "memory", "SIZE", "memory of the whole tree, such as 256m", set_memory},
    {0, "memory-swap", "SIZE", "memory and swap together; -1: any swap", set_memory_swap},
    {0, "pids-limit", "N", "processes and threads of the whole tree", set_processes},
    {0, "cpus", "N", "share of the machine, such as 1.5", set_cpus},
    {0, "cpu-time", "TIME", "CPU time of the whole tree, such as 2s", set_cpu_time},
    {0, "timeout", "TIME", "wall time, such as 10s", set_timeout},
    {0, "output-limit", "SIZE", "bytes on stdout and stderr together", set_output},
    {0, "ulimit", "NAME=SOFT[:HARD]", "an rlimit, such as nofile=100", set_ulimit},
    {0, "seccomp", "FILE|NAME|unconfined", "syscall filter: tight, build, wide, or an OCI object",
     set_seccomp},
    {0, "cap-add", "CAP", "keep a capability (inside its own user namespace)", add_capability},
    {0, "read-only", NULL, "root file system read-only, whatever the spec says", set_read_only},
    {'i', "interactive", NULL, "accepted; stdin always belongs to the program", skip},
    {'t', "tty", NULL, "give the program a terminal of its own", set_terminal},
    CLI_VALUE(0, "report", "FILE|-", "write what happened as JSON; -: to stderr", CLI_TEXT,
              cli_sandbox, report),
    {0, "json", NULL, "errors as JSON, and the report on stderr", set_json},
    {0, "best-effort", NULL, "run even where a limit cannot be enforced", set_best_effort},
    {0, NULL, NULL, NULL, NULL},
};

void cli_sandbox_table(const struct cli_option *more, struct cli_option *ret)
{
    int n = 0;
    for (; more->help != NULL && n < CLI_OPTIONS_MAX; more++)
        ret[n++] = *more;
    for (const struct cli_option *o = cli_sandbox_options; n < CLI_OPTIONS_MAX; o++) {
        ret[n++] = *o;
        if (o->help == NULL)
            return;
    }
    abort(); /* a table of this program, and too long */
}

int cli_sandbox_base(struct cli_sandbox *c, const struct cli_option *options, int argc, char **argv,
                     struct error *err)
{
    /* a first pass that only looks for what the others are written over; its errors come again in
     * the second */
    struct cli_option table[CLI_OPTIONS_MAX];
    size_t count = 0;
    while (options[count].help != NULL)
        count++;
    memcpy(table, options, (count + 1) * sizeof *table);
    for (struct cli_option *o = table; o->help != NULL; o++) {
        /* the report: what fails now is told there, too */
        if (o->set != set_profile && o->set != set_spec && o->set != set_json &&
            (o->name == NULL || strcmp(o->name, "report") != 0))
            o->set = skip;
    }
    cli_parse(table, c, argc, argv, NULL);
    if (c->profile != NULL && spec_apply_profile(c->spec, c->profile, err) < 0)
        return -1;
    if (c->stays)
        c->spec->wall_ms = LIMIT_NONE;
    return c->spec_file != NULL ? spec_apply_file(c->spec, c->spec_file, err) : 0;
}

int cli_sandbox_finish(struct cli_sandbox *c, struct error *err)
{
    struct spec_resources *r = &c->spec->resources;
    if (c->memory_swap_given) {
        bool any = c->memory_swap_bytes == LIMIT_NONE;
        if (!any && (r->memory_bytes == LIMIT_NONE || c->memory_swap_bytes < r->memory_bytes)) {
            error_set(err, "usage.memory_swap", 0,
                      "--memory-swap is memory and swap together, and below --memory");
            return error_hint(err, "give --memory, and at least as much --memory-swap");
        }
        r->swap_set = true;
        r->swap_bytes = any ? LIMIT_NONE : c->memory_swap_bytes - r->memory_bytes;
    }
    return spec_validate(c->spec, err);
}
