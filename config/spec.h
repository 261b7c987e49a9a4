/**
 * What a sandbox is, as data.
 *
 * Theory of operation. A `struct spec` is made by spec_new() (the defaults that every sandbox
 * starts from), then written over in layers, later ones winning: a profile and what it extends
 * (spec_apply_profile), an OCI `config.json` (spec_apply_file, spec_apply_json), single fields by
 * the CLI's flags. spec_validate() is called once at the end and judges the whole; isolation/ only
 * takes validated specs. spec_to_json() writes it back: what it prints, spec_apply_json() reads to
 * an equal spec.
 *
 * JSON names, types and meaning are those of the OCI runtime specification 1.1 (config.md,
 * config-linux.md); what OCI has no word for stands in the "cloche" object. Unknown properties are
 * ignored, as OCI demands, and can be listed (spec_unknown_properties). A wrong value is an error
 * that names its JSON path; all problems of a file are reported in one error, a line each.
 *
 * All memory belongs to the spec's arena: spec_free() frees everything, nothing in it is freed
 * singly. Units stand in the names; a limit of UINT64_MAX (LIMIT_NONE) means "none".
 */
#ifndef CLOCHE_CONFIG_SPEC_H
#define CLOCHE_CONFIG_SPEC_H

#include "base/arena.h"
#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define LIMIT_NONE     UINT64_MAX
#define SPEC_MAX_BYTES (1024 * 1024)
#define SPEC_MAX_DEPTH 64

/** NULL-terminated, with its length beside it. */
struct strings {
    char **items;
    size_t count;
};

void strings_add(struct arena *a, struct strings *list, const char *text);

/** Set or replace "KEY=VALUE" by its key. */
void strings_set_env(struct arena *a, struct strings *env, const char *key_value);

enum spec_namespace { /* the order is the order of launching, and of reports */
                      NS_USER,
                      NS_PID,
                      NS_MOUNT,
                      NS_IPC,
                      NS_UTS,
                      NS_NETWORK,
                      NS_CGROUP,
                      NS_TIME,
                      NS_COUNT
};

struct spec_rlimit {
    int resource;        /* RLIMIT_* */
    uint64_t soft, hard; /* UINT64_MAX is RLIM_INFINITY */
};

struct spec_id_map {
    uint32_t container_id, host_id, size;
};

/** Five sets as bit masks by capability number (linux/capability.h). */
struct spec_capabilities {
    uint64_t bounding, effective, inheritable, permitted, ambient;
};

enum spec_mount_kind {
    MOUNT_BIND,    /* source is a host path; "bind" or "rbind" among the options */
    MOUNT_OVERLAY, /* -v SRC:DST:O, in files a bind mount with "x-overlay": writes go to a tmpfs and
                      are gone afterwards */
    MOUNT_FS       /* a new file system of @type: tmpfs, proc, sysfs, devpts, mqueue, cgroup */
};

struct spec_mount {
    enum spec_mount_kind kind;
    const char *destination; /* absolute, normalised */
    const char *source;      /* host path of MOUNT_BIND and MOUNT_OVERLAY, absolute */
    const char *type;        /* of MOUNT_FS */
    uint64_t
        attr_set; /* MOUNT_ATTR_* to set on this mount (ro, nosuid, nodev, noexec, atime, ...) */
    uint64_t attr_clear;
    uint64_t attr_set_recursive; /* rro, rnosuid, ...: over the whole bound tree */
    uint64_t attr_clear_recursive;
    uint64_t
        propagation; /* MS_PRIVATE, MS_SLAVE, MS_SHARED, MS_UNBINDABLE, | MS_REC; 0: as it comes */
    bool recursive;  /* rbind */
    bool copy_up;    /* tmpcopyup: the tmpfs starts with what the rootfs has there */
    bool idmap, idmap_recursive; /* "idmap", "ridmap" or uidMappings given */
    bool system;                 /* the machine's own, for all to read: owners stay the host's */
    bool optional; /* a missing source is not an error (profiles only: "x-optional") */
    struct spec_id_map *uid_maps, *gid_maps;
    size_t uid_map_count, gid_map_count;
    struct strings
        data; /* "key=value" or "flag" for fsconfig: size=, mode=, nr_inodes=, hidepid=, ... */
};

