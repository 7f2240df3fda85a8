//go:build linux

package kernel

import (
	"errors"
	"fmt"
	"syscall"
	"time"
)

// A frame whose headers the NIC did not split off lies in memory that the kernel
// may not read, headers and all. The driver or the kernel drops it and tells
// nobody: streams stand still, senders retransmit, and without a look at the
// driver's counters that is as if nobody sent.

const (
	// watchEvery is how often the counters are looked at, at most; tests do it more
	// often.
	watchEvery = time.Second
	// unsplitLooks is how often they have to show more that was dropped, and nothing
	// received, meanwhile: senders back off, and a NIC that lacks buffers for a moment
	// drops, too.
	unsplitLooks = 3
)

// errUnsplit explains why connections end whose packets are all dropped.
var errUnsplit = fmt.Errorf("recv: %w: the NIC drops all that comes for the queue, though it has buffers: as a rule"+
	" it does not split headers from payload any more, which lie where the kernel can't read them:"+
	" see `ethtool -g` (tcp-data-split on, hds-thresh 0) and `ethtool -S`, set it with `ethtool -G`, and open the queue anew", syscall.EIO)

// gone explains ENODEV of the counters. The kernel tells the ring nothing: requests
// wait on, for connections that nothing can come for.
const gone = "the interface was deleted, or moved to another network namespace: close the queue, and open it again when the interface is back"

// zcrxWatch notices that.
type zcrxWatch struct {
	looked  time.Time
	came    bool   // payload, or an event that says why none comes, since then
	known   bool   // what follows was read then
	packets uint64 // that the driver received
	dropped uint64
	looks   int // that have shown it since something came
}

// patience is how long a round may wait that was to wait for timeout.
func (z *zcrx) patience(timeout time.Duration) time.Duration {
	if z.watchesStalls() && (timeout < 0 || timeout > z.l.stallEvery) {
		timeout = z.l.stallEvery
	}
	if z.o.Counters == nil || z.l.table.used == 0 || timeout >= 0 && timeout < z.l.watchEvery {
		return timeout
	}
	return z.l.watchEvery
}

// watch is called at a round's end. An error is that there is no interface any more.
func (z *zcrx) watch() error {
	w := &z.dropping
	if z.batch.frames > 0 {
		w.came = true
		return nil
	}
	if z.o.Counters == nil || z.l.table.used == 0 {
		return nil
	}
	now := time.Now()
	if now.Sub(w.looked) < z.l.watchEvery {
		return nil
	}
	w.looked = now
	z.l.stats.syscalls.Add(1)
	packets, dropped, err := z.o.Counters()
	if errors.Is(err, syscall.ENODEV) {
		return fmt.Errorf("zcrx: %s: %w", gone, err)
	}
	if err != nil {
		w.known, w.looks = false, 0
		return nil
	}
	switch {
	case !w.known || w.came || packets != w.packets:
		w.looks = 0
	case dropped > w.dropped:
		w.looks++
	}
	w.known, w.came, w.packets, w.dropped = true, false, packets, dropped
	if w.looks >= unsplitLooks {
		w.looks = 0
		z.endUnsplit()
	}
	return nil
}

// endUnsplit ends all connections that wait for payload. Listeners stay: who
// connects is not let in, and gets no answer, until the administrator has seen to
// it.
func (z *zcrx) endUnsplit() {
	z.stats.unsplit.Add(1)
	for _, s := range z.l.table.slots {
		if s != nil && s.conn != nil && s.ops&reqRecv != 0 && !s.detaching && !s.ending {
			s.conn.fail(syscall.EIO, errUnsplit)
			if !s.cancelling {
				z.halt(s)
			}
		}
	}
}
