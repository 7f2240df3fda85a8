// Package hostnet keeps a copy of what the kernel knows about one network
// interface: its addresses, routes and neighbors, its state, MTU and hardware
// address. The user engine shares all of them with the kernel: it answers for
// the same addresses, sends to the same next hops, and leaves ARP (RFC 826) and
// neighbor discovery (RFC 4861) to the kernel.
//
// # How it follows
//
// A [Host] subscribes to the kernel's notifications (rtnetlink(7)) and then dumps
// the tables, so that nothing falls between the two. What a notification says
// about links, addresses, routes and rules is not applied; it only marks the
// table, which is dumped again. The kernel removes routes without a word (an
// IPv4 interface that goes down), replaces and appends them in ways that a
// notification does not tell apart, and keeps addresses in an order that it
// tells nobody; a dump is always right. A notification arrives before the dump
// that it causes is asked for, so the dump is at least as new. Dumps are paced
// by what they cost, at a tenth of one CPU at most. Neighbors change too often
// for that; their notifications say everything, and are applied one by one.
//
// Notifications that are lost (ENOBUFS) mark everything, and so does a minute
// that has passed since the last look.
//
// Lookups take no lock and allocate nothing. They read tables that are never
// changed, but exchanged as a whole; each exchange raises [Host.Version].
//
// # What is followed
//
// A lookup answers what the kernel would for a socket that is bound to the
// interface (SO_BINDTODEVICE): of the routes to one prefix, those out of other
// interfaces do not count, and of several next hops the first that is alive and
// out of the interface is taken. The tables are local and main, in this order,
// as the default rules have it.
//
// Not followed are: policy rules, hence other tables and VRFs (see
// [Host.PolicyRules]); routes that depend on the source address (IPv6 subtrees)
// or on the DSCP; next hops with an encapsulation, which count as unreachable;
// nexthop objects where the kernel does not also describe them in the route
// (sysctl net.ipv4.nexthop_compat_mode=0); MTUs of routes and of paths; and the
// choice between equal IPv6 routers by reachability.
package hostnet