struct spec_device {
    const char *path;
    char type; /* 'c', 'b', 'p' ('u' is read as 'c') */
    uint32_t major, minor;
    mode_t mode; /* of which the host's node must have all; SPEC_MODE_ANY: as that has it */
    uid_t uid;
    gid_t gid;
};
#define SPEC_MODE_ANY ((mode_t)-1)

/** One rule of resources.devices. Our /dev holds only what the spec names, and nothing can be made
 * there, so the list is checked and kept for the record; it needs no device controller. */
struct spec_device_rule {
    bool allow;
    char type;
    int64_t major, minor; /* -1: all */
    const char *access;
};

struct spec_blkio_device {
    uint32_t major, minor;
    uint64_t read_bps, write_bps, read_iops, write_iops; /* LIMIT_NONE where not given */
    uint64_t weight;
};

struct spec_hugepage {
    const char *page_size; /* "2MB" */
    uint64_t limit_bytes;
};

struct spec_pair {
    const char *key, *value;
};

struct spec_resources {
    uint64_t memory_bytes;      /* memory.limit */
    uint64_t memory_high_bytes; /* memory.reservation */
    uint64_t swap_bytes; /* swap alone, beside memory (OCI's memory.swap is the sum); default 0 */
    bool swap_set;
    uint64_t processes;                   /* pids.limit */
    uint64_t cpu_quota_us, cpu_period_us; /* LIMIT_NONE: no quota; period default 100 000 */
    uint64_t cpu_shares;                  /* 2..262144; 0: not given */
    bool cpu_idle;
    const char *cpuset_cpus, *cpuset_mems;
    uint64_t blkio_weight; /* 10..1000; 0: not given */
    struct spec_blkio_device *blkio_devices;
    size_t blkio_device_count;
    struct spec_hugepage *hugepages;
    size_t hugepage_count;
    struct spec_pair *unified; /* cgroup v2 file -> value */
    size_t unified_count;
    struct spec_device_rule *device_rules;
    size_t device_rule_count;
};

/** linux.seccomp: kept as checked JSON text; isolation/seccomp.c compiles it. */
enum spec_seccomp_kind {
    SECCOMP_NAMED,     /* @name: a list of config/seccomp/: "tight", "build", "wide" */
    SECCOMP_JSON,      /* @json: an OCI linux.seccomp object as text */
    SECCOMP_UNCONFINED /* no filter */
};

struct spec_seccomp {
    enum spec_seccomp_kind kind;
    const char *name;
    const char *json;
};

enum spec_rootfs { ROOTFS_HOST, ROOTFS_EMPTY, ROOTFS_DIR };
/** What a keeper does when its sandbox comes near a limit. */
enum spec_monitor { MONITOR_NONE, MONITOR_WARN, MONITOR_THROTTLE, MONITOR_KILL };
enum spec_network { NETWORK_NONE, NETWORK_LOOPBACK, NETWORK_HOST, NETWORK_BRIDGE };

struct spec_landlock {
    bool given; /* false: derived from the mounts */
    struct strings read, write, execute;
    uint16_t *tcp_bind, *tcp_connect;
    size_t tcp_bind_count, tcp_connect_count;
    bool tcp_given; /* any tcp list present: TCP is restricted to the lists */
};

struct spec {
    struct arena *arena;
    const char *oci_version;
    const char *profile; /* name of the profile applied last, or NULL */

