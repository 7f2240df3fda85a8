// Package kernel is the engine "copy": the kernel's TCP and UDP, received
// straight into the region. It needs no privilege and no device, and saves no
// copy: the kernel copies each byte out of its own memory, and each is counted
// as copied. What it shares with the other engines is everything else, so that
// a program runs the same way where there is nothing better.
//
// # Threads
//
// One goroutine, locked to its thread, runs the loop (loop.go): it alone
// allocates buffers, receives, and pushes to socket queues. Application
// goroutines write to sockets themselves, without waiting; what concerns the
// loop they post as commands. A backend is how the loop waits and receives:
//
//   - uring: multishot requests with provided buffers, in bundles; the loop
//     sleeps in io_uring_enter. The kernel picks the buffers as payload comes, so
//     that an idle connection holds none. A connection that is close to its limit
//     is read from as by readv, since a bundle can't be told to stop in time.
//   - readv: epoll, and scatter reads (recvmsg) into the connection's open tail
//     and several free buffers.
//
// UDP is received by recvmmsg under both.
//
// # Backpressure
//
// A connection may hold as many buffers as are free (Choudhury and Hahne,
// "Dynamic Queue Length Thresholds for Shared-Memory Packet Switches", 1998,
// with alpha = 1): alone that is half of the region, and with n greedy ones
// each gets 1/(n+1). Beyond it the loop leaves payload in the kernel, whose
// receive window then closes. Buffers that come back resume it. A reserve is
// for those that hold nothing, so that a slow reader starves nobody (limit.go).
//
// # Small payloads
//
// A buffer that is filled only in part stays open as its connection's tail, and
// what comes next goes behind it (tail.go). readv reads there directly. With
// provided buffers the kernel starts each receive in a new one, and payload of
// up to half a buffer is moved to the tail. Incremental provided buffers would
// let the kernel continue a buffer, but with whichever connection receives next:
// two owners of one buffer, and no account to charge it to.
package kernel
