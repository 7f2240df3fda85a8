// Package zctap is zero-copy network receive for Go on Linux.
//
// A program gives zctap memory, and TCP and UDP payload lands in it. RecvZC
// returns an iov: views of the program's own memory, where the payload has been
// since the driver put it there. The program gives each buffer back through a
// fill ring, with Release. It is the system of the kernel RFC "zero-copy RX for
// io_uring" (io_uring/zctap), behind one API with three engines:
//
//   - zcrx: the kernel's own zero-copy receive, on NICs that split headers;
//   - user: zctap's own TCP and UDP, over a driver that fills the program's
//     buffers (TUN, AF_XDP, a wire in memory);
//   - copy: the kernel's sockets, copying, anywhere.
//
// Where zero-copy can't be had the same API works by copying, and says so:
// Queue.Engine and Queue.Why tell what was chosen and why not the others,
// Iov.Copied tells of each piece, and Queue.Stats counts every byte as one or
// the other.
//
// # Ten lines
//
//	q, err := zctap.Open(zctap.Config{})
//	ln, err := q.Listen("tcp", ":9000")
//	c, err := ln.AcceptZC()
//	iovs := make([]zctap.Iov, 64)
//	for {
//		n, err := c.RecvZC(iovs)
//		if err != nil { break } // io.EOF at the end
//		for i := range iovs[:n] { consume(iovs[i].Bytes()) }
//		q.Release(iovs[:n])
//	}
//
// A connection is also a net.Conn, a listener a net.Listener, a UDP socket a
// net.PacketConn. For one goroutine over many connections there is Conn.Arm and
// Queue.Wait, completions as the RFC has them; and Queue.Handle, which has them handled
// on the engine's own thread.
//
// # The way of a frame
//
// In engine user, packages in the order in which a frame meets them:
//
//	internal/driver/…   Poll      a frame lies in buffers of the region
//	internal/wire       Parse…    its headers are read in place
//	internal/stack      Deliver   the flow is found, the checksum verified
//	internal/stack/tcp  Input     payload is put in order, where it lies
//	internal/sockq      Push      it waits for the application
//	zctap               RecvZC    the application has it
//	zctap               Release   and gives it back: the fill ring
//	internal/buf        Alloc     the driver may fill the buffer again
//
// Engines copy and zcrx enter at internal/sockq: there the kernel's stack did
// what comes before, and in zcrx the NIC has put the payload where it lies.
// internal/buf has the rules of
// ownership: each buffer is in exactly one place, and is reused if and only if
// nobody, neither stack nor application, holds a reference to it.
//
// # Ownership
//
// An Iov from RecvZC or Wait is the application's until Release; its view is
// valid until then, also after Close. Whoever does not release buffers, in the
// end receives nothing: a connection that keeps more than its share finds its
// TCP window closed. Stats tells how many are out, and builds with the tag
// invariants panic on a second release and poison released memory.
package zctap
