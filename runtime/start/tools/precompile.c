/* Run by the build: reads the built-in profiles and filters with the one reader there is, and
 * prints them as C (runtime/start/compiled.h); with "toolchains", those (config/builtin.h). What it
 * prints is checked against the reader by tests/unit/test_start.c and test_toolchain.c. */
#include "config/builtin.h"
#include "config/spec.h"
#include "config/toolchain.h"
#include "isolation/seccomp.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const struct packed_toolchain packed_toolchains[] = {{NULL, NULL}}; /* there are none yet */

static void quoted(const char *data, size_t size)
{
    putchar('"');
    for (size_t i = 0; i < size; i++)
        printf(data[i] == '"' || data[i] == '\\' || data[i] < ' ' ? "\\%03o" : "%c",
               (unsigned char)data[i]);
    putchar('"');
}

static void text(const char *field, const char *value)
{
    printf("    s->%s = ", field);
    if (value == NULL) {
        puts("NULL;");
        return;
    }
    quoted(value, strlen(value));
    puts(";");
}

static void list(const char *field, const struct strings *l)
{
    printf("    s->%s = (struct strings){0};\n", field);
    for (size_t i = 0; i < l->count; i++)
        printf("    strings_add(s->arena, &s->%s, \"%s\");\n", field, l->items[i]);
}

static void mount(const struct spec_mount *m)
{
    printf("    m = spec_add_mount(s, \"%s\");\n    m->kind = %d;\n", m->destination, (int)m->kind);
    if (m->type != NULL)
        printf("    m->type = \"%s\";\n", m->type);
    if (m->source != NULL)
        printf("    m->source = \"%s\";\n", m->source);
    printf(
        "    m->attr_set = %lluU;\n    m->attr_clear = %lluU;\n    m->attr_set_recursive = %lluU;\n"
        "    m->attr_clear_recursive = %lluU;\n    m->propagation = %lluU;\n",
        (unsigned long long)m->attr_set, (unsigned long long)m->attr_clear,
        (unsigned long long)m->attr_set_recursive, (unsigned long long)m->attr_clear_recursive,
        (unsigned long long)m->propagation);
    printf(
        "    m->recursive = %d;\n    m->copy_up = %d;\n    m->idmap = %d;\n    m->optional = %d;\n",
        m->recursive, m->copy_up, m->idmap, m->optional);
    for (size_t i = 0; i < m->data.count; i++)
        printf("    strings_add(s->arena, &m->data, \"%s\");\n", m->data.items[i]);
}

/** A profile that uses what is not printed here would silently lose it. */
static void refuse(const char *name, bool used, const char *what)
{
    if (!used)
        return;
    fprintf(stderr,
            "precompile: profile %s uses %s: print it in runtime/start/tools/precompile.c\n", name,
            what);
    exit(1);
}

static void profile(const char *name)
{
    struct error err = ERROR_INIT;
    struct spec *s = spec_new();
    if (spec_apply_profile(s, name, &err) < 0) {
        fprintf(stderr, "precompile: %s\n", err.message);
        exit(1);
    }
    const struct spec_resources *r = &s->resources;
    refuse(name,
           s->annotation_count || s->device_count || s->sysctl_count || s->additional_gid_count,
           "a list");
    refuse(name, s->uid_map_count || s->gid_map_count || s->cgroups_path != NULL,
           "id maps or cgroupsPath");
    refuse(name,
           r->blkio_device_count || r->hugepage_count || r->unified_count || r->device_rule_count ||
               r->cpuset_cpus != NULL || r->cpuset_mems != NULL,
           "block I/O, huge pages, cpusets or unified");
    refuse(name, s->landlock.given || s->landlock.tcp_given, "landlock");
    refuse(name, s->seccomp.kind == SECCOMP_JSON, "a filter of its own");
    refuse(name, s->children_json != NULL || s->modules_json != NULL, "children or modules");
    refuse(name, s->args.count != 0 || s->rootfs == ROOTFS_DIR || s->bridge != NULL,
           "a command, rootfs or bridge");
    for (int i = 0; i < NS_COUNT; i++)
        refuse(name, s->ns_path[i] != NULL, "a namespace path");

    printf("static void apply_%s(struct spec *s)\n{\n    struct spec_mount *m;\n    (void)m;\n",
           name);
    list("env", &s->env);
    list("masked_paths", &s->masked_paths);
    list("readonly_paths", &s->readonly_paths);
    text("cwd", s->cwd);
    text("hostname", s->hostname);
    text("domainname", s->domainname);
    text("strategy", s->strategy);
    text("module_policy_json", s->module_policy_json);
    text("seccomp.name", s->seccomp.name);
    puts("    s->mount_count = 0;\n    s->mounts = NULL;");
    for (size_t i = 0; i < s->mount_count; i++)
        mount(&s->mounts[i]);
    for (size_t i = 0; i < s->rlimit_count; i++)
        printf("    s->rlimits = arena_grow(s->arena, s->rlimits, s->rlimit_count, sizeof "
               "*s->rlimits);\n"
               "    s->rlimits[s->rlimit_count++] = (struct spec_rlimit){%d, %lluU, %lluU};\n",
               s->rlimits[i].resource, (unsigned long long)s->rlimits[i].soft,
               (unsigned long long)s->rlimits[i].hard);
#define NUMBER(field) printf("    s->" #field " = %lluU;\n", (unsigned long long)s->field)
    NUMBER(terminal), NUMBER(uid), NUMBER(gid), NUMBER(umask), NUMBER(no_new_privileges);
    NUMBER(oom_score_adj_set), NUMBER(rootfs_readonly), NUMBER(rootfs_propagation),
        NUMBER(personality);
    printf("    s->oom_score_adj = %d;\n    s->rootfs = %d;\n    s->network = %d;\n    "
           "s->seccomp.kind = %d;\n",
           s->oom_score_adj, (int)s->rootfs, (int)s->network, (int)s->seccomp.kind);
    NUMBER(capabilities.bounding), NUMBER(capabilities.effective), NUMBER(capabilities.inheritable);
    NUMBER(capabilities.permitted), NUMBER(capabilities.ambient);
    NUMBER(resources.memory_bytes), NUMBER(resources.memory_high_bytes),
        NUMBER(resources.swap_bytes);
    NUMBER(resources.swap_set), NUMBER(resources.processes), NUMBER(resources.cpu_quota_us);
    NUMBER(resources.cpu_period_us), NUMBER(resources.cpu_shares), NUMBER(resources.cpu_idle);
    NUMBER(resources.blkio_weight), NUMBER(cpu_time_ms), NUMBER(wall_ms), NUMBER(output_bytes);
    NUMBER(tmp_bytes), NUMBER(tmp_files), NUMBER(enforce_required), NUMBER(monitor_interval_ms);
    NUMBER(monitor_warn_percent), NUMBER(idle_timeout_s), NUMBER(ttl_s), NUMBER(max_restarts),
        NUMBER(max_seconds);
    for (int i = 0; i < NS_COUNT; i++)
        printf("    s->ns_new[%d] = %d;\n", i, s->ns_new[i]);
    printf("    s->profile = \"%s\";\n}\n\n", name);
    spec_free(s);
}

