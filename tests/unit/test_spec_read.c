/* JSON -> spec: what each property does, what is refused and in which words. */
#include "base/cleanup.h"
#include "config/spec.h"
#include "tests/unit/spec_equal.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>

#define COUNT(array) (sizeof(array) / sizeof *(array))

static int apply(struct spec *s, const char *text, struct error *err)
{
    *err = (struct error)ERROR_INIT;
    return spec_apply_json(s, text, strlen(text), "/bundle", err);
}

/* --- refused --------------------------------------------------------------------------------- */

#define WHOLE_ID    "expected a whole number from 0 to 4294967294, found "
#define ANY_NETWORK "expected one of \"none\", \"loopback\", \"host\", found "

static const struct {
    const char *json, *message;
} invalid[] = {
    {"[]", "expected an object, found an empty array"},
    {"7", "expected an object, found 7"},
    {"{'ociVersion':1}", "ociVersion: expected a version like \"1.1.0\", found 1"},
    {"{'ociVersion':'1.1'}",
     "ociVersion: expected a version like \"1.1.0\", found \"1.1\" (a string)"},
    {"{'ociVersion':'one'}",
     "ociVersion: expected a version like \"1.1.0\", found \"one\" (a string)"},
    /* process */
    {"{'process':7}", "process: expected an object, found 7"},
    {"{'process':{'terminal':'yes'}}",
     "process.terminal: expected true or false, found \"yes\" (a string)"},
    {"{'process':{'args':[]}}",
     "process.args: expected an array with at least the program's name, found an empty array"},
    {"{'process':{'args':'ls'}}",
     "process.args: expected an array of strings, found \"ls\" (a string)"},
    {"{'process':{'args':['ls',7]}}", "process.args[1]: expected a string, found 7"},
    {"{'process':{'env':['A']}}", "process.env[0]: expected \"NAME=value\", found \"A\""},
    {"{'process':{'env':['A=1','=2']}}", "process.env[1]: expected \"NAME=value\", found \"=2\""},
    {"{'process':{'cwd':'tmp'}}",
     "process.cwd: expected an absolute path, found \"tmp\" (a string)"},
    {"{'process':{'cwd':''}}", "process.cwd: expected an absolute path, found \"\" (a string)"},
    {"{'process':{'user':{'uid':-1}}}", "process.user.uid: " WHOLE_ID "-1"},
    {"{'process':{'user':{'uid':4294967295}}}", "process.user.uid: " WHOLE_ID "4294967295"},
    {"{'process':{'user':{'gid':4294967296}}}", "process.user.gid: " WHOLE_ID "4294967296"},
    {"{'process':{'user':{'uid':'0'}}}", "process.user.uid: " WHOLE_ID "\"0\" (a string)"},
    {"{'process':{'user':{'uid':0.5}}}", "process.user.uid: " WHOLE_ID "0.5"},
    {"{'process':{'user':{'umask':512}}}",
     "process.user.umask: expected a mask from 0 to 511 (0777), found 512"},
    {"{'process':{'user':{'additionalGids':[1,-2]}}}",
     "process.user.additionalGids[1]: " WHOLE_ID "-2"},
    {"{'process':{'capabilities':{'bounding':['CAP_SYS_ADMN']}}}",
     "process.capabilities.bounding[0]: expected a capability (did you mean "
     "\"CAP_SYS_ADMIN\"?), found \"CAP_SYS_ADMN\" (a string)"},
    {"{'process':{'capabilities':{'ambient':['x']}}}",
     "process.capabilities.ambient[0]: expected a capability like \"CAP_NET_BIND_SERVICE\", "
     "found \"x\" (a string)"},
    {"{'process':{'rlimits':[{'type':'RLIMIT_NOFLE','soft':1,'hard':1}]}}",
     "process.rlimits[0].type: expected a resource limit (did you mean \"RLIMIT_NOFILE\"?), "
     "found \"RLIMIT_NOFLE\" (a string)"},
    {"{'process':{'rlimits':[{'type':'RLIMIT_NOFILE','soft':2,'hard':1}]}}",
     "process.rlimits[0]: resource limit RLIMIT_NOFILE: the soft limit is above the hard limit"},
    {"{'process':{'rlimits':[{'type':'RLIMIT_NOFILE','soft':1}]}}",
     "process.rlimits[0]: has no \"hard\""},
    {"{'process':{'rlimits':[{'type':'RLIMIT_CPU','soft':1,'hard':1},"
     "{'type':'RLIMIT_CPU','soft':2,'hard':2}]}}",
     "process.rlimits[1]: RLIMIT_CPU stands there twice"},
    {"{'process':{'rlimits':[{'type':'RLIMIT_CPU','soft':-2,'hard':1}]}}",
     "process.rlimits[0].soft: expected a whole number, at least 0, found -2"},
    {"{'process':{'oomScoreAdj':1001}}",
     "process.oomScoreAdj: expected a whole number from -1000 to 1000, found 1001"},
    {"{'process':{'consoleSize':{'height':65536}}}",
     "process.consoleSize.height: expected a whole number from 0 to 65535, found 65536"},
    /* root and names */
    {"{'root':{'path':''}}",
     "root.path: expected a string that is not empty, found \"\" (a string)"},
    {"{'root':{'readonly':1}}", "root.readonly: expected true or false, found 1"},
    {"{'hostname':7}", "hostname: expected a string that is not empty, found 7"},
    {"{'annotations':{'a':1}}", "annotations.a: expected a string, found 1"},
    {"{'annotations':['a']}", "annotations: expected an object, found an array"},
    /* mounts */
    {"{'mounts':{}}", "mounts: expected an array of mounts, found an object"},
    {"{'mounts':['x']}", "mounts[0]: expected an object, found \"x\" (a string)"},
    {"{'mounts':[{'type':'tmpfs'}]}", "mounts[0]: has no \"destination\""},
    {"{'mounts':[{'destination':'tmp','type':'tmpfs'}]}",
     "mounts[0].destination: expected an absolute path, found \"tmp\" (a string)"},
    {"{'mounts':[{'destination':'/a'}]}",
     "mounts[0]: has neither a \"type\" nor the option \"bind\" or \"rbind\""},
    {"{'mounts':[{'destination':'/a','options':['rbind']}]}",
     "mounts[0]: a bind mount needs a \"source\""},
    {"{'mounts':[{'destination':'/a','type':'tmpfs'},{'destination':'//a/.','type':'tmpfs'}]}",
     "mounts[1]: a second mount at the destination \"/a\""},
    {"{'mounts':[{'destination':'/a','type':'tmpfs','options':['nosiud']}]}",
     "mounts[0].options: \"nosiud\": not an option of a tmpfs mount; did you mean \"nosuid\"?"},
    {"{'mounts':[{'destination':'/a','type':'tmpfs','options':['size=lots']}]}",
     "mounts[0].options: \"size=lots\": expected a size like 65536k or 50%"},
    {"{'mounts':[{'destination':'/a','type':'tmpfs','options':['mode=999']}]}",
     "mounts[0].options: \"mode=999\": expected an octal mode like 1777"},
    {"{'mounts':[{'destination':'/a','type':'tmpfs','options':['ro',1]}]}",
     "mounts[0].options[1]: expected a string, found 1"},
    {"{'mounts':[{'destination':'/a','source':'/b','options':['bind','size=1m']}]}",
     "mounts[0].options: \"size=1m\": not an option of a bind mount"},
    {"{'mounts':[{'destination':'/a','source':'/b','options':['bind'],'uidMappings':[{}]}]}",
     "3 problems:\nmounts[0].uidMappings[0]: has no \"containerID\"\n"
     "mounts[0].uidMappings[0]: has no \"hostID\"\nmounts[0].uidMappings[0]: has no \"size\""},
    /* linux */
    {"{'linux':{'namespaces':[{'type':'pidd'}]}}",
     "linux.namespaces[0].type: expected one of \"user\", \"pid\", \"mount\", \"ipc\", \"uts\", "
     "\"network\", \"cgroup\", \"time\", found \"pidd\" (a string); did you mean \"pid\"?"},
    {"{'linux':{'namespaces':[{'type':'pid'},{'type':'pid'}]}}",
     "linux.namespaces[1]: \"pid\" stands there twice"},
    {"{'linux':{'namespaces':[{'path':'/x'}]}}", "linux.namespaces[0]: has no \"type\""},
    {"{'linux':{'namespaces':[{'type':'pid','path':'x'}]}}",
     "linux.namespaces[0].path: expected an absolute path, found \"x\" (a string)"},
    {"{'linux':{'uidMappings':[{'containerID':0,'hostID':1,'size':0}]}}",
     "linux.uidMappings[0].size: expected a whole number from 1 to 4294967295, found 0"},
    {"{'linux':{'devices':[{'path':'/dev/x','type':'c','major':1}]}}",
     "linux.devices[0]: has no \"minor\""},
    {"{'linux':{'devices':[{'path':'/dev/x','type':'z'}]}}",
     "linux.devices[0].type: expected one of \"c\", \"b\", \"u\", \"p\", found \"z\" (a string)"},
    {"{'linux':{'resources':{'devices':[{'allow':true,'access':'rwx'}]}}}",
     "linux.resources.devices[0].access: expected letters of \"rwm\", found \"rwx\" (a string)"},
    {"{'linux':{'resources':{'memory':{'limit':'256MB'}}}}",
     "linux.resources.memory.limit: expected a number of bytes > 0, found \"256MB\" (a string)"},
    {"{'linux':{'resources':{'memory':{'limit':0}}}}",
     "linux.resources.memory.limit: expected a number of bytes > 0, found 0"},
    {"{'linux':{'resources':{'memory':{'limit':-2}}}}",
     "linux.resources.memory.limit: expected a number of bytes > 0, found -2"},
    {"{'linux':{'resources':{'memory':{'limit':1e400}}}}",
     "linux.resources.memory.limit: expected a number of bytes > 0, found 1e400"},
    {"{'linux':{'resources':{'memory':{'limit':9223372036854775808}}}}",
     "linux.resources.memory.limit: expected a number of bytes > 0, found 9223372036854775808"},
    {"{'linux':{'resources':{'memory':{'swap':5}}}}",
     "linux.resources.memory.swap: is the sum of memory and swap and needs memory.limit"},
    {"{'linux':{'resources':{'memory':{'limit':6,'swap':5}}}}",
     "linux.resources.memory.swap: is the sum of memory and swap, but less than the memory limit"},
    {"{'linux':{'resources':{'pids':{'limit':0}}}}",
     "linux.resources.pids.limit: expected a number of processes > 0, or -1 for no limit, found 0"},
    {"{'linux':{'resources':{'cpu':{'quota':999}}}}",
     "linux.resources.cpu.quota: expected microseconds of CPU time a period, at least 1000, or -1 "
     "for no limit, found 999"},
    {"{'linux':{'resources':{'cpu':{'period':999}}}}",
     "linux.resources.cpu.period: expected a whole number from 1000 to 1000000, found 999"},
    {"{'linux':{'resources':{'cpu':{'shares':1}}}}",
     "linux.resources.cpu.shares: expected a whole number from 2 to 262144, found 1"},
    {"{'linux':{'resources':{'cpu':{'cpus':'0-'}}}}",
     "linux.resources.cpu.cpus: expected a list like \"0-3,5\", found \"0-\" (a string)"},
    {"{'linux':{'resources':{'cpu':{'mems':'3-1'}}}}",
     "linux.resources.cpu.mems: expected a list like \"0-3,5\", found \"3-1\" (a string)"},
    {"{'linux':{'resources':{'cpu':{'idle':2}}}}",
     "linux.resources.cpu.idle: expected a whole number from 0 to 1, found 2"},
    {"{'linux':{'resources':{'blockIO':{'weight':9}}}}",
     "linux.resources.blockIO.weight: expected a whole number from 10 to 1000, found 9"},
    {"{'linux':{'resources':{'blockIO':{'throttleReadBpsDevice':[{'major':8,'minor':0}]}}}}",
     "linux.resources.blockIO.throttleReadBpsDevice[0]: has no \"rate\""},
    {"{'linux':{'resources':{'hugepageLimits':[{'pageSize':'2M','limit':1}]}}}",
     "linux.resources.hugepageLimits[0].pageSize: expected a page size like \"2MB\", found "
     "\"2M\" (a string)"},
    {"{'linux':{'sysctl':{'net.ipv4.ip_forward':1}}}",
     "linux.sysctl[\"net.ipv4.ip_forward\"]: expected a string, found 1"},
    {"{'linux':{'maskedPaths':['/a','b']}}",
     "linux.maskedPaths[1]: expected an absolute path, found \"b\" (a string)"},
    {"{'linux':{'rootfsPropagation':'shraed'}}",
     "linux.rootfsPropagation: expected one of \"private\", \"rprivate\", \"slave\", \"rslave\", "
     "\"shared\", \"rshared\", \"unbindable\", \"runbindable\", found \"shraed\" (a string); did "
     "you mean \"shared\"?"},
    {"{'linux':{'personality':{}}}", "linux.personality: has no \"domain\""},
    {"{'linux':{'personality':{'domain':'BSD'}}}",
     "linux.personality.domain: expected one of \"LINUX\", \"LINUX32\", found \"BSD\" (a string)"},
    {"{'linux':{'timeOffsets':{'boottime':{'nanosecs':1000000000}}}}",
     "linux.timeOffsets.boottime.nanosecs: expected a whole number from 0 to 999999999, found "
     "1000000000"},
    {"{'linux':{'seccomp':{}}}", "linux.seccomp: has no \"defaultAction\""},
    {"{'linux':{'seccomp':{'defaultAction':'SCMP_ACT_ALOW'}}}",
     "linux.seccomp.defaultAction: expected one of \"SCMP_ACT_ALLOW\", \"SCMP_ACT_ERRNO\", "
     "\"SCMP_ACT_KILL\", \"SCMP_ACT_KILL_PROCESS\", \"SCMP_ACT_KILL_THREAD\", \"SCMP_ACT_TRAP\", "
     "\"SCMP_ACT_TRACE\", \"SCMP_ACT_LOG\", \"SCMP_ACT_NOTIFY\", found \"SCMP_ACT_ALOW\" (a "
     "string); did you mean \"SCMP_ACT_ALLOW\"?"},
    {"{'linux':{'seccomp':{'defaultAction':'SCMP_ACT_ALLOW','syscalls':[{'names':[],"
     "'action':'SCMP_ACT_ERRNO'}]}}}",
     "linux.seccomp.syscalls[0].names: names no syscall"},
    {"{'linux':{'seccomp':{'defaultAction':'SCMP_ACT_ALLOW','syscalls':[{'names':['read'],"
     "'action':'SCMP_ACT_ERRNO','args':[{'index':6,'value':0,'op':'SCMP_CMP_EQ'}]}]}}}",
     "linux.seccomp.syscalls[0].args[0].index: expected a whole number from 0 to 5, found 6"},
    /* cloche */
    {"{'cloche':[]}", "cloche: expected an object, found an empty array"},
    {"{'cloche':{'limit':{}}}", "cloche.limit: no such property; did you mean \"limits\"?"},
    {"{'cloche':{'x':{}}}", "cloche.x: no such property"},
    {"{'cloche':{'limits':{'memory_byte':1}}}",
     "cloche.limits.memory_byte: no such property; did you mean \"memory_bytes\"?"},
    {"{'cloche':{'limits':{'memory_bytes':0}}}",
     "cloche.limits.memory_bytes: expected a number of bytes > 0, found 0"},
    {"{'cloche':{'limits':{'wall_ms':-1}}}",
     "cloche.limits.wall_ms: expected a number of milliseconds > 0, found -1"},
    {"{'cloche':{'limits':{'wall_ms':'10s'}}}",
     "cloche.limits.wall_ms: expected a number of milliseconds > 0, found \"10s\" (a string)"},
    {"{'cloche':{'limits':{'cpus':0}}}",
     "cloche.limits.cpus: expected a number of CPUs from 0.01 to 8192, found 0"},
    {"{'cloche':{'limits':{'cpus':1e400}}}",
     "cloche.limits.cpus: expected a number of CPUs from 0.01 to 8192, found 1e400"},
    {"{'linux':{'resources':{'memory':{'limit':5}}},'cloche':{'limits':{'memory_bytes':6}}}",
     "cloche.limits.memory_bytes: differs from linux.resources.memory.limit: give one of them, or "
     "the same value"},
    {"{'linux':{'resources':{'memory':{'limit':5,'swap':7}}},'cloche':{'limits':{'swap_bytes':3}}}",
     "cloche.limits.swap_bytes: differs from linux.resources.memory.swap (which counts memory and "
     "swap together): give one of them, or the same value"},
    {"{'linux':{'resources':{'pids':{'limit':5}}},'cloche':{'limits':{'processes':6}}}",
     "cloche.limits.processes: differs from linux.resources.pids.limit: give one of them, or the "
     "same value"},
    {"{'linux':{'resources':{'cpu':{'quota':50000}}},'cloche':{'limits':{'cpus':1}}}",
     "cloche.limits.cpus: differs from linux.resources.cpu.quota: give one of them, or the same "
     "value"},
    {"{'process':{'rlimits':[{'type':'RLIMIT_NOFILE','soft':5,'hard':5}]},"
     "'cloche':{'limits':{'open_files':6}}}",
     "cloche.limits.open_files: differs from process.rlimits: give one of them, or the same value"},
    {"{'process':{'rlimits':[{'type':'RLIMIT_NOFILE','soft':6,'hard':5}]},"
     "'cloche':{'limits':{'open_files':5}}}",
     "process.rlimits[0]: resource limit RLIMIT_NOFILE: the soft limit is above the hard limit"},
    {"{'mounts':[{'destination':'/tmp','type':'tmpfs','options':['size=1m']}],"
     "'cloche':{'limits':{'tmp_bytes':5}}}",
     "cloche.limits.tmp_bytes: differs from the option \"size=1m\" of the mount at /tmp"},
    {"{'cloche':{'enforce':'must'}}",
     "cloche.enforce: expected one of \"required\", \"best-effort\", found \"must\" (a string)"},
    {"{'cloche':{'rootfs':'hosts'}}",
     "cloche.rootfs: expected one of \"host\", \"empty\", found \"hosts\" (a string); did you mean "
     "\"host\"?"},
    {"{'cloche':{'rootfs':{}}}", "cloche.rootfs: has no \"path\""},
    {"{'root':{'path':'/a'},'cloche':{'rootfs':{'path':'/b'}}}",
     "cloche.rootfs: differs from root.path: give one of them, or the same path"},
    {"{'cloche':{'network':'hots'}}",
     "cloche.network: " ANY_NETWORK "\"hots\" (a string); did you mean \"host\"?"},
    {"{'cloche':{'network':{'address':'10.0.0.2/24'}}}", "cloche.network: has no \"bridge\""},
    {"{'cloche':{'network':{'bridge':'br0','adress':'10.0.0.2/24'}}}",
     "cloche.network.adress: no such property; did you mean \"address\"?"},
    {"{'linux':{'namespaces':[{'type':'mount'},{'type':'network'}]},'cloche':{'network':'host'}}",
     "cloche.network: is \"host\", but linux.namespaces lists a network namespace"},
    {"{'linux':{'namespaces':[{'type':'mount'}]},'cloche':{'network':'none'}}",
     "cloche.network: asks for a network of its own, but linux.namespaces lists no network "
     "namespace"},
    {"{'cloche':{'seccomp':7}}",
     "cloche.seccomp: expected the name of a syscall filter, or \"unconfined\", found 7"},
    {"{'linux':{'seccomp':{'defaultAction':'SCMP_ACT_ALLOW'}},'cloche':{'seccomp':'tight'}}",
     "cloche.seccomp: linux.seccomp is given, too: give one of them"},
    {"{'cloche':{'landlock':{'read':['etc']}}}",
     "cloche.landlock.read[0]: expected an absolute path, found \"etc\" (a string)"},
    {"{'cloche':{'landlock':{'tcp_bind':[65536]}}}",
     "cloche.landlock.tcp_bind[0]: expected a whole number from 0 to 65535, found 65536"},
    {"{'cloche':{'monitor':{'warn_percent':101}}}",
     "cloche.monitor.warn_percent: expected a whole number from 1 to 100, found 101"},
    {"{'cloche':{'monitor':{'action':'trottle'}}}",
     "cloche.monitor.action: expected one of \"none\", \"warn\", \"throttle\", \"kill\", found "
     "\"trottle\" (a string); did you mean \"throttle\"?"},
    {"{'cloche':{'strategy':'one_for_al'}}",
     "cloche.strategy: expected one of \"one_for_one\", \"one_for_all\", \"rest_for_one\", found "
     "\"one_for_al\" (a string); did you mean \"one_for_all\"?"},
    {"{'cloche':{'children':[{'id':'a','kind':'command'}]}}",
     "cloche.children[0]: has no \"args\""},
    {"{'cloche':{'children':[{'kind':'module','module':'m'}]}}",
     "cloche.children[0]: has no \"id\""},
    {"{'cloche':{'children':[{'id':'a','kind':'module','module':'m'},"
     "{'id':'a','kind':'module','module':'m'}]}}",
     "cloche.children[1]: a second child of the id \"a\""},
    {"{'cloche':{'children':[{'id':'s','kind':'supervisor','children':[{'id':'../x',"
     "'kind':'module','module':'m'}]}]}}",
     "cloche.children[0].children[0].id: expected a name of letters, digits, \"_\", \".\" and "
     "\"-\", at most 64 of them, found \"../x\" (a string)"},
    {"{'cloche':{'modules':{'../x':{}}}}",
     "cloche.modules[\"../x\"]: a module is named by letters, digits, \"_\", \".\" and \"-\", at "
     "most 64 of them"},
    {"{'cloche':{'module_policy':{'deny':[]}}}", "cloche.module_policy.deny: no such property"},
    {"{'cloche':{'modules':{'m':{'state':'kep'}}}}",
     "cloche.modules.m.state: expected one of \"keep\", \"migrate\", \"empty\", found \"kep\" (a "
     "string); did you mean \"keep\"?"},
};

