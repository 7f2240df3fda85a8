package buf

import "github.com/zctap/zctap/internal/interleave/atomic"

// A Notice tells the application about its fill ring (RFC v3, patch 15).
type Notice struct {
	// Drained is the number of entries that the queue took from the fill ring
	// since the notice before. 0: none.
	Drained uint64
	// Empty: an allocation found no free buffer anywhere. One notice for each
	// episode, which ends with the next allocation that succeeds.
	Empty bool
}

type notices struct {
	armed    atomic.Bool
	pending  atomic.Uint64 // entries drained and not yet told of
	empty    atomic.Bool   // an episode not yet told of
	told     atomic.Bool   // fn was called and TakeNotice has not been
	episodes atomic.Uint64 // episodes ever
	out      bool          // an episode is on; engine only
	fn       atomic.Pointer[func()]
}

// OnNotice arms the notices: fn is called on the engine's goroutine when there
// is something to tell and the notice before has been taken, so that at most
// one is outstanding while counts accumulate. It must not block. nil disarms them: nothing
// is counted then.
func (p *Pool) OnNotice(fn func()) {
	if fn == nil {
		p.notices.armed.Store(false)
		return
	}
	p.notices.fn.Store(&fn)
	p.notices.armed.Store(true)
}

// TakeNotice takes what has come up since the last call; ok is false if
// nothing has.
func (p *Pool) TakeNotice() (n Notice, ok bool) {
	// told first: what comes up from here on calls fn again.
	p.notices.told.Store(false)
	n = Notice{Drained: p.notices.pending.Swap(0), Empty: p.notices.empty.Swap(false)}
	return n, n.Drained > 0 || n.Empty
}

// Exhaustions is the number of episodes in which an allocation found no free
// buffer.
func (p *Pool) Exhaustions() uint64 { return p.notices.episodes.Load() }

func (n *notices) drained(k int) {
	if n.armed.Load() {
		n.pending.Add(uint64(k))
		n.tell()
	}
}

func (n *notices) exhausted() {
	if n.out {
		return
	}
	n.out = true
	n.episodes.Add(1)
	if n.armed.Load() {
		n.empty.Store(true)
		n.tell()
	}
}

func (n *notices) relieved() { n.out = false }

func (n *notices) tell() {
	if !n.told.Swap(true) {
		(*n.fn.Load())()
	}
}
