/* cloche doctor: what this kernel and this user can do, the fix for each "no", and, as the last
 * word, a `student` run tried out. */
#include "runtime/cli/cli.h"

#include "base/cleanup.h"

#include <string.h>
#include <sys/utsname.h>

struct doctor {
    bool json;
    const char *spec;
    bool repair;
};

static const struct cli_option options[] = {
    CLI_VALUE(0, "spec", "FILE", "judge a spec file: what is wrong, what Cloche ignores", CLI_TEXT,
              doctor, spec),
    CLI_SWITCH(0, "repair", "sweep what killed keepers left behind; name what needs a hand", doctor,
               repair),
    CLI_SWITCH(0, "json", "as one JSON object", doctor, json),
    {0, NULL, NULL, NULL, NULL},
};

/** A program of the smallest kind in the profile for submissions; nothing of it is shown. */
static int try_student(struct error *err)
{
    _cleanup_spec_ struct spec *spec = spec_new();
    _cleanup_sandbox_ struct sandbox *s = NULL;
    struct sandbox_options o = SANDBOX_OPTIONS_INIT;
    struct report r;
    o.input.kind = o.output.kind = o.error.kind = STREAM_NULL;
    if (spec_apply_profile(spec, "student", err) < 0)
        return -1;
    strings_add(spec->arena, &spec->args, "/bin/true");
    if (spec_validate(spec, err) < 0 || sandbox_create(&s, spec, &o, err) < 0 ||
        sandbox_start(s, err) < 0 || sandbox_wait(s, &r, err) < 0)
        return -1;
    if (r.verdict != VERDICT_OK)
        return error_set(err, "doctor.verdict", 0, "/bin/true ended with %s: %s",
                         verdict_name(r.verdict), r.detail);
    return 0;
}

static void print_string_or_null(const char *text)
{
    if (text[0] == '\0')
        fputs("null", stdout);
    else
        cli_print_json_string(stdout, text);
}

static void print_json(const struct utsname *kernel, const struct sandbox_ability *all, int count,
                       const struct error *err)
{
    fputs("{\"version\":\"" CLOCHE_VERSION "\",\"kernel\":", stdout);
    cli_print_json_string(stdout, kernel->release);
    printf(",\"machine\":\"%s\",\"user\":%u,\"abilities\":[", kernel->machine, (unsigned)geteuid());
    for (int i = 0; i < count; i++) {
        const struct sandbox_ability *a = &all[i];
        printf("%s{\"group\":\"%s\",\"name\":\"%s\",\"usable\":%s,\"detail\":", i == 0 ? "" : ",",
               a->group, a->name, a->usable ? "true" : "false");
        print_string_or_null(a->detail);
        fputs(",\"fix\":", stdout);
        print_string_or_null(a->fix);
        fputc('}', stdout);
    }
    printf("],\"student\":{\"usable\":%s,\"error\":", err->code == NULL ? "true" : "false");
    print_string_or_null(err->code == NULL ? "" : err->message);
    fputs(",\"fix\":", stdout);
    print_string_or_null(err->code == NULL ? "" : err->hint);
    fputs("}}\n", stdout);
}

static void print_line(const char *name, bool usable, const char *detail, const char *fix)
{
    printf("  %-50s %s%s%s\n", name, usable ? "yes" : "no", detail[0] != '\0' ? "  " : "", detail);
    if (!usable && fix[0] != '\0')
        printf("      fix: %s\n", fix);
}

static void print_table(const struct utsname *kernel, const struct sandbox_ability *all, int count,
                        const struct error *err)
{
    printf("cloche " CLOCHE_VERSION ", Linux %s %s, user %u\n", kernel->release, kernel->machine,
           (unsigned)geteuid());
    const char *group = "";
    for (int i = 0; i < count; i++) {
        if (strcmp(group, all[i].group) != 0)
            printf("%s\n", all[i].group);
        group = all[i].group;
        print_line(all[i].name, all[i].usable, all[i].detail, all[i].fix);
    }
    puts("together");
    print_line("cloche run --profile student", err->code == NULL,
               err->code == NULL ? "" : err->message, err->hint);
}

int cli_doctor(int argc, char **argv)
{
    if (cli_wants_help("doctor", options, argc, argv))
        return 0;
    struct error err = ERROR_INIT;
    struct doctor d = {0};
    int first = cli_parse(options, &d, argc, argv, &err);
    if (first >= 0 && first < argc)
        first = error_set(&err, "usage.operand", 0, "doctor takes no operand, found \"%s\"",
                          argv[first]);
    if (first < 0)
        return cli_fail(&err, d.json, EXIT_USAGE);
    if (d.spec != NULL)
        return cli_doctor_spec(d.spec, d.json);
    if (d.repair)
        return cli_repair(d.json);

    struct utsname kernel;
    struct sandbox_ability all[SANDBOX_ABILITY_MAX];
    int count = sandbox_abilities(all, SANDBOX_ABILITY_MAX);
    if (uname(&kernel) < 0)
        strcpy(kernel.release, "?");
    try_student(&err);
    (d.json ? print_json : print_table)(&kernel, all, count, &err);
    return err.code == NULL ? 0 : 1;
}
