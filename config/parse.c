/* What flags and small texts say: sizes, durations, users. */
#include "config/names.h"
#include "config/spec.h"

#include "base/io.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

struct unit {
    const char *suffix;
    uint64_t factor;
};

static const struct unit size_units[] = {
    {"", 1},
    {"b", 1},
    {"k", 1ULL << 10},
    {"kb", 1ULL << 10},
    {"kib", 1ULL << 10},
    {"m", 1ULL << 20},
    {"mb", 1ULL << 20},
    {"mib", 1ULL << 20},
    {"g", 1ULL << 30},
    {"gb", 1ULL << 30},
    {"gib", 1ULL << 30},
    {"t", 1ULL << 40},
    {"tb", 1ULL << 40},
    {"tib", 1ULL << 40},
    {NULL, 0},
};

static const struct unit duration_units[] = {
    {"", 1000}, {"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {NULL, 0},
};

static int refuse(const char *text, const char *accepted, const char *why, struct error *err)
{
    _cleanup_arena_ struct arena *a = arena_new();
    error_set(err, "spec.invalid", 0, "expected %s, found %s%s%s", accepted, problem_quote(a, text),
              *why == '\0' ? "" : ": ", why);
    return -1;
}

/* Digits, perhaps a point and digits, and one unit; exact, in integers. */
static int parse_quantity(const char *text, const struct unit *units, const char *accepted,
                          uint64_t *ret, struct error *err)
{
    uint64_t whole = 0, fraction = 0, scale = 1;
    const char *p = text;
    size_t digits = 0;
    for (; *p >= '0' && *p <= '9'; p++, digits++) {
        if (__builtin_mul_overflow(whole, 10U, &whole) ||
            __builtin_add_overflow(whole, (uint64_t)(*p - '0'), &whole))
            return refuse(text, accepted, "too large", err);
    }
    if (*p == '.') {
        size_t after = 0;
        for (p++; *p >= '0' && *p <= '9'; p++, after++) {
            if (after >= 9) /* below any unit's resolution */
                continue;
            fraction = fraction * 10 + (uint64_t)(*p - '0');
            scale *= 10;
        }
        if (after == 0)
            return refuse(text, accepted, "", err);
    }
    if (digits == 0)
        return refuse(text, accepted, "", err);

    while (units->suffix != NULL && strcasecmp(units->suffix, p) != 0)
        units++;
    if (units->suffix == NULL)
        return refuse(text, accepted, "", err);
    uint64_t value;
    if (__builtin_mul_overflow(whole, units->factor, &value) ||
        __builtin_add_overflow(
            value, (uint64_t)((unsigned __int128)fraction * units->factor / scale), &value) ||
        value > INT64_MAX)
        return refuse(text, accepted, "too large", err);
    if (value == 0)
        return refuse(text, accepted, "it must be more than 0", err);
    *ret = value;
    return 0;
}

int spec_parse_size(const char *text, uint64_t *ret_bytes, struct error *err)
{
    return parse_quantity(text, size_units, "a size in bytes like 4096, 256k, 256m or 1.5g",
                          ret_bytes, err);
}

int spec_parse_duration(const char *text, uint64_t *ret_ms, struct error *err)
{
    return parse_quantity(text, duration_units,
                          "a duration like 300ms, 1.5s, 2m or 1h (seconds without a unit)", ret_ms,
                          err);
}

/* One id: nothing but digits, not (uid_t)-1, which means "unchanged" to the kernel. */
static bool parse_id(const char *text, size_t len, uint32_t *ret)
{
    char digits[11];
    uint64_t value;
    if (len == 0 || len >= sizeof digits)
        return false;
    memcpy(digits, text, len);
    digits[len] = '\0';
    for (size_t i = 0; i < len; i++) {
        if (digits[i] < '0' || digits[i] > '9')
            return false;
    }
    if (!io_parse_u64(digits, &value) || value >= UINT32_MAX)
        return false;
    *ret = (uint32_t)value;
    return true;
}

int spec_parse_user(const char *text, uid_t *ret_uid, gid_t *ret_gid, bool *ret_gid_given,
                    struct error *err)
{
    size_t colon = strcspn(text, ":");
    bool with_group = text[colon] == ':';
    uint32_t uid, gid = 0;
    if (!parse_id(text, colon, &uid) ||
        (with_group && !parse_id(text + colon + 1, strlen(text + colon + 1), &gid)))
        return refuse(text, "a user as UID or UID:GID, each a number from 0 to 4294967294", "",
                      err);
    *ret_uid = uid;
    if (with_group)
        *ret_gid = gid;
    *ret_gid_given = with_group;
    return 0;
}
