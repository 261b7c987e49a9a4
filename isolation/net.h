/**
 * The network namespace of a sandbox.
 *
 * `loopback` is one ioctl pair, made inside. `bridge` is a veth pair, made from outside in one
 * netlink message: one end with a name derived from the sandbox's name, in the bridge; the other
 * one born in the sandbox as eth0. Host objects are only joined, never made: a missing bridge is an
 * error that says how to make it. The pair dies with the network namespace; nothing is to be
 * removed. Private to isolation/.
 */
#ifndef CLOCHE_ISOLATION_NET_H
#define CLOCHE_ISOLATION_NET_H

#include "base/error.h"
#include "config/spec.h"

#include <net/if.h>
#include <sys/types.h>

/** Bring up `lo` of the calling thread's network namespace; async-signal-safe. 0, or -1 with errno.
 */
int net_loopback_up(void);

/** For NETWORK_BRIDGE: plug the network namespace of process @init into spec->bridge, with
 * spec->address, and spec->gateway as default route when given. Called in the parent between clone
 * and "go", by a process that may configure both sides (CAP_NET_ADMIN); the calling thread visits
 * the namespace and comes back. Also brings up lo inside. @name: the sandbox's name, for the host's
 * end of the pair. Errors: network.no_bridge, network.not_a_bridge, network.permission,
 * network.address, network.exists, network.failed. */
int net_bridge_attach(const struct spec *spec, pid_t init, const char *name, struct error *err);

/** Before anything runs: the bridge is there. The same errors. */
int net_bridge_check(const struct spec *spec, struct error *err);

/** The name of the host's end, "clo-" and ten digits of a hash over @name. */
void net_bridge_peer_name(char ret[IFNAMSIZ], const char *name);

#endif
