#include "runtime/cli/cli.h"

#include "base/io.h"

#include <string.h>

static const struct cli_option *find_name(const struct cli_option *options, const char *name,
                                          size_t n)
{
    for (const struct cli_option *o = options; o->help != NULL; o++) {
        if (o->name != NULL && strncmp(o->name, name, n) == 0 && o->name[n] == '\0')
            return o;
    }
    return NULL;
}

static const struct cli_option *find_letter(const struct cli_option *options, char letter)
{
    for (const struct cli_option *o = options; o->help != NULL; o++) {
        if (o->letter == letter && letter != 0)
            return o;
    }
    return NULL;
}

static int unknown(const struct cli_option *options, const char *word, struct error *err)
{
    const char *names[64];
    size_t count = 0;
    for (const struct cli_option *o = options; o->help != NULL && count < 64; o++) {
        if (o->name != NULL)
            names[count++] = o->name;
    }
    char bare[64];
    snprintf(bare, sizeof bare, "%.*s", (int)strcspn(word, "="), word + strspn(word, "-"));
    error_set(err, "usage.unknown_option", 0, "unknown option \"%s\"", word);
    const char *near = spec_nearest(bare, names, count);
    if (near != NULL)
        return error_hint(err, "did you mean --%s?", near);
    return error_hint(err, "see the list with --help");
}

int cli_parse_count(const char *text, uint64_t max, uint64_t *ret, struct error *err)
{
    if (io_parse_u64(text, ret) && *ret >= 1 && *ret <= max)
        return 0;
    return error_set(err, "usage.value", 0, "expected a number from 1 to %llu, found \"%s\"",
                     (unsigned long long)max, text);
}

static int write_target(const struct cli_option *o, void *context, const char *text,
                        struct error *err)
{
    void *at = (char *)context + o->offset;
    switch (o->target) {
    case CLI_FLAG:
        *(bool *)at = true;
        return 0;
    case CLI_TEXT:
        *(const char **)at = text;
        return 0;
    case CLI_SIZE:
        return spec_parse_size(text, at, err);
    case CLI_DURATION:
        return spec_parse_duration(text, at, err);
    case CLI_COUNT:
        return cli_parse_count(text, o->max, at, err);
    }
    return -1;
}

static int set(const struct cli_option *o, void *context, const char *shown, const char *text,
               struct error *err)
{
    int rc = o->set != NULL ? o->set(context, text, err) : write_target(o, context, text, err);
    if (rc == 0)
        return 0;
    return error_wrap(err, "%s", shown);
}

int cli_parse(const struct cli_option *options, void *context, int argc, char **argv,
              struct error *err)
{
    int i = 1;
    while (i < argc) {
        const char *word = argv[i];
        if (strcmp(word, "--") == 0)
            return i + 1;
        if (word[0] != '-' || word[1] == '\0')
            return i;
        i++;
        if (word[1] == '-') {
            size_t n = strcspn(word + 2, "=");
            const struct cli_option *o = find_name(options, word + 2, n);
            if (o == NULL)
                return unknown(options, word, err);
            const char *text = word[2 + n] == '=' ? word + 3 + n : NULL;
            char shown[80];
            snprintf(shown, sizeof shown, "--%s", o->name);
            if (o->value == NULL && text != NULL)
                return error_set(err, "usage.value", 0, "option --%s takes no value", o->name);
            if (o->value != NULL && text == NULL) {
                if (i == argc)
                    return error_set(err, "usage.missing_value", 0,
                                     "option --%s needs a value (%s)", o->name, o->value);
                text = argv[i++];
            }
            if (set(o, context, shown, text, err) < 0)
                return -1;
            continue;
        }
        for (const char *p = word + 1; *p != '\0'; p++) {
            const struct cli_option *o = find_letter(options, *p);
            if (o == NULL)
                return unknown(options, word, err);
            char shown[3] = {'-', *p, '\0'};
            if (o->value == NULL) {
                if (set(o, context, shown, NULL, err) < 0)
                    return -1;
                continue;
            }
            const char *text = p[1] != '\0' ? p + 1 : i < argc ? argv[i++] : NULL;
            if (text == NULL)
                return error_set(err, "usage.missing_value", 0, "option -%c needs a value (%s)", *p,
                                 o->value);
            if (set(o, context, shown, text, err) < 0)
                return -1;
            break;
        }
    }
    return i;
}

void cli_print_options(FILE *out, const struct cli_option *options)
{
    for (const struct cli_option *o = options; o->help != NULL; o++) {
        char left[64];
        const char *space = o->value != NULL ? " " : "", *value = o->value != NULL ? o->value : "";
        if (o->letter != 0 && o->name != NULL)
            snprintf(left, sizeof left, "-%c, --%s%s%s", o->letter, o->name, space, value);
        else if (o->letter != 0)
            snprintf(left, sizeof left, "-%c%s%s", o->letter, space, value);
        else
            snprintf(left, sizeof left, "    --%s%s%s", o->name, space, value);
        fprintf(out, "  %-34s %s\n", left, o->help);
    }
}
