//go:build linux

package kernel

import (
	"net/netip"

	"github.com/zctap/zctap/internal/buf"
	"github.com/zctap/zctap/internal/ksock"
	"github.com/zctap/zctap/internal/sockq"
)

// maxEmpty bounds the datagrams that wait in a queue without a byte: they hold
// no buffer, so nothing else bounds them.
const maxEmpty = 4096

// datagramReader receives for all UDP sockets of a loop.
type datagramReader struct {
	msgs  *ksock.Messages
	slots []uint16   // the buffers of msgs: Buffers() for each message
	frags []buf.Frag // of one datagram
}

func (r *datagramReader) init(t tuning) {
	r.msgs = ksock.NewMessages(t.messages, t.perMsg)
	r.slots = make([]uint16, t.messages*t.perMsg)
	r.frags = make([]buf.Frag, 0, t.perMsg)
}

// readDatagrams makes one call for s. It reports whether more may wait in the
// kernel; it has paused s if that was for want of buffers.
func (l *loop) readDatagrams(s *socket) (more bool) {
	r := &l.packets
	credit := l.credit(s)
	if credit <= 0 {
		l.pause(s)
		return false
	}
	// Room for a large datagram in each message, though most will be small: what
	// is not filled stays in stock.
	per := r.msgs.Buffers()
	ask := min(s.burst, max(credit/per, 1))
	have := l.stockUp(ask * per)
	if have == 0 {
		l.pause(s)
		return false
	}
	if ask = have / per; ask == 0 {
		ask, per = 1, have // nearly dry: a large datagram may be cut, explicitly
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
	switch {
	case ksock.IsWouldBlock(err):
		s.burst, s.erred = 1, false
		return false
	case err != nil:
		// What an ICMP message said of something that we sent, told once; datagrams
		// may wait behind it. An error that stays is not worth a loop.
		l.stats.socketErrors.Add(1)
		s.erred = !s.erred
		return s.erred
	}
	s.erred = false
	l.stats.frames.Add(1)
	l.stock = l.stock[:len(l.stock)-ask*per]
	for i := range got {
		l.takeDatagram(s.packet, i, r.slots[i*per:][:per])
	}
	l.restock(r.slots[got*per : ask*per])
	if got < ask {
		s.burst = max(got, 1)
		return false
	}
	s.burst = min(2*s.burst, r.msgs.Cap())
	return true
}

// takeDatagram pushes message i, which lies in bufs, and puts the buffers that
// it did not need back in stock.
func (l *loop) takeDatagram(p *packetConn, i int, bufs []uint16) {
	r := &l.packets
	size := l.pool.Region().BufferSize()
	m := sockq.Message{Src: r.msgs.Src(i), Len: r.msgs.Len(i), Truncated: r.msgs.Truncated(i)}
	if !m.Src.IsValid() {
		m.Src = p.sock.RemoteAddr()
	}
	if dst := r.msgs.Dst(i); dst.IsValid() {
		m.Dst = netip.AddrPortFrom(dst, p.sock.LocalAddr().Port())
	} else {
		m.Dst = p.sock.LocalAddr()
	}
	n := min(m.Len, len(bufs)*size)
	r.frags = r.frags[:0]
	used := 0
	switch room := l.tailRoom(&p.socket); {
	case n == 0:
		if p.queue.Len() >= maxEmpty {
			l.stats.emptyDatagrams.Add(1)
			l.restock(bufs)
			return
		}
	case n <= min(len(room), size/2):
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
	if m.Truncated {
		l.stats.truncated.Add(1)
	}
	l.stats.copied.Add(uint64(n))
	p.queue.Push(m, r.frags)
	l.touch(&p.socket)
}

// restock puts buffers that were taken from stock back there, the last first,
// so that they come out in the order they had.
func (l *loop) restock(bufs []uint16) {
	for k := len(bufs) - 1; k >= 0; k-- {
		l.stock = append(l.stock, bufs[k])
	}
}
