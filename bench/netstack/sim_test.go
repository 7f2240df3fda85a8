package netstack

import (
	"errors"
	"flag"
	"os"
	"strconv"
	"testing"

	"github.com/zctap/zctap/internal/buf"
	"github.com/zctap/zctap/internal/driver"
	"github.com/zctap/zctap/internal/testenv"
	"github.com/zctap/zctap/test/sim"
)

func TestMain(m *testing.M) { testenv.Main(m) }

var seedFlag = flag.Uint64("sim.seed", 0, "play only the scenario of this seed")

// TestSeeds plays the scenarios of test/sim with gVisor's stack at one end, and ours
// at the other: each twice, so that both connect and both accept.
func TestSeeds(t *testing.T) {
	first, n := uint64(1), 60
	if s := os.Getenv("ZCTAP_SIM_SEEDS"); s != "" {
		var err error
		if n, err = strconv.Atoi(s); err != nil || n < 1 {
			t.Fatalf("ZCTAP_SIM_SEEDS=%q: a number of scenarios is wanted", s)
		}
	}
	if *seedFlag != 0 {
		first, n = *seedFlag, 1
	}
	var bytes int64
	var steps, stopped, failed int
	for seed := first; seed < first+uint64(n) && failed < 3; seed++ {
		for theirs := range 2 {
			sc := draw(seed, theirs)
			var us *sim.Local
			r, err := sim.Run(sc, func(i int, s sim.Settings, p *buf.Pool, d driver.Driver) (h sim.Host, err error) {
				if i == theirs {
					return Make(i, s, p, d)
				}
				us, err = sim.NewLocal(s, p, d)
				return us, err
			})
			switch {
			case errors.Is(err, sim.ErrStandstill) && us.Idle():
				// gVisor has data to send, or a FIN, and neither an event nor a timer
				// that would make it: after losses its timers are sometimes not set
				// again (seeds 1153, 1432 and 1469). What came before was verified.
				stopped++
			case err != nil:
				t.Errorf("gVisor at host %d: %v\nreplay, in bench: go test ./netstack -run TestSeeds -sim.seed %d", theirs, err, seed)
				failed++
			}
			bytes += r.Bytes
			steps += r.Steps
		}
	}
	t.Logf("%d scenarios, %d steps, %d bytes verified; gVisor stopped in %d", 2*n, steps, bytes, stopped)
	if stopped > 1+n/100 {
		t.Errorf("gVisor stopped in %d of %d scenarios: it did so in one of 2,700", stopped, 2*n)
	}
}

// draw is test/sim's scenario of a seed, with what gVisor's host can do.
func draw(seed uint64, theirs int) *sim.Scenario {
	sc := sim.Draw(seed)
	sc.Datagrams = nil // of gVisor's UDP there is no host here
	for i := range sc.Hosts {
		sc.Hosts[i].Ethernet = false
	}
	h, us := &sc.Hosts[theirs], &sc.Hosts[1-theirs]
	h.GSO = false
	if h.Window > 0 {
		// gVisor counts a segment's overhead against its receive buffer, and takes
		// nothing at all with less.
		h.Window = max(h.Window, 20_000)
	}
	if us.Window > 0 {
		// Its sender cuts a segment that is larger than the window. If the piece is
		// lost it has been seen to wait for ever, with no timer set (seeds 82, 225
		// and 336).
		us.Window = max(us.Window, 5_000)
	}
	for i := range sc.Path[theirs].Narrow {
		sc.Path[theirs].Narrow[i].Silent = false // it does not look for black holes
	}
	return sc
}