/* what Cloche knows and cannot do */
static const struct {
    const char *json, *message;
} unsupported[] = {
    {"{'ociVersion':'2.0.0'}", "ociVersion: version \"2.0.0\" is not supported, 1.x is"},
    {"{'hooks':{'prestart':[{'path':'/x'}]}}",
     "hooks.prestart: hooks are not supported: they run programs on the host, outside the sandbox"},
    {"{'windows':{'layerFolders':['x']}}", "windows: not supported: Cloche runs Linux programs"},
    {"{'process':{'apparmorProfile':'docker-default'}}",
     "process.apparmorProfile: not supported: Cloche does not switch AppArmor profiles"},
    {"{'process':{'scheduler':{'policy':'SCHED_IDLE'}}}", "process.scheduler: not supported"},
    {"{'mounts':[{'destination':'/a','type':'ext4','source':'/dev/sda'}]}",
     "mounts[0].type: a sandbox cannot mount \"ext4\"; it can mount bind, tmpfs, proc, sysfs, "
     "devpts, mqueue, cgroup"},
    {"{'mounts':[{'destination':'/a','type':'tmpfs','options':['remount']}]}",
     "mounts[0].options[0]: mount option \"remount\" is not supported"},
    {"{'linux':{'resources':{'memory':{'swappiness':60}}}}",
     "linux.resources.memory.swappiness: not supported: there is none in cgroup version 2"},
    {"{'linux':{'resources':{'memory':{'disableOOMKiller':true}}}}",
     "linux.resources.memory.disableOOMKiller: not supported: there is none in cgroup version 2"},
    {"{'linux':{'resources':{'network':{'classID':1}}}}",
     "linux.resources.network: not supported: there is none in cgroup version 2"},
    {"{'linux':{'resources':{'rdma':{'mlx':{'hcaHandles':1}}}}}",
     "linux.resources.rdma: not supported"},
    {"{'linux':{'mountLabel':'system_u'}}",
     "linux.mountLabel: not supported: Cloche does not set SELinux labels"},
    {"{'linux':{'intelRdt':{'closID':'x'}}}", "linux.intelRdt: not supported"},
    {"{'linux':{'seccomp':{'defaultAction':'SCMP_ACT_ALLOW','listenerPath':'/x'}}}",
     "linux.seccomp.listenerPath: not supported: Cloche answers notifications itself"},
};

