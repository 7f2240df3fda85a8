package mem

import (
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"github.com/zctap/zctap/internal/driver"
	"github.com/zctap/zctap/internal/mono"
)

var errClosed = fmt.Errorf("mem: end of the wire: %w", net.ErrClosed)

// An End is one end of a wire.
type End struct {
	config Config
	peer   *End
	tx, rx *queue
	recv   receiver
	stats  driver.Stats
	timer  *time.Timer // made by the first Wait with a limit

	closed  atomic.Bool   // our goroutine sets it, the peer's reads it
	waiting atomic.Bool   // our goroutine is in Wait; the peer's reads it
	token   chan struct{} // capacity 1: a wake that Wait has not seen
}

var _ driver.Driver = (*End)(nil)

func newEnd(c Config, tx, rx *queue) *End {
	return &End{
		config: c, tx: tx, rx: rx,
		recv:  newReceiver(&c),
		token: make(chan struct{}, 1),
	}
}

// Caps describes the wire, as the Config says.
func (e *End) Caps() driver.Caps { return e.config.caps() }

// Poll receives what the peer has sent. A frame that finds no buffers free
// waits, and those behind it. It is an error if the whole of b has no room for
// the first frame, and net.ErrClosed after Close.
func (e *End) Poll(_ mono.Time, b *driver.Batch) error {
	b.Reset()
	if e.closed.Load() {
		return errClosed
	}
	e.recv.begin(cap(b.Frames))
	for !b.Full() {
		s := e.rx.front()
		if s == nil {
			break
		}
		switch e.recv.take(e.rx, s, b) {
		case noBuffers:
			return nil
		case noRoom:
			if len(b.Frames) == 0 {
				return invalid("a batch of %d frags can't hold a frame of %d bytes", cap(b.Frags), s.len)
			}
			return nil
		}
		e.rx.pop()
		if e.rx.wantsRoom() {
			e.peer.Wake()
		}
	}
	return nil
}

// Send puts frames into the queue to the peer, as many as there is room for.
// Refused, and counted as dropped: frames longer than MTU or MaxGSO allow,
// requests that Caps does not offer, and all frames once the peer is closed,
// which to us is a machine that has been switched off.
func (e *End) Send(_ mono.Time, frames []driver.TxFrame) (n int, err error) {
	if e.closed.Load() {
		return 0, errClosed
	}
	for i := range frames {
		f := &frames[i]
		if e.peer.closed.Load() || !e.config.carries(f) {
			e.stats.TxDropped++
			n++
			continue
		}
		if !e.tx.roomOrNotice(f.Len()) {
			break
		}
		e.transmit(f)
		n++
	}
	// Pairs with Wait: either we see waiting, or it sees the frame.
	if e.peer.waiting.Load() {
		e.peer.Wake()
	}
	return n, nil
}

func (e *End) transmit(f *driver.TxFrame) {
	check := driver.Vouched
	if e.config.Offload != Local {
		check = driver.Unverified
	}
	gso := f.GSOSize
	if f.Len()-len(f.Head) <= gso {
		gso = 0 // one segment
	}
	e.tx.push(f, check, gso, e.config.Offload == Completed && f.CsumStart > 0)
	e.stats.TxFrames++
	e.stats.TxBytes += uint64(f.Len())
}

// carries reports whether a device like this one sends f.
func (c *Config) carries(f *driver.TxFrame) bool {
	n := f.Len() - c.LinkHeader
	switch {
	case n <= 0 || f.CsumStart < 0 || f.CsumOffset < 0 || f.GSOSize < 0:
		return false
	case f.CsumStart > 0 && (c.Offload == Plain || f.CsumStart+f.CsumOffset+2 > f.Len()):
		return false
	case f.GSOSize > 0:
		return n <= c.MaxGSO && len(f.Head)-c.LinkHeader+f.GSOSize <= c.MTU
	}
	return n <= c.MTU
}

// Stats adds the end's counters to s.
func (e *End) Stats(s *driver.Stats) {
	e.recv.addTo(s)
	s.TxFrames += e.stats.TxFrames
	s.TxBytes += e.stats.TxBytes
	s.TxDropped += e.stats.TxDropped
	s.Waits += e.stats.Waits
}

// Close puts the buffers that the end holds back. What was not received is
// lost, and the peer's frames from here on are dropped. Idempotent.
func (e *End) Close() error {
	if !e.closed.Swap(true) {
		e.recv.close()
	}
	return nil
}
