//go:build linux

package xdp

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"github.com/zctap/zctap/internal/mono"
)

// In zero-copy mode frames are with the NIC until it has sent them. A driver can lose
// them for good: gve does when its device was reset, for it forgets which of its
// queues have a socket's memory (Linux 7.3.4, gve_init_priv). Nothing tells: the
// socket stays bound, frames go on to come in, and what is to be sent waits.

const (
	// stallTime is how long the NIC may take to complete any of what it was given, with
	// its link up. The kernel takes its own queues for hung after 5 s (dev_watchdog).
	stallTime = 10 * time.Second
	// stallLooks is in how many Sends none may have been: some drivers complete what
	// was sent only when there is more to send.
	stallLooks = 4
)

// A stallWatch notices that nothing is sent any more.
type stallWatch struct {
	since mono.Time // first Send that found buffers with the NIC and none that came back; 0: none
	looks int       // Sends since then
}

// look is called in each Send, with how many buffers are out and have just come back.
// It reports whether nothing is sent any more.
func (w *stallWatch) look(now mono.Time, out, back int) bool {
	switch {
	case out == 0 || back > 0:
		*w = stallWatch{}
	case w.looks == 0:
		w.since, w.looks = now, 1
	default:
		w.looks++
	}
	return w.looks >= stallLooks && now.Sub(w.since) >= stallTime
}

// stalled makes the driver fail for good: what is with the NIC can't be taken back
// but by closing the socket.
func (d *Driver) stalled() error {
	d.tx.counters.Stalled += uint64(d.tx.flying)
	d.failed = fmt.Errorf("xdp: %s: in zero-copy mode nothing was sent for %v, with %d buffers waiting and the link up,"+
		" as after a reset of the device with a driver that does not stand that (gve):"+
		" close and open again, or use copy mode: %w", d.name, stallTime, d.tx.flying, unix.ETIMEDOUT)
	return d.failed
}
