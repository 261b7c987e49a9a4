#include "isolation/net.h"

#include "base/cleanup.h"
#include "isolation/plan.h"

#include <errno.h>
#include <fcntl.h>
#include <netlink/netlink.h>
#include <netlink/route/addr.h>
#include <netlink/route/link.h>
#include <netlink/route/link/veth.h>
#include <netlink/route/nexthop.h>
#include <netlink/route/route.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#define INSIDE_NAME "eth0"

static void cleanup_socket(struct nl_sock **s)
{
    nl_socket_free(*s);
}
static void cleanup_link(struct rtnl_link **l)
{
    rtnl_link_put(*l);
}
static void cleanup_address(struct nl_addr **a)
{
    nl_addr_put(*a);
}
static void cleanup_link_address(struct rtnl_addr **a)
{
    rtnl_addr_put(*a);
}
static void cleanup_route(struct rtnl_route **r)
{
    rtnl_route_put(*r);
}
#define _cleanup_with_(function) __attribute__((cleanup(function)))

void net_bridge_peer_name(char ret[IFNAMSIZ], const char *name)
{
    uint64_t hash = 0xcbf29ce484222325ULL; /* FNV-1a */
    for (const char *c = name; *c != '\0'; c++)
        hash = (hash ^ (unsigned char)*c) * 0x100000001b3ULL;
    snprintf(ret, IFNAMSIZ, "clo-%010llu", (unsigned long long)(hash % 10000000000ULL));
}

static int failed(struct error *err, int rc, const char *what, const char *object)
{
    if (rc == -NLE_PERM || rc == -NLE_NOACCESS) {
        error_set(err, "network.permission", 0, "cannot %s \"%s\": %s", what, object,
                  nl_geterror(rc));
        return error_hint(err, "a bridge needs CAP_NET_ADMIN on the host: run as root, or use "
                               "--network none, loopback or host");
    }
    return error_set(err, "network.failed", 0, "cannot %s \"%s\": %s", what, object,
                     nl_geterror(rc));
}

static struct nl_sock *open_socket(struct error *err)
{
    struct nl_sock *s = nl_socket_alloc();
    int rc = s == NULL ? -NLE_NOMEM : nl_connect(s, NETLINK_ROUTE);
    if (rc < 0) {
        nl_socket_free(s);
        failed(err, rc, "open", "netlink");
        return NULL;
    }
    return s;
}

static int find_bridge(struct nl_sock *s, const char *name, struct error *err)
{
    _cleanup_with_(cleanup_link) struct rtnl_link *bridge = NULL;
    int rc = rtnl_link_get_kernel(s, 0, name, &bridge);
    if (rc < 0 && rc != -NLE_OBJ_NOTFOUND && rc != -NLE_NODEV)
        return failed(err, rc, "look for bridge", name);
    if (rc < 0) {
        error_set(err, "network.no_bridge", 0, "there is no bridge \"%s\"", name);
        return error_hint(err, "ip link add %s type bridge && ip link set %s up", name, name);
    }
    const char *type = rtnl_link_get_type(bridge);
    if (type == NULL || strcmp(type, "bridge") != 0) {
        error_set(err, "network.not_a_bridge", 0, "\"%s\" is a network interface of type %s", name,
                  type == NULL ? "\"device\"" : type);
        return error_hint(err, "name a bridge; ip link show type bridge lists them");
    }
    return rtnl_link_get_ifindex(bridge);
}

/* One message makes both ends; the inner one is born in the sandbox. */
static int make_pair(struct nl_sock *s, const char *outside, pid_t init, int bridge,
                     struct error *err)
{
    _cleanup_with_(cleanup_link) struct rtnl_link *pair = rtnl_link_veth_alloc();
    if (pair == NULL)
        return failed(err, -NLE_NOMEM, "make", outside);
    struct rtnl_link *inner = rtnl_link_veth_get_peer(pair);
    rtnl_link_set_name(pair, outside);
    rtnl_link_set_master(pair, bridge);
    rtnl_link_set_flags(pair, IFF_UP);
    rtnl_link_set_name(inner, INSIDE_NAME);
    rtnl_link_set_ns_pid(inner, init);
    int rc = rtnl_link_add(s, pair, NLM_F_CREATE | NLM_F_EXCL);
    rtnl_link_put(inner); /* veth_get_peer takes a reference */
    if (rc == -NLE_EXIST) {
        error_set(err, "network.exists", 0, "network interface \"%s\" exists already", outside);
        return error_hint(err, "a sandbox of the same name is running; otherwise: ip link del %s",
                          outside);
    }
    return rc < 0 ? failed(err, rc, "make network interface", outside) : 0;
}

static int parse_address(struct nl_addr **ret, const char *text, const char *what,
                         struct error *err)
{
    if (text == NULL || nl_addr_parse(text, AF_UNSPEC, ret) < 0 ||
        (nl_addr_get_family(*ret) != AF_INET && nl_addr_get_family(*ret) != AF_INET6)) {
        error_set(err, "network.address", 0, "\"%s\" is not %s", text == NULL ? "" : text, what);
        return error_hint(err, "such as 10.0.0.2/24 with gateway 10.0.0.1");
    }
    return 0;
}

static bool is_neighbour(struct nl_addr *gateway, struct nl_addr *local)
{
    static const unsigned char link_local[2] = {0xfe, 0x80};
    int family = nl_addr_get_family(local);
    if (nl_addr_get_family(gateway) != family)
        return false;
    return nl_addr_cmp_prefix(gateway, local) == 0 ||
           (family == AF_INET6 && memcmp(nl_addr_get_binary_addr(gateway), link_local, 2) == 0);
}

