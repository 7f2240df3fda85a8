package sim

import (
	"slices"
	"testing"
	"time"

	"github.com/zctap/zctap/internal/testenv"
)

// TestStalledReader: a reader that keeps all views that it gets, until no more comes, leaves
// the others of its queue above 80 % of the speed that they have without it; and when it
// gives them back, it gets the rest. It keeps half of the region (the dynamic threshold of
// one), so that the other half has to hold what is under way: 173 segments, a buffer each. The
// smallest region here is three times that; it is the one under the race detector, which
// changes nothing in simulated time.
func TestStalledReader(t *testing.T) {
	for _, buffers := range []int{512, 1024, 4096} {
		if testenv.Race && buffers > 512 {
			break
		}
		alone, beside := besideStalled(t, buffers, false), besideStalled(t, buffers, true)
		t.Logf("%d buffers: %v alone, %v beside a stalled reader: %.2f of the speed", buffers, alone, beside, alone.Seconds()/beside.Seconds())
		if alone.Seconds() < 0.8*beside.Seconds() {
			t.Errorf("%d buffers: beside a stalled reader transfers take %v, without it %v", buffers, beside, alone)
		}
	}
}

// besideStalled is how long three transfers at once take on the path of the throughput
// table, when one more has come to a halt or there is none.
func besideStalled(t *testing.T, buffers int, stalled bool) time.Duration {
	t.Helper()
	const (
		n      = 4 << 20
		others = 3
		begin  = time.Second // when the stalled one has what it gets
		until  = 20 * time.Second
	)
	q := Quality{Latency: tableLatency, Rate: tableRate}
	s := Settings{Buffers: buffers, MTU: 1500, SendSpace: 4 << 20}
	sc := &Scenario{Seed: 1, CheckEvery: 1000, Path: [2]Quality{q, q}, Hosts: [2]Settings{s, s}}
	plan := Plan{Kind: Transfer, Bytes: [2]int64{n, 0}, Write: [2]int{1 << 20, 1}, Read: [2]int{1, 1 << 20}}
	want := others
	if stalled {
		p := plan
		// Far more than it may keep: a buffer for each segment.
		p.Bytes[0], p.Stall[1] = int64(buffers)*1448*2, until
		sc.Flows = append(sc.Flows, p)
		want++
	}
	plan.Start = begin
	for range others {
		sc.Flows = append(sc.Flows, plan)
	}
	var ends []time.Duration
	sc.Arrived = func(at time.Duration) { ends = append(ends, at) }
	if _, err := Run(sc, MakeLocal); err != nil {
		t.Fatal(err)
	}
	slices.Sort(ends)
	if len(ends) != want || ends[others-1] > until || stalled && ends[others] < until {
		t.Fatalf("%d buffers: transfers ended after %v", buffers, ends)
	}
	return ends[others-1] - begin
}