/* single quotes stand for double ones, so that the tables can be read */
static char *quotes(const char *text)
{
    char *out = strdup(text);
    for (char *p = out; p != NULL && *p != '\0'; p++) {
        if (*p == '\'')
            *p = '"';
    }
    cr_assert_not_null(out);
    return out;
}

static void expect_refused(const char *json, const char *code, const char *message)
{
    _cleanup_spec_ struct spec *s = spec_new();
    _cleanup_free_ char *text = quotes(json);
    struct error err;
    cr_expect_eq(apply(s, text, &err), -1, "%s was taken", text);
    cr_expect_str_eq(err.message, message, "%s: %s", text, err.message);
    cr_expect_str_eq(err.code == NULL ? "none" : err.code, code, "%s", text);
}

Test(spec_read, invalid_values)
{
    for (size_t i = 0; i < COUNT(invalid); i++)
        expect_refused(invalid[i].json, "spec.invalid", invalid[i].message);
}

Test(spec_read, known_but_not_supported)
{
    for (size_t i = 0; i < COUNT(unsupported); i++)
        expect_refused(unsupported[i].json, "spec.unsupported", unsupported[i].message);
}

Test(spec_read, all_problems_at_once)
{
    expect_refused("{'hooks':{'poststop':[{'path':'/x'}]},'process':{'cwd':'x','terminal':0},"
                   "'cloche':{'limits':{'wall_ms':0}}}",
                   "spec.invalid",
                   "4 problems:\n"
                   "process.terminal: expected true or false, found 0\n"
                   "process.cwd: expected an absolute path, found \"x\" (a string)\n"
                   "hooks.poststop: hooks are not supported: they run programs on the host, "
                   "outside the sandbox\n"
                   "cloche.limits.wall_ms: expected a number of milliseconds > 0, found 0");
}

