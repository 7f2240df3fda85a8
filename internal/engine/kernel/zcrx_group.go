//go:build linux

package kernel

import (
	"errors"
	"os"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// Several rings can receive from one interface queue, each on a loop and thread of
// its own (Linux 6.19): the first registers the queue and exports it, the others
// import it. Each ring has its own connections, with their credits, and its own
// records of what the kernel put where and for whom; what they have in common is
// here. With one ring there is no group.
//
// One at a time, by the lock: the engine's side of the pool, and the refill ring.
// Whichever ring comes first takes from the pool what the application has given
// back, and sorts it by who has records of it. A ring takes its own records of a
// buffer when nobody holds the buffer at that moment: as it alone adds to them, none
// of them is of payload that is in use then. Else the buffer comes back once more,
// when that payload has been released.
//
// Each ring publishes what it has taken and promised (books), once a round and
// before it waits, and reckons with what the others have published: two that give
// credit at the same moment may together give too much by the lesser of both, which
// their next rounds take back (zcrx.restrain).

// maxRings is how many rings may share a queue: zcrxGroup.holders has a bit for each.
const maxRings = 32

type zcrxGroup struct {
	mu    sync.Mutex // loop.alloc of all, too
	rings []*zcrx    // opened one after the other, before any of them runs

	holders []atomic.Uint32 // of each lent buffer, the rings that have records of it; each sets and clears its own bit
	shared  atomic.Bool     // rings were found to have payload in one buffer

	fd        int // the exported queue; -1: not exported, or closed
	importers sync.WaitGroup

	// With mu: bytes that the kernel says it copied. It counts for all together.
	seen uint64
	debt int // not told yet, and in no ring's hands
}

// sharing is what a ring shows the others of its group.
type sharing struct {
	group *zcrxGroup // nil: there are no others
	bit   uint32     // in zcrxGroup.holders

	books  books
	told   sums // as last published
	others sums // of the others' books, as last read
	came   []uint16

	// For this ring, from the others.
	mail   []uint16     // buffers that nobody held when they came back; with group.mu
	mailed []bool       // by buffer: it is in mail; with group.mu
	asked  atomic.Int64 // buffers of credit that somebody lacks
	scarce atomic.Bool  // the NIC lacks buffers
}

// sums are the buffers that rings have taken, and that they may still take: see the
// fields of zcrx.
type sums struct{ out, promised, windows, reserved, sockets int }

// books are a ring's sums, for the others to read.
type books struct {
	out, promised, windows, reserved, sockets atomic.Int64
	idle                                      atomic.Bool // some credit can be taken back
}

// first reports whether z has registered the queue.
func (z *zcrx) first() bool { return z.group == nil || z.group.rings[0] == z }

// join makes z a ring of g, with so many lent buffers.
func (z *zcrx) join(g *zcrxGroup, lent int) {
	z.group, z.bit = g, 1<<len(g.rings)
	z.l.alloc = &g.mu
	if len(g.rings) == 0 {
		g.holders = make([]atomic.Uint32, lent)
	}
	z.mail, z.mailed = make([]uint16, 0, lent), make([]bool, lent)
	g.rings = append(g.rings, z)
}

// export makes the queue of z available to the others.
func (g *zcrxGroup) export(z *zcrx) (err error) {
	g.fd, err = z.ifq.Export()
	return err
}

// adopt makes the queue of the first ring available to z, whose ring is disabled yet.
func (g *zcrxGroup) adopt(z *zcrx) (err error) {
	z.ifq, err = z.ring.ImportZCRX(g.fd, g.rings[0].ifq)
	return err
}

// unexport closes the descriptor: with it the queue would not be free.
func (g *zcrxGroup) unexport() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.fd < 0 {
		return nil
	}
	err := unix.Close(g.fd)
	g.fd = -1
	return os.NewSyscallError("close", err)
}

// claim notes that z, which holds buffer b, has records of it.
func (g *zcrxGroup) claim(z *zcrx, b uint16) {
	h := &g.holders[b]
	if h.Load()&z.bit != 0 {
		return
	}
	if h.Or(z.bit) != 0 {
		z.records.shared = true
		g.shared.Store(true)
	}
}

// collect is zcrx.collect for z, a ring of the group.
func (g *zcrxGroup) collect(z *zcrx) {
	waiting := g.sort(z)
	for _, b := range z.came {
		// What is in came of z's own making was free a moment ago, and z has put
		// nothing there since; mail may be older.
		if z.l.pool.Held(b) {
			continue
		}
		z.settleAll(b)
		g.holders[b].And(^z.bit)
	}
	z.came = z.came[:0]
	z.publish()
	z.refresh()
	if n := z.asked.Swap(0); n > 0 {
		z.recall(int(n))
	}
	if z.scarce.Swap(false) {
		z.drainPaused()
	}
	if waiting != 0 && z.hungry() {
		for _, o := range g.rings {
			if waiting&o.bit != 0 {
				o.l.poke()
			}
		}
	}
}

