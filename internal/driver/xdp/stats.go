//go:build linux

package xdp

import (
	"golang.org/x/sys/unix"

	"github.com/zctap/zctap/internal/driver"
)

// QueueStats are the counters of one queue since Open: the driver's, and those
// that the kernel has of its socket (XDP_STATISTICS).
type QueueStats struct {
	Queue  int
	Frames uint64 // received
	// Dropped counts frames that the kernel dropped, but for those of RingFull: in
	// copy mode those for which there was no buffer in the fill ring.
	Dropped uint64
	// RingFull counts frames that found no room in the RX ring.
	RingFull uint64
	// FillEmpty counts the times that a buffer was wanted and the fill ring was
	// empty. Not always a drop: a NIC in zero-copy mode looks ahead.
	FillEmpty uint64
	// InvalidRX and InvalidTX count entries of ours that the kernel refused, of
	// the fill ring and of the TX ring.
	InvalidRX, InvalidTX uint64
	// Posted is how many buffers the kernel has to receive into now, those of
	// frames that wait in the RX ring included.
	Posted int
}

// queueStats reads the counters of all queues. A socket that can't be asked any
// more has zeros.
func (d *Driver) queueStats() []QueueStats {
	if d.closed {
		return d.final
	}
	list := make([]QueueStats, len(d.queues))
	for i, q := range d.queues {
		var x unix.XDPStatistics
		if getXDP(q.fd, unix.XDP_STATISTICS, &x) != nil {
			x = unix.XDPStatistics{}
		}
		list[i] = QueueStats{
			Queue: q.id, Frames: q.frames, Dropped: x.Rx_dropped, RingFull: x.Rx_ring_full, FillEmpty: x.Rx_fill_ring_empty_descs,
			InvalidRX: x.Rx_invalid_descs, InvalidTX: x.Tx_invalid_descs, Posted: q.posted,
		}
	}
	return list
}

// QueueStats are the counters of each queue. After Close they are the last ones.
func (d *Driver) QueueStats() []QueueStats { return d.queueStats() }

// TxCounters are the causes of frames that were not sent.
func (d *Driver) TxCounters() TxCounters { return d.tx.counters }

// Stats adds the driver's counters to s. RxNoBuffer is all that the kernel
// dropped between the XDP program and the RX rings, for want of a buffer or of
// room; nothing ever waits for buffers, so that RxStalls stays.
func (d *Driver) Stats(s *driver.Stats) {
	s.RxFrames += d.stats.RxFrames
	s.RxBytes += d.stats.RxBytes
	s.TxFrames += d.stats.TxFrames
	s.TxBytes += d.stats.TxBytes
	s.RxCalls += d.stats.RxCalls
	s.TxCalls += d.stats.TxCalls
	s.Waits += d.stats.Waits
	s.RxMalformed += d.malformed
	c := &d.tx.counters
	s.TxDropped += c.Unresolved + c.Refused + c.Wire + c.Down + c.Stalled
	for _, q := range d.queueStats() {
		s.RxNoBuffer += q.Dropped + q.RingFull
	}
}
