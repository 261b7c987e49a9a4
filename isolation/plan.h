/**
 * Everything that init and the program need, resolved beforehand by the parent.
 *
 * Between clone and exec there is no malloc, no path of the host and no decision: init walks this
 * plan. It is built by sandbox.c from the spec with the help of rootfs.c (mounts), idmap.c,
 * seccomp.c, caps.c and landlock.c, and lives in the parent's memory, of which init is a copy.
 * Private to isolation/.
 */
#ifndef CLOCHE_ISOLATION_PLAN_H
#define CLOCHE_ISOLATION_PLAN_H

#include "base/arena.h"
#include "base/error.h"
#include "base/packet.h"
#include "config/spec.h"
#include "isolation/caps.h"
#include "isolation/landlock.h"
#include "isolation/sandbox.h"
#include "isolation/seccomp.h"

#include <linux/sched.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/types.h>

/* One step of setting up, for error messages; steps.c has the sentences. */
enum step {
    STEP_NONE,
    STEP_CGROUP_JOIN,
    STEP_JOIN,
    STEP_CLONE,
    STEP_OOM_SCORE,
    STEP_PARENT_DEATH,
    STEP_SESSION,
    STEP_SETUP_IDENTITY,
    STEP_HOSTNAME,
    STEP_DOMAINNAME,
    STEP_TIME_NAMESPACE,
    STEP_LOOPBACK,
    STEP_PROPAGATION,
    STEP_ROOT,
    STEP_ROOT_ATTACH,
    STEP_SOURCE,
    STEP_SOURCE_CHANGED,
    STEP_MOUNT_POINT,
    STEP_MOUNT_MAKE,
    STEP_MOUNT_ATTRIBUTES,
    STEP_MOUNT_ATTACH,
    STEP_COPY_UP,
    STEP_DEVICE,
    STEP_NOT_PROCFS,
    STEP_SYSCTL,
    STEP_MASK,
    STEP_READONLY,
    STEP_PIVOT,
    STEP_UNTRACEABLE,
    STEP_TERMINAL,
    STEP_START_PROGRAM,
    STEP_STREAMS,
    STEP_RLIMIT,
    STEP_CORE,
    STEP_PERSONALITY,
    STEP_CAPS_BOUNDING,
    STEP_IDENTITY,
    STEP_CWD,
    STEP_CAPS,
    STEP_LANDLOCK,
    STEP_FILTER,
    STEP_CLOSE,
    STEP_OPEN,
    STEP_EXEC,
    STEP_COUNT
};

enum plan_op {
    OP_DIRECTORY, /* make directory @target, mode @mode */
    OP_FILE,      /* make file @target with @data */
    OP_SYMLINK,   /* make symlink @target -> @data */
    OP_TREE,      /* attach the tree @fd (or open_tree of @source) at @target */
    OP_FS,        /* make a file system, attach it at @target */
    OP_OVERLAY,   /* overlay over the tree @fd at @target */
    OP_DEVICES,   /* fill /dev at @target */
};

struct plan_mount {
    enum plan_op op;
    const char *target;            /* absolute inside the new root */
    const struct spec_mount *spec; /* OP_TREE, OP_FS, OP_OVERLAY: attributes and data */
    const char *source;            /* host path, for messages and for ordinary users' open_tree */
    const char *data;
    size_t size;
    mode_t mode;
    int fd;         /* detached tree (root) or O_PATH identity of the source (ordinary user); -1 */
    bool detached;  /* @fd is a tree to attach */
    bool directory; /* what the source is, and so the mount point */
    bool idmap;     /* the parent maps ids of @fd before "go" */
    bool idmap_needed; /* a tree that cannot be mapped is an error */
    uid_t owner_uid;   /* of the source, on the host */
    gid_t owner_gid;
};

struct plan_node { /* a device of the host, verified */
    const char *name;
    int fd; /* O_PATH, or a detached tree for root */
};

struct idmap {
    struct spec_id_map *uid, *gid;
    size_t uid_count, gid_count;
    bool by_helper; /* newuidmap, newgidmap */
    bool deny_setgroups;
    uid_t setup_uid; /* who init is inside while it builds */
    gid_t setup_gid;
    int lock_fd; /* holds the block of ids, -1 */
    bool joined; /* the maps are those of a namespace that was there before */
};

enum { PLAN_FALLBACK_MEMORY = 1, PLAN_FALLBACK_PROCESSES = 2, PLAN_FALLBACK_CPU = 4 };