Test(spec_read, more_problems_than_fit)
{
    char text[20000] = "{\"process\":{\"args\":[\"x\"";
    size_t n = strlen(text);
    for (int i = 0; i < 2000; i++)
        n += (size_t)snprintf(text + n, sizeof text - n, ",%d", i);
    snprintf(text + n, sizeof text - n, "]}}");
    _cleanup_spec_ struct spec *s = spec_new();
    struct error err;
    cr_assert_eq(apply(s, text, &err), -1);
    cr_expect_eq(strncmp(err.message, "2000 problems:\nprocess.args[1]: ", 32), 0, "%s",
                 err.message);
    const char *last = strrchr(err.message, '\n');
    unsigned more = 0;
    cr_assert_not_null(last);
    cr_expect_eq(sscanf(last, "\nand %u more", &more), 1, "%s", last);
    size_t lines = 0;
    for (const char *p = err.message; *p != '\0'; p++)
        lines += *p == '\n';
    cr_expect_eq(lines - 1 + more, 2000, "%zu shown and %u more", lines - 1, more);
    cr_expect_str_eq(err.path, "process.args[1]");
}

/* --- what properties mean -------------------------------------------------------------------- */

/* both files make the same sandbox */
static const struct {
    const char *one, *other;
} same[] = {
    {"{}", "{'unknown':{'deep':[1]},'process':{'nonsense':true}}"},
    {"{}", "{'process':null,'mounts':null,'linux':{'resources':null,'seccomp':null}}"},
    {"{}", "{'hooks':{}}"},
    {"{}", "{'hooks':{'prestart':[],'poststop':null}}"},
    {"{}", "{'process':{'apparmorProfile':'','selinuxLabel':''}}"},
    {"{}", "{'linux':{'resources':{'memory':{'swappiness':0,'kernel':-1,'useHierarchy':true}}}}"},
    {"{}", "{'linux':{'resources':{'memory':{'limit':-1},'pids':{'limit':-1},'cpu':{'quota':-1,"
           "'period':0,'shares':0,'cpus':''}}}}"},
    {"{}", "{'cloche':{'limits':{'memory_bytes':null,'wall_ms':null}}}"},
    {"{'cloche':{'limits':{'memory_bytes':5}}}", "{'linux':{'resources':{'memory':{'limit':5}}}}"},
    {"{'cloche':{'limits':{'memory_bytes':5}}}",
     "{'linux':{'resources':{'memory':{'limit':5}}},'cloche':{'limits':{'memory_bytes':5}}}"},
    {"{'cloche':{'limits':{'memory_bytes':1024}}}",
     "{'linux':{'resources':{'memory':{'limit':1.024e3}}}}"},
    {"{'cloche':{'limits':{'memory_bytes':5,'swap_bytes':2}}}",
     "{'linux':{'resources':{'memory':{'limit':5,'swap':7}}}}"},
    {"{'cloche':{'limits':{'memory_bytes':5,'swap_bytes':0}}}",
     "{'linux':{'resources':{'memory':{'swap':5,'limit':5}}},'cloche':{'limits':{'swap_bytes':0}}"
     "}"},
    {"{'cloche':{'limits':{'memory_bytes':5,'swap_bytes':null}}}",
     "{'linux':{'resources':{'memory':{'limit':5,'swap':-1}}}}"},
    {"{'linux':{'resources':{'memory':{'swap':9}}},'cloche':{'limits':{'memory_bytes':5}}}",
     "{'cloche':{'limits':{'memory_bytes':5,'swap_bytes':4}}}"},
    {"{'cloche':{'limits':{'processes':5}}}", "{'linux':{'resources':{'pids':{'limit':5}}}}"},
    {"{'cloche':{'limits':{'cpus':1.5}}}", "{'linux':{'resources':{'cpu':{'quota':150000}}}}"},
    {"{'linux':{'resources':{'cpu':{'period':50000}}},'cloche':{'limits':{'cpus':0.5}}}",
     "{'linux':{'resources':{'cpu':{'quota':25000,'period':50000}}}}"},
    {"{'cloche':{'limits':{'open_files':5}}}",
     "{'process':{'rlimits':[{'type':'RLIMIT_NOFILE','soft':5,'hard':5}]}}"},
    {"{'cloche':{'limits':{'file_bytes':5}}}",
     "{'process':{'rlimits':[{'type':'RLIMIT_FSIZE','soft':5,'hard':5}]},"
     "'cloche':{'limits':{'file_bytes':5}}}"},
    {"{'process':{'rlimits':[{'type':'RLIMIT_CORE','soft':18446744073709551615,'hard':-1}]}}",
     "{'process':{'rlimits':[{'type':'rlimit_core','soft':-1,'hard':18446744073709551615}]}}"},
    {"{'cloche':{'network':'host'}}", "{'linux':{'namespaces':[{'type':'pid'},{'type':'mount'},"
                                      "{'type':'ipc'},{'type':'uts'},{'type':'cgroup'}]}}"},
    {"{}", "{'linux':{'namespaces':[{'type':'pid'},{'type':'mount'},{'type':'ipc'},{'type':'uts'},"
           "{'type':'cgroup'},{'type':'network'}]}}"},
    {"{}", "{'linux':{'namespaces':[{'type':'pid'},{'type':'mount'},{'type':'ipc'},{'type':'uts'},"
           "{'type':'cgroup'},{'type':'network'},{'type':'user'}]}}"},
    {"{'mounts':[{'destination':'/a','type':'tmpfs','options':['ro']}]}",
     "{'mounts':[{'destination':'/a/','type':'tmpfs','options':['rw','defaults','ro']}]}"},
    {"{'mounts':[{'destination':'/a','type':'bind','source':'/b','options':['rbind']}]}",
     "{'mounts':[{'destination':'/a','type':'none','source':'/b//','options':['rbind']}]}"},
    {"{'mounts':[{'destination':'/a','type':'bind','source':'/bundle/data','options':[]}]}",
     "{'mounts':[{'destination':'/a','source':'./data','options':['bind']}]}"},
    {"{'mounts':[{'destination':'/sys/fs/cgroup','type':'cgroup','options':['ro']}]}",
     "{'mounts':[{'destination':'/sys/fs/cgroup','type':'cgroup2','options':['ro']}]}"},
    {"{'mounts':[{'destination':'/tmp','type':'tmpfs','options':['mode=1777']}],"
     "'cloche':{'limits':{'tmp_bytes':1048576,'tmp_files':2048}}}",
     "{'mounts':[{'destination':'/tmp','type':'tmpfs','options':['size=1m','mode=1777',"
     "'nr_inodes=2k']}],'cloche':{}}"},
    {"{'cloche':{'rootfs':{'path':'/data'}}}", "{'root':{'path':'/data','readonly':true},"
                                               "'cloche':{}}"},
    {"{'cloche':{'rootfs':{'path':'rootfs'}}}", "{'cloche':{'rootfs':{'path':'/bundle/rootfs'}}}"},
    {"{'cloche':{'rootfs':'empty'}}",
     "{'root':{'path':'/','readonly':true},'cloche':{'rootfs':'empty'}}"},
    {"{'cloche':{'description':'x','extends':'strict'}}", "{'cloche':{'extends':'strict'}}"},
    {"{'linux':{'devices':[{'path':'/dev/x','type':'c','major':1,'minor':3}]}}",
     "{'linux':{'devices':[{'path':'/dev//x','type':'u','major':1,'minor':3,"
     "'uid':0,'gid':0}]}}"},
};

