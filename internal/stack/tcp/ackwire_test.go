package tcp

import (
	"github.com/zctap/zctap/internal/driver"
	"github.com/zctap/zctap/internal/mono"
	"github.com/zctap/zctap/internal/stack/ip"
	"github.com/zctap/zctap/internal/wire"
)

// ackWire is a driver that has what it sends come out of a script.
type ackWire struct {
	driver.Driver
	s *script
}

// sendAcks has s send its ACKs by an ip.Tx, in packets, as a Stack does. They come out as what is in them.
func (s *script) sendAcks() {
	s.acks = ip.NewTx(&ackWire{s: s})
	s.sh.Acks = s.acks
}

func (s *script) flushAcks() {
	if s.acks == nil {
		return
	}
	if err := s.acks.Flush(s.now); err != nil || s.acks.Stalled() {
		s.t.Fatal("ACKs stay where they are: ", err)
	}
}

func (w *ackWire) Caps() driver.Caps { return driver.Caps{MTU: 1500} }

func (w *ackWire) Send(_ mono.Time, frames []driver.TxFrame) (int, error) {
	t := w.s.t
	for _, f := range frames {
		var p wire.Packet
		var h wire.TCP
		if c := wire.ParseIP(f.Head, len(f.Head), wire.Verify, &p); c != wire.OK {
			t.Fatalf("an ACK's packet %x: %v", f.Head, c)
		}
		if c := wire.ParseTCP(f.Head, &p, &h); c != wire.OK {
			t.Fatalf("an ACK %x: %v", f.Head, c)
		}
		if len(f.Payload[0]) > 0 || h.PayloadLen > 0 {
			t.Errorf("an ACK with payload: %x", f.Head)
		}
		if c := p.VerifyL4(f.Head); c != wire.OK {
			t.Errorf("an ACK %x: %v", f.Head, c)
		}
		if p.TrafficClass != w.s.c.opt.class {
			t.Errorf("an ACK of traffic class %#x, want %#x", p.TrafficClass, w.s.c.opt.class)
		}
		h.PayloadOffset = 0
		w.s.put(p.Src, p.Dst, &h, [2][]byte{}, int(w.s.c.snd.mss))
	}
	return len(frames), nil
}
