package mem

import (
	"testing"

	"github.com/zctap/zctap/internal/buf"
	"github.com/zctap/zctap/internal/driver"
)

// A Poll ends with the frame that reaches the batch's MaxBytes; the rest comes
// with the next.
func TestPollEndsByBytes(t *testing.T) {
	var pools [2]*buf.Pool
	for i := range pools {
		r, err := buf.NewRegion(buf.RegionConfig{Buffers: 64, Heap: true})
		if err != nil {
			t.Fatal(err)
		}
		pools[i] = buf.NewPool(r)
	}
	a, b, err := Pipe(Config{Pool: pools[0]}, Config{Pool: pools[1]})
	if err != nil {
		t.Fatal(err)
	}
	frames := make([]driver.TxFrame, 5)
	for i := range frames {
		frames[i].Head = make([]byte, 1000)
	}
	if n, err := a.Send(0, frames); n != len(frames) || err != nil {
		t.Fatalf("sent %d, %v", n, err)
	}
	batch := driver.NewBatch(16, 64)
	batch.MaxBytes = 1500
	for _, want := range []int{2, 2, 1, 0} {
		if err := b.Poll(0, batch); err != nil || len(batch.Frames) != want {
			t.Fatalf("%d frames, %v, want %d", len(batch.Frames), err, want)
		}
		for _, f := range batch.Frames {
			pools[1].PutFrags(f.Frags)
		}
	}
	for i, e := range []*End{a, b} {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
		pools[i].Close()
		if !pools[i].Remove() {
			t.Errorf("pool %d: buffers are out", i)
		}
	}
}
