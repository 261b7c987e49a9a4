#include "runtime/keeper/affinity.h"

#include "base/io.h"
#include "runtime/keeper/worker.h"

#include <fcntl.h>
#include <stdlib.h>

/** The first child of its guard, the init of its PID namespace, as long as it runs; 0: not known.
 */
static pid_t process_of(struct worker *w)
{
    char path[64], text[256];
    snprintf(path, sizeof path, "/proc/%d/task/%d/children", w->guard, w->guard);
    if (w->process == 0 && w->guard > 0 && io_read_file_at(AT_FDCWD, path, text, sizeof text) > 0)
        w->process = (pid_t)strtol(text, NULL, 10);
    return w->process;
}

static void on_timer(void *context)
{
    struct keeper *k = context;
    k->affinity_timer = NULL;
    affinity_part(k);
}

void affinity_gather(struct keeper *k, struct worker *w)
{
    cpu_set_t here;
    int cpu = sched_getcpu();
    CPU_ZERO(&here);
    if (cpu < 0 || cpu >= CPU_SETSIZE)
        return;
    CPU_SET(cpu, &here);
    if (!k->gathered &&
        (sched_getaffinity(0, sizeof k->processors, &k->processors) < 0 ||
         CPU_COUNT(&k->processors) < 2 || sched_setaffinity(0, sizeof here, &here) < 0))
        return;
    k->gathered = true;
    if (k->affinity_timer == NULL)
        k->affinity_timer = loop_after(k->loop, AFFINITY_MS, on_timer, k);
    if (w == NULL || w->lost || w->gathered || process_of(w) == 0 ||
        sched_getaffinity(w->process, sizeof w->processors, &w->processors) < 0)
        return;
    w->gathered = sched_setaffinity(w->process, sizeof here, &here) == 0;
}

void affinity_part(struct keeper *k)
{
    if (!k->gathered)
        return;
    if (k->affinity_timer != NULL)
        loop_cancel(k->loop, k->affinity_timer);
    k->affinity_timer = NULL;
    k->gathered = false;
    sched_setaffinity(0, sizeof k->processors, &k->processors);
    for (struct worker *w = k->workers; w != NULL; w = w->next) {
        if (w->gathered && !w->lost)
            sched_setaffinity(w->process, sizeof w->processors, &w->processors);
        w->gathered = false;
    }
}
