// Package kernel is two engines on the kernel's own TCP and UDP. "zcrx" is the
// kernel's zero-copy receive: the NIC puts payload into the region, and it stays
// there. "copy" needs no privilege and no device: the kernel copies each byte to
// the region, and each is counted as copied. They share the loop, sockets,
// listeners, dialing, writing and datagrams; how payload of streams reaches the
// region is a backend's business, so that a program runs the same way with
// either.
//
// # Threads
//
// One goroutine, locked to its thread, runs the loop (loop.go): it alone
// allocates buffers, receives, and pushes to socket queues. Application
// goroutines write to sockets themselves, without waiting; what concerns the
// loop they post as commands. A backend is how the loop waits and receives:
//
//   - zcrx (zcrx.go): RECV_ZC on a ring that is bound to an interface queue.
//   - uring: multishot requests with provided buffers, in bundles; the loop
//     sleeps in io_uring_enter. The kernel picks the buffers as payload comes, so
//     that an idle connection holds none. A connection that is close to its limit
//     is read from as by readv, since a bundle can't be told to stop in time.
//   - readv: epoll, and scatter reads (recvmsg) into the connection's open tail
//     and several free buffers.
//
// UDP is received by recvmmsg under all of them: zcrx knows TCP only.
//
// Where several rings share an interface queue (zcrx_group.go), each has such a
// goroutine and a loop of its own, among which the connections are spread (rings.go).
//
// # Backpressure
//
// Under copy, a connection may hold as many buffers as are free (Choudhury and
// Hahne, "Dynamic Queue Length Thresholds for Shared-Memory Packet Switches",
// 1998, with alpha = 1): alone that is half of the region, and with n greedy
// ones each gets 1/(n+1). Beyond it the loop leaves payload in the kernel, whose
// receive window then closes. Buffers that come back resume it. A reserve is
// for those that hold nothing, so that a slow reader starves nobody (limit.go).
//
// Under zcrx the kernel tells the sender that there is room as soon as it has
// told us of payload, and what a paused connection has in the kernel lies in the
// NIC's buffers too; when those run out, the NIC drops frames of every flow. So
// there
//
//   - each receive has a credit in bytes, and the credits that are out count as
//     taken; they are taken back from those that do not use them (zcrx_credit.go,
//     zcrx_promise.go);
//   - a connection holds a quarter of what is free at most, and a sixteenth of
//     the area is for those that hold little;
//   - when the area is low, payload of connections that hold much is copied to
//     the reserve, a part of the region that the NIC does not have (an eighth),
//     and its buffers go back at once (zcrx_recv.go);
//   - receive buffers are bounded, and made small while a connection is paused
//     and room is short (zcrx_window.go).
//
// # Small payloads
//
// A buffer that is filled only in part stays open as its connection's tail, and
// what comes next goes behind it (tail.go). readv reads there directly. With
// provided buffers the kernel starts each receive in a new one, and payload of
// up to half a buffer is moved to the tail. Incremental provided buffers would
// let the kernel continue a buffer, but with whichever connection receives next:
// two owners of one buffer, and no account to charge it to. zcrx leaves small
// payloads where they are, as long as their connection is within its limit.
package kernel