    /* process */
    struct strings args, env;
    const char *cwd;
    bool terminal;
    uint16_t console_rows, console_columns; /* 0: the caller's size */
    uid_t uid;
    gid_t gid;
    gid_t *additional_gids;
    size_t additional_gid_count;
    mode_t umask; /* (mode_t)-1: 0022 */
    struct spec_capabilities capabilities;
    struct spec_rlimit *rlimits;
    size_t rlimit_count;
    bool no_new_privileges; /* default true */
    bool oom_score_adj_set;
    int oom_score_adj;

    /* root */
    enum spec_rootfs rootfs;
    const char *rootfs_path; /* absolute; of ROOTFS_DIR */
    bool rootfs_readonly;

    const char *hostname, *domainname;
    struct spec_mount *mounts;
    size_t mount_count;
    struct spec_pair *annotations;
    size_t annotation_count;

    /* linux */
    bool ns_new[NS_COUNT]; /* user, pid, mount, ipc, uts, network and cgroup: true by default */
    const char *ns_path[NS_COUNT];           /* join this one instead, absolute */
    struct spec_id_map *uid_maps, *gid_maps; /* none given: isolation/idmap.c chooses */
    size_t uid_map_count, gid_map_count;
    struct spec_device *devices; /* beside the default ones */
    size_t device_count;
    const char *cgroups_path;
    struct spec_resources resources;
    struct spec_pair *sysctl;
    size_t sysctl_count;
    struct spec_seccomp seccomp;
    struct strings masked_paths, readonly_paths;
    uint64_t rootfs_propagation; /* MS_*; 0: private */
    uint32_t personality;        /* UINT32_MAX: unchanged; else persona(2) value */
    bool time_offset_set[2];     /* monotonic, boottime */
    int64_t time_offset_secs[2];
    uint32_t time_offset_nanosecs[2];

    /* cloche */
    uint64_t cpu_time_ms, wall_ms, output_bytes;
    /* of the overlays' upper directory, and of the tmpfs at /tmp unless its mount states a size= or
     * nr_inodes= of its own (which a file's does not: the reader moves it here) */
    uint64_t tmp_bytes, tmp_files;
    bool enforce_required; /* false: "best-effort" */
    enum spec_network network;
    const char *bridge, *address, *gateway; /* of NETWORK_BRIDGE: "br0", "10.0.0.2/24" */
    struct spec_landlock landlock;
    uint64_t monitor_interval_ms;
    unsigned monitor_warn_percent;
    enum spec_monitor monitor_action;
    uint64_t idle_timeout_s, ttl_s;
    /* what only long-lived sandboxes use, as checked JSON text of its own; NULL when not given */
    const char *children_json, *modules_json, *module_policy_json;
    const char *strategy;
    unsigned max_restarts, max_seconds;
};

/** The default sandbox: every namespace new, host rootfs, /proc, /dev, /tmp, network none, filter
 * "tight", no capabilities, uid 1000, enforce required, no limits. */
struct spec *spec_new(void);
void spec_free(struct spec *s);

/** What @cpus (0.01 to 8192) are of a period, to the nearest microsecond. By hand, because libm
 * would be mapped at every start for llround() alone. */
static inline uint64_t spec_cpu_quota(double cpus, uint64_t period_us)
{
    return (uint64_t)(cpus * (double)period_us + 0.5);
}

static inline void cleanup_spec(struct spec **s)
{
    spec_free(*s);
}
#define _cleanup_spec_ __attribute__((cleanup(cleanup_spec), unused))

/** Write profile @name and the profiles it extends over @s: looked up in
 * $XDG_CONFIG_HOME/cloche/profiles, /etc/cloche/profiles, then the ones built in. Errors:
 * spec.unknown_profile (lists the names), spec.invalid. */
int spec_apply_profile(struct spec *s, const char *name, struct error *err);

/** Write an OCI config.json over @s. @bundle_dir: what a relative root.path is relative to.
 * spec.unreadable, spec.syntax (line and column), spec.invalid (every problem, a line each: "PATH:
 * expected ..., found ..."). */
