/* Calls that take over the kernel or the machine. One of them (argv[1]) is made, with arguments
 * that do nothing should it go through; the report has to name it. */
#include "tests/attacks/attack.h"
#include "tests/attacks/kernel/calls.h"

struct call {
    const char *name;
    long number, args[5];
};

static char scratch[4096];

static const struct call calls[] = {
    {"acct", SYS_acct, {(long)"/nonexistent"}},
    {"bpf", SYS_bpf, {0, (long)scratch, 8}},
    {"clock_settime", SYS_clock_settime, {0, 0}},
    {"create_module", SYS_create_module, {(long)"x", 0}},
    {"delete_module", SYS_delete_module, {(long)"no_such_module", O_NONBLOCK}},
    {"finit_module", SYS_finit_module, {-1, (long)"", 0}},
    {"get_kernel_syms", SYS_get_kernel_syms, {0}},
    {"init_module", SYS_init_module, {(long)scratch, 0, (long)""}},
    {"ioperm", SYS_ioperm, {0x80, 1, 1}},
    {"iopl", SYS_iopl, {3}},
    {"kexec_file_load", SYS_kexec_file_load, {-1, -1, 0, 0, 0}},
    {"kexec_load", SYS_kexec_load, {0, 0, 0, 0}},
    {"lookup_dcookie", SYS_lookup_dcookie, {0, 0, 0}},
    {"nfsservctl", SYS_nfsservctl, {0, 0, 0}},
    {"perf_event_open", SYS_perf_event_open, {(long)scratch, 0, -1, -1, 0}},
    {"ptrace", SYS_ptrace, {0x4206, 1, 0, 0}}, /* PTRACE_SEIZE of PID 1 */
    {"process_vm_readv", SYS_process_vm_readv, {1, 0, 0, 0, 0}},
    {"process_vm_writev", SYS_process_vm_writev, {1, 0, 0, 0, 0}},
    {"query_module", SYS_query_module, {0, 0, 0, 0, 0}},
    {"quotactl", SYS_quotactl, {0, 0, 0, 0}},
    {"quotactl_fd", SYS_quotactl_fd, {-1, 0, 0, 0}},
    {"reboot", SYS_reboot, {0, 0, 0, 0}}, /* no magic, no reboot */
    {"setdomainname", SYS_setdomainname, {(long)"x", 1}},
    {"sethostname", SYS_sethostname, {(long)"x", 1}},
    {"settimeofday", SYS_settimeofday, {0, 0}},
    {"swapoff", SYS_swapoff, {(long)"/nonexistent"}},
    {"swapon", SYS_swapon, {(long)"/nonexistent", 0}},
    {"userfaultfd", SYS_userfaultfd, {1}},
    {"vhangup", SYS_vhangup, {0}},
};

int main(int argc, char **argv)
{
    for (size_t i = 0; argc > 1 && i < sizeof(calls) / sizeof(calls[0]); i++) {
        const struct call *c = &calls[i];

        if (strcmp(c->name, argv[1]) != 0)
            continue;
        if (syscall(c->number, c->args[0], c->args[1], c->args[2], c->args[3], c->args[4]) >= 0)
            breach("%s succeeded", c->name);
        else if (errno != EPERM && errno != ENOSYS)
            breach("%s reached the kernel: %s", c->name, strerror(errno));
        return verdict();
    }
    skip("which call?");
}
