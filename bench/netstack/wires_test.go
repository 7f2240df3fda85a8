package netstack

import (
	"testing"

	"github.com/zctap/zctap/internal/buf"
	"github.com/zctap/zctap/internal/driver"
	"github.com/zctap/zctap/internal/driver/mem"
	"github.com/zctap/zctap/internal/mono"
)

// wireKind says who puts frames into the receiver's buffers, and so whether that is
// in what is measured.
type wireKind string

const (
	// copying: the receiver's own thread copies each frame from the wire.
	copying wireKind = "copy"
	// posted: frames were put into buffers that the receiver had posted before it
	// looks, as a NIC does by DMA. That is not measured; posting, and taking frames
	// from posted buffers, is.
	posted wireKind = "dma"
)

// copyingWire is the far end of internal/driver/mem.
type copyingWire struct {
	tb    testing.TB
	pool  *buf.Pool
	end   *mem.End
	batch *driver.Batch
	tx    []driver.TxFrame
}

func newCopyingWire(tb testing.TB, pool *buf.Pool, verify bool) (*mem.End, *copyingWire) {
	w := &copyingWire{tb: tb, pool: testPool(tb, 256), batch: driver.NewBatch(batchLen, 16*batchLen)}
	c := mem.Config{Pool: w.pool, Offload: mem.Local, QueueFrames: 4096, QueueBytes: 4 << 20}
	if verify {
		c.Offload = mem.Plain
	}
	end, wire, err := mem.Pipe(c, mem.Config{Pool: pool, Offload: mem.Plain, QueueFrames: 4096})
	if err != nil {
		tb.Fatal(err)
	}
	w.end = end
	return wire, w
}

func (w *copyingWire) send(frames [][]byte) {
	w.tx = w.tx[:0]
	for _, f := range frames {
		w.tx = append(w.tx, driver.TxFrame{Head: f})
	}
	if n, err := w.end.Send(0, w.tx); n != len(frames) || err != nil {
		w.tb.Fatalf("%d of %d frames sent, %v", n, len(frames), err)
	}
}

func (w *copyingWire) answers(f func([]byte)) {
	for {
		if err := w.end.Poll(0, w.batch); err != nil {
			w.tb.Fatal(err)
		}
		if len(w.batch.Frames) == 0 {
			return
		}
		for i := range w.batch.Frames {
			if f != nil {
				f(w.batch.Frames[i].Head)
			}
			w.pool.PutFrags(w.batch.Frames[i].Frags)
		}
	}
}

func (w *copyingWire) established() {}

func (w *copyingWire) close() {
	if err := w.end.Close(); err != nil {
		w.tb.Error(err)
	}
	closePool(w.tb, w.pool)
}

// postedWire is both ends of a wire whose frames are in the receiver's buffers when
// it looks. It receives as internal/driver/xdp does: whole frames, each in a posted
// buffer, and what was taken is posted anew by the same Poll.
type postedWire struct {
	tb       testing.TB
	pool     *buf.Pool
	checksum driver.Checksum
	ring     [batchLen]postedBuffer
	filled   int // of ring, by the far end
	buffers  int // of ring, posted
	ids      [batchLen]uint16

	quiet bool // what is sent is of no interest
	out   [][]byte
	stats driver.Stats
}

type postedBuffer struct {
	id  uint16
	len int
}

var (
	_ driver.Driver = (*postedWire)(nil)
	_ farEnd        = (*postedWire)(nil)
)

func newPostedWire(tb testing.TB, pool *buf.Pool, verify bool) *postedWire {
	w := &postedWire{tb: tb, pool: pool, checksum: driver.Vouched}
	if verify {
		w.checksum = driver.Unverified
	}
	w.post()
	return w
}

// post fills the ring with buffers to receive into.
func (w *postedWire) post() {
	w.pool.Reclaim()
	empty := w.ring[w.buffers:]
	ids := w.ids[:w.pool.Alloc(w.ids[:len(empty)])]
	for i, id := range ids {
		empty[i] = postedBuffer{id: id}
	}
	w.buffers += len(ids)
}

// send is what a NIC does by DMA.
func (w *postedWire) send(frames [][]byte) {
	if w.filled+len(frames) > w.buffers {
		w.tb.Fatalf("%d frames for %d posted buffers", len(frames), w.buffers-w.filled)
	}
	for _, f := range frames {
		b := &w.ring[w.filled]
		b.len = copy(w.pool.Region().Buffer(b.id), f)
		w.filled++
	}
}

func (w *postedWire) Caps() driver.Caps { return driver.Caps{Name: "posted", MTU: 1500} }

func (w *postedWire) Poll(_ mono.Time, b *driver.Batch) error {
	b.Reset()
	frags, left := b.Room()
	bytes, done := 0, 0
	for filled := w.ring[:min(w.filled, len(frags))]; done < len(filled) && bytes < left; done++ {
		p := &filled[done]
		frags[done].Landed(p.id, 0, uint32(p.len))
		bytes += p.len
	}
	w.pool.Name(frags[:done])
	b.AddEach(done, w.checksum)
	w.stats.RxFrames += uint64(done)
	w.stats.RxBytes += uint64(bytes)
	w.buffers = copy(w.ring[:], w.ring[done:w.buffers])
	w.filled -= done
	w.post()
	return nil
}

func (w *postedWire) Send(_ mono.Time, frames []driver.TxFrame) (int, error) {
	for i := range frames {
		f := &frames[i]
		w.stats.TxFrames++
		if !w.quiet {
			w.out = append(w.out, append(append(append([]byte(nil), f.Head...), f.Payload[0]...), f.Payload[1]...))
		}
	}
	return len(frames), nil
}

func (w *postedWire) answers(f func([]byte)) {
	for _, b := range w.out {
		if f != nil {
			f(b)
		}
	}
	w.out = nil
}

func (w *postedWire) established() { w.quiet = true }

func (w *postedWire) Wait(mono.Time) error  { return nil }
func (w *postedWire) Wake()                 {}
func (w *postedWire) Stats(s *driver.Stats) { *s = w.stats }

func (w *postedWire) Close() error {
	for _, b := range w.ring[:w.buffers] {
		w.pool.Put(b.id)
	}
	w.buffers, w.filled = 0, 0
	return nil
}

func (w *postedWire) close() {}
