#include "isolation/net.h"

#include "base/cleanup.h"
#include "base/io.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define NEEDS_ROOT()                                                                               \
    if (geteuid() != 0)                                                                            \
    cr_skip_test("needs root")

static void run(const char *command)
{
    cr_assert_eq(system(command), 0, "%s", command);
}

/* The network namespace of this test, with what a host has: lo and a bridge with an address. */
static void host(void)
{
    cr_assert_eq(unshare(CLONE_NEWNET), 0);
    run("ip link set lo up && ip link add br0 type bridge && ip addr add 10.77.0.1/24 dev br0 && "
        "ip addr add fd77::1/64 dev br0 nodad && ip link set br0 up");
}

/* A process in a network namespace of its own that waits to be killed. */
static pid_t inside(void)
{
    int ready[2];
    char c;
    cr_assert_eq(pipe(ready), 0);
    pid_t pid = fork();
    if (pid == 0) {
        if (unshare(CLONE_NEWNET) < 0 || write(ready[1], "x", 1) != 1)
            _exit(1);
        for (;;)
            pause();
    }
    cr_assert_eq(read(ready[0], &c, 1), 1);
    close(ready[0]);
    close(ready[1]);
    return pid;
}

static void finish(pid_t pid)
{
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}

static struct spec bridged(const char *bridge, const char *address, const char *gateway)
{
    return (struct spec){
        .network = NETWORK_BRIDGE, .bridge = bridge, .address = address, .gateway = gateway};
}

static void expect_error(pid_t pid, struct spec spec, const char *code, const char *message,
                         const char *hint)
{
    struct error err = ERROR_INIT;
    cr_expect_eq(net_bridge_attach(&spec, pid, "box", &err), -1);
    cr_expect_str_eq(err.code, code);
    cr_expect_str_eq(err.message, message);
    cr_expect_str_eq(err.hint, hint);
}

/* In @pid's namespace: the status of a shell command. */
static int within(pid_t pid, const char *command)
{
    char text[512];
    snprintf(text, sizeof text, "nsenter -t %d -n sh -c '%s'", (int)pid, command);
    return system(text);
}

static ino_t own_namespace(void)
{
    struct stat st;
    cr_assert_eq(stat("/proc/thread-self/ns/net", &st), 0);
    return st.st_ino;
}

/* Connect from inside to a listener of the host. */
static int reaches(pid_t pid, const char *address)
{
    struct sockaddr_in in = {.sin_family = AF_INET};
    socklen_t len = sizeof in;
    inet_pton(AF_INET, address, &in.sin_addr);
    _cleanup_close_ int listener = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(listener, (struct sockaddr *)&in, sizeof in) < 0 || listen(listener, 1) < 0)
        return -1;
    getsockname(listener, (struct sockaddr *)&in, &len);
    pid_t child = fork();
    if (child == 0) {
        char path[64];
        snprintf(path, sizeof path, "/proc/%d/ns/net", (int)pid);
        int ns = open(path, O_RDONLY);
        if (setns(ns, CLONE_NEWNET) < 0)
            _exit(1);
        int s = socket(AF_INET, SOCK_STREAM, 0);
        _exit(connect(s, (struct sockaddr *)&in, sizeof in) == 0 ? 0 : 2);
    }
    int status;
    waitpid(child, &status, 0);
    return WEXITSTATUS(status);
}

Test(net, loopback)
{
    NEEDS_ROOT();
    cr_assert_eq(unshare(CLONE_NEWNET), 0);
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int s = socket(AF_INET, SOCK_STREAM, 0), c = socket(AF_INET, SOCK_STREAM, 0);
    socklen_t len = sizeof in;
    in.sin_port = htons(9);
    cr_assert_eq(connect(c, (struct sockaddr *)&in, sizeof in), -1);
    cr_assert_eq(errno, ENETUNREACH);
    in.sin_port = 0;
    cr_assert_eq(net_loopback_up(), 0);
    cr_assert_eq(net_loopback_up(), 0);
    cr_assert_eq(bind(s, (struct sockaddr *)&in, sizeof in), 0);
    cr_assert_eq(listen(s, 1), 0);
    cr_assert_eq(getsockname(s, (struct sockaddr *)&in, &len), 0);
    cr_expect_eq(connect(c, (struct sockaddr *)&in, sizeof in), 0);
}

