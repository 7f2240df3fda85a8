package sim

import (
	"time"

	"github.com/zctap/zctap/internal/buf"
	"github.com/zctap/zctap/internal/driver"
	"github.com/zctap/zctap/internal/driver/impair"
	"github.com/zctap/zctap/internal/driver/mem"
	"github.com/zctap/zctap/internal/mono"
)

// A Quality is how good a path is, in one direction.
type Quality struct {
	Drop, Duplicate, Corrupt, Reorder float64 // probabilities, for each frame
	ReorderBy                         int     // frames that overtake a reordered one
	Latency, Jitter                   time.Duration
	Rate                              int // bytes a second; 0: no limit
	Narrow                            []Narrowing
}

// A Path joins the wires of two hosts, and treats what it carries badly.
type Path struct {
	pool *buf.Pool
	ways [2]*way
}

// way is one direction of a path.
type way struct {
	pool   *buf.Pool
	in     driver.Driver
	held   []*impair.Driver // what in is made of
	out    driver.Driver
	batch  *driver.Batch
	next   int // of batch.Frames, to forward
	joined []byte

	rate   int
	free   mono.Time // when the last frame has left, at this rate
	router router
}

// pathBuffers is what a path can hold, in buffers of 4 KiB.
const pathBuffers = 2048

// NewPath makes a path between two wires, of which it takes the ends inner to the
// path: a's sends what b's receives, and the other way round. ends make the wires:
// for each host the path's Config of it is passed.
func NewPath(q [2]Quality, seed uint64, ends func(i int, path mem.Config) (*mem.End, error)) (*Path, error) {
	pool, err := newPool(pathBuffers)
	if err != nil {
		return nil, err
	}
	p := &Path{pool: pool}
	var wires [2]*mem.End
	for i := range wires {
		if wires[i], err = ends(i, mem.Config{Pool: pool}); err != nil {
			return nil, err
		}
	}
	for i := range p.ways {
		if p.ways[i], err = newWay(q[i], seed*2+uint64(i), pool, wires[i], wires[1-i]); err != nil {
			return nil, err
		}
	}
	return p, nil
}

func newWay(q Quality, seed uint64, pool *buf.Pool, in, out *mem.End) (*way, error) {
	frames := 32
	if q.Rate > 0 {
		frames = 1 // they wait outside, where the sender sees it
	}
	w := &way{
		pool: pool, out: out, rate: q.Rate, batch: driver.NewBatch(frames, 32*32),
		router: newRouter(q.Narrow, in.Caps().LinkHeader, in),
	}
	bad, err := impair.New(in, impair.Config{
		Pool: pool, Seed: seed, Drop: q.Drop, Duplicate: q.Duplicate, Corrupt: q.Corrupt,
		Reorder: q.Reorder, ReorderBy: q.ReorderBy,
	})
	if err != nil {
		return nil, err
	}
	w.in, w.held = bad, []*impair.Driver{bad}
	if q.Latency+q.Jitter > 0 {
		long, err := impair.New(bad, impair.Config{
			Pool: pool, Seed: seed + 1<<32, Delay: 1, DelayBy: q.Latency, DelayJitter: q.Jitter,
		})
		if err != nil {
			return nil, err
		}
		w.in, w.held = long, append(w.held, long)
	}
	return w, nil
}

// Round carries what is due; busy says that there was something.
func (p *Path) Round(now mono.Time) (busy bool, err error) {
	for _, w := range p.ways {
		b, err := w.round(now)
		if err != nil {
			return false, err
		}
		busy = busy || b
	}
	return busy, nil
}

func (w *way) round(now mono.Time) (busy bool, err error) {
	for {
		if w.next == len(w.batch.Frames) {
			if now.Before(w.free) {
				return busy, nil
			}
			w.next = 0
			came := w.held[0].Counts().Received
			if err := w.in.Poll(now, w.batch); err != nil {
				return busy, err
			}
			if len(w.batch.Frames) == 0 {
				if w.held[0].Counts().Received == came {
					return busy, nil
				}
				continue // all that came is lost or held, and more may wait behind it
			}
		}
		for w.next < len(w.batch.Frames) {
			f := &w.batch.Frames[w.next]
			t := w.forward(f)
			if w.router.carries(now, &t) {
				n, err := w.out.Send(now, []driver.TxFrame{t})
				if err != nil || n == 0 {
					return busy, err
				}
			}
			w.pool.PutFrags(f.Frags)
			w.next++
			busy = true
			if w.rate > 0 {
				w.free = max(now, w.free).Add(time.Duration(f.Len) * time.Second / time.Duration(w.rate))
			}
		}
	}
}

// forward is f as a frame to send.
func (w *way) forward(f *driver.Frame) driver.TxFrame {
	w.joined = w.joined[:0]
	for _, g := range f.Frags {
		w.joined = append(w.joined, w.pool.Region().View(g)...)
	}
	t := driver.TxFrame{Head: f.Head, Payload: [2][]byte{w.joined, nil}, GSOSize: int(f.GSOSize)}
	if len(f.Head) == 0 {
		t.Head, t.Payload[0] = w.joined, nil
	}
	return t
}

// Next is when Round has something to do that it has not now, 0 if never.
func (p *Path) Next(now mono.Time) (t mono.Time) {
	for _, w := range p.ways {
		if now.Before(w.free) {
			t = earlier(t, w.free) // nothing is looked at before
			continue
		}
		for _, d := range w.held {
			if n := d.NextEvent(); now.Before(n) {
				t = earlier(t, n)
			}
		}
	}
	return t
}

// Lost is the frames that did not arrive as they were sent: dropped or corrupted, or
// too long for a part of the path.
func (p *Path) Lost() (n uint64) {
	for _, w := range p.ways {
		c := w.held[0].Counts()
		n += c.Dropped + c.Corrupted + w.router.dropped
	}
	return n
}

// Close drops what is on its way.
func (p *Path) Close() error {
	for _, w := range p.ways {
		for ; w.next < len(w.batch.Frames); w.next++ {
			p.pool.PutFrags(w.batch.Frames[w.next].Frags)
		}
		if err := w.in.Close(); err != nil {
			return err
		}
	}
	return closePool(p.pool)
}

// earlier is the earlier of two times of which 0 is never.
func earlier(a, b mono.Time) mono.Time {
	if a == 0 || b != 0 && b.Before(a) {
		return b
	}
	return a
}
