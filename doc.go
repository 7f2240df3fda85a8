// Package zctap is zero-copy network receive for Go on Linux.
//
// A program gives zctap a region of memory, and TCP and UDP payload lands in it.
// RecvZC returns views of that memory: slices of the payload where it has been since
// the NIC, or what stands for one, put it there. When the program is done with them it
// gives their buffers back with Release, and they are received into again. It is the
// system of the kernel RFC "zero-copy RX for io_uring" (io_uring/zctap), behind one
// API with three engines:
//
//   - zcrx: the kernel's own zero-copy receive, on NICs that split headers from payload;
//   - user: zctap's own TCP and UDP, over a driver that fills the program's
//     buffers (AF_XDP, TUN, a wire in memory);
//   - copy: the kernel's sockets, copying, anywhere.
//
// Where zero-copy can't be had the same program works by copying, and zctap says so:
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
// As it stands this runs anywhere, by copying, because the Config names no device. With
// Config.Interface or Config.TUN the other engines are tried first.
//
// There are three ways to receive, of the same payload. RecvZC blocks, for a goroutine
// for each connection. Conn.Arm and Queue.Wait are completions, as the RFC has them, for
// one goroutine over many connections. Queue.Handle has the completions handled on the
// engine's own thread, which wakes no goroutine at all, but may not be kept waiting.
//
// A connection is also a net.Conn and an io.WriterTo, a listener a net.Listener, a UDP
// socket a net.PacketConn. What reads by Read, such as net/http, copies; see the example
// of Conn.WriteToN for an HTTP body without a copy.
//
// # Words
//
// The region is memory in buffers of equal size, each known by its id. An Iov names a piece of
// received payload: buffer, offset and length; its view is the slice of these bytes. The
// fill ring is the way of released buffers back to the engine. A byte is copied if zctap
// had to copy it into the region, rather than the NIC, the driver or the kernel having
// put it there.
//
// # Ownership
//
// An Iov from RecvZC or Wait is the application's until Release; its view is
// valid until then, also after Close. To keep bytes for longer, copy them.
//
// Who does not release buffers in the end receives nothing: a connection that holds more
// than its share gets no more, its TCP window closes, and the others go on. So a record that
// may be longer than that (Config.MaxHeld, or half of the region) has to be worked on
// piece by piece. Stats tells how many buffers are out. Builds with the tag invariants
// panic on a second release, and poison released memory.
//
// # Errors
//
// Errors are *OpError, but for io.EOF. errors.Is finds errnos in them (syscall.EADDRINUSE),
// net.ErrClosed, os.ErrDeadlineExceeded and ErrNotSupported. Where something can be done
// about it the text says what.
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
// Engines copy and zcrx enter at internal/sockq. There the kernel's stack did what comes
// before; with zcrx the NIC has put the payload where it lies. The rule of internal/buf
// is that each buffer is in exactly one place, and is reused if and only if nobody,
// neither stack nor application, holds a reference to it.
package zctap