Test(spec_read, different_words_for_the_same)
{
    for (size_t i = 0; i < COUNT(same); i++) {
        _cleanup_spec_ struct spec *a = spec_new(), *b = spec_new();
        _cleanup_free_ char *one = quotes(same[i].one), *other = quotes(same[i].other);
        struct error err;
        cr_assert_eq(apply(a, one, &err), 0, "%s: %s", one, err.message);
        cr_assert_eq(apply(b, other, &err), 0, "%s: %s", other, err.message);
        const char *differs = spec_differs(a, b);
        cr_expect_null(differs, "%s and %s differ in %s", one, other, differs);
        cr_expect_eq(spec_validate(a, &err), 0, "%s: %s", one, err.message);
    }
}

/* The comparison above is worth something only if properties are read at all: each of these must
 * change the member that is named. */
Test(spec_read, every_property_is_read)
{
    static const struct {
        const char *json, *member;
    } table[] = {
        {"{'ociVersion':'1.0.2'}", "oci_version"},
        {"{'process':{'args':['x']}}", "args"},
        {"{'process':{'env':['A=1']}}", "env"},
        {"{'process':{'cwd':'/tmp'}}", "cwd"},
        {"{'process':{'terminal':true}}", "terminal"},
        {"{'process':{'consoleSize':{'height':5}}}", "console_rows"},
        {"{'process':{'consoleSize':{'width':5}}}", "console_columns"},
        {"{'process':{'user':{'uid':5,'gid':1000}}}", "uid"},
        {"{'process':{'user':{'gid':5,'uid':1000}}}", "gid"},
        {"{'process':{'user':{'uid':1000,'gid':1000,'umask':63}}}", "umask"},
        {"{'process':{'user':{'uid':1000,'gid':1000,'additionalGids':[5]}}}",
         "additional_gid_count"},
        {"{'process':{'capabilities':{'bounding':['CAP_KILL']}}}", "capabilities.bounding"},
        {"{'process':{'capabilities':{'effective':['CAP_KILL']}}}", "capabilities.effective"},
        {"{'process':{'capabilities':{'inheritable':['CAP_KILL']}}}", "capabilities.inheritable"},
        {"{'process':{'capabilities':{'permitted':['CAP_KILL']}}}", "capabilities.permitted"},
        {"{'process':{'capabilities':{'ambient':['CAP_KILL']}}}", "capabilities.ambient"},
        {"{'process':{'noNewPrivileges':false}}", "no_new_privileges"},
        {"{'process':{'oomScoreAdj':5}}", "oom_score_adj_set"},
        {"{'root':{'readonly':false}}", "rootfs_readonly"},
        {"{'hostname':'x'}", "hostname"},
        {"{'hostname':''}", "hostname"},
        {"{'domainname':'x'}", "domainname"},
        {"{'annotations':{'a':'b'}}", "annotations"},
        {"{'linux':{'uidMappings':[{'containerID':0,'hostID':1,'size':2}]}}", "uid_maps"},
        {"{'linux':{'gidMappings':[{'containerID':0,'hostID':1,'size':2}]}}", "gid_maps"},
        {"{'linux':{'devices':[{'path':'/dev/x','type':'p'}]}}", "device_count"},
        {"{'linux':{'cgroupsPath':'/x'}}", "cgroups_path"},
        {"{'linux':{'resources':{'memory':{'limit':5}}}}", "memory_bytes"},
        {"{'linux':{'resources':{'memory':{'reservation':5}}}}", "memory_high_bytes"},
        {"{'linux':{'resources':{'memory':{'swap':-1}}}}", "swap_bytes"},
        {"{'linux':{'resources':{'pids':{'limit':5}}}}", "processes"},
        {"{'linux':{'resources':{'cpu':{'quota':5000}}}}", "cpu_quota_us"},
        {"{'linux':{'resources':{'cpu':{'period':5000}}}}", "cpu_period_us"},
        {"{'linux':{'resources':{'cpu':{'shares':5}}}}", "cpu_shares"},
        {"{'linux':{'resources':{'cpu':{'idle':1}}}}", "cpu_idle"},
        {"{'linux':{'resources':{'cpu':{'cpus':'0-1,4'}}}}", "cpuset_cpus"},
        {"{'linux':{'resources':{'cpu':{'mems':'0'}}}}", "cpuset_mems"},
        {"{'linux':{'resources':{'blockIO':{'weight':50}}}}", "blkio_weight"},
        {"{'linux':{'resources':{'blockIO':{'weightDevice':[{'major':8,'minor':0,'weight':50}]}}}}",
         "blkio_device_count"},
        {"{'linux':{'resources':{'hugepageLimits':[{'pageSize':'2MB','limit':5}]}}}",
         "hugepage_count"},
        {"{'linux':{'resources':{'unified':{'memory.high':'5'}}}}", "unified"},
        {"{'linux':{'resources':{'devices':[{'allow':false}]}}}", "device_rule_count"},
        {"{'linux':{'sysctl':{'net.core.somaxconn':'5'}}}", "sysctl"},
        {"{'linux':{'seccomp':{'defaultAction':'SCMP_ACT_ALLOW'}}}", "seccomp.kind"},
        {"{'linux':{'maskedPaths':['/x']}}", "masked_paths"},
        {"{'linux':{'readonlyPaths':['/x']}}", "readonly_paths"},
        {"{'linux':{'rootfsPropagation':'slave'}}", "rootfs_propagation"},
        {"{'linux':{'personality':{'domain':'LINUX32'}}}", "personality"},
        {"{'linux':{'timeOffsets':{'monotonic':{'secs':-5}}}}", "time_offset_set[i]"},
        {"{'cloche':{'profile':'x'}}", "profile"},
        {"{'cloche':{'limits':{'cpu_ms':5}}}", "cpu_time_ms"},
        {"{'cloche':{'limits':{'wall_ms':5}}}", "wall_ms"},
        {"{'cloche':{'limits':{'output_bytes':5}}}", "output_bytes"},
        {"{'cloche':{'limits':{'swap_bytes':5}}}", "swap_bytes"},
        {"{'cloche':{'limits':{'tmp_bytes':5}}}", "tmp_bytes"},
        {"{'cloche':{'limits':{'tmp_files':5}}}", "tmp_files"},
        {"{'cloche':{'enforce':'best-effort'}}", "enforce_required"},
        {"{'cloche':{'rootfs':'empty'}}", "rootfs"},
        {"{'cloche':{'network':'loopback'}}", "network"},
        {"{'cloche':{'network':{'bridge':'br0'}}}", "network"},
        {"{'cloche':{'seccomp':'wide'}}", "seccomp.name"},
        {"{'cloche':{'seccomp':'unconfined'}}", "seccomp.kind"},
        {"{'cloche':{'landlock':{}}}", "landlock.given"},
        {"{'cloche':{'monitor':{'interval_ms':50}}}", "monitor_interval_ms"},
        {"{'cloche':{'monitor':{'warn_percent':50}}}", "monitor_warn_percent"},
        {"{'cloche':{'monitor':{'action':'throttle'}}}", "monitor_action"},
        {"{'cloche':{'idle_timeout_s':5}}", "idle_timeout_s"},
        {"{'cloche':{'ttl_s':5}}", "ttl_s"},
        {"{'cloche':{'children':[]}}", "children_json"},
        {"{'cloche':{'modules':{}}}", "modules_json"},
        {"{'cloche':{'module_policy':{}}}", "module_policy_json"},
        {"{'cloche':{'strategy':'one_for_all'}}", "strategy"},
        {"{'cloche':{'max_restarts':50}}", "max_restarts"},
        {"{'cloche':{'max_seconds':50}}", "max_seconds"},
    };
    for (size_t i = 0; i < COUNT(table); i++) {
        _cleanup_spec_ struct spec *a = spec_new(), *b = spec_new();
        _cleanup_free_ char *text = quotes(table[i].json);
        struct error err;
        cr_assert_eq(apply(b, text, &err), 0, "%s: %s", text, err.message);
        const char *differs = spec_differs(a, b);
        cr_expect_str_eq(differs == NULL ? "nothing" : differs, table[i].member, "%s", text);
    }
}

