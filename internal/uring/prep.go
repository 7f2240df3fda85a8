//go:build linux

package uring

import "encoding/binary"

// Nop does nothing and completes with result 0.
func Nop(userData uint64) SQE {
	return SQE{Opcode: OpNop, FD: -1, UserData: userData}
}

// Close closes fd.
func Close(fd int, userData uint64) SQE {
	return SQE{Opcode: OpClose, FD: int32(fd), UserData: userData}
}

// PollFlags are the IORING_POLL_ADD flags.
type PollFlags uint32

// PollMultishot makes one completion for each time fd becomes ready, until PollRemove or Cancel.
const PollMultishot PollFlags = 1 << 0

// PollAdd waits until fd is ready for one of events (POLLIN, POLLOUT, ...). The completion's result is the mask of those
// that came.
func PollAdd(fd int, events uint32, flags PollFlags, userData uint64) SQE {
	return SQE{
		Opcode: OpPollAdd, FD: int32(fd), UserData: userData,
		Len: uint32(flags), OpFlags: pollEvents(events),
	}
}

// pollEvents is the mask as poll32_events wants it: with the 16-bit halves swapped on big-endian machines.
func pollEvents(events uint32) uint32 {
	if binary.NativeEndian.Uint16([]byte{0, 1}) == 1 {
		return events<<16 | events>>16
	}
	return events
}

// PollRemove ends the poll request that was pushed with user data target, which completes with ECANCELED. Its own
// result is 0, or -ENOENT if there is no such poll.
func PollRemove(target, userData uint64) SQE {
	return SQE{Opcode: OpPollRemove, FD: -1, Addr: target, UserData: userData}
}

// Flags of async cancel (SQE.OpFlags, IORING_ASYNC_CANCEL_*).
const (
	cancelAll = 1 << 0
	cancelFD  = 1 << 1
	cancelAny = 1 << 2
)

// Cancel ends one request that was pushed with user data target. Its result is 0, -ENOENT if there is none, or
// -EALREADY if the request is too far gone. A cancelled request completes once more, as a rule with -ECANCELED.
func Cancel(target, userData uint64) SQE {
	return SQE{Opcode: OpAsyncCancel, FD: -1, Addr: target, UserData: userData}
}

// CancelFD ends all requests on fd. Its result is how many there were; 0 is none.
func CancelFD(fd int, userData uint64) SQE {
	return SQE{Opcode: OpAsyncCancel, FD: int32(fd), OpFlags: cancelFD | cancelAll, UserData: userData}
}

// CancelEverything ends all requests of the ring but itself. Its result is how many there were; 0 is none.
func CancelEverything(userData uint64) SQE {
	return SQE{Opcode: OpAsyncCancel, FD: -1, OpFlags: cancelAny | cancelAll, UserData: userData}
}

// msgRingData is IORING_MSG_DATA, the command of MsgRing in SQE.Addr: a completion with given contents.
const msgRingData = 0

// MsgRing posts a completion with targetUserData and result res on the ring with descriptor fd, for one ring to
// speak to another. A thread without a ring uses a Waker. Its own result is 0 or an errno: -EBADFD if fd is no ring, or
// a disabled one.
func MsgRing(fd int, targetUserData uint64, res int32, userData uint64) SQE {
	return SQE{
		Opcode: OpMsgRing, FD: int32(fd), UserData: userData,
		Addr: msgRingData, Off: targetUserData, Len: uint32(res),
	}
}
