//go:build linux

package uring

import (
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// CQEFlags are the IORING_CQE_F bits of a completion; the upper 16 bits are the buffer id if CQEBuffer is set.
type CQEFlags uint32

const (
	CQEBuffer       CQEFlags = 1 << 0  // a provided buffer was used: CQE.BufferID
	CQEMore         CQEFlags = 1 << 1  // the request lives on and will complete again
	CQESockNonempty CQEFlags = 1 << 2  // the socket had more to read
	CQENotif        CQEFlags = 1 << 3  // a notification of a zero-copy send
	CQEBufMore      CQEFlags = 1 << 4  // the kernel goes on filling the buffer (incremental groups only)
	CQESkip         CQEFlags = 1 << 5  // filler that Reap leaves out
	CQE32           CQEFlags = 1 << 15 // the completion is 32 bytes (SetupCQEMixed only)
)

const cqeBufferShift = 16 // IORING_CQE_BUFFER_SHIFT

// CQE is a completion, copied out of the queue: struct io_uring_cqe with room for the large form.
type CQE struct {
	UserData uint64
	Res      int32 // what the system call would return: a count or a descriptor, or an errno negated
	Flags    CQEFlags
	// Extra is the second half of a 32 byte completion (the big_cqe of SetupCQE32 and SetupCQEMixed), else 0.
	Extra [2]uint64
}

// Err returns the errno in Res, or nil if the request succeeded.
func (c *CQE) Err() error {
	if c.Res >= 0 {
		return nil
	}
	return unix.Errno(-c.Res)
}

// More reports whether the request that made this completion will make others. If not, a multishot request has ended and
// must be armed again by who wants more of it.
func (c *CQE) More() bool { return c.Flags&CQEMore != 0 }

// BufferID returns the provided buffer that the completion used, if it used one.
func (c *CQE) BufferID() (bid uint16, ok bool) {
	return uint16(c.Flags >> cqeBufferShift), c.Flags&CQEBuffer != 0
}

// cqeSlot is the 16 byte unit of the completion queue: a small CQE, or one half of a large one.
type cqeSlot struct {
	userData uint64
	res      int32
	flags    CQEFlags
}

// Reap moves completions from the queue into dst, as many as there are and fit, and returns how many. They are copies: their
// slots are the kernel's again when Reap returns. It makes no system call, so with SetupDeferTaskrun it finds only
// what the last Enter brought. A return of less than len(dst) says that the queue is empty; completions may still wait
// in the kernel then if Overflowing.
func (r *Ring) Reap(dst []CQE) int {
	if r.fd < 0 {
		return 0
	}
	r.dropTaken()
	if r.flags&SetupCQEMixed != 0 {
		return r.reapMixed(dst)
	}
	start, got := r.cq.Peek(uint32(len(dst)))
	mask := r.cq.Mask()
	if r.stride == 2 {
		for n, large := uint32(0), largeCQEs(r.cqes); n < got; {
			n += uint32(copy(dst[n:got], large[(start+n)&mask:]))
		}
	} else {
		for i := range got {
			s := &r.cqes[(start+i)&mask]
			// Field by field: a literal is made elsewhere first, and copied.
			c := &dst[i]
			c.UserData, c.Res, c.Flags, c.Extra = s.userData, s.res, s.flags, [2]uint64{}
		}
	}
	r.cq.Release(got)
	return int(got)
}

// Take is Reap for who is done with completions before he comes for the next: they are the caller's until the next Take or
// Reap, which gives their slots back to the kernel. Where all are large (SetupCQE32) they are not copied, and lie in the
// queue; otherwise, and perhaps, in room. Not more than room has are taken, and fewer though more are there where the queue
// begins anew: none says that it is empty.
func (r *Ring) Take(room []CQE) []CQE {
	if r.fd < 0 || r.stride != 2 {
		return room[:r.Reap(room)]
	}
	r.dropTaken()
	start, got := r.cq.Peek(uint32(len(room)))
	cqes := largeCQEs(r.cqes)[start&r.cq.Mask():]
	r.taken = min(got, uint32(len(cqes)))
	return cqes[:r.taken:r.taken]
}

// dropTaken gives back the slots of what Take returned last.
func (r *Ring) dropTaken() {
	r.cq.Release(r.taken)
	r.taken = 0
}

// reapMixed is Reap for a queue in which CQE32 marks the completions that take two slots. A large one never wraps: where
// only the last slot is left the kernel fills it with a CQE marked CQESkip.
func (r *Ring) reapMixed(dst []CQE) int {
	start, got := r.cq.Peek(r.cq.Size())
	mask := r.cq.Mask()
	n, used := 0, uint32(0)
	for used < got && n < len(dst) {
		at := (start + used) & mask
		s := &r.cqes[at]
		if s.flags&CQESkip != 0 {
			used++
			continue
		}
		c := CQE{UserData: s.userData, Res: s.res, Flags: s.flags}
		if s.flags&CQE32 != 0 {
			if at == mask || used+1 == got {
				// Half a completion: the queue is not what the kernel makes. The half is dropped and counted.
				r.torn++
				used++
				continue
			}
			c.Extra = r.cqes[at+1].words()
			used++
		}
		dst[n] = c
		n++
		used++
	}
	r.cq.Release(used)
	return n
}

// Ready returns how many slots of the completion queue are filled.
func (r *Ring) Ready() int {
	if r.fd < 0 {
		return 0
	}
	return int(r.cq.Ready())
}

// Overflowing reports whether completions wait in the kernel because the queue was full. None is lost: the next Submit or
// Enter moves them to the queue as far as Reap has made room.
func (r *Ring) Overflowing() bool {
	return r.fd >= 0 && r.sq.Flags()&sqCQOverflow != 0
}

// Stats are the counters of what went wrong on a ring. All stay 0 on a healthy one.
type Stats struct {
	// LostCQEs counts completions that the kernel dropped because it had no memory to keep them.
	LostCQEs uint32
	// DroppedSQEs counts requests that the kernel did not take because their index was out of range.
	DroppedSQEs uint32
	// Corrupt counts impossible queue indices and torn completions that were read and ignored.
	Corrupt uint64
}

// Stats reads the counters.
func (r *Ring) Stats() Stats {
	if r.fd < 0 {
		return Stats{}
	}
	return Stats{
		LostCQEs:    atomic.LoadUint32(r.overflow),
		DroppedSQEs: atomic.LoadUint32(r.dropped),
		Corrupt:     r.sq.Corruptions() + r.cq.Corruptions() + r.torn,
	}
}
