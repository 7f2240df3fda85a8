package pcap

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"testing"

	"github.com/zctap/zctap/internal/driver"
	"github.com/zctap/zctap/internal/testenv"
	"github.com/zctap/zctap/internal/wire"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// A file is what a reader makes of a recording.
type file struct {
	snaplen, linkType uint32
	records           []packet
}

type packet struct {
	at     int64 // nanoseconds since 1970
	data   []byte
	length int // of the frame
}

// parse reads a whole recording, as draft-ietf-opsawg-pcap has it.
func parse(b []byte) (f file, err error) {
	u16, u32 := binary.LittleEndian.Uint16, binary.LittleEndian.Uint32
	if len(b) < 24 || u32(b) != 0xa1b23c4d || u16(b[4:]) != 2 || u16(b[6:]) != 4 {
		return f, fmt.Errorf("no header of a nanosecond pcap file: % x", b[:min(24, len(b))])
	}
	f.snaplen, f.linkType = u32(b[16:]), u32(b[20:])
	for b = b[24:]; len(b) > 0; {
		if len(b) < 16 || len(b) < 16+int(u32(b[8:])) {
			return f, fmt.Errorf("record %d is cut short", len(f.records))
		}
		n := int(u32(b[8:]))
		p := packet{at: int64(u32(b))*1e9 + int64(u32(b[4:])), data: b[16 : 16+n], length: int(u32(b[12:]))}
		if u32(b[4:]) >= 1e9 || n > p.length || n > int(f.snaplen) {
			return f, fmt.Errorf("record %d: % x", len(f.records), b[:16])
		}
		f.records = append(f.records, p)
		b = b[16+n:]
	}
	return f, nil
}

var (
	src4, dst4 = netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	src6, dst6 = netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::2")
)

// udp is a datagram with n bytes of payload, in three pieces, and all of it.
func udp(src, dst netip.Addr, link, n int) (f driver.TxFrame, all []byte) {
	ip := wire.IPHeader{Src: src, Dst: dst, Proto: wire.ProtoUDP, HopLimit: 64, PayloadLen: wire.UDPHeaderLen + n}
	b := make([]byte, link+ip.Len()+ip.PayloadLen)
	if link > 0 {
		e := wire.Ethernet{Dst: [6]byte{2, 0, 0, 0, 0, 1}, Src: [6]byte{2, 0, 0, 0, 0, 2}, EtherType: wire.EtherTypeIPv4}
		if src.Is6() {
			e.EtherType = wire.EtherTypeIPv6
		}
		if _, err := wire.PutEthernet(b, &e); err != nil {
			panic(err)
		}
	}
	if _, err := wire.PutIP(b[link:], &ip); err != nil {
		panic(err)
	}
	l4 := b[link+ip.Len():]
	if _, err := wire.PutUDP(l4, &wire.UDP{SrcPort: 4321, DstPort: 5678, PayloadLen: n}); err != nil {
		panic(err)
	}
	for i := range n {
		l4[wire.UDPHeaderLen+i] = byte(i*7 + n)
	}
	if err := wire.FillChecksum(l4, wire.ProtoUDP, wire.PseudoSum(src, dst, wire.ProtoUDP, len(l4))); err != nil {
		panic(err)
	}
	head := len(b) - n
	return driver.TxFrame{Head: b[:head], Payload: [2][]byte{b[head : head+n/3], b[head+n/3:]}}, b
}

func send(t testing.TB, d driver.Driver, frames ...driver.TxFrame) {
	t.Helper()
	if n, err := d.Send(0, frames); n != len(frames) || err != nil {
		t.Fatalf("Send: %d, %v; want %d", n, err, len(frames))
	}
}
