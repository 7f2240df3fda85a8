//go:build linux

package kernel

import (
	"net/netip"
	"syscall"

	"github.com/zctap/zctap/internal/buf"
	"github.com/zctap/zctap/internal/ksock"
	"github.com/zctap/zctap/internal/sockq"
)

// Bounds of what waits in one socket's queue, beside that of its buffers: of all
// datagrams, since many small ones share a buffer, and of those without a byte, which
// hold none.
const (
	maxQueued = 32768
	maxEmpty  = 4096
)

// minBurst is the datagrams to ask for at least: to prepare for some that do not
// come costs less than another call for those that do.
const minBurst = 8

// datagramReader receives for all UDP sockets of a loop.
type datagramReader struct {
	msgs  *ksock.Messages
	slots []uint16   // the buffers of msgs: Buffers() for each message
	frags []buf.Frag // of one datagram
	// nextLen is Socket.NextLen, but for tests that have something come in just then.
	nextLen func(*ksock.Socket) (int, error)
}

func (r *datagramReader) init(t tuning) {
	r.msgs = ksock.NewMessages(t.messages, t.perMsg)
	r.slots = make([]uint16, t.messages*t.perMsg)
	r.frags = make([]buf.Frag, 0, t.perMsg)
	r.nextLen = (*ksock.Socket).NextLen
}

// What is next after a call that received.
type turn uint8

const (
	again   turn = iota // more may wait in the kernel
	drained             // nothing waits there
	held                // not now: the loop will have s received from again
)

// readDatagrams makes one call for s. It has paused s if buffers lack.
func (l *loop) readDatagrams(s *socket) turn {
	r := &l.packets
	credit := l.credit(s)
	if credit <= 0 {
		l.pause(s)
		return held
	}
	// Room for a large datagram in each message, though most will be small: what
	// is not filled stays in stock.
	per := r.msgs.Buffers()
	ask := min(s.burst, max(credit/per, 1))
	have := l.stockUp(ask * per)
	if have == 0 {
		l.pause(s)
		return held
	}
	if ask = have / per; ask == 0 {
		// Nearly dry: a large datagram may be cut, explicitly. But where the kernel
		// puts datagrams together whole ones would be lost: there nothing is received
		// that was not seen to fit, so not what came after the look either.
		if s.packet.merges {
			n, err := r.nextLen(s.sock)
			l.stats.syscalls.Add(1)
			if err != nil {
				return l.noDatagram(s, err)
			}
			if n > have*l.pool.Region().BufferSize() {
				l.pause(s)
				return held
			}
		}
		ask, per = 1, have
	}
	for i := range ask {
		for j := range per {
			b := l.stock[len(l.stock)-1-i*per-j]
			r.slots[i*per+j] = b
			r.msgs.SetBuffer(i, j, l.pool.Region().Buffer(b))
		}
	}
	got, err := r.msgs.Recv(s.sock, ask)
	l.stats.syscalls.Add(1)
	if err != nil {
		return l.noDatagram(s, err)
	}
	s.erred = false
	l.stats.frames.Add(1)
	l.stock = l.stock[:len(l.stock)-ask*per]
	for i := range got {
		l.takeDatagram(s.packet, i, r.slots[i*per:][:per])
	}
	l.restock(r.slots[got*per : ask*per])
	if got < ask {
		s.burst = max(got, minBurst)
		return drained
	}
	s.burst = min(2*s.burst, r.msgs.Cap())
	return again
}

// noDatagram says what is next after a call for s that failed with err.
func (l *loop) noDatagram(s *socket, err error) turn {
	if ksock.IsWouldBlock(err) {
		s.burst, s.erred = minBurst, false
		return drained
	}
	// What an ICMP message said of something that we sent, told once; datagrams
	// may wait behind it. One that stays is not worth a loop.
	l.stats.socketErrors.Add(1)
	if errno, ok := err.(syscall.Errno); ok && s.sock.RemoteAddr().IsValid() {
		s.packet.queue.Fail(errno)
	}
	if s.erred = !s.erred; s.erred {
		return again
	}
	l.starved = append(l.starved, s)
	return held
}

// takeDatagram pushes message i, which lies in bufs, and puts the buffers that
// it did not need back in stock.
func (l *loop) takeDatagram(p *packetConn, i int, bufs []uint16) {
	r := &l.packets
	size := l.pool.Region().BufferSize()
	info := r.msgs.Info(i)
	m := sockq.Message{
		Src: r.msgs.Src(i), Dst: p.sock.LocalAddr(), Len: r.msgs.Len(i), Truncated: r.msgs.Truncated(i),
		UnixNano: info.UnixNano, TrafficClass: info.TrafficClass,
	}
	if !m.Src.IsValid() {
		m.Src = p.sock.RemoteAddr()
	}
	if info.Dst.IsValid() {
		m.Dst = netip.AddrPortFrom(info.Dst, m.Dst.Port())
	}
	p.gathering.took(m.Len)
	n := min(m.Len, len(bufs)*size)
	waiting := p.queue.Len()
	if n == 0 && waiting >= maxEmpty || waiting >= maxQueued {
		l.stats.queueFull.Add(uint64(datagramsIn(&m, info.Segment)))
		l.restock(bufs)
		return
	}
	merged := info.Segment > 0 && m.Len > info.Segment
	r.frags = r.frags[:0]
	used := 0
	switch room := l.tailRoom(&p.socket); {
	case n == 0:
	case n <= min(len(room), size/2) && !merged:
		copy(room, l.pool.Region().Buffer(bufs[0])[:n])
		r.frags = append(r.frags, l.extendTail(&p.socket, n))
		l.stats.compacted.Add(1)
	default:
		for left := n; left > 0; used++ {
			f := l.own(&p.socket, bufs[used], min(left, size))
			r.frags = append(r.frags, f)
			left -= f.Len()
		}
		l.openTail(&p.socket, r.frags[used-1])
	}
	l.restock(bufs[used:])
	l.stats.copied.Add(uint64(n))
	l.touch(&p.socket)
	if m.Truncated {
		l.stats.truncated.Add(1)
	}
	if merged {
		pushed, lost := p.queue.PushSegments(m, r.frags, info.Segment)
		l.stats.merged.Add(1)
		l.stats.datagrams.Add(uint64(pushed))
		l.stats.lostSegments.Add(uint64(lost))
		return
	}
	l.stats.datagrams.Add(1)
	p.queue.Push(m, r.frags)
}

// datagramsIn is how many datagrams m is, of size bytes each if that is not 0.
func datagramsIn(m *sockq.Message, size int) int {
	if size == 0 {
		return 1
	}
	return (m.Len + size - 1) / size
}

// restock puts buffers that were taken from stock back there, the last first,
// so that they come out in the order they had.
func (l *loop) restock(bufs []uint16) {
	for k := len(bufs) - 1; k >= 0; k-- {
		l.stock = append(l.stock, bufs[k])
	}
}
