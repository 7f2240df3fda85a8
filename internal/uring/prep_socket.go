//go:build linux

package uring

// The requests on sockets. All of them want blocking descriptors: there the kernel waits for readiness by itself, and holds up
// no thread. With O_NONBLOCK a request may complete with -EAGAIN instead: always on some kernels, on others when it
// was handed to a worker, which is rare enough to pass every test.

import "golang.org/x/sys/unix"

const acceptMultishot = 1 << 0 // IORING_ACCEPT_MULTISHOT, in SQE.IOPrio

// Accept takes one connection of the listener fd. The result is a new blocking descriptor that closes on exec.
func Accept(fd int, userData uint64) SQE {
	return SQE{Opcode: OpAccept, FD: int32(fd), OpFlags: unix.SOCK_CLOEXEC, UserData: userData}
}

// AcceptMultishot takes connections until it fails or is cancelled: each completion is one, as with Accept, and those
// with More leave it armed. One with a connection but without More is the last: the completion queue was full; push it again.
func AcceptMultishot(fd int, userData uint64) SQE {
	sqe := Accept(fd, userData)
	sqe.IOPrio = acceptMultishot
	return sqe
}

// Connect connects fd to the socket address of size bytes at addr, which the kernel copies when it takes the request.
// PushConnect finds the memory for it.
func Connect(fd int, addr uintptr, size uint32, userData uint64) SQE {
	return SQE{Opcode: OpConnect, FD: int32(fd), Addr: uint64(addr), Off: uint64(size), UserData: userData}
}

// RecvFlags are options of a receive; they go into SQE.IOPrio.
type RecvFlags uint16

const (
	// RecvPollFirst skips the first try and waits until the socket is readable.
	RecvPollFirst = RecvFlags(RecvSendPollFirst)
	// RecvBundle fills several buffers of the group for one completion: see BufRing.Consume. Needs FeatRecvSendBundle.
	RecvBundle = RecvFlags(RecvSendBundle)
)

// RecvMultishot receives until the stream ends, it fails or it is cancelled, each time into a buffer of group. A completion
// with result n > 0 holds n bytes in the buffer it names, and must go through BufRing.Consume. The request has ended
// when More is false: with result 0 at the end of the stream, -ENOBUFS when the group ran out of buffers (add some and
// push it again; what was not received is still in the socket), -ECANCELED, or another errno of recv(2). A
// completion with data but without More is the last one too: the completion queue was full, push it again.
func RecvMultishot(fd int, group uint16, flags RecvFlags, userData uint64) SQE {
	return SQE{
		Opcode: OpRecv, Flags: BufferSelect, IOPrio: RecvMultishotFlag | uint16(flags),
		FD: int32(fd), BufGroup: group, UserData: userData,
	}
}

// RecvMsg receives by the msghdr at addr, whose memory and what it points to must stay until the completion: the kernel
// writes to both then.
func RecvMsg(fd int, addr uintptr, msgFlags uint32, userData uint64) SQE {
	return SQE{Opcode: OpRecvMsg, FD: int32(fd), Addr: uint64(addr), Len: 1, OpFlags: msgFlags, UserData: userData}
}

// RecvMsgMultishot receives datagrams like RecvMultishot, each into a buffer of group together with its sender and
// control data: ParseRecvMsg takes the buffer apart. It also ends, with data and without More, at an empty datagram, which
// is one like others and no end: whoever sends it must not be able to stop the receiver, so push it again. Of the msghdr at addr only the lengths of name and control count;
// the kernel copies it when it takes the request. PushRecvMsgMultishot finds the memory for it.
func RecvMsgMultishot(fd int, group uint16, addr uintptr, msgFlags uint32, userData uint64) SQE {
	sqe := RecvMsg(fd, addr, msgFlags, userData)
	sqe.Flags, sqe.IOPrio, sqe.BufGroup = BufferSelect, RecvMultishotFlag, group
	return sqe
}

// Send sends size bytes at addr, which must stay unchanged until the completion. The result may be less than size.
func Send(fd int, addr uintptr, size uint32, msgFlags uint32, userData uint64) SQE {
	return SQE{Opcode: OpSend, FD: int32(fd), Addr: uint64(addr), Len: size, OpFlags: msgFlags, UserData: userData}
}

// SendMsg sends by the msghdr at addr, which must stay unchanged with all that it points to until the completion.
func SendMsg(fd int, addr uintptr, msgFlags uint32, userData uint64) SQE {
	return SQE{Opcode: OpSendMsg, FD: int32(fd), Addr: uint64(addr), Len: 1, OpFlags: msgFlags, UserData: userData}
}

// Shutdown ends one or both directions of fd: how is SHUT_RD, SHUT_WR or SHUT_RDWR.
func Shutdown(fd, how int, userData uint64) SQE {
	return SQE{Opcode: OpShutdown, FD: int32(fd), Len: uint32(how), UserData: userData}
}
