//go:build linux

package kernel

import (
	"time"

	"golang.org/x/sys/unix"
)

// What was copied is known as follows. Without a device: everything. With one,
// the kernel counts the fragments that it copied because the NIC had not put
// them into the area (copy_bytes), and since it receives only while this thread
// is in io_uring_enter, what the count rose by belongs to the completions of the
// same round. It does not count what it copies out of the linear part of a
// packet, and says in no completion whether it copied. Linear payload does not
// come from our queue: a frame whose headers the NIC did not split off lies in
// unreadable memory as a whole, and the kernel drops it, which shows as a stream
// that does not move (and in the driver's statistics). It comes from other
// queues, whose drivers copy small packets and heads, and those connections are
// recognized by what polled their last packet (SO_INCOMING_NAPI_ID).
//
// A flow that is steered to another queue, or back, is noticed some payload late.
// With each move, as not copied counts too little by what one round brings at
// most, and too much by the linear payload of locateEvery bytes and one round:
// what the kernel itself says that it copied is never in that. If the driver makes
// the queue anew twice before anything is looked at, what waited since counts as
// copied.

// zcrxBatch is what one round brought.
type zcrxBatch struct {
	free     int // buffers, counted down as payload lands
	frames   int // completions with payload
	zeroCopy int // bytes
	copied   int
	debt     int    // bytes that the kernel says it copied, and that were not told yet
	seen     uint64 // copied bytes that the kernel has counted, as far as we know
	fresh    bool   // seen was read since the round began
}

func (r *zcrxBatch) begin(free int) {
	*r = zcrxBatch{free: free, debt: r.debt, seen: r.seen}
}

// owed reports whether the kernel has copied bytes that were not told yet.
func (z *zcrx) owed() bool {
	if !z.batch.fresh {
		z.readCopies()
	}
	return z.batch.debt > 0
}

// copied decides whether n bytes at off in their buffer were copied. Of those
// that the kernel counts it does not say which; but what it copies starts at a
// buffer's beginning.
func (z *zcrx) copied(s *socket, off, n int) bool {
	r := &z.batch
	if z.o.NoDevice {
		return true
	}
	if z.owed() && !s.zc.elsewhere && s.zc.located != z.rounds {
		z.locate(s)
	}
	if s.zc.elsewhere {
		r.debt = max(r.debt-n, 0)
		return true
	}
	if r.debt >= n && off&(z.unit-1) == 0 {
		r.debt -= n
		return true
	}
	return false
}

// readCopies takes what the kernel has counted since the last time.
func (z *zcrx) readCopies() {
	r := &z.batch
	r.fresh = true
	if z.group != nil {
		z.group.copies(z)
		return
	}
	now := z.ifq.Stats()
	r.debt += int(now.CopiedBytes - r.seen)
	r.seen = now.CopiedBytes
	z.stats.kernelFrags.Store(now.Copies)
	z.stats.kernelBytes.Store(now.CopiedBytes)
}

// account adds the round to the statistics, such that no copied byte counts as
// not copied: what is left of the kernel's count belongs to payload of which it
// was not known in time.
func (z *zcrx) account() {
	r := &z.batch
	if r.frames == 0 {
		return
	}
	z.l.stats.frames.Add(uint64(r.frames))
	if !z.o.NoDevice {
		z.readCopies()
		k := min(r.debt, r.zeroCopy)
		r.zeroCopy -= k
		r.copied += k
		r.debt -= k
	}
	z.stats.zeroCopy.Add(uint64(r.zeroCopy))
	z.l.stats.copied.Add(uint64(r.copied))
}

// locateEvery is how many bytes a connection receives by our queue, as far as
// known, until it is looked whether it still does.
const locateEvery = 256 << 10

// followUp looks where payload for s comes in, if that is not known any more.
func (z *zcrx) followUp(s *socket) {
	if z.astray(s) {
		z.locate(s)
	}
}

// astray reports whether it is not known where payload for s comes in: of the
// first, of that after locateEvery bytes, and in each round while it comes in
// elsewhere.
func (z *zcrx) astray(s *socket) bool {
	c := &s.zc
	return (c.unlocated <= 0 || c.elsewhere) && c.located != z.rounds
}

// locate finds out whether s comes in by our queue. There is payload: before, the
// socket may not know what polled its packets.
func (z *zcrx) locate(s *socket) {
	s.zc.located, s.zc.unlocated = z.rounds, locateEvery
	now := time.Now()
	if !z.tells(now) {
		return
	}
	elsewhere := false
	if id, err := z.incoming(s.fd); err == nil {
		ours, known := z.polled(id, now)
		if !known { // it stays what it was, and is asked again in the next round
			s.zc.unlocated = 0
			return
		}
		elsewhere = !ours
	}
	if elsewhere && !s.zc.elsewhere {
		z.stats.elsewhere.Add(1)
	}
	s.zc.elsewhere = elsewhere
}

func (z *zcrx) incoming(fd int) (uint32, error) {
	if z.o.Incoming != nil {
		return z.o.Incoming(fd)
	}
	id, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_INCOMING_NAPI_ID)
	return uint32(id), err
}