static int set_up(struct nl_sock *s, const char *name, int *ret_index, struct error *err)
{
    _cleanup_with_(cleanup_link) struct rtnl_link *link = NULL;
    _cleanup_with_(cleanup_link) struct rtnl_link *change = rtnl_link_alloc();
    int rc = rtnl_link_get_kernel(s, 0, name, &link);
    if (rc < 0 || change == NULL)
        return failed(err, rc < 0 ? rc : -NLE_NOMEM, "find", name);
    *ret_index = rtnl_link_get_ifindex(link);
    rtnl_link_set_flags(change, IFF_UP);
    rc = rtnl_link_change(s, link, change, 0);
    return rc < 0 ? failed(err, rc, "bring up", name) : 0;
}

static int add_address(struct nl_sock *s, int index, struct nl_addr *local, struct error *err)
{
    _cleanup_with_(cleanup_link_address) struct rtnl_addr *address = rtnl_addr_alloc();
    if (address == NULL)
        return failed(err, -NLE_NOMEM, "set address of", INSIDE_NAME);
    rtnl_addr_set_ifindex(address, index);
    rtnl_addr_set_local(address, local);
    if (nl_addr_get_family(local) == AF_INET6)
        rtnl_addr_set_flags(address, IFA_F_NODAD); /* nobody waits for duplicate detection */
    int rc = rtnl_addr_add(s, address, NLM_F_CREATE | NLM_F_EXCL);
    return rc < 0 ? failed(err, rc, "set address of", INSIDE_NAME) : 0;
}

static int add_default_route(struct nl_sock *s, int index, struct nl_addr *gateway,
                             struct error *err)
{
    int family = nl_addr_get_family(gateway);
    _cleanup_with_(cleanup_route) struct rtnl_route *route = rtnl_route_alloc();
    _cleanup_with_(cleanup_address) struct nl_addr *everything = NULL;
    struct rtnl_nexthop *hop = rtnl_route_nh_alloc();
    if (route == NULL || hop == NULL || nl_addr_parse("default", family, &everything) < 0) {
        if (hop != NULL)
            rtnl_route_nh_free(hop);
        return failed(err, -NLE_NOMEM, "set gateway of", INSIDE_NAME);
    }
    rtnl_route_nh_set_ifindex(hop, index);
    rtnl_route_nh_set_gateway(hop, gateway);
    rtnl_route_set_family(route, (uint8_t)family);
    rtnl_route_set_dst(route, everything);
    rtnl_route_add_nexthop(route, hop); /* the route owns it now */
    int rc = rtnl_route_add(s, route, NLM_F_CREATE | NLM_F_EXCL);
    return rc < 0 ? failed(err, rc, "set gateway of", INSIDE_NAME) : 0;
}

/* In the sandbox's namespace already. */
static int configure_inside(struct nl_addr *local, struct nl_addr *gateway, struct error *err)
{
    int loopback = 0, index = 0;
    _cleanup_with_(cleanup_socket) struct nl_sock *s = open_socket(err);
    if (s == NULL || set_up(s, "lo", &loopback, err) < 0 ||
        set_up(s, INSIDE_NAME, &index, err) < 0 || add_address(s, index, local, err) < 0)
        return -1;
    return gateway == NULL ? 0 : add_default_route(s, index, gateway, err);
}

int net_bridge_attach(const struct spec *spec, pid_t init, const char *name, struct error *err)
{
    char path[64], outside[IFNAMSIZ];
    _cleanup_with_(cleanup_address) struct nl_addr *local = NULL;
    _cleanup_with_(cleanup_address) struct nl_addr *gateway = NULL;
    if (parse_address(&local, spec->address, "an address with a prefix length", err) < 0 ||
        (spec->gateway != NULL &&
         parse_address(&gateway, spec->gateway, "the address of a gateway", err) < 0))
        return -1;
    if (gateway != NULL && !is_neighbour(gateway, local)) {
        error_set(err, "network.address", 0, "gateway \"%s\" is not in the network of \"%s\"",
                  spec->gateway, spec->address);
        return error_hint(err, "such as 10.0.0.2/24 with gateway 10.0.0.1");
    }

    _cleanup_with_(cleanup_socket) struct nl_sock *s = open_socket(err);
    if (s == NULL)
        return -1;
    int bridge = find_bridge(s, spec->bridge, err);
    if (bridge < 0)
        return -1;
    snprintf(path, sizeof path, "/proc/%d/ns/net", (int)init);
    _cleanup_close_ int theirs = open(path, O_RDONLY | O_CLOEXEC);
    _cleanup_close_ int ours = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
    if (theirs < 0 || ours < 0)
        return error_set(err, "network.failed", errno, "cannot open the network namespace \"%s\"",
                         path);
    net_bridge_peer_name(outside, name);
    if (make_pair(s, outside, init, bridge, err) < 0)
        return -1;

    if (setns(theirs, CLONE_NEWNET) < 0)
        return error_set(err, "network.failed", errno, "cannot enter the network namespace \"%s\"",
                         path);
    int rc = configure_inside(local, gateway, err);
    namespaces_return(ours);
    return rc;
}

int net_bridge_check(const struct spec *spec, struct error *err)
{
    _cleanup_with_(cleanup_socket) struct nl_sock *s = open_socket(err);
    return s == NULL || find_bridge(s, spec->bridge, err) < 0 ? -1 : 0;
}
