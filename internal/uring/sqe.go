//go:build linux

package uring

// Op is an IORING_OP: what a request does.
type Op uint8

// The operations that this package prepares. The probe knows of others, see Ring.Probe.
const (
	OpNop         Op = 0
	OpPollAdd     Op = 6
	OpPollRemove  Op = 7
	OpSendMsg     Op = 9
	OpRecvMsg     Op = 10
	OpTimeout     Op = 11
	OpAccept      Op = 13
	OpAsyncCancel Op = 14
	OpConnect     Op = 16
	OpClose       Op = 19
	OpSend        Op = 26
	OpRecv        Op = 27
	OpShutdown    Op = 34
	OpMsgRing     Op = 40
	OpRecvZC      Op = 58
)

// Flags of a request (SQE.Flags, IOSQE_*).
const (
	IODrain        uint8 = 1 << 1 // start after all that was submitted before has completed
	IOLink         uint8 = 1 << 2 // the next SQE starts when this one has succeeded, and is cancelled if it fails
	AsyncIO        uint8 = 1 << 4 // do not try at once: hand it to a kernel worker
	BufferSelect   uint8 = 1 << 5 // take the buffer from group SQE.BufGroup
	CQESkipSuccess uint8 = 1 << 6 // no completion unless it fails
)

// Flags of receive and send requests (SQE.IOPrio).
const (
	RecvSendPollFirst uint16 = 1 << 0 // IORING_RECVSEND_POLL_FIRST: wait for readiness before the first try
	RecvMultishotFlag uint16 = 1 << 1 // IORING_RECV_MULTISHOT: one request, many completions
	RecvSendBundle    uint16 = 1 << 4 // IORING_RECVSEND_BUNDLE: one completion, several buffers
)

// SQE is struct io_uring_sqe, a request. Fields that the C structure has in unions carry the name of their most general
// use; the constructors (Nop, Accept, RecvMultishot, ...) know what each request puts where. An SQE is a value: make it,
// change what has to differ (Flags, Personality), and Push it.
type SQE struct {
	Opcode Op
	Flags  uint8
	IOPrio uint16 // also the flags of accept, receive and send
	FD     int32
	Off    uint64 // also addr2
	// Addr and, for some operations, Off and Addr3 are addresses. The memory there must not move and must stay until
	// the final completion; what the kernel copies when it takes the request is noted at the constructors.
	Addr        uint64
	Len         uint32
	OpFlags     uint32 // msg_flags, accept_flags, poll32_events, timeout_flags, cancel_flags, ...
	UserData    uint64 // comes back in the CQE: an index of the application's, never a pointer
	BufGroup    uint16 // also buf_index
	Personality uint16
	FileIndex   uint32 // also splice_fd_in, zcrx_ifq_idx, addr_len
	Addr3       uint64
	Pad         uint64 // must be 0
}

// Push queues a request. It is copied; the kernel sees it at the next Submit or Enter. When the queue is full Push changes
// nothing and returns ErrQueueFull.
func (r *Ring) Push(sqe SQE) error {
	slot, err := r.nextSQE()
	if err != nil {
		return err
	}
	r.sqes[slot] = sqe
	r.pending++
	return nil
}

// nextSQE returns the slot of the next SQE to be filled. The kernel has taken what was in it before.
func (r *Ring) nextSQE() (slot uint32, err error) {
	if r.fd < 0 {
		return 0, ErrClosed
	}
	start, got := r.sq.Reserve(r.pending + 1)
	if got <= r.pending {
		return 0, ErrQueueFull
	}
	return (start + r.pending) & r.sq.Mask(), nil
}

// Pending returns how many requests wait for Submit or Enter, those included that an earlier one could not hand over.
func (r *Ring) Pending() int {
	if r.fd < 0 {
		return 0
	}
	return int(r.pending + r.sq.InFlight())
}
