package buf

import "github.com/zctap/zctap/internal/interleave/atomic"

// An Account counts the buffers that one connection keeps from the queue: in
// its reassembly, in its socket queue and in the application's hands. It is
// what the connection's TCP window follows (rule 2: free buffers, not bytes).
type Account struct {
	held atomic.Int64 // engine adds, whoever frees a buffer subtracts
}

// Held is the number of buffers charged and not yet free.
func (a *Account) Held() int { return int(a.held.Load()) }

func (a *Account) uncharge(n int) {
	if n > 0 {
		a.held.Add(int64(-n))
	}
}

// Charge lays buffer b on a until it is free again. The caller is the engine
// and holds b's only reference; a buffer is charged once. Lent buffers are not:
// what lands in one can be of several connections.
func (p *Pool) Charge(b uint16, a *Account) {
	p.ChargeFrags([]Frag{{bufferID: bufferID{buffer: b}}}, a)
}

// ChargeFrags is Charge for the buffer of each frag.
func (p *Pool) ChargeFrags(frags []Frag, a *Account) {
	words, lent := p.words, p.lending.n
	owners := p.owners[:len(words)]
	for i := range frags {
		b := frags[i].buffer
		w := &words[b]
		v := w.Load()
		if v&charged != 0 || uint32(b) < lent {
			panic("buf: buffer charged twice, or lent")
		}
		// Who frees a buffer reads its owner and leaves it there: in a bulk stream
		// the owner is the same each time, and the line that has it stays in both
		// caches.
		if owners[b] != a {
			owners[b] = a
		}
		storeOwned(w, v, v|charged)
	}
	a.held.Add(int64(len(frags)))
}

// kick is how the engine asks to be told that buffers came back, when it has
// run out of them or has closed a window for want of them. One atomic load a
// batch for those who return buffers, one call of the function an episode.
type kick struct {
	wanted atomic.Bool // set by the engine, taken back by who kicks
	fn     atomic.Pointer[func()]
}

// OnReturn sets the function that is called, from whatever goroutine frees
// buffers, once for each WantReturn. It must not block or call into the pool.
// After Close it is called, too, when a buffer's last kernel reference is
// dropped, free or not, so that Remove need not be polled.
func (p *Pool) OnReturn(fn func()) { p.kick.fn.Store(&fn) }

// WantReturn asks for one call of OnReturn's function when next a buffer comes
// back. The engine calls it before it looks a last time and goes to sleep.
func (p *Pool) WantReturn() { p.kick.wanted.Store(true) }

// Nudge calls OnReturn's function if WantReturn asked for it: for an engine of several
// threads, of which one has made room that another may wait for. Any
// goroutine. It is with WantReturn as returned is.
func (p *Pool) Nudge() {
	if p.kick.wanted.Load() {
		p.kick.call()
	}
}

// call makes the one call that is wanted, of which the caller has seen that it is.
func (k *kick) call() {
	if k.wanted.Swap(false) {
		if fn := k.fn.Load(); fn != nil {
			(*fn)()
		}
	}
}

// returned runs after buffers were put into a ring.
func (p *Pool) returned() {
	// Sequentially consistent with WantReturn: either the engine's last look
	// after it sees our ring entry, or we see its wish here.
	if p.kick.wanted.Load() {
		p.kick.call()
	}
	if p.state.Load() != poolOpen {
		p.afterClose()
	}
}

// kernelDone runs after a buffer's last kernel reference was dropped while the
// application still holds the buffer: not free, but what a Remove waits for.
func (p *Pool) kernelDone() {
	if p.state.Load() != poolOpen {
		p.returned()
	}
}
