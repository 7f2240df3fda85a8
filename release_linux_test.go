package zctap

import (
	"runtime"
	"testing"

	"github.com/zctap/zctap/internal/buf"
	"github.com/zctap/zctap/internal/sockq"
)

// What a handler releases on the engine's thread goes straight to the engine; what others release meanwhile goes by the ring.
func TestReleaseInHandler(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	region, err := buf.NewRegion(buf.RegionConfig{Buffers: 4})
	if err != nil {
		t.Fatal(err)
	}
	q := &Queue{pool: buf.NewPool(region), cq: sockq.NewCQ()}
	q.pool.Lend(3)
	var got []uint16
	q.pool.OneThread(func(buffers []uint16) { got = append(got, buffers...) })
	iovs := make([]buf.Iov, 3)
	frags := []buf.Frag{buf.Landed(0, 0, 1), buf.Landed(1, 0, 1), buf.Landed(2, 0, 1)}
	if n, err := q.pool.Land(frags); n != 3 || err != nil {
		t.Fatal(n, err)
	}
	if n, _, err := q.pool.HandOverAll(frags, iovs, 3); n != 3 || err != nil {
		t.Fatal(n, err)
	}
	release := func(i int) {
		if n, err := q.Release([]Iov{Iov(iovs[i])}); n != 1 || err != nil {
			t.Error(n, err)
		}
	}
	release(0)
	err = q.cq.Handle(&sockq.Handler{
		Visit: func(*sockq.Source) (again, more bool) { return false, true },
		Deliver: func() {
			done := make(chan struct{})
			go func() { // of another thread: this one is in here
				release(1)
				close(done)
			}()
			<-done
			release(2)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	var s sockq.Source
	s.Arm(q.cq, 1)
	s.Raise()
	q.cq.Dispatch(sockq.CurrentThread())
	for b := make([]uint16, 1); q.pool.TakeBack(b) == 1; {
		got = append(got, b[0])
	}
	if len(got) != 3 || got[0] != 2 || got[1] != 0 || got[2] != 1 {
		t.Errorf("the engine takes back %v, want 2, 0, 1", got)
	}
}