static void filter(const char *name, const char *json, struct seccomp_filter *ret)
{
    struct error err = ERROR_INIT;
    if (seccomp_filter_build(ret, json, &err) < 0) {
        fprintf(stderr, "precompile: filter %s: %s\n", name, err.message);
        exit(1);
    }
    printf("static const struct sock_filter filter_%s[] = {\n", name);
    for (unsigned i = 0; i < ret->count; i++)
        printf("    {%u, %u, %u, %uU},\n", ret->instructions[i].code, ret->instructions[i].jt,
               ret->instructions[i].jf, ret->instructions[i].k);
    puts("};\n");
}

static int toolchains(void)
{
    _cleanup_arena_ struct arena *a = arena_new();
    struct strings names = {0};
    toolchain_names(a, &names);
    puts("#include \"config/builtin.h\"\n\n"
         "const struct packed_toolchain packed_toolchains[] = {");
    for (size_t i = 0; i < names.count; i++) {
        struct error err = ERROR_INIT;
        _cleanup_toolchain_ struct toolchain *tc = NULL;
        char *data = NULL;
        size_t size = 0;
        FILE *f = open_memstream(&data, &size);
        if (f == NULL || toolchain_load(&tc, names.items[i], &err) < 0) {
            fprintf(stderr, "precompile: %s\n", err.message);
            return 1;
        }
        toolchain_pack(tc, f);
        fclose(f);
        printf("    {\"%s\", ", names.items[i]);
        quoted(data, size);
        puts("},");
        free(data);
    }
    puts("    {0, 0},\n};");
    return 0;
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "toolchains") == 0)
        return toolchains();
    static char profiles[32][48], filters[32][48];
    static struct seccomp_filter built[32];
    size_t profile_count = 0, filter_count = 0;
    puts("#include \"runtime/start/compiled.h\"\n");
    for (const struct builtin_file *f = builtin_files; f->name != NULL; f++) {
        const char *slash = strchr(f->name, '/');
        char name[48];
        snprintf(name, sizeof name, "%.*s", (int)strcspn(slash + 1, "."), slash + 1);
        if (strncmp(f->name, "profiles/", 9) == 0 && profile_count < 31) {
            memcpy(profiles[profile_count++], name, sizeof name);
            profile(name);
        } else if (strncmp(f->name, "seccomp/", 8) == 0 && filter_count < 31) {
            memcpy(filters[filter_count], name, sizeof name);
            filter(name, f->start, &built[filter_count++]);
        }
    }
    puts("const struct compiled_profile compiled_profiles[] = {");
    for (size_t i = 0; i < profile_count; i++)
        printf("    {\"%s\", apply_%s},\n", profiles[i], profiles[i]);
    puts("    {NULL, NULL},\n};\n\nconst struct compiled_filter compiled_filters[] = {");
    for (size_t i = 0; i < filter_count; i++)
        printf("    {\"%s\", filter_%s, %u, %d, %u},\n", filters[i], filters[i], built[i].count,
               built[i].notifies, built[i].flags);
    puts("    {NULL, NULL, 0, false, 0},\n};");
    return 0;
}
