package zctap

import (
	"runtime"
	"sync"
	"testing"

	"github.com/zctap/zctap/internal/buf"
	"github.com/zctap/zctap/internal/sockq"
)

// Who arms notices while another goroutine disarms them gets EBUSY, or notices.
func TestArmBesideDisarmNotices(t *testing.T) {
	region, err := buf.NewRegion(buf.RegionConfig{Buffers: 1, Heap: true})
	if err != nil {
		t.Fatal(err)
	}
	q := &Queue{pool: buf.NewPool(region), cq: sockq.NewCQ()}
	q.notices.Owner = q
	var buffer, none [1]uint16
	for i := range 2000 {
		if err := q.ArmNotices(1); err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		wg.Go(q.DisarmNotices)
		for tries := 1; q.ArmNotices(2) != nil; tries++ {
			if tries%1000 == 0 { // seldom, since this is to come between two steps of the other
				runtime.Gosched()
			}
		}
		wg.Wait()
		if q.pool.Alloc(buffer[:]) != 1 || q.pool.Alloc(none[:]) != 0 {
			t.Fatal("there is not one buffer")
		}
		q.pool.Put(buffer[0])
		if n, _ := q.pool.TakeNotice(); !n.Empty {
			t.Fatalf("round %d: armed, and not told", i)
		}
		q.DisarmNotices()
	}
}
