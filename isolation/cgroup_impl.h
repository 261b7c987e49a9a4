/**
 * What the files behind cgroup.h share. Private to cgroup*.c and their unit test.
 *
 * Theory of operation. cgroup_layout reads /proc/self/cgroup and /proc/self/mountinfo once and
 * says, for each controller, which mount carries it (v1 when the kernel binds it there, else v2)
 * and where the caller stands in it. For each hierarchy that a sandbox needs, the directory
 * cloche.slice is opened or made, and the group in it; from then on only these fds are used.
 *
 * A run that dies at any moment leaves entries where the next run's sweep looks (in a crowd, that
 * of one of the next runs): in the slice of each hierarchy. The creator holds a flock on each of
 * its directories, so that a sweeper that cannot see the creator's pid (another pid namespace)
 * still sees the lock.
 *
 *   cgroup_layout.c   mounts and own groups; names; the parsers (pure, unit-tested)
 *   cgroup_v1.c       files of v1 controllers
 *   cgroup_v2.c       files of v2 controllers, and where on a v2 tree a slice may stand
 *   cgroup_stats.c    figures, and what killed
 *   cgroup_throttle.c slowing down, for a keeper's monitor
 *   cgroup_thrash.c   at its limit, and getting nowhere
 *   cgroup_sweep.c    removing groups: one's own, and those of dead runs
 *   cgroup_systemd.c  asking systemd for a delegated scope
 *   cgroup_doctor.c   cgroup_abilities()
 *   cgroup.c          the interface of cgroup.h
 */
#ifndef CLOCHE_ISOLATION_CGROUP_IMPL_H
#define CLOCHE_ISOLATION_CGROUP_IMPL_H

#include "isolation/cgroup.h"

#include <limits.h>
#include <stddef.h>
#include <sys/types.h>

#define CGROUP_SLICE      "cloche.slice"
#define CGROUP_SUPERVISOR "cloche.supervisor"
#define CGROUP_REMOVE_MS  2000

/* Groups in a slice that every start looks through; of more, one start in so many does. */
#define CGROUP_SWEEP_ALWAYS 64
#define CGROUP_SWEEP_TURNS  16

enum cgroup_controller {
    CTL_MEMORY,
    CTL_PIDS,
    CTL_CPU,
    CTL_CPUSET,
    CTL_IO,
    CTL_HUGETLB,
    CTL_CPUACCT, /* v1 only, where there is no v2 tree: v2 counts CPU time without a controller */
    CTL_FREEZER, /* v1 only: v2 freezes without a controller */
    CTL_COUNT
};
#define CTL_BIT(c) (1U << (c))

/** "blkio" and "io" are one controller; @purpose completes "cannot ...". */
struct cgroup_controller_info {
    const char *v1, *v2, *purpose;
};
extern const struct cgroup_controller_info cgroup_controllers[CTL_COUNT];

/** Bit of a controller by its name in @version's tree, 0 when it is none of ours. */
unsigned cgroup_controller_bit(int version, const char *name, size_t len);

/** Bits of the v2 controllers in a list as cgroup.controllers has it: words between blanks. */
unsigned cgroup_parse_controllers(const char *text);

/* --- where things are mounted --------------------------------------------------------------- */

#define CGROUP_MOUNTS_MAX 64

struct cgroup_mount {
    int version;
    unsigned controllers;     /* CTL_BIT()s of a v1 mount */
    dev_t dev;                /* what stat must say: a mount may hide behind another */
    const char *root, *point; /* inside the layout's text */
};

struct cgroup_layout {
    struct cgroup_mount mounts[CGROUP_MOUNTS_MAX];
    size_t mount_count;
    const char *own_v1[CTL_COUNT]; /* the caller's group where v1 has the controller, else NULL */
    const char *own_v2;            /* NULL: no v2 tree */
    char *cgroup_text, *mountinfo_text;
    char usual_root[256]; /* what mounts[0] points to while mountinfo_text is NULL */
};