int spec_apply_json(struct spec *s, const char *text, size_t size, const char *bundle_dir,
                    struct error *err);
int spec_apply_file(struct spec *s, const char *path, struct error *err);

/** The text of a spec file (at most SPEC_MAX_BYTES) and the directory it lies in, its bundle. */
int spec_read_file(struct arena *a, const char *path, const char **ret_text, size_t *ret_size,
                   const char **ret_bundle_dir, struct error *err);

/** Judge the whole: absolute paths, duplicate destinations, limits against each other, what this
 * build cannot honour. spec.invalid, spec.unsupported. Must be the last step before a launch. A
 * spec without args is valid: a long-lived sandbox may have none. */
int spec_validate(const struct spec *s, struct error *err);

/** The whole spec as OCI JSON, indented, NUL-terminated, to be freed by the caller. */
char *spec_to_json(const struct spec *s);

/** Properties of a file that Cloche ignores, as JSON paths; for `cloche doctor --spec`. */
int spec_unknown_properties(struct arena *a, const char *text, size_t size, struct strings *ret,
                            struct error *err);

/** Built-in and installed profile names, sorted, and the description of one. */
void spec_profile_names(struct arena *a, struct strings *ret);
const char *spec_profile_description(struct arena *a, const char *name);

/** Add a mount (zeroed) to the spec; a mount of the same destination is replaced in place. */
struct spec_mount *spec_add_mount(struct spec *s, const char *destination);

/** Show the host's @from at @to, with what is mounted below it, read-only. */
int spec_show(struct spec *s, const char *from, const char *to, struct error *err);

/** What --network does: the network and, with it, whether a namespace of its own is made. A
 * namespace to join by path is forgotten. */
void spec_set_network(struct spec *s, enum spec_network network);

/** Interpret one OCI mount option word ("ro", "rbind", "nosuid", "rprivate", "size=1m", ...) into
 * @m. */
int spec_mount_option(struct spec *s, struct spec_mount *m, const char *word, struct error *err);

/** The same for a mount whose kind and type are set: a word that it does not take is refused at
 * once, and not by spec_validate(). */
int spec_mount_word(struct spec *s, struct spec_mount *m, const char *word, struct error *err);

/** Set an rlimit by OCI name ("RLIMIT_NOFILE") or short name ("nofile"); spec.invalid lists the
 * names. */
int spec_set_rlimit(struct spec *s, const char *name, uint64_t soft, uint64_t hard,
                    struct error *err);

/** Capability number of "CAP_NET_ADMIN", "NET_ADMIN" or "net_admin"; -1 unknown. And back. */
int spec_capability_number(const char *name);
const char *spec_capability_name(int number);

/** "256m", "1.5g", "4096" -> bytes (1024-based); "1.5s", "300ms", "2m", "1h" -> ms; both refuse 0,
 * signs, junk and overflow with a message that names what was found and what is accepted. */
int spec_parse_size(const char *text, uint64_t *ret_bytes, struct error *err);
int spec_parse_duration(const char *text, uint64_t *ret_ms, struct error *err);

/** "1000", "1000:1000" numerically; each part 0..4294967294. Anything else is spec.invalid. */
int spec_parse_user(const char *text, uid_t *ret_uid, gid_t *ret_gid, bool *ret_gid_given,
                    struct error *err);

/** An id of a sandbox: [A-Za-z0-9][A-Za-z0-9_.-]{0,63}. */
bool spec_valid_id(const char *id);

/** The nearest of @names to a misspelt @word, or NULL when none is near. */
const char *spec_nearest(const char *word, const char *const *names, size_t count);

/** A file compiled into the program ("profiles/student.json", "seccomp/tight.json"); NULL when
 * there is none. */
const char *config_builtin(const char *name, size_t *ret_size);

/** SHA-256 (hex) of such a file, computed when the program was built. */
const char *config_builtin_digest(const char *name);

#endif
