#include "isolation/cgroup_impl.h"

#include "base/cleanup.h"

#include <dlfcn.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <systemd/sd-bus.h>
#include <time.h>

/* What the manager needs for a job of this kind, many times over. */
#define SYSTEMD_WAIT_USEC 5000000

/* libsystemd is loaded when it is needed, which on most hosts is never: linking it would cost
 * every start. */
struct systemd {
    void *library;
    int (*open_system)(sd_bus **);
    int (*open_user)(sd_bus **);
    int (*call_method)(sd_bus *, const char *, const char *, const char *, const char *,
                       sd_bus_error *, sd_bus_message **, const char *, ...);
    int (*match_signal)(sd_bus *, sd_bus_slot **, const char *, const char *, const char *,
                        const char *, sd_bus_message_handler_t, void *);
    int (*read)(sd_bus_message *, const char *, ...);
    int (*process)(sd_bus *, sd_bus_message **);
    int (*wait)(sd_bus *, uint64_t);
    sd_bus *(*close)(sd_bus *);
    sd_bus_message *(*message_unref)(sd_bus_message *);
    void (*error_free)(sd_bus_error *);
};

#define BUS       "org.freedesktop.systemd1"
#define OBJECT    "/org/freedesktop/systemd1"
#define INTERFACE "org.freedesktop.systemd1.Manager"

static int load(struct systemd *s, struct error *err)
{
    s->library = dlopen("libsystemd.so.0", RTLD_NOW | RTLD_LOCAL);
    if (s->library == NULL) {
        error_set(err, "cgroup.systemd", 0, "cannot load libsystemd.so.0: %s", dlerror());
        return -1;
    }
    const struct {
        const char *name;
        void *target;
    } symbols[] = {
        {"sd_bus_open_system", &s->open_system},
        {"sd_bus_open_user", &s->open_user},
        {"sd_bus_call_method", &s->call_method},
        {"sd_bus_match_signal", &s->match_signal},
        {"sd_bus_message_read", &s->read},
        {"sd_bus_process", &s->process},
        {"sd_bus_wait", &s->wait},
        {"sd_bus_flush_close_unref", &s->close},
        {"sd_bus_message_unref", &s->message_unref},
        {"sd_bus_error_free", &s->error_free},
    };
    for (size_t i = 0; i < sizeof symbols / sizeof symbols[0]; i++) {
        void *symbol = dlsym(s->library, symbols[i].name);
        if (symbol == NULL) {
            error_set(err, "cgroup.systemd", 0, "libsystemd.so.0 has no %s", symbols[i].name);
            return -1;
        }
        memcpy(symbols[i].target, &symbol, sizeof symbol);
    }
    return 0;
}

struct job {
    const struct systemd *systemd;
    const char *path; /* NULL until the manager named it */
    bool done, failed;
    /* a job may end before the call that made it returns: what was seen meanwhile */
    char early_path[256], early_result[32];
};

static void job_ended(struct job *j, const char *result)
{
    j->done = true;
    j->failed = strcmp(result, "done") != 0;
}

static int on_job_removed(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
    struct job *j = userdata;
    uint32_t id;
    const char *path, *unit, *result;
    (void)error;
    if (j->systemd->read(m, "uoss", &id, &path, &unit, &result) < 0)
        return 0;
    if (j->path != NULL && strcmp(j->path, path) == 0) {
        job_ended(j, result);
    } else if (j->path == NULL) {
        snprintf(j->early_path, sizeof j->early_path, "%s", path);
        snprintf(j->early_result, sizeof j->early_result, "%s", result);
    }
    return 0;
}

static uint64_t now_usec(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static int wait_job(const struct systemd *s, sd_bus *bus, struct job *j)
{
    uint64_t deadline = now_usec() + SYSTEMD_WAIT_USEC;
    if (strcmp(j->early_path, j->path) == 0)
        job_ended(j, j->early_result);
    while (!j->done) {
        int r = s->process(bus, NULL);
        if (r < 0)
            return r;
        if (r > 0)
            continue;
        uint64_t now = now_usec();
        if (now >= deadline)
            return -ETIMEDOUT;
        r = s->wait(bus, deadline - now);
        if (r < 0 && r != -EINTR)
            return r;
    }
    return j->failed ? -ECANCELED : 0;
}

static int failed(struct error *err, const char *what, int r, const char *why)
{
    error_set(err, "cgroup.systemd", why == NULL ? -r : 0, "cannot %s%s%s", what,
              why != NULL ? ": " : "", why != NULL ? why : "");
    return error_hint(err, geteuid() == 0 ? "see journalctl -b -u init.scope"
                                          : "log in through PAM (loginctl enable-linger), so that "
                                            "systemd --user runs; or pass --best-effort");
}

static int ask(const struct systemd *s, sd_bus *bus, struct error *err)
{
    static unsigned serial;
    char scope[64];
    struct job job = {.systemd = s};
    sd_bus_error error = SD_BUS_ERROR_NULL;
    sd_bus_message *reply = NULL;
    const char *path;
    snprintf(scope, sizeof scope, "cloche-%d-%u.scope", (int)getpid(), serial++);
    int r = s->match_signal(bus, NULL, BUS, OBJECT, INTERFACE, "JobRemoved", on_job_removed, &job);
    if (r < 0)
        return failed(err, "listen to systemd", r, NULL);
    r = s->call_method(bus, BUS, OBJECT, INTERFACE, "StartTransientUnit", &error, &reply,
                       "ssa(sv)a(sa(sv))", scope, "fail", 5, "Description", "s",
                       "Cloche sandboxes of one process", "Slice", "s", CGROUP_SLICE, "Delegate",
                       "b", 1, "CollectMode", "s", "inactive-or-failed", "PIDs", "au", 1,
                       (uint32_t)getpid(), 0);
    if (r >= 0)
        r = s->read(reply, "o", &path);
    if (r >= 0) {
        job.path = path;
        r = wait_job(s, bus, &job);
    }
    if (r < 0)
        failed(err, "get a delegated scope from systemd", r, error.message);
    s->message_unref(reply);
    s->error_free(&error);
    return r < 0 ? -1 : 0;
}

int cgroup_systemd_scope(struct error *err)
{
    struct systemd s;
    /* the library stays loaded: it keeps thread-local state of its own */
    if (load(&s, err) < 0)
        return -1;
    sd_bus *bus = NULL;
    int r = geteuid() == 0 ? s.open_system(&bus) : s.open_user(&bus);
    if (r < 0)
        return failed(err, "reach systemd over its bus", r, NULL);
    int result = ask(&s, bus, err);
    s.close(bus);
    return result;
}