// sort takes what the application has given back: what z has records of, and what
// the others have left for it, is in z.came then. It returns for whom something waits.
func (g *zcrxGroup) sort(z *zcrx) (waiting uint32) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for n := len(z.ids); n == len(z.ids); {
		n = z.l.pool.TakeBack(z.ids[:])
		for _, b := range z.ids[:n] {
			holders := g.holders[b].Load()
			for _, o := range g.rings {
				if holders&o.bit != 0 && !o.mailed[b] {
					o.mailed[b] = true
					o.mail = append(o.mail, b)
				}
			}
		}
	}
	for _, b := range z.mail {
		z.mailed[b] = false
	}
	z.came, z.mail = z.mail, z.came[:0]
	for _, o := range g.rings {
		if len(o.mail) > 0 {
			waiting |= o.bit
		}
	}
	return waiting
}

// publish shows the others what z has taken and promised. If that has become less,
// connections of theirs that wait for buffers may go on.
func (z *zcrx) publish() {
	now := sums{z.records.out, z.promises.sum, z.windows, z.reserved, z.l.table.used}
	b := &z.books
	b.out.Store(int64(now.out))
	b.promised.Store(int64(now.promised))
	b.windows.Store(int64(now.windows))
	b.reserved.Store(int64(now.reserved))
	b.sockets.Store(int64(now.sockets))
	b.idle.Store(z.promises.oldest != nil)
	was := z.told
	z.told = now
	// What was promised and has come is still taken.
	if now.out+now.promised < was.out+was.promised || now.windows < was.windows || now.reserved < was.reserved {
		z.l.pool.Nudge()
	}
}

// refresh reads what the others have published.
func (z *zcrx) refresh() {
	z.others = sums{}
	for _, o := range z.group.rings {
		if o == z {
			continue
		}
		z.others.out += int(o.books.out.Load())
		z.others.promised += int(o.books.promised.Load())
		z.others.windows += int(o.books.windows.Load())
		z.others.reserved += int(o.books.reserved.Load())
		z.others.sockets += int(o.books.sockets.Load())
	}
	if z.group.shared.Load() {
		z.records.shared = true
	}
}

// ask has the others take back credit that is not used, for want more buffers.
func (g *zcrxGroup) ask(z *zcrx, want int) {
	for _, o := range g.rings {
		if o != z && o.books.idle.Load() {
			o.asked.Store(int64(want))
			o.l.poke()
		}
	}
}

// tellDry tells the others that the NIC lacks buffers.
func (g *zcrxGroup) tellDry(z *zcrx) {
	for _, o := range g.rings {
		if o != z {
			o.scarce.Store(true)
			o.l.poke()
		}
	}
}

// copies gives z what the kernel has copied, as far as nobody has told of it. It
// does not say by which ring that was received; what z does not need it leaves to
// the others (endRound), so that together they count it once, as with one ring.
func (g *zcrxGroup) copies(z *zcrx) {
	g.mu.Lock()
	defer g.mu.Unlock()
	first := g.rings[0]
	now := first.ifq.Stats()
	z.batch.debt += g.debt + int(now.CopiedBytes-g.seen)
	g.debt, g.seen = 0, now.CopiedBytes
	first.stats.kernelFrags.Store(now.Copies)
	first.stats.kernelBytes.Store(now.CopiedBytes)
}

// endRound ends a round of z.
func (g *zcrxGroup) endRound(z *zcrx) {
	z.l.putStock() // nothing that others may need stays with a ring that sleeps
	if z.batch.debt > 0 {
		g.mu.Lock()
		g.debt += z.batch.debt
		g.mu.Unlock()
		z.batch.debt = 0
	}
	z.publish()
}

// zcrxCandidates are the backends of an engine with o: with several rings, the
// first has the others in tow.
func zcrxCandidates(o ZCRXOptions) (candidate, error) {
	c := candidate{name: BackendZCRX, reason: "asked for"}
	if o.Rings < 0 || o.Rings > maxRings {
		return c, badZCRX("%d rings for a queue: 1 to %d, or 0 for one", o.Rings, maxRings)
	}
	var g *zcrxGroup
	open := func(l *loop) (backend, error) { return openZCRX(l, o, g) }
	c.open = open
	if o.Rings > 1 {
		g = &zcrxGroup{fd: -1}
	}
	for range o.Rings - 1 {
		c.more = append(c.more, open)
	}
	return c, nil
}

// openImport has a ring of z receive from the queue that the first has exported.
func (z *zcrx) openImport() (err error) {
	g := z.group
	if err = g.adopt(z); err != nil {
		return err
	}
	if len(g.rings) == z.o.Rings {
		err = g.unexport()
	}
	z.rq = g.rings[0].rq
	return errors.Join(err, z.ring.Enable())
}
