#include "runtime/reconcile.h"

#include "base/cleanup.h"
#include "base/io.h"
#include "base/state.h"
#include "isolation/sandbox.h"
#include "runtime/client.h"
#include "runtime/orphan.h"

#include <cjson/cJSON.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

static double number(const cJSON *o, const char *name)
{
    const cJSON *n = cJSON_GetObjectItemCaseSensitive(o, name);
    return cJSON_IsNumber(n) ? n->valuedouble : 0;
}

/** By what it wrote last, and when. */
static bool is_expired(const char *id)
{
    _cleanup_arena_ struct arena *a = arena_new();
    const char *text = client_record(a, id);
    cJSON *o = text != NULL ? cJSON_Parse(text) : NULL;
    double expires_ms = number(o, "expires_ms"), idle_s = number(o, "idle_timeout_s");
    cJSON_Delete(o);
    if (expires_ms <= 0 && idle_s <= 0)
        return false;
    struct stat st;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    _cleanup_close_ int fd = client_open_state(id, "record.json", NULL);
    if (fd < 0 || fstat(fd, &st) < 0)
        return false;
    return (expires_ms > 0 && (double)now.tv_sec * 1000 >= expires_ms) ||
           (idle_s > 0 && (double)(now.tv_sec - st.st_mtime) >= idle_s);
}

bool reconcile_expired(const char *id)
{
    return is_expired(id) && client_destroy(id, false, NULL) == 0;
}

static void look_at(struct arena *a, const char *id, struct reconciled *r)
{
    struct error err = ERROR_INIT;
    _cleanup_close_ int door = client_connect(id, &err);
    if (door >= 0) {
        strings_add(a, &r->alive, id);
        return;
    }
    if (reconcile_expired(id)) {
        strings_add(a, &r->collected, id);
        return;
    }
    _cleanup_close_ int fd = client_open_state(id, "spec.json", NULL);
    _cleanup_free_ char *text = NULL;
    _cleanup_spec_ struct spec *s = spec_new();
    struct error wrong = ERROR_INIT;
    ssize_t n = fd < 0 ? -1 : io_read_to_end(fd, SPEC_MAX_BYTES, &text);
    if (n < 0)
        error_set(&wrong, "sandbox.state", errno, "cannot read its spec");
    if (n >= 0 && spec_apply_json(s, text, (size_t)n, "/", &wrong) == 0 &&
        spec_validate(s, &wrong) == 0) {
        bool stopped = strcmp(err.code, "sandbox.stopped") == 0;
        strings_add(a, stopped ? &r->stopped : &r->without_keeper, id);
        return;
    }
    strings_add(a, &r->ruined, id);
    strings_add(a, &r->reasons, wrong.message);
}

static int sweep_doors(struct reconciled *r, struct error *err)
{
    _cleanup_close_ int all = state_open_dir("sandboxes", err);
    _cleanup_close_ int runs = all < 0 ? -1 : state_open_run_dir("sandboxes", err);
    int again = runs < 0 ? -1 : openat(runs, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    _cleanup_closedir_ DIR *dir = again < 0 ? NULL : fdopendir(again);
    if (dir == NULL)
        return runs < 0 ? -1
                        : error_set(err, "sandbox.state", errno, "cannot read the run directory");
    for (struct dirent *e; (e = readdir(dir)) != NULL;) {
        if (!spec_valid_id(e->d_name) || faccessat(all, e->d_name, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
            continue;
        _cleanup_close_ int door = client_connect(e->d_name, NULL);
        enum orphan found = door >= 0 ? orphan_end(door, e->d_name) : ORPHAN_NOBODY;
        r->orphans += found == ORPHAN_ENDED;
        if (found == ORPHAN_LIVES) /* its state is below another CLOCHE_ROOT */
            continue;
        _cleanup_close_ int run =
            openat(runs, e->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (run < 0 || faccessat(all, e->d_name, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
            continue; /* made a moment ago */
        unlinkat(run, "control.sock", 0);
        r->doors += unlinkat(runs, e->d_name, AT_REMOVEDIR) == 0;
    }
    return 0;
}

int reconcile(struct arena *a, struct reconciled *ret, struct error *err)
{
    struct strings ids = {0};
    *ret = (struct reconciled){0};
    if (client_list(a, &ids, err) < 0 || sweep_doors(ret, err) < 0)
        return -1;
    for (size_t i = 0; i < ids.count; i++)
        look_at(a, ids.items[i], ret);
    int groups = sandbox_sweep_all(err); /* last: an orphan's is free now */
    ret->groups = groups > 0 ? (unsigned)groups : 0;
    return groups < 0 ? -1 : 0;
}
