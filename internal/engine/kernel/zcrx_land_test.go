//go:build linux

package kernel

import (
	"testing"

	"github.com/zctap/zctap/internal/buf"
	"github.com/zctap/zctap/internal/uring"
)

// ledger is what a backend and a connection have noted of payload.
type ledger struct {
	held, alone, mean, unlocated, promised int
	got                                    uint64
	batch                                  zcrxBatch
	out, buffered, free                    int
}

func ledgerOf(z *zcrx, c *conn) ledger {
	s := &c.zc
	return ledger{
		s.held, s.alone, s.mean, s.unlocated, s.promise.left, s.got,
		z.batch, z.records.out, c.queue.Buffered(), z.l.pool.FreeLent(),
	}
}

// Payload that is taken many at a time is accounted for, handed out and given back
// as if each completion came by itself.
func TestZCRXLandsAsOneByOne(t *testing.T) {
	var cqes []uring.CQE
	for i := range uint64(200) {
		// Whole buffers, a part, and small pieces that share one.
		n, off, b := int32(4096), uint64(0), i
		switch i % 8 {
		case 5:
			n, off = 2048, 100
		case 6, 7:
			n, off, b = 100, i%8*200, i/8*8+6
		}
		cqes = append(cqes, uring.CQE{Res: n, Flags: uring.CQEMore, Extra: [2]uint64{b<<12 | off}})
	}
	deliver := func(z *zcrx, c *conn, cqes []uring.CQE) {
		for i := range cqes {
			d, _ := z.ifq.Data(&cqes[i])
			z.deliver(c, d)
		}
	}
	handle := func(z *zcrx, c *conn, cqes []uring.CQE) {
		for i := range cqes {
			cqes[i].UserData = userData(reqRecv, &c.socket)
		}
		z.handle(cqes)
	}
	var want ledger
	var wantViews []buf.Frag
	for _, tc := range []struct {
		name string
		take func(z *zcrx, c *conn, cqes []uring.CQE)
		n    int // at a time
	}{
		{"one by one", deliver, 1},
		{"all", handle, len(cqes)},
		{"some", handle, 7},
		{"each", handle, 1},
	} {
		z, c, _ := alone(t, 1024)
		z.promises.make(&c.socket, 150)
		c.zc.size = 1 << 30
		z.batch.begin(z.free())
		for i := 0; i < len(cqes); i += tc.n {
			tc.take(z, c, cqes[i:min(i+tc.n, len(cqes))])
		}
		c.queue.Publish()
		got := ledgerOf(z, c)
		iovs := make([]buf.Iov, len(cqes)+1)
		n, err := c.queue.Recv(iovs, 1<<30)
		if err != nil {
			t.Fatal(err)
		}
		var views []buf.Frag
		for i := range iovs[:n] {
			f := iovs[i].Frag()
			views = append(views, z.l.pool.Frag(f.Buffer(), f.Offset(), f.Len()))
		}
		if tc.n == 1 && want == (ledger{}) {
			want, wantViews = got, views
		}
		if got != want || len(views) != len(cqes) || got.batch.frames != len(cqes) || got.batch.copied != got.buffered {
			t.Errorf("%s: %+v, want %+v", tc.name, got, want)
		}
		for i, f := range views {
			if w := wantViews[i]; f.Buffer() != w.Buffer() || f.Offset() != w.Offset() || f.Len() != w.Len() {
				t.Fatalf("%s: view %d is %+v, want %+v", tc.name, i, f, w)
			}
		}
		if n, err := z.l.pool.Return(iovs[:n]); n != len(cqes) || err != nil {
			t.Errorf("%s: returned %d: %v", tc.name, n, err)
		}
		z.collect()
		if c.zc.held != 0 || c.zc.alone != 0 || z.records.out != 0 || due(z) != len(cqes) {
			t.Errorf("%s: %d held, %d alone, %d out, %d due at the end", tc.name, c.zc.held, c.zc.alone, z.records.out, due(z))
		}
	}
}

// A buffer that has as many references as it can count ends a run there: what is
// before it was taken, what is behind it comes behind it.
func TestZCRXLandsUntilCountedOut(t *testing.T) {
	const most = 1<<16 - 1 // kernel references of one buffer
	z, c, _ := alone(t, 1024)
	for range most {
		if _, err := z.l.pool.Land([]buf.Frag{buf.Landed(1, 0, 1)}); err != nil {
			t.Fatal(err)
		}
	}
	var cqes []uring.CQE
	for b := range uint64(3) {
		cqes = append(cqes, uring.CQE{UserData: userData(reqRecv, &c.socket), Res: 10, Flags: uring.CQEMore, Extra: [2]uint64{b << 12}})
	}
	z.batch.begin(z.free())
	z.handle(cqes)
	c.queue.Publish()
	iovs := make([]buf.Iov, 4)
	n, err := c.queue.Recv(iovs, 1000)
	if n != 3 || err != nil || z.dues.len() != 1 || z.records.out != 2 || c.account.Held() != 1 {
		t.Fatalf("%d views, %v; %d due, %d buffers out, %d held of the reserve", n, err, z.dues.len(), z.records.out, c.account.Held())
	}
	for i, b := range []uint16{0, 1024, 2} {
		if got := iovs[i].Frag().Buffer(); got != b {
			t.Errorf("view %d is in buffer %d, want %d", i, got, b)
		}
	}
	if _, err := z.l.pool.Return(iovs[:n]); err != nil {
		t.Error(err)
	}
	z.l.closeTails()
	z.l.putStock()
	for range most {
		z.l.pool.Put(1)
	}
}

// What completions bring is noted of many as of each, whole buffers or not.
func TestZCRXNotesAsOneByOne(t *testing.T) {
	const unit = 4096
	for mean := 4080; mean <= unit; mean++ {
		for _, sizes := range [][]int{{unit, unit, unit}, {unit}, {unit, 100, unit}, {unit - 1, unit - 1}, {100}} {
			var frags []buf.Frag
			bytes := 0
			one := zcState{mean: mean, size: 1 << 20, tries: 1}
			all := one
			for _, n := range sizes {
				frags = append(frags, buf.Landed(0, 0, n))
				bytes += n
				one.note(n)
			}
			if all.noteAll(frags, bytes, unit); all != one {
				t.Errorf("mean %d, %v: %+v, want %+v", mean, sizes, all, one)
			}
		}
	}
}