/** Read both files. cgroup.unreadable. */
int cgroup_layout_read(struct cgroup_layout *l, struct error *err);
/** The first half of it, for a start that must not wait for mountinfo: own groups, and the v2 mount
 * alone when it is at a usual place. Otherwise the whole. */
int cgroup_layout_begin(struct cgroup_layout *l, struct error *err);
/** The other half, unless it is there. */
int cgroup_layout_complete(struct cgroup_layout *l, struct error *err);
void cgroup_layout_done(struct cgroup_layout *l);
#define _cleanup_layout_ __attribute__((cleanup(cgroup_layout_done)))

/** The pure halves of it; both cut @text into pieces, which must live as long as @l. Lines that are
 * not understood are passed over. */
void cgroup_parse_mountinfo(struct cgroup_layout *l, char *text);
void cgroup_parse_self(struct cgroup_layout *l, char *text);

/** The path of group @own below a mount whose root is @root, without a leading slash ("" is the
 * mount's own root); NULL when it is not below. */
const char *cgroup_below_root(const char *root, const char *own);

/** The first mount that shows the v1 hierarchy of @c (or v2 for CTL_COUNT) and the caller's group
 * in it. @ret_rel as cgroup_below_root(). From @start on; NULL: none. */
const struct cgroup_mount *cgroup_find_mount(const struct cgroup_layout *l,
                                             enum cgroup_controller c, size_t start,
                                             const char **ret_rel);

/** A name of one component for a directory of ours: no slash, no leading dot, no control bytes. */
bool cgroup_name_ok(const char *name);

/** OCI cgroupsPath as a path below cloche.slice ("a/b/c"), or an error cgroup.path. */
int cgroup_path_below(const char *cgroups_path, char *ret, size_t size, struct error *err);

/** The pid of "run-<pid>-<n>"; false for every other name. */
bool cgroup_run_pid(const char *name, pid_t *ret);

/** The number behind "KEY " at the start of a line; false when it is not there. */
bool cgroup_parse_key(const char *text, const char *key, uint64_t *ret);

/** OCI cpu.shares (2..262144) as a cpu.weight (1..10000), 1024 being 100. */
uint64_t cgroup_weight_of_shares(uint64_t shares);

/* --- groups --------------------------------------------------------------------------------- */

#define CGROUP_DIRS_MAX 8

/** One directory of a group. */
struct cgroup_dir {
    int version;
    unsigned controllers; /* that can be used here; may be 0 on v2 */
    int slice_fd, fd;
    int tasks_fd;       /* v1, for the joining process */
    bool slice_is_ours; /* in a place that somebody else owns: gone when empty */
    int own_fd;         /* the directory that holds the slice, when slice_is_ours; else -1 */
    char *path;         /* of the group, for messages */
};

/** Where a group stood when it last got on: its own memory in bytes, and what was counted then. */
struct cgroup_thrash {
    uint64_t own, refaults, faults;
};

struct cgroup {
    struct cgroup_dir dirs[CGROUP_DIRS_MAX];
    int dir_count;
    int v2;           /* index of the v2 directory or -1 */
    char *name;       /* below cloche.slice; may have slashes when the spec gave a path */
    unsigned limited; /* controllers that carry a limit of the spec */
    unsigned v1_done; /* v1 controllers that have their group, or cannot have one */
    int oom_fd;       /* what cgroup_memory_event_fd() lends */
    bool unwatched;   /* oom_seen is the last word */
    int pressure_fd;  /* what cgroup_memory_pressure_fd() lends */
    struct cgroup_thrash thrash;
    bool oom_seen;
    bool chosen; /* by the spec: the name is a path */
    bool has_layout;
    bool renewed; /* taken over from runs that ended well, which used: */
    uint64_t cpu_usec, user_usec, system_usec;
    struct cgroup_layout layout;
};

/** The directory that carries @c, or NULL. */
const struct cgroup_dir *cgroup_dir_of(const struct cgroup *g, enum cgroup_controller c);