/** A thread that does what takes long beside the rest: a closed network namespace is made at the
 * begin, and the mounts go at the end. */
struct ahead {
    bool begun;
    pthread_t thread;
    bool taken;           /* by the thread, that makes it, or by the clone, that does without */
    bool done;            /* that is made, or cannot be */
    int network;          /* -1 */
    int mounts;           /* init's mount namespace, for the thread to close; -1 */
    int leave;            /* a futex: 1 when it shall do so, and end */
    cpu_set_t processors; /* that the caller may use */
};

struct plan {
    const struct spec *spec;
    struct arena *arena;
    bool privileged; /* may clone host mounts and map ids from outside */
    uint64_t clone_flags;

    struct sandbox_slot *slot; /* what is taken over; NULL: nothing */
    struct ahead ahead;
    int ns_fds[NS_COUNT]; /* namespaces to join, -1 */
    bool joins;           /* any of them */
    /* init is in a PID namespace that it joined: it makes the others itself, after the clone */
    bool late;
    uint64_t late_flags;
    int kill_fd; /* then: cgroup.kill, since its end is not the end of the tree; -1 */
    int proc_fd; /* then: a procfs of that namespace, for sysctls; -1 */

    struct idmap idmap;

    int root_fd; /* detached tree or O_PATH identity of ROOTFS_DIR or of a template, else -1 */
    bool root_idmap;
    int template_fd; /* keeps the template of the root from being removed; -1: there is none */
    int host_proc;   /* O_PATH: the caller's procfs; -1 */
    int bare_ns;     /* init is born in a namespace that holds that root alone: this one; else -1 */
    int bare_proc;   /* then: the caller's procfs as a detached tree */
    struct plan_mount *mounts;
    size_t mount_count;
    struct plan_node *nodes;
    size_t node_count;

    struct seccomp_filter filter;
    struct caps_plan caps;
    struct landlock_plan landlock;

    /* NULL, or what init does instead of running one program: serve.c (a pointer, so that the start
     * program need not link it) */
    void (*serve)(const struct plan *p, int child_events);
    int oom_score_fd; /* then: init's own oom_score_adj, in init */
    int last_pid_fd;  /* then: the host's sysctl kernel.ns_last_pid; -1 */
    int32_t child;    /* whose plan this is, in a serving sandbox; else 0 */
    int control;      /* init's end */
    bool quiet;       /* sandbox_run(): nobody waits for READY, and LISTENER tells the start */
    int stdio[3];     /* fds that become 0, 1, 2; -1: the terminal */
    const int *pass_fds;
    size_t pass_fd_count;
    int program;     /* 0, or the fd (one of the passed, so 3 or more) that is executed */
    char *arguments; /* of the caller; init overwrites its copy */
    size_t arguments_bytes;
    unsigned
        fallbacks; /* PLAN_FALLBACK_*: limits that rlimits stand in for; known at the start only */
    bool cores_end_at_0;  /* so this user's hard limit of 0 for core dumps is enough */
    const char *path_env; /* PATH of the program, for the search */
};

/* --- messages over the control socket (SEQPACKET)
 * ---------------------------------------------------- */

enum message_type {
    /* down */
    MESSAGE_GO = 1, /* ids are mapped: build */
    /* with the v1 groups to join: exec; value: PLAN_FALLBACK_* that take the place of missing
     * cgroups
     */
    MESSAGE_START,
    MESSAGE_SIGNAL, /* value: signal for the program */
    /* up */
    MESSAGE_FAILED,    /* step, errnum, text */
    MESSAGE_READY,     /* built */
    MESSAGE_LISTENER,  /* with the notify fd, just before the exec */
    MESSAGE_TERMINAL,  /* with the pty's outer end */
    MESSAGE_STARTED,   /* value: pid inside */
    MESSAGE_EXITED,    /* value: wait status */
    MESSAGE_SYNC_TIME, /* init has its time namespace: write the offsets */
    MESSAGE_CLONED,    /* of the doorstep: value: pid of init; with its pidfd */
    MESSAGE_LATE,      /* init has made its late namespaces: write the id maps */
    /* of serving sandboxes, down */
    MESSAGE_FILE,        /* up: with the file that was asked for, instead of STARTED */
    MESSAGE_SPAWN,       /* child: number; with a memfd (spawn.h), the streams, a readiness fd */
    MESSAGE_CHILD_SIGNAL /* child, value: signal */
};

