package zctap_test

import (
	"math/rand/v2"
	"net"
	"net/netip"
	"os/exec"
	"testing"

	"github.com/zctap/zctap"
	"github.com/zctap/zctap/internal/buf"
	"github.com/zctap/zctap/internal/driver"
	"github.com/zctap/zctap/internal/driver/impair"
	"github.com/zctap/zctap/internal/mono"
	"github.com/zctap/zctap/internal/testenv"
)

// A badWire loses and repeats what is sent over a wire that does as much, and worse, to what
// is received. It takes no super-segments, so that each segment has its own fate.
type badWire struct {
	driver.Driver
	rand           *rand.Rand
	lost, repeated int
}

func (w *badWire) Caps() driver.Caps {
	c := w.Driver.Caps()
	c.MaxGSO = 0
	return c
}

func (w *badWire) Send(now mono.Time, frames []driver.TxFrame) (n int, err error) {
	for i := range frames {
		times := 1
		switch p := w.rand.Float64(); {
		case p < 0.01:
			w.lost++
			continue
		case p < 0.02:
			w.repeated++
			times = 2
		}
		for range times {
			if k, err := w.Driver.Send(now, frames[i:i+1]); k == 0 {
				return i, err
			}
		}
	}
	return len(frames), nil
}

// TestNSRelay: between curl over the kernel's TCP and net/http over ours there is a wire that
// loses, repeats, corrupts and reorders segments, both ways; all arrives as it was sent.
func TestNSRelay(t *testing.T) {
	ns := newNS(t)
	wire := &badWire{rand: rand.New(rand.NewPCG(1, 1))}
	var relay *impair.Driver
	tun := &zctap.TUN{Name: "zctap0", Addresses: []netip.Prefix{tunOurs4, tunOurs6}, Host: []netip.Prefix{tunHost4, tunHost6}}
	tun.PutOver(func(d driver.Driver, p *buf.Pool) (_ driver.Driver, err error) {
		relay, err = impair.New(d, impair.Config{Pool: p, Seed: 1, Drop: 0.01, Duplicate: 0.01, Corrupt: 0.005, Reorder: 0.03, ReorderBy: 5})
		wire.Driver = relay
		return wire, err
	})
	var q *zctap.Queue
	err := ns.Do(func() (err error) {
		q, err = zctap.Open(zctap.Config{Engine: zctap.User, TUN: tun})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := ns.Run(exec.Command(testenv.NeedCommand(t, "ethtool"), "-K", "zctap0", "tso", "off", "gso", "off")); err != nil {
		t.Fatal(err)
	}
	t.Run("curl", func(t *testing.T) {
		testCurl(t, ns, "http://"+net.JoinHostPort(tunOurs4.Addr().String(), serveHashes(t, q)))
	})
	// The queue is closed: nobody else uses the drivers any more.
	if c := relay.Counts(); c.Dropped == 0 || c.Duplicated == 0 || c.Corrupted == 0 || c.Reordered == 0 || wire.lost == 0 || wire.repeated == 0 {
		t.Errorf("not all happened that was to: %+v, of what was sent %d lost and %d repeated", c, wire.lost, wire.repeated)
	}
}
