//go:build linux

package kernel

import (
	"time"

	"github.com/zctap/zctap/internal/engine"
)

// tuning is the sizes that an engine works with. Tests make them small.
type tuning struct {
	perCall   int // buffers filled by one scatter read (readv)
	messages  int // datagrams received by one call
	perMsg    int // buffers for one datagram
	ringSize  int // entries of the provided-buffer ring (uring): a power of two
	sqEntries uint32
	cqEntries uint32
	tails     int  // tails open at a time
	plain     bool // uring: use nothing that an older kernel might lack
	windows   bool // zcrx: bound what waits in the kernel
	// zcrx: how often the driver's counters are looked at, at most
	watchEvery time.Duration
	// zcrx: how often sockets are looked at that the kernel may have left asleep; 0: never
	stallEvery time.Duration
	yield      func() // see engine.TimeSlice; nil outside of tests
}

const (
	bytesPerCall = 128 << 10 // of payload read from one connection before it is the next one's turn
	maxDatagram  = 65535     // bytes: the UDP length field's reach
	ringBytes    = 1 << 20   // of buffers in the provided-buffer ring: few enough to stay in the CPU's cache
	sqEntries    = 256
	cqEntries    = 1024
)

// defaults are the sizes for a region: no part of the engine keeps more than a
// quarter of it ready, or of the reserve if the rest is lent to the kernel. Several
// rings give back at each round's end what they have ready, and share what tails have.
func defaults(c engine.Config, o Options) tuning {
	t := tuning{messages: 16, ringSize: 1, sqEntries: sqEntries, cqEntries: cqEntries, windows: true, watchEvery: watchEvery, stallEvery: stallEvery}
	count, size := c.Pool.Region().Count(), c.Pool.Region().BufferSize()
	if o.Backend == BackendZCRX {
		// An error is told when the backend is opened.
		p, _ := o.ZCRX.plan(c.Pool.Region())
		count -= p.lent
	}
	quarter, eighth := max(count/4, 1), max(count/8/max(o.ZCRX.Rings, 1), 1)
	t.perCall = min(max(bytesPerCall/size, 4), quarter)
	t.perMsg = min((maxDatagram+size-1)/size, quarter)
	t.tails = eighth
	for t.ringSize*2 <= min(max(ringBytes/size, 16), eighth) {
		t.ringSize *= 2
	}
	return t
}