struct message {
    int32_t type, step, errnum, value;
    int32_t child;       /* of a serving sandbox; else 0 */
    int32_t max_rss_kib; /* of a child's EXITED, as the next two */
    uint64_t user_us, system_us;
    /* CLOCK_MONOTONIC, of STARTED and LISTENER: before the exec; of EXITED: the end */
    uint64_t time_ns;
    char text[240]; /* object of a failed step, NUL-terminated */
};

int message_send(int socket, const struct message *m, int fd_to_pass);
/** 1: got one (and an fd in *@ret_fd, else -1); 0: the other end is gone; -1: errno. */
int message_receive(int socket, struct message *ret, int *ret_fd, int flags);
/** The same with up to PACKET_MAX_FDS fds. More than @max are closed. */
int message_send_fds(int socket, const struct message *m, const int *fds, unsigned count);
int message_receive_fds(int socket, struct message *ret, int *fds, unsigned max,
                        unsigned *ret_count, int flags);

/* --- who does what
 * ------------------------------------------------------------------------------------ */

/** Whether @path names something in the directory @top. */
static inline bool path_is_below(const char *path, const char *top)
{
    size_t n = strlen(top);
    return strncmp(path, top, n) == 0 && path[n] == '/' && path[n + 1] != '\0';
}

/** CLOCK_MONOTONIC. */
uint64_t plan_now_ns(void);

/** Fill @err from a failed step. Returns -1. */
int step_error(const struct plan *p, const struct message *failed, struct error *err);

/** rootfs.c, parent: resolve root and mounts. */
int rootfs_plan(struct plan *p, struct error *err);
/** template.c, parent: whether a root that holds all that is to be made already stands ready; then
 * the plan is what remains: mounts. */
bool template_use(struct plan *p);
/** template.c, init: open @path inside @root, making what is missing, the last component as a
 * directory or an empty file; -1 with errno. */
int template_point(int root, const char *path, bool directory);
/** The same: OP_DIRECTORY, OP_FILE, OP_SYMLINK. */
int template_plain(int root, const struct plan_mount *m);
/** idmount.c, parent, after the maps of process @init are written: map the owners of detached
 * trees. */
int rootfs_map_ids(struct plan *p, pid_t init, struct error *err);
void rootfs_close(struct plan *p);

/** namespaces.c, parent: open what is to be joined, choose what is to be made. */
int namespaces_plan(struct plan *p, struct error *err);
/** Once there is a control group (@group: its v2 directory or -1): by it a tree ends that has no
 * PID namespace of its own. */
int namespaces_bind_tree(struct plan *p, int group, struct error *err);
void namespaces_end_tree(const struct plan *p);
/** clone3(2) with @args; where namespaces are joined, by way of a doorstep, whose pid is returned:
 * namespaces_cloned() then hears of init. 0 in init. */
pid_t namespaces_clone(struct plan *p, struct clone_args *args);
/** This thread was in another network namespace and goes back to @own, or the program ends. */
void namespaces_return(int own);
/** First of all; what takes long may be made beside the rest. */
void namespaces_begin(struct plan *p);
/** Is it still being made? */
bool namespaces_pending(const struct plan *p);
/** Init @pid has what was made, and its mounts are kept: its end need not wait until they are gone,
 * which takes the kernel as long as all that is left to do then. */
void namespaces_hold(struct plan *p, pid_t pid);
/** Init is dead: let them go, beside the rest. */
void namespaces_release(struct plan *p);
/** What was made ahead or kept is not needed any more. */
void namespaces_close(struct plan *p);
bool namespaces_is_other_network(int fd);
int namespaces_cloned(const struct plan *p, int control, pid_t door, pid_t *ret_pid, int *ret_pidfd,
                      struct error *err);
int namespaces_clone_failed(const struct plan *p, int errnum, struct error *err);
/** Write @score to an open oom_score_adj; 0, or -1 with errno. */
int oom_score_write(int fd, int score);
/** In init. */
int namespaces_enter_late(struct plan *p, struct message *failed);

/** mount.c, doorstep and init: make the file systems of @type that the plan names, detached, while
 * this process may. What cannot be made is tried again, and reported, by mount_build(). */
void mount_prepare(struct plan *p, const char *type);