/* --- layers ---------------------------------------------------------------------------------- */

Test(spec_read, a_later_layer_replaces)
{
    _cleanup_spec_ struct spec *s = spec_new();
    _cleanup_free_ char *low =
        quotes("{'process':{'args':['a','b'],'user':{'uid':5,'gid':6,'additionalGids':[7]},"
               "'rlimits':[{'type':'RLIMIT_CORE','soft':0,'hard':0},"
               "{'type':'RLIMIT_NOFILE','soft':5,'hard':5}]},"
               "'mounts':[{'destination':'/a','type':'tmpfs'}],"
               "'cloche':{'limits':{'wall_ms':5,'memory_bytes':5,'file_bytes':7}}}");
    _cleanup_free_ char *high = quotes(
        "{'process':{'args':['c'],'user':{'uid':8}},'mounts':[{'destination':'/b','type':'tmpfs'}],"
        "'cloche':{'limits':{'wall_ms':null,'open_files':null}}}");
    struct error err;
    cr_assert_eq(apply(s, low, &err), 0, "%s", err.message);
    cr_assert_eq(apply(s, high, &err), 0, "%s", err.message);
    cr_expect_eq(s->args.count, 1);
    cr_expect_str_eq(s->args.items[0], "c");
    cr_expect(s->uid == 8 && s->gid == 0 && s->additional_gid_count == 0, "user is one value");
    cr_assert_eq(s->mount_count, 1);
    cr_expect_str_eq(s->mounts[0].destination, "/b");
    cr_expect_eq(s->wall_ms, LIMIT_NONE);
    cr_expect_eq(s->resources.memory_bytes, 5);
    cr_assert_eq(s->rlimit_count, 2, "open_files: null takes RLIMIT_NOFILE away");
    cr_expect_eq(s->rlimits[0].resource, RLIMIT_CORE);
    cr_expect_eq(s->rlimits[1].resource, RLIMIT_FSIZE);
}

