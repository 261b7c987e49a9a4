#include "runtime/quota.h"

#include "base/cleanup.h"
#include "base/io.h"
#include "config/spec.h"

#include <cjson/cJSON.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define QUOTA_FILE      "/etc/cloche/quota.json"
#define QUOTA_MAX_BYTES (1024 * 1024)

/** false: there is something, and it is not a number of sandboxes. */
static bool take(const cJSON *n, uint64_t *ret)
{
    if (n == NULL)
        return true;
    if (!cJSON_IsNumber(n) || n->valuedouble < 0 || n->valuedouble > 1e9 ||
        floor(n->valuedouble) < n->valuedouble)
        return false;
    *ret = (uint64_t)n->valuedouble;
    return true;
}

static bool is_known(const cJSON *o)
{
    for (const cJSON *c = o->child; c != NULL; c = c->next) {
        if (strcmp(c->string, "sandboxes") != 0 && strcmp(c->string, "users") != 0)
            return false;
    }
    return true;
}

int quota_parse(const char *text, size_t size, uid_t uid, uint64_t *ret, struct error *err)
{
    char name[16];
    snprintf(name, sizeof name, "%u", (unsigned)uid);
    cJSON *o = cJSON_ParseWithLength(text, size);
    const cJSON *users = cJSON_GetObjectItemCaseSensitive(o, "users");
    *ret = QUOTA_NONE;
    bool good = cJSON_IsObject(o) && is_known(o) && (users == NULL || cJSON_IsObject(users)) &&
                take(cJSON_GetObjectItemCaseSensitive(o, "sandboxes"), ret) &&
                take(cJSON_GetObjectItemCaseSensitive(users, name), ret);
    cJSON_Delete(o);
    if (good)
        return 0;
    error_set(err, "quota.invalid", 0, "%s is not a quota", QUOTA_FILE);
    error_hint(err, "{\"sandboxes\": 100, \"users\": {\"1000\": 10}}, whole numbers");
    return error_path(err, QUOTA_FILE);
}

int quota_sandboxes(uint64_t *ret, struct error *err)
{
    const char *asked = getenv("CLOCHE_MAX_SANDBOXES");
    uint64_t less;
    *ret = QUOTA_NONE;
    _cleanup_close_ int fd = open(QUOTA_FILE, O_RDONLY | O_CLOEXEC);
    if (fd >= 0 || errno != ENOENT) {
        _cleanup_free_ char *text = NULL;
        ssize_t n = fd < 0 ? -1 : io_read_to_end(fd, QUOTA_MAX_BYTES, &text);
        if (n < 0)
            return error_set(err, "quota.invalid", errno, "cannot read %s", QUOTA_FILE);
        if (quota_parse(text, (size_t)n, geteuid(), ret, err) < 0)
            return -1;
    }
    if (asked == NULL || *asked == '\0')
        return 0;
    if (!io_parse_u64(asked, &less)) {
        error_set(err, "quota.invalid", 0, "CLOCHE_MAX_SANDBOXES is \"%.40s\"", asked);
        return error_hint(err, "a whole number, or leave it unset");
    }
    *ret = less < *ret ? less : *ret;
    return 0;
}

static uint64_t count_sandboxes(int all)
{
    uint64_t count = 0;
    int again = openat(all, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    _cleanup_closedir_ DIR *dir = again < 0 ? NULL : fdopendir(again);
    for (struct dirent *e; dir != NULL && (e = readdir(dir)) != NULL;)
        count += spec_valid_id(e->d_name);
    return count;
}

int quota_check(int all, uint64_t max, struct error *err)
{
    struct stat st;
    if (max == QUOTA_NONE)
        return 0;
    /* most file systems count directories in the link count, and have nothing to be read */
    if (fstat(all, &st) == 0 && st.st_nlink > 2 && st.st_nlink - 2 < max)
        return 0;
    uint64_t count = count_sandboxes(all);
    if (count < max)
        return 0;
    error_set(err, "quota.sandboxes", 0, "user %u has %llu sandbox%s, and may have %llu",
              (unsigned)geteuid(), (unsigned long long)count, count == 1 ? "" : "es",
              (unsigned long long)max);
    return error_hint(err, "cloche list; cloche destroy those that nobody needs");
}