/** Text to a file of a group; errors cgroup.limit or cgroup.read_only name path, value and why. */
int cgroup_write(const struct cgroup_dir *d, const char *file, const char *text, struct error *err);
int cgroup_write_u64(const struct cgroup_dir *d, const char *file, uint64_t value,
                     const char *unlimited, struct error *err);
int cgroup_write_processes(const struct cgroup_dir *d, const struct spec_resources *r,
                           struct error *err);
/* of the kernel's pids.max (PID_MAX_LIMIT) */
#define PROCESSES_MAX 4194304

/** A number that stands alone in a file, or behind @key; 0 when it cannot be had. */
uint64_t cgroup_read_u64(int dirfd, const char *file);
uint64_t cgroup_read_key(int dirfd, const char *file, const char *key);

/** The limits of huge pages: hugetlb.<size>.@file, @unlimited where there is none. */
int cgroup_apply_hugetlb(const struct cgroup_dir *d, const struct spec_resources *r,
                         const char *file, const char *unlimited, struct error *err);

/** Controllers that @spec's limits need. */
unsigned cgroup_wanted(const struct spec_resources *r);

/** Fill an error for a directory that could not be made or opened, by errno. */
int cgroup_denied(int version, const char *what, const char *path, int errnum, struct error *err);

/** Make or open <@own>/cloche.slice; -1 with errno. */
int cgroup_open_slice(int own_fd);

/** v1: open the slice of @c's hierarchy. @create: make it when missing. The fd, or -1 with @err. */
int cgroup_v1_open_slice(const struct cgroup_layout *l, enum cgroup_controller c, bool create,
                         struct cgroup_dir *ret, struct error *err);

/** v1: whatever a directory needs before tasks may join (cpuset: CPUs and memory nodes). */
int cgroup_v1_prepare(const struct cgroup_dir *d, const struct cgroup *g, struct error *err);

/** v1, v2: write what @r limits of controller @c. */
int cgroup_v1_apply(const struct cgroup_dir *d, enum cgroup_controller c,
                    const struct spec_resources *r, struct error *err);
int cgroup_v2_apply(const struct cgroup_dir *d, enum cgroup_controller c,
                    const struct spec_resources *r, struct error *err);

/** v1: an eventfd for OOM, or for reclaim that finds little, or -1. v2: memory.events, or -1. */
int cgroup_v1_oom_fd(const struct cgroup_dir *d);
int cgroup_v1_pressure_fd(const struct cgroup_dir *d);
int cgroup_v2_oom_fd(const struct cgroup_dir *d);

/** v2: find where a slice may stand whose groups get @want (and, when they are to be had, @like),
 * and open it. On success ret->controllers says what its groups have. */
int cgroup_v2_open_slice(struct cgroup_layout *l, unsigned want, unsigned like, bool create,
                         struct cgroup_dir *ret, struct error *err);

/** v2: enable @controllers for what is made in the group @below of a slice. -1 with errno. */
int cgroup_v2_hand_down(int slice_fd, const char *below, unsigned controllers);

/** Ask systemd to put this process into a scope of its own with Delegate=yes. The caller reads the
 * layout anew. cgroup.systemd. */
int cgroup_systemd_scope(struct error *err);
bool cgroup_systemd_running(void);

/** Kill what is in the group @name of the slices @dirs (v2 among them or not), wait, remove them,
 * the last made first. The deadline is CGROUP_REMOVE_MS; cgroup.busy names what stayed. */
int cgroup_remove_dirs(const struct cgroup_dir *dirs, int count, const char *name, bool kill,
                       struct error *err);

/** Sleep, bounded, until a group that was told to freeze is frozen. */
bool cgroup_wait_frozen(const struct cgroup_dir *d);

/** Remove groups of dead runs from one hierarchy's slice. Each hierarchy is swept for itself: two
 * callers may share the v2 slice and stand in different v1 groups. Returns how many; or, without
 * @remove, how many there are. */
int cgroup_sweep_slice(const struct cgroup_dir *slice, bool remove);

#endif