Test(spec_read, a_bundle_states_everything)
{
    _cleanup_spec_ struct spec *s = spec_new();
    _cleanup_free_ char *text =
        quotes("{'ociVersion':'1.0.0','root':{'path':'rootfs'},'process':{'args':['x'],'cwd':'/'},"
               "'linux':{'namespaces':[{'type':'mount'},{'type':'pid'}]}}");
    struct error err;
    cr_assert_eq(apply(s, text, &err), 0, "%s", err.message);
    cr_assert_eq(spec_validate(s, &err), 0, "%s", err.message);
    cr_expect_eq(s->rootfs, ROOTFS_DIR);
    cr_expect_str_eq(s->rootfs_path, "/bundle/rootfs");
    cr_expect_not(s->rootfs_readonly);
    cr_expect_eq(s->mount_count, 0);
    cr_expect_eq(s->env.count, 0);
    cr_expect(s->uid == 0 && s->gid == 0);
    cr_expect_eq(s->network, NETWORK_HOST);
    cr_expect(s->ns_new[NS_USER] && s->ns_new[NS_PID] && s->ns_new[NS_MOUNT]);
    cr_expect_not(s->ns_new[NS_IPC] || s->ns_new[NS_UTS] || s->ns_new[NS_NETWORK] ||
                  s->ns_new[NS_CGROUP]);
    cr_expect_null(s->hostname, "no name for a host that is not ours");
    cr_expect(s->no_new_privileges, "stays unless the file says otherwise");
    cr_expect_str_eq(s->seccomp.name, "wide");

    /* a profile below keeps its filter */
    _cleanup_spec_ struct spec *t = spec_new();
    cr_assert_eq(spec_apply_profile(t, "student", &err), 0, "%s", err.message);
    cr_assert_eq(apply(t, text, &err), 0, "%s", err.message);
    cr_expect_str_eq(t->seccomp.name, "tight");
    cr_expect_eq(t->resources.memory_bytes, 256 << 20);
}

