//go:build linux

package gvnic

import "time"

// The report of statistics: a count that is the driver's, then entries of 16
// bytes (struct gve_stats_report). The device's are the last ones: four for
// each receive queue (NIC_RX_STATS_REPORT_NUM). The device knows where they
// begin from the size of the whole (the kernel's commit 7b9ebcce0296).
const (
	reportHeader = 8
	statSize     = 16
	statsPerRx   = 4
)

// Names of the device's entries (gve_stat_names).
const (
	statQueueDrops   = 65
	statNoBuffers    = 66
	statOverMRU      = 67
	statBadChecksums = 68
)

// maxReport bounds the size of the report in bytes: with every queue there is
// it has less.
const maxReport = 64 << 10

// minInterval bounds how often it is written.
const minInterval = 10 * time.Millisecond

// A report is where the driver wants statistics.
type report struct {
	addr     uint64
	size     int // bytes; 0: nowhere
	interval time.Duration
	due      time.Time
}

// reportStats tells where and how often, in milliseconds (struct
// gve_adminq_report_stats); a size of 0 ends it.
func (d *Device) reportStats(c []byte) error {
	size, addr, interval := be.Uint64(c), be.Uint64(c[8:]), be.Uint64(c[16:])
	d.report = report{}
	if size == 0 {
		return nil
	}
	if size < reportHeader || size > maxReport || (size-reportHeader)%statSize != 0 {
		return refuse(invalidArgument, "statistics report of %d bytes", size)
	}
	if err := d.region("statistics report", addr, int(size), 8); err != nil {
		return err
	}
	const longest = 24 * 3600 * 1000
	d.report = report{
		addr: addr, size: int(size),
		interval: max(time.Duration(min(interval, longest))*time.Millisecond, minInterval),
	}
	d.report.due = time.Now()
	nudge(d.wake) // for the worker's timer
	return nil
}

// writeReport writes the device's statistics, if their time has come.
func (d *Device) writeReport(now time.Time) {
	r := &d.report
	if r.size == 0 || now.Before(r.due) {
		return
	}
	queues := 0
	for _, q := range d.rx {
		if q != nil {
			queues++
		}
	}
	r.due = now.Add(r.interval)
	if queues == 0 {
		r.due = now.Add(min(r.interval, time.Second)) // the driver is just about to make them
	}
	n := queues * statsPerRx * statSize
	if n == 0 || n > r.size-reportHeader {
		return
	}
	b, err := d.memory(r.addr+uint64(r.size-n), n)
	if err != nil {
		*r = report{}
		d.warn(d.stats.Reports+1, "statistics report out of reach", "err", err)
		return
	}
	for id, q := range d.rx {
		if q == nil {
			continue
		}
		s := q.stats
		for _, v := range [statsPerRx]struct {
			name  uint32
			value uint64
		}{
			{statQueueDrops, s.DropBadBuffer + s.DropDestroyed},
			{statNoBuffers, s.DropNoBuffers},
			{statOverMRU, s.DropTooLong},
			{statBadChecksums, s.BadChecksum},
		} {
			be.PutUint32(b, v.name)
			be.PutUint32(b[4:], uint32(id))
			be.PutUint64(b[8:], v.value)
			b = b[statSize:]
		}
	}
	d.stats.Reports++
}
