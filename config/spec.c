#include "config/spec.h"

#include "config/names.h"

#include <stdio.h>
#include <string.h>
#include <sys/mount.h>

#include "base/syscalls.h"

#define DEFAULT_TMP_BYTES (64ULL * 1024 * 1024)
#define DEFAULT_TMP_FILES 4096

void strings_add(struct arena *a, struct strings *list, const char *text)
{
    if (list->count == 0)
        list->items = arena_grow(a, NULL, 0, sizeof *list->items);
    list->items[list->count++] = arena_strdup(a, text);
    /* the zeroed element behind the last is the terminator */
    list->items = arena_grow(a, list->items, list->count, sizeof *list->items);
}

void strings_set_env(struct arena *a, struct strings *env, const char *key_value)
{
    size_t key = strcspn(key_value, "=");
    for (size_t i = 0; i < env->count; i++) {
        if (strncmp(env->items[i], key_value, key) == 0 &&
            (env->items[i][key] == '=' || env->items[i][key] == '\0')) {
            env->items[i] = arena_strdup(a, key_value);
            return;
        }
    }
    strings_add(a, env, key_value);
}

struct spec *spec_new(void)
{
    static const char *const environment[] = {
        "PATH=/usr/local/bin:/usr/bin:/bin",
        "HOME=/tmp", /* the one place that is always there and writable */
        "LANG=C.UTF-8",
    };
    struct arena *a = arena_new();
    struct spec *s = arena_alloc(a, sizeof *s);
    s->arena = a;
    s->oci_version = "1.1.0";

    for (size_t i = 0; i < sizeof environment / sizeof *environment; i++)
        strings_add(a, &s->env, environment[i]);
    s->cwd = "/";
    s->uid = s->gid = 1000;
    s->umask = 0022;
    s->no_new_privileges = true;

    s->rootfs = ROOTFS_HOST;
    s->rootfs_readonly = true;
    s->hostname = "sandbox";
    struct spec_mount *proc = spec_add_mount(s, "/proc");
    proc->kind = MOUNT_FS;
    proc->type = proc->source = "proc";
    proc->attr_set = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;
    strings_add(a, &proc->data, "hidepid=2");
    strings_add(a, &proc->data, "subset=pid");
    struct spec_mount *tmp = spec_add_mount(s, "/tmp");
    tmp->kind = MOUNT_FS;
    tmp->type = tmp->source = "tmpfs";
    tmp->attr_set = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV;
    strings_add(a, &tmp->data, "mode=1777");

    for (int ns = 0; ns < NS_COUNT; ns++)
        s->ns_new[ns] = ns != NS_TIME;
    struct spec_resources *r = &s->resources;
    r->memory_bytes = r->memory_high_bytes = r->processes = LIMIT_NONE;
    r->cpu_quota_us = LIMIT_NONE;
    r->cpu_period_us = 100000;
    s->seccomp = (struct spec_seccomp){.kind = SECCOMP_NAMED, .name = "tight"};
    s->personality = UINT32_MAX;

    s->cpu_time_ms = s->wall_ms = s->output_bytes = LIMIT_NONE;
    s->tmp_bytes = DEFAULT_TMP_BYTES;
    s->tmp_files = DEFAULT_TMP_FILES;
    s->enforce_required = true;
    s->network = NETWORK_NONE;
    s->monitor_interval_ms = 1000;
    s->monitor_warn_percent = 80;
    s->idle_timeout_s = s->ttl_s = LIMIT_NONE;
    s->strategy = "one_for_one";
    s->max_restarts = 3;
    s->max_seconds = 5;
    return s;
}

void spec_free(struct spec *s)
{
    if (s != NULL)
        arena_free(s->arena);
}

struct spec_mount *spec_add_mount(struct spec *s, const char *destination)
{
    char *clean = spec_clean_path(s->arena, destination);
    for (size_t i = 0; i < s->mount_count; i++) {
        if (strcmp(s->mounts[i].destination, clean) == 0) {
            s->mounts[i] = (struct spec_mount){.destination = clean};
            return &s->mounts[i];
        }
    }
    s->mounts = arena_grow(s->arena, s->mounts, s->mount_count, sizeof *s->mounts);
    s->mounts[s->mount_count].destination = clean;
    return &s->mounts[s->mount_count++];
}

int spec_show(struct spec *s, const char *from, const char *to, struct error *err)
{
    static const char *const options[] = {"rbind", "ro", "nosuid", "nodev"};
    struct spec_mount *m = spec_add_mount(s, to);
    m->kind = MOUNT_BIND;
    m->source = arena_strdup(s->arena, from);
    m->system = true;
    for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
        if (spec_mount_option(s, m, options[i], err) < 0)
            return -1;
    }
    return 0;
}

void spec_set_network(struct spec *s, enum spec_network network)
{
    s->network = network;
    s->ns_new[NS_NETWORK] = network != NETWORK_HOST;
    s->ns_path[NS_NETWORK] = NULL;
    s->bridge = s->address = s->gateway = NULL;
}

int spec_set_rlimit(struct spec *s, const char *name, uint64_t soft, uint64_t hard,
                    struct error *err)
{
    int resource = rlimit_number(name);
    if (resource < 0) {
        const char *near = rlimit_nearest(name);
        error_set(err, "spec.invalid", 0, "no such resource limit: %s%s%s%s",
                  problem_quote(s->arena, name), near == NULL ? "" : "; did you mean \"",
                  near == NULL ? "" : near, near == NULL ? "" : "\"?");
        return error_hint(err, "use one of %s", rlimit_names(s->arena));
    }
    if (soft > hard)
        return error_set(err, "spec.invalid", 0,
                         "resource limit %s: the soft limit is above the hard limit",
                         rlimit_name(resource));
    for (size_t i = 0; i < s->rlimit_count; i++) {
        if (s->rlimits[i].resource == resource) {
            s->rlimits[i].soft = soft;
            s->rlimits[i].hard = hard;
            return 0;
        }
    }
    s->rlimits = arena_grow(s->arena, s->rlimits, s->rlimit_count, sizeof *s->rlimits);
    s->rlimits[s->rlimit_count++] = (struct spec_rlimit){resource, soft, hard};
    return 0;
}

bool spec_valid_id(const char *id)
{
    size_t n = 0;
    for (; id[n] != '\0'; n++) {
        char c = id[n];
        bool alnum = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (n == 64 || (!alnum && (n == 0 || (c != '_' && c != '.' && c != '-'))))
            return false;
    }
    return n > 0;
}

char *spec_clean_path(struct arena *a, const char *path)
{
    char *out = arena_alloc(a, strlen(path) + 2), *to = out;
    while (*path != '\0') {
        path += strspn(path, "/");
        size_t n = strcspn(path, "/");
        if (n != 0 && !(n == 1 && path[0] == '.')) {
            *to++ = '/';
            memcpy(to, path, n);
            to += n;
        }
        path += n;
    }
    if (to == out)
        *to++ = '/';
    return out;
}

bool spec_path_has_dotdot(const char *path)
{
    while (*path != '\0') {
        path += strspn(path, "/");
        size_t n = strcspn(path, "/");
        if (n == 2 && path[0] == '.' && path[1] == '.')
            return true;
        path += n;
    }
    return false;
}