Test(spec_read, paths_without_a_bundle)
{
    _cleanup_spec_ struct spec *s = spec_new();
    struct error err = ERROR_INIT;
    static const char text[] =
        "{\"root\":{\"path\":\"rootfs\"},\"mounts\":[{\"destination\":\"/a\","
        "\"type\":\"bind\",\"source\":\"b\"}]}";
    cr_assert_eq(spec_apply_json(s, text, strlen(text), NULL, &err), -1);
    cr_expect_str_eq(err.message,
                     "2 problems:\n"
                     "mounts[0]: the source \"b\" is relative, but there is no bundle directory\n"
                     "root.path: \"rootfs\" is relative, but there is no bundle directory");
}

Test(spec_read, unknown_properties)
{
    static const struct {
        const char *json, *paths; /* by lines */
    } table[] = {
        {"{}", ""},
        {"{'process':{'args':['x'],'commandLine':'x'}}", ""},
        {"{'proces':{}}", "proces (did you mean \"process\"?)\n"},
        {"{'x':1,'linux':{'resources':{'memory':{'limt':5}},'y z':{}}}",
         "linux.resources.memory.limt (did you mean \"limit\"?)\nlinux[\"y z\"]\nx\n"},
        {"{'mounts':[{'destination':'/a','type':'tmpfs'},{'destination':'/b','type':'tmpfs',"
         "'option':[]}]}",
         "mounts[1].option (did you mean \"options\"?)\n"},
        {"{'process':{'cwd':7,'zzz':0}}", "process.zzz\n"}, /* wrong values are no matter here */
    };
    for (size_t i = 0; i < COUNT(table); i++) {
        _cleanup_arena_ struct arena *a = arena_new();
        _cleanup_free_ char *text = quotes(table[i].json);
        struct strings list;
        struct error err = ERROR_INIT;
        cr_assert_eq(spec_unknown_properties(a, text, strlen(text), &list, &err), 0, "%s",
                     err.message);
        char lines[512] = "";
        for (size_t k = 0; k < list.count; k++)
            snprintf(lines + strlen(lines), sizeof lines - strlen(lines), "%s\n", list.items[k]);
        cr_expect_str_eq(lines, table[i].paths, "%s: %s", text, lines);
    }
    _cleanup_arena_ struct arena *a = arena_new();
    struct strings list;
    struct error err = ERROR_INIT;
    cr_expect_eq(spec_unknown_properties(a, "{", 1, &list, &err), -1);
    cr_expect_str_eq(err.code, "spec.syntax");
}