Test(net, bridge)
{
    NEEDS_ROOT();
    host();
    ino_t before = own_namespace();
    pid_t pid = inside(), second = inside();
    struct spec spec = bridged("br0", "10.77.0.2/24", "10.77.0.1");
    struct spec other = bridged("br0", "10.77.0.3/24", NULL);
    struct error err = ERROR_INIT;
    cr_assert_eq(net_bridge_attach(&spec, pid, "box", &err), 0, "%s", err.message);
    cr_assert_eq(net_bridge_attach(&other, second, "box2", &err), 0, "%s", err.message);
    cr_expect_eq(own_namespace(), before);
    cr_expect_eq(within(pid, "ip -o -4 addr show eth0 | grep -q \"inet 10.77.0.2/24\""), 0);
    cr_expect_eq(within(pid, "ip route | grep -q \"^default via 10.77.0.1 dev eth0\""), 0);
    cr_expect_eq(within(pid, "ip -o link show lo | grep -q LOOPBACK,UP"), 0);
    cr_expect_eq(within(second, "ip route | grep -q default"), 256);
    cr_expect_eq(reaches(pid, "10.77.0.1"), 0);
    cr_expect_eq(reaches(second, "10.77.0.1"), 0);

    char outside[IFNAMSIZ], command[128];
    net_bridge_peer_name(outside, "box");
    snprintf(command, sizeof command, "ip -o link show %s | grep -q 'master br0'", outside);
    run(command);

    /* the pair goes with the namespace */
    finish(pid);
    finish(second);
    snprintf(
        command, sizeof command,
        "i=0; while ip link show %s >/dev/null 2>&1; do i=$((i+1)); [ $i -lt 2000 ] || exit 1; "
        "done",
        outside);
    run(command);
}

Test(net, bridge_of_ipv6)
{
    NEEDS_ROOT();
    host();
    pid_t pid = inside();
    struct spec spec = bridged("br0", "fd77::2/64", "fd77::1");
    struct error err = ERROR_INIT;
    cr_assert_eq(net_bridge_attach(&spec, pid, "box", &err), 0, "%s", err.message);
    cr_expect_eq(within(pid, "ip -o -6 addr show eth0 | grep -q \"inet6 fd77::2/64\""), 0);
    cr_expect_eq(within(pid, "ip -6 route | grep -q \"^default via fd77::1\""), 0);
    finish(pid);
}

Test(net, what_can_be_wrong)
{
    NEEDS_ROOT();
    host();
    pid_t pid = inside();
    expect_error(pid, bridged("br9", "10.77.0.2/24", NULL), "network.no_bridge",
                 "there is no bridge \"br9\"", "ip link add br9 type bridge && ip link set br9 up");
    expect_error(pid, bridged("lo", "10.77.0.2/24", NULL), "network.not_a_bridge",
                 "\"lo\" is a network interface of type \"device\"",
                 "name a bridge; ip link show type bridge lists them");
    const char *hint = "such as 10.0.0.2/24 with gateway 10.0.0.1";
    expect_error(pid, bridged("br0", "10.77.0.300/24", NULL), "network.address",
                 "\"10.77.0.300/24\" is not an address with a prefix length", hint);
    expect_error(pid, bridged("br0", NULL, NULL), "network.address",
                 "\"\" is not an address with a prefix length", hint);
    expect_error(pid, bridged("br0", "10.77.0.2/24", "gate"), "network.address",
                 "\"gate\" is not the address of a gateway", hint);
    expect_error(pid, bridged("br0", "10.77.0.2/24", "fd77::1"), "network.address",
                 "gateway \"fd77::1\" is not in the network of \"10.77.0.2/24\"", hint);
    expect_error(pid, bridged("br0", "10.77.0.2/24", "192.168.9.1"), "network.address",
                 "gateway \"192.168.9.1\" is not in the network of \"10.77.0.2/24\"", hint);
    cr_expect_eq(system("ip -o link show type veth | grep -q ."), 256, "nothing was left");

    struct spec good = bridged("br0", "10.77.0.2/24", NULL);
    cr_assert_eq(net_bridge_attach(&good, pid, "box", NULL), 0);
    pid_t second = inside();
    char name[IFNAMSIZ], message[128], fix[256];
    net_bridge_peer_name(name, "box");
    snprintf(message, sizeof message, "network interface \"%s\" exists already", name);
    snprintf(fix, sizeof fix, "a sandbox of the same name is running; otherwise: ip link del %s",
             name);
    expect_error(second, bridged("br0", "10.77.0.2/24", NULL), "network.exists", message, fix);
    finish(second);
    finish(pid);
}

Test(net, nobody_may_not)
{
    NEEDS_ROOT();
    host();
    pid_t pid = inside();
    pid_t child = fork();
    if (child == 0) {
        struct error err = ERROR_INIT;
        struct spec spec = bridged("br0", "10.77.0.2/24", NULL);
        if (setresuid(65534, 65534, 65534) < 0 ||
            net_bridge_attach(&spec, getpid(), "box", &err) == 0)
            _exit(1);
        _exit(strcmp(err.code, "network.permission") == 0 && err.hint[0] != '\0' ? 0 : 2);
    }
    int status;
    waitpid(child, &status, 0);
    cr_expect_eq(status, 0);
    finish(pid);
}

Test(net, names_of_peers)
{
    char a[IFNAMSIZ], b[IFNAMSIZ];
    net_bridge_peer_name(a, "run-1-1");
    net_bridge_peer_name(b, "run-1-2");
    cr_expect_str_neq(a, b);
    cr_expect_eq(strlen(a), 14);
    net_bridge_peer_name(b, "run-1-1");
    cr_expect_str_eq(a, b);
}
