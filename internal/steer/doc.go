// Package steer decides which frames of a network interface zctap receives: an
// XDP program sends the ones that belong to it to AF_XDP sockets, and leaves
// every other one to the kernel, untouched.
//
// # What is taken
//
// A frame is redirected to the socket of the queue that it came in by
// ([Program.SetSocket]) if it is
//
//   - TCP or UDP to a local address and port that somebody listens on
//     ([Program.AddListener]),
//   - UDP to a multicast group and port ([Program.AddGroup]),
//   - UDP to all hosts and a port that somebody listens on at all addresses,
//   - TCP or UDP of a known pair of address and port ([Program.AddFlow]), or
//   - an ICMP error about a packet that went the other way: destination
//     unreachable, time exceeded, packet too big.
//
// Everything else takes the way that it would take without us. What that is and
// why, the [Verdict] of each frame says; they are counted. Frames are passed
// whenever there is doubt: fragments, which have no ports but in the first;
// headers that the receiving stack would refuse; frames of a VLAN, which belong to
// another interface of the host, be its addresses ours; two tags; other frames sent to
// a group or to all stations, of which the kernel's own sockets may want a copy; queues without a
// socket. A tag that has a priority only (VLAN 0) is looked through. Tags that the driver
// has taken off before XDP (ethtool -K: rxvlan) are not seen.
//
// # The program
//
// It is assembled here, instruction by instruction: nobody needs a C compiler, and
// what is loaded is what is read. In the order in which a frame meets them the files
// are direct.go (a short cut for plain frames), ethernet.go, ip.go, group.go and match.go;
// assemble.go says what the registers and the stack hold.
//
// It is written for the verifier of Linux 6.1 and later, and for a process that has
// no CAP_PERFMON, for which the verifier is stricter: pointers into the packet move
// by constants only, everything else is read by the helper bpf_xdp_load_bytes. That
// helper also finds headers wherever a driver has put them, if a frame is spread over
// several buffers (xdp.frags, as a 9000-byte MTU has them). With CAP_PERFMON, which
// root has, the kernel leaves out barriers against speculation: a frame for a listener
// then takes 80 ns instead of 145, by BPF_PROG_TEST_RUN on the machine of direct.go.
//
// # The port belongs to us
//
// [Claim] takes a port from the kernel's own sockets, so that two programs can't
// have the same one, and the kernel is silent about packets that were not
// steered.
//
// # Life cycle
//
// [Program.Attach] makes a bpf_link. It exists as long as the process has it open:
// a process that is killed leaves no program, map or claim behind. Needed are
// CAP_NET_ADMIN and CAP_BPF; for the AF_XDP sockets themselves CAP_NET_RAW.
package steer
