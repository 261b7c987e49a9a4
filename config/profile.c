/* Named specs: files below the user's and the system's configuration, and those compiled in. */
#include "config/builtin.h"
#include "config/oci.h"

#include "base/io.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#define MAX_DEPTH 8
#define BUILT_IN  2

/* Directory of a level, below which the profiles lie; NULL: there is none. */
static const char *level_directory(struct arena *a, int level)
{
    if (level == 1)
        return "/etc/cloche/profiles";
    const char *config = getenv("XDG_CONFIG_HOME");
    if (config != NULL && config[0] == '/')
        return arena_printf(a, "%s/cloche/profiles", config);
    const char *home = getenv("HOME");
    return home == NULL || home[0] != '/' ? NULL
                                          : arena_printf(a, "%s/.config/cloche/profiles", home);
}

/* 1 found, 0 not there, -1 an error */
static int read_installed(struct arena *a, int level, const char *name, const char **ret_path,
                          char **ret_text, size_t *ret_size, struct error *err)
{
    const char *dir = level_directory(a, level);
    if (dir == NULL)
        return 0;
    const char *path = arena_printf(a, "%s/%s.json", dir, name);
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    /* a home directory of somebody else is as good as none; what the administrator wrote is not to
     * be passed over */
    if (fd < 0 && (errno == ENOENT || errno == ENOTDIR || (errno == EACCES && level == 0)))
        return 0;
    ssize_t size = fd < 0 ? -1 : io_read_to_end(fd, SPEC_MAX_BYTES, ret_text);
    if (size < 0) {
        error_set(err, "spec.unreadable", errno, "cannot read the profile %s", path);
        return error_path(err, path);
    }
    *ret_path = path;
    *ret_size = (size_t)size;
    return 1;
}

static int unknown_profile(struct arena *a, const char *name, struct error *err)
{
    struct strings names = {0};
    spec_profile_names(a, &names);
    char *all = arena_strdup(a, "");
    for (size_t i = 0; i < names.count; i++)
        all = arena_printf(a, "%s%s%s", all, i == 0 ? "" : ", ", names.items[i]);
    const char *near = spec_nearest(name, (const char *const *)names.items, names.count);
    error_set(err, "spec.unknown_profile", 0, "there is no profile %s%s%s%s",
              problem_quote(a, name), near == NULL ? "" : "; did you mean \"",
              near == NULL ? "" : near, near == NULL ? "" : "\"?");
    return error_hint(err, "use one of %s", all);
}

int profile_apply(struct spec *s, const struct profile_place *place, struct error *err)
{
    if (place->depth >= MAX_DEPTH)
        return error_set(err, "spec.invalid", 0,
                         "profile %s: profiles extend each other in a circle, or more than %d deep",
                         problem_quote(s->arena, place->name), MAX_DEPTH);
    /* the name becomes part of a path */
    if (!spec_valid_id(place->name))
        return unknown_profile(s->arena, place->name, err);

    struct profile_place found = *place;
    for (; found.level < BUILT_IN; found.level++) {
        _cleanup_free_ char *text = NULL;
        const char *path = NULL;
        size_t size = 0;
        int r = read_installed(s->arena, found.level, place->name, &path, &text, &size, err);
        if (r < 0)
            return -1;
        if (r == 0)
            continue;
        if (oci_apply(s, text, size, NULL, path, &found, err) < 0)
            return -1;
        s->profile = arena_strdup(s->arena, place->name);
        return 0;
    }

    const char *file = arena_printf(s->arena, "profiles/%s.json", place->name);
    size_t size;
    const char *text = found.level > BUILT_IN ? NULL : config_builtin(file, &size);
    if (text == NULL)
        return unknown_profile(s->arena, place->name, err);
    if (oci_apply(s, text, size, NULL, file, &found, err) < 0)
        return -1;
    s->profile = arena_strdup(s->arena, place->name);
    return 0;
}

int spec_apply_profile(struct spec *s, const char *name, struct error *err)
{
    return profile_apply(s, &(struct profile_place){.name = name}, err);
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void add_name(struct arena *a, struct strings *list, const char *file)
{
    size_t n = strlen(file);
    if (n <= 5 || strcmp(file + n - 5, ".json") != 0)
        return;
    char *name = arena_strndup(a, file, n - 5);
    for (size_t i = 0; i < list->count; i++) {
        if (strcmp(list->items[i], name) == 0)
            return;
    }
    if (spec_valid_id(name))
        strings_add(a, list, name);
}

void spec_profile_names(struct arena *a, struct strings *ret)
{
    *ret = (struct strings){0};
    for (const struct builtin_file *f = builtin_files; f->name != NULL; f++) {
        if (strncmp(f->name, "profiles/", 9) == 0)
            add_name(a, ret, f->name + 9);
    }
    for (int level = 0; level < BUILT_IN; level++) {
        const char *path = level_directory(a, level);
        _cleanup_closedir_ DIR *dir = path == NULL ? NULL : opendir(path);
        for (struct dirent *e; dir != NULL && (e = readdir(dir)) != NULL;)
            add_name(a, ret, e->d_name);
    }
    if (ret->count > 1)
        qsort(ret->items, ret->count, sizeof *ret->items, compare_names);
}

const char *spec_profile_description(struct arena *a, const char *name)
{
    if (!spec_valid_id(name))
        return NULL;
    _cleanup_free_ char *installed = NULL;
    const char *text = NULL, *path = NULL;
    size_t size = 0;
    for (int level = 0; level < BUILT_IN && text == NULL; level++) {
        if (read_installed(a, level, name, &path, &installed, &size, NULL) > 0)
            text = installed;
    }
    if (text == NULL)
        text = config_builtin(arena_printf(a, "profiles/%s.json", name), &size);
    if (text == NULL)
        return NULL;
    _cleanup_json_ cJSON *root = json_parse(a, text, size, NULL);
    const cJSON *description = cJSON_GetObjectItemCaseSensitive(
        cJSON_GetObjectItemCaseSensitive(root, "cloche"), "description");
    return cJSON_IsString(description) ? arena_strdup(a, description->valuestring) : "";
}