/** bare.c, parent: where this thread was, whose mount namespace holds nothing but the template of
 * the plan until it has left it. Where that cannot be had it stays where it is, and p->bare_ns -1.
 */
struct bare {
    int own, root, cwd;
    bool entered;
};
void bare_enter(struct plan *p, struct bare *ret);
void bare_leave(struct bare *b); /* or the program ends */

/** A root that stands ready: its directory (-1: the namespace was joined, and is taken as it is),
 * and what is to come off: the mounts that will lie on it. */
struct mount_built {
    int root;
    bool pivot; /* after the caller's root has been put there, too */
    unsigned covers;
    uint64_t propagation; /* of the root, MS_*: a shared one cannot be pivoted to */
};

/** mount.c, init: build the tree. 0, or -1 with the failure in @failed. */
int mount_build(const struct plan *p, struct mount_built *ret, struct message *failed);
/** Make it the root of this mount namespace, and let go of the old one. */
int mount_enter(const struct mount_built *m, struct message *failed);
/** mount.c, PID 1 of a child: a procfs of its own, in a mount namespace of its own. */
int mount_own_proc(const struct plan *p, struct message *failed);

/** device.c, init: fill the directory @dev_fd. */
int device_populate(const struct plan *p, int dev_fd, struct message *failed);
/** device.c, maker of a template: the same with device nodes, by CAP_MKNOD. 0, or -1. */
int device_make(int dev_fd);
/** device.c, parent: open and verify the nodes. */
int device_plan(struct plan *p, struct error *err);

/** idmap.c, parent. 1, or 0 for root of a container's user namespace: it may neither clone host
 * mounts nor map what is not the container's, and is an ordinary user with number 0. Or -1. */
int idmap_all_ids(struct error *err);
int idmap_choose(struct idmap *m, const struct spec *spec, int joined, bool privileged,
                 struct arena *a, struct error *err);
int idmap_write(const struct idmap *m, pid_t pid, struct error *err);
/** Is /proc the procfs of this PID namespace, and writable? -1 with what puts it right. */
int proc_check(struct error *err);
bool idmap_has_gid(const struct idmap *m, uint32_t gid);
void idmap_release(struct idmap *m);
/** The life of a process that only holds a namespace open: until it is killed, or its parent dies.
 */
_Noreturn void idmap_stay(pid_t parent);
/** The first range of @file (/etc/subuid, /etc/subgid) that belongs to @owner, by name or number,
 * and holds @need ids; false when there is none. */
bool idmap_subid_range(const char *file, const char *owner, const char *owner_number, uint64_t need,
                       uint64_t *ret_first, uint64_t *ret_size);

/** init.c: PID 1; never returns. */
_Noreturn void init_main(struct plan *p);

/** Memory in which a program's process sets itself up: made at the first start, and good for any
 * number of them, one after the other. */
struct start_room {
    struct start_shared *shared;
    char *stack;
};

/** Shared by init.c and guard.c. The pid, or -1 with the failure in @failed. @built: not NULL when
 * that root is still to be entered, which is then done while the program's process sets itself up.
 */
pid_t init_start_program(const struct plan *p, int terminal, const struct mount_built *built,
                         struct start_room *room, struct message *failed);
/** A pty of the sandbox's own devpts: the outer end goes up, the inner one is returned. */
int init_make_terminal(const struct plan *p, struct message *failed);
/** All fds but the @count in @keep, of which those below 0 are none. */
int init_close_others(const int *keep, size_t count);
/** All but CAP_KILL: from here on a guard or init only signals and reaps. @for_now: they stay
 * permitted, and init_raise_capabilities() makes them effective again. */
int init_drop_capabilities(bool for_now);
int init_raise_capabilities(void);

/** What the program's process waits for before it walks a path: init enters the new root. */
struct gate {
    uint32_t state; /* a futex: GATE_* */
    int root;
};
enum { GATE_SHUT, GATE_OPEN, GATE_FAILED };

/** program.c: from the fork to the exec; returns only on failure, with it in @failed (when the gate
 * fails, init knows it). @gate: NULL when the root is entered already. */
void program_exec(const struct plan *p, int terminal, struct gate *gate, struct message *failed);
/** Every signal to its default; of a child in a serving sandbox by init, from which it is
 * inherited.
 */
int program_reset_signals(void);

/** Note a failed step with errno as it stands; returns -1. Async-signal-safe. */
int step_failed(struct message *failed, enum step step, const char *text);

#endif
