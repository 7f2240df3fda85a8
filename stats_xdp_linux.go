package zctap

import (
	"fmt"

	"github.com/zctap/zctap/internal/engine"
	"github.com/zctap/zctap/internal/hostnet"
	"github.com/zctap/zctap/internal/steer"
)

// Stats is the engine's, and what the XDP program and the interface have to tell.
func (e *xdpEngine) Stats(s *engine.Stats) {
	e.Engine.Stats(s)
	c := e.verdict.Load()
	if now, err := e.shared.program.Counters(); err == nil {
		c = &now
	}
	if c != nil {
		for v, n := range c {
			s.Event("steering-"+steer.Verdict(v).String(), n)
		}
	}
	for kind, name := range changeNames {
		s.Event(name, e.changes[kind].Load())
	}
	if e.shared.kept.Pending() && e.shared.kept.Volatile() != nil {
		s.Event("no-journal", 1)
	}
	h := e.shared.host.Stats()
	s.Event("neighbors-asked-for", h.Asked)
	s.Event("neighbors-not-asked-for", h.AskDropped+h.AskFailed)
}

// changeNames are the changes of an interface that are counted.
var changeNames = map[hostnet.Kind]string{
	hostnet.LinkUp:              "interface-up",
	hostnet.LinkDown:            "interface-down",
	hostnet.MTUChanged:          "interface-mtu-changed",
	hostnet.HardwareAddrChanged: "interface-address-changed",
	hostnet.Renamed:             "interface-renamed",
	hostnet.Deleted:             "interface-deleted",
	hostnet.AddressAdded:        "addresses-added",
	hostnet.AddressRemoved:      "addresses-removed",
	hostnet.RoutesChanged:       "routes-changed",
}

// ringStats are the counters that the kernel has of the AF_XDP sockets (struct
// xdp_statistics), summed over the queues, why the driver did not send frames, and
// with several queues how many frames came by each. What the first two count is
// also among the drops, as driver-no-buffer.
func (s *shared) ringStats(to *engine.Stats) {
	queues := s.driver.QueueStats()
	for _, q := range queues {
		to.Event("xdp-rx-dropped", q.Dropped)
		to.Event("xdp-rx-ring-full", q.RingFull)
		to.Event("xdp-fill-ring-empty", q.FillEmpty)
		to.Event("xdp-rx-invalid", q.InvalidRX)
		to.Event("xdp-tx-invalid", q.InvalidTX)
		if len(queues) > 1 {
			to.Event(fmt.Sprintf("xdp-queue-%d-frames", q.Queue), q.Frames)
		}
	}
	tx := s.driver.TxCounters()
	to.Event("xdp-tx-unresolved", tx.Unresolved)
	to.Event("xdp-tx-refused", tx.Refused)
	to.Event("xdp-tx-dropped", tx.Wire)
	to.Event("xdp-tx-interface-down", tx.Down)
	to.Event("xdp-tx-stalled", tx.Stalled)
}
