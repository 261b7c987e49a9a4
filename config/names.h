/** Tables of names that reader, writer and flags share. Private to config/. */
#ifndef CLOCHE_CONFIG_NAMES_H
#define CLOCHE_CONFIG_NAMES_H

#include "config/json.h"
#include "config/problems.h"
#include "config/spec.h"

/** RLIMIT_* of "RLIMIT_NOFILE", "NOFILE" or "nofile"; -1 unknown. And the OCI name back. */
int rlimit_number(const char *name);
const char *rlimit_name(int resource);
/** Nearest OCI name, or NULL. */
const char *rlimit_nearest(const char *name);
/** "nofile, nproc, ..." */
const char *rlimit_names(struct arena *a);

/** Nearest of "CAP_...". */
const char *capability_nearest(const char *name);

/** enum spec_namespace by OCI's word: "user", "pid", ... */
extern const struct json_word namespace_words[];
extern const struct json_word network_words[];
extern const struct json_word rootfs_words[];
extern const struct json_word strategy_words[];
extern const struct json_word monitor_words[];
/** MS_* of rootfsPropagation and of mounts: "rprivate", "slave", ... */
extern const struct json_word propagation_words[];

/** The word for a value, or NULL. */
const char *word_name(const struct json_word *words, uint64_t value);

/** An absolute path without doubled slashes, "." and a trailing slash. */
char *spec_clean_path(struct arena *a, const char *path);
bool spec_path_has_dotdot(const char *path);

/** One option of a mount as spec_mount_option() reads it, without its words in @err. */
struct mount_word {
    const char *name;
    uint64_t set, clear, set_recursive, clear_recursive;
};
/** Attribute words in the order in which they are written; ends with a NULL name. */
extern const struct mount_word mount_words[];

/** Whether a file system of this type can be mounted new by a sandbox; and what is wrong with one
 * option of it (in the arena), or NULL. */
bool mount_type_known(const char *type);
const char *mount_data_problem(struct arena *a, const char *type, const char *option);
const char *mount_types(void);

/** "65536k", "1g", "50%" as tmpfs reads them; false for a percentage or junk. */
bool mount_size_bytes(const char *text, uint64_t *ret);

/** A file in which @p was found is judged as a whole, too, so far as it could be read. */
void spec_validate_rest(const struct spec *s, struct problems *p);

/** Check a linux.seccomp object: problems go to @r. */
void seccomp_check(struct json_reader *r, const struct json_at *at, const cJSON *value);

/** Check `children` and `modules` of the cloche object: problems go to @r. */
void children_check(struct json_reader *r, const struct json_at *at, const cJSON *value);
void module_policy_check(struct json_reader *r, const struct json_at *at, const cJSON *value);
void modules_check(struct json_reader *r, const struct json_at *at, const cJSON *value);

#endif
