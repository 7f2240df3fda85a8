package ip

import (
	"bytes"
	"errors"
	"net/netip"
	"testing"

	"github.com/zctap/zctap/internal/driver"
	"github.com/zctap/zctap/internal/mono"
	"github.com/zctap/zctap/internal/testenv"
	"github.com/zctap/zctap/internal/wire"
)

func TestMain(m *testing.M) { testenv.Main(m) }

var (
	a4 = netip.MustParseAddr("192.0.2.1")
	b4 = netip.MustParseAddr("192.0.2.2")
	a6 = netip.MustParseAddr("2001:db8::1")
	b6 = netip.MustParseAddr("2001:db8::2")
)

var errGone = errors.New("the wire is gone")

// wireStub is a driver that records what is sent on it.
type wireStub struct {
	driver.Driver // nil: a Tx only sends
	caps          driver.Caps
	room          int // frames that it still takes; negative: any number
	gone          bool
	frames        []sent
	sends         int
}

// sent is a frame as it was when it was sent, with its bytes copied.
type sent struct {
	driver.TxFrame
	bytes []byte
}

func newStub(c driver.Caps) *wireStub {
	if c.MTU == 0 {
		c.MTU = 1500
	}
	return &wireStub{caps: c, room: -1}
}

func (w *wireStub) Caps() driver.Caps { return w.caps }

func (w *wireStub) Send(_ mono.Time, frames []driver.TxFrame) (n int, err error) {
	w.sends++
	if w.gone {
		return 0, errGone
	}
	for _, f := range frames {
		if w.room == 0 {
			break
		}
		w.room--
		w.frames = append(w.frames, sent{f, bytes.Join([][]byte{f.Head, f.Payload[0], f.Payload[1]}, nil)})
		n++
	}
	return n, nil
}

// packet is what a receiver makes of a sent frame.
type packet struct {
	wire.Packet
	tcp     wire.TCP
	udp     wire.UDP
	icmp    wire.ICMP
	payload []byte
}

// parse reads a frame, and requires its checksum to be right, or in the state in
// which the driver is asked to complete it.
func parse(t *testing.T, f sent, linkHeader int) packet {
	t.Helper()
	var p packet
	b := f.bytes[linkHeader:]
	if c := wire.ParseIP(b, len(b), wire.Verify, &p.Packet); c != wire.OK {
		t.Fatalf("IP header: %v", c)
	}
	if p.Len() != len(b) {
		t.Fatalf("IP declares %d bytes, the frame has %d", p.Len(), len(b))
	}
	var c wire.Cause
	off, n := 0, 0
	switch p.Proto {
	case wire.ProtoTCP:
		c = wire.ParseTCP(b, &p.Packet, &p.tcp)
		off, n = p.tcp.PayloadOffset, p.tcp.PayloadLen
	case wire.ProtoUDP:
		c = wire.ParseUDP(b, &p.Packet, &p.udp)
		off, n = p.udp.PayloadOffset, p.udp.PayloadLen
	default:
		c = wire.ParseICMP(b, &p.Packet, &p.icmp)
		off, n = p.icmp.PayloadOffset, p.icmp.PayloadLen
	}
	if c != wire.OK {
		t.Fatalf("transport header: %v", c)
	}
	if f.CsumStart > 0 {
		if f.CsumStart != linkHeader+p.L4Offset || !p.IsPartial(b) {
			t.Fatalf("checksum at %d+%d is not a pseudo-header's sum", f.CsumStart, f.CsumOffset)
		}
	} else if c := p.VerifyL4(b); c != wire.OK {
		t.Fatalf("checksum: %v", c)
	}
	p.payload = b[off : off+n]
	return p
}

// pattern is n bytes that tell where they belong.
func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*7 + i>>8*13)
	}
	return b
}
