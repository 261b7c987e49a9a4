/* A cgroup file system inside is read-only or not there, wherever it is mounted; release_agent is
 * out of reach; and a group of one's own cannot be made to escape a limit. */
#include "tests/attacks/attack.h"

#include <mntent.h>

int main(void)
{
    static const char *const files[] = {
        "cgroup.procs",         "tasks",    "release_agent", "notify_on_release",
        "memory.max",           "pids.max", "cgroup.kill",   "cgroup.subtree_control",
        "memory.limit_in_bytes"};
    struct mntent *m;
    char path[PATH_MAX];
    FILE *mounts = setmntent("/proc/self/mounts", "re");

    if (mounts == NULL)
        skip("no /proc here");
    while ((m = getmntent(mounts)) != NULL) {
        if (strncmp(m->mnt_type, "cgroup", 6) != 0)
            continue;
        snprintf(path, sizeof(path), "%s/cloche-attack", m->mnt_dir);
        if (mkdir(path, 0755) == 0)
            breach("made %s", path);
        for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
            snprintf(path, sizeof(path), "%s/%s", m->mnt_dir, files[i]);
            if (writable(path))
                breach("%s can be written", path);
        }
    }
    endmntent(mounts);
    return verdict();
}
