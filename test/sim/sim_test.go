package sim

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"

	"github.com/zctap/zctap/internal/buf"
	"github.com/zctap/zctap/internal/driver"
	"github.com/zctap/zctap/internal/stack"
	"github.com/zctap/zctap/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }

var (
	seedFlag   = flag.Uint64("sim.seed", 0, "play only the scenario of this seed")
	pcapFlag   = flag.String("sim.pcap", "", "write host 0's packets to this `file`, with -sim.seed")
	updateFlag = flag.Bool("update", false, "write the throughput table anew")
)

// mostFailures is how many of them are reported: they are long.
const mostFailures = 3

// seeds is how many scenarios to play: ZCTAP_SIM_SEEDS, or n
// (a tenth of it under the race detector, which has one goroutine to look at).
func seeds(t *testing.T, n int) int {
	t.Helper()
	s := os.Getenv("ZCTAP_SIM_SEEDS")
	switch {
	case s == "" && testenv.Race:
		return n / 10
	case s == "":
		return n
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 {
		t.Fatalf("ZCTAP_SIM_SEEDS=%q: a number of scenarios is wanted", s)
	}
	return n
}

// firstNew is the first of the scenarios that no run has played before: ZCTAP_SIM_FIRST, or
// a number by chance.
func firstNew(t *testing.T) uint64 {
	t.Helper()
	s := os.Getenv("ZCTAP_SIM_FIRST")
	if s == "" {
		return 1 + uint64(rand.Uint32())<<8 // with room for those that follow, and short enough to be typed
	}
	first, err := strconv.ParseUint(s, 10, 64)
	if err != nil || first < 1 {
		t.Fatalf("ZCTAP_SIM_FIRST=%q: the first scenario's seed is wanted, 1 or more", s)
	}
	return first
}

// A tally is what came of many scenarios.
type tally struct {
	total  Result
	sum    stack.Stats
	plans  [kinds]int
	failed int
}

// play plays n scenarios, one after the other, and reports those that go wrong with what
// plays them again.
func play(t *testing.T, first uint64, n int) *tally {
	t.Helper()
	y := new(tally)
	for seed := first; seed < first+uint64(n) && y.failed < mostFailures; seed++ {
		sc := Draw(seed)
		var hosts [2]*Local
		makeHost := Maker(func(i int, s Settings, p *buf.Pool, d driver.Driver) (h Host, err error) {
			hosts[i], err = NewLocal(s, p, d)
			return hosts[i], err
		})
		if *seedFlag != 0 && *pcapFlag != "" {
			f, err := os.Create(*pcapFlag)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			makeHost = Record(makeHost, f)
		}
		r, err := Run(sc, makeHost)
		if err != nil {
			t.Errorf("%v\nreplay: go test ./test/sim -run TestSeeds -sim.seed %d", err, seed)
			y.failed++
			continue
		}
		y.total.add(&r)
		for _, h := range hosts {
			addStats(&y.sum, h.Stack.Stats())
		}
		for i := range sc.Flows {
			y.plans[sc.Flows[i].Kind]++
		}
	}
	return y
}

// TestNewSeeds plays scenarios that differ from run to run: what nobody has thought of is
// found in the end. A failure names the seed that plays it again.
func TestNewSeeds(t *testing.T) {
	if *seedFlag != 0 {
		t.Skip("one scenario is asked for, which TestSeeds plays")
	}
	first, n := firstNew(t), seeds(t, 200)
	y := play(t, first, n)
	t.Logf("ZCTAP_SIM_FIRST=%d: %d scenarios, %d bytes verified, %d failed", first, n, y.total.Bytes, y.failed)
}

// TestSeeds plays the same scenarios each time. That they get anywhere is checked,
// too: what goes wrong on a path, and what a stack does about it, must have
// occurred.
func TestSeeds(t *testing.T) {
	first, n := uint64(1), seeds(t, 300)
	if *seedFlag != 0 {
		first, n = *seedFlag, 1
	}
	y := play(t, first, n)
	total := &y.total
	t.Logf("%d scenarios: %v in simulated time, %d steps, %d bytes verified, %d frames lost or corrupted, flows by kind %v; %d of %d datagrams received, %d refused",
		n, total.Elapsed, total.Steps, total.Bytes, total.Lost, y.plans, total.Received, total.Sent, total.Refused)
	if n < 100 || y.failed > 0 {
		return
	}
	st := &y.sum.TCP
	for what, n := range map[string]uint64{
		"retransmissions": st.Retransmits, "timeouts": st.Timeouts, "fast retransmits": st.FastRetransmits,
		"probes of closed windows": st.Probes, "window updates": st.WindowUpdates, "delayed ACKs": st.DelayedAcks,
		"out-of-order segments": st.OutOfOrder, "compactions": st.Compactions, "renegings": st.Reneged,
		"resets sent": st.ResetsSent, "resets received": st.ResetsReceived, "copied bytes": st.CopiedBytes,
		"bytes left where they were": st.ZeroCopyBytes, "bytes that came twice": st.Drops.DuplicateBytes,
		"bytes for want of readers": st.Drops.AfterClose, "paths that a router made shorter": st.PathMTULowered,
		"black holes": st.BlackHoles, "attempts at longer segments": st.PathMTUProbes,
		"datagrams received": uint64(total.Received), "datagrams refused": uint64(total.Refused),
		"datagrams lost": uint64(max(total.Sent-total.Received, 0)),
	} {
		if n == 0 {
			t.Errorf("no %s in %d scenarios", what, n)
		}
	}
}

func (r *Result) add(o *Result) {
	r.Elapsed += o.Elapsed
	r.Steps += o.Steps
	r.Bytes += o.Bytes
	r.Lost += o.Lost
	r.Sent += o.Sent
	r.Received += o.Received
	r.Refused += o.Refused
}

// addStats adds what TestSeeds looks at.
func addStats(s *stack.Stats, o stack.Stats) {
	a, b := &s.TCP, &o.TCP
	for _, c := range []struct {
		to   *uint64
		from uint64
	}{
		{&a.Retransmits, b.Retransmits},
		{&a.Timeouts, b.Timeouts},
		{&a.FastRetransmits, b.FastRetransmits},
		{&a.Probes, b.Probes},
		{&a.WindowUpdates, b.WindowUpdates},
		{&a.DelayedAcks, b.DelayedAcks},
		{&a.OutOfOrder, b.OutOfOrder},
		{&a.Compactions, b.Compactions},
		{&a.Reneged, b.Reneged},
		{&a.ResetsSent, b.ResetsSent},
		{&a.ResetsReceived, b.ResetsReceived},
		{&a.CopiedBytes, b.CopiedBytes},
		{&a.ZeroCopyBytes, b.ZeroCopyBytes},
		{&a.Drops.DuplicateBytes, b.Drops.DuplicateBytes},
		{&a.Drops.AfterClose, b.Drops.AfterClose},
		{&a.PathMTULowered, b.PathMTULowered},
		{&a.BlackHoles, b.BlackHoles},
		{&a.PathMTUProbes, b.PathMTUProbes},
	} {
		*c.to += c.from
	}
}

// TestDeterministic: a seed is all that a failure needs to be seen again.
func TestDeterministic(t *testing.T) {
	for seed := range uint64(20) {
		var results [2]string
		for i := range results {
			var stats string
			r, err := Run(Draw(seed), func(i int, s Settings, p *buf.Pool, d driver.Driver) (Host, error) {
				h, err := NewLocal(s, p, d)
				return &farewell{h, &stats}, err
			})
			results[i] = fmt.Sprintf("%+v %v\n%s", r, err, stats)
		}
		if results[0] != results[1] {
			t.Errorf("seed %d: two runs differ:\n%s\n%s", seed, results[0], results[1])
		}
	}
}

// farewell is a host that leaves its counters behind.
type farewell struct {
	*Local
	stats *string
}

func (f *farewell) Close() error {
	*f.stats += fmt.Sprintf("%+v\n", f.Stack.Stats())
	return f.Local.Close()
}
