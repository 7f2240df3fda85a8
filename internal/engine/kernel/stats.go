//go:build linux

package kernel

import (
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/zctap/zctap/internal/engine"
)

// counters are what Stats reports. The loop adds, but for sent and syscalls,
// which application goroutines add to as well.
type counters struct {
	copied, sent              atomic.Uint64 // bytes
	frames, batches           atomic.Uint64
	wakes, syscalls           atomic.Uint64
	conns                     atomic.Int64
	pauses, exhausted         atomic.Uint64
	compacted                 atomic.Uint64 // small payloads moved to a tail
	truncated                 atomic.Uint64 // datagrams cut for want of buffers
	datagrams, merged         atomic.Uint64 // received; and messages that several came in
	queueFull                 atomic.Uint64 // datagrams dropped: too many wait
	lostSegments              atomic.Uint64 // datagrams lost whole behind one that was cut
	socketErrors              atomic.Uint64
	acceptGone, acceptRefused atomic.Uint64
	acceptStarved             atomic.Uint64
	unread                    atomic.Uint64 // datagrams dropped when their socket was closed
	unreadBytes               atomic.Uint64 // bytes dropped when their connection was closed
	overflows                 atomic.Uint64 // times that completions waited for room in their queue
	unsteered                 atomic.Uint64 // dialed connections that could not be steered to the queue
	gathered                  atomic.Uint64 // times that datagrams were let gather
	rearmed                   atomic.Uint64 // multishot requests that ended by themselves and were made again

	zcrx atomic.Pointer[zcrxCounters] // of that backend, if it runs

	mu          sync.Mutex
	packets     map[*packetConn]struct{} // open
	kernelDrops uint64                   // datagrams dropped by the kernel at sockets closed since
}

func (c *counters) openPackets(p *packetConn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.packets == nil {
		c.packets = map[*packetConn]struct{}{}
	}
	c.packets[p] = struct{}{}
}

func (c *counters) closePackets(p *packetConn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.packets, p)
	if n, err := p.sock.KernelDrops(); err == nil {
		c.kernelDrops += uint64(n)
	}
}

// droppedByKernel counts the datagrams that the kernel dropped at UDP sockets.
func (c *counters) droppedByKernel() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	sum := c.kernelDrops
	for p := range c.packets {
		if n, err := p.sock.KernelDrops(); err == nil {
			sum += uint64(n)
		}
	}
	return sum
}

// Stats implements engine.Engine. Where several rings share the queue, it tells
// besides what each of them brought.
func (e *Engine) Stats(s *engine.Stats) {
	for i, l := range e.loops {
		l.stats.add(s)
		if len(e.loops) > 1 {
			s.Event(fmt.Sprintf("ring-%d-frames", i), l.stats.frames.Load())
		}
	}
}

// add adds the counters to s.
func (c *counters) add(s *engine.Stats) {
	s.CopiedBytes += c.copied.Load()
	s.SentBytes += c.sent.Load()
	s.Frames += c.frames.Load()
	s.Batches += c.batches.Load()
	s.Wakes += c.wakes.Load()
	s.Syscalls += c.syscalls.Load()
	s.Conns += int(c.conns.Load())

	s.Drop("datagram-no-room-in-kernel", c.droppedByKernel())
	s.Drop("socket-full", c.queueFull.Load())
	s.Drop("datagram-behind-truncated", c.lostSegments.Load())
	s.Drop("datagram-unread-at-close", c.unread.Load())
	s.Drop("stream-bytes-unread-at-close", c.unreadBytes.Load())
	s.Drop("accept-backlog-full", c.acceptRefused.Load())
	s.Drop("accept-gone", c.acceptGone.Load())

	s.Event("datagrams-received", c.datagrams.Load())
	s.Event("datagrams-merged", c.merged.Load())
	s.Event("lingers", c.gathered.Load())
	s.Event("datagram-truncated", c.truncated.Load())
	s.Event("compacted", c.compacted.Load())
	s.Event("paused", c.pauses.Load())
	s.Event("exhausted", c.exhausted.Load())
	s.Event("accept-starved", c.acceptStarved.Load())
	s.Event("socket-error", c.socketErrors.Load())
	s.Event("rearmed", c.rearmed.Load())
	s.Event("completion-overflow", c.overflows.Load())
	s.Event("dial-unsteered", c.unsteered.Load())
	if z := c.zcrx.Load(); z != nil {
		z.add(s)
	}
}
