package exchanges

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/zctap/zctap/internal/wire"
)

// TestRecordings: what is stored has all that it is stored for.
func TestRecordings(t *testing.T) {
	if n := check(t, "testdata"); n > mostBytes {
		t.Errorf("%d bytes, want at most %d", n, mostBytes)
	}
}

// mostBytes keeps the recordings from growing.
const mostBytes = 100_000

// check requires that the recordings of dir have packets of all kinds, and returns how long
// they are.
func check(t *testing.T, dir string) (bytes int) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*.pcap"))
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]int{}
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		frames, err := parse(b)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		bytes += len(b)
		for _, f := range frames {
			for _, k := range kinds(t, f) {
				found[k]++
			}
		}
	}
	t.Logf("%d bytes: %v", bytes, found)
	for _, k := range []string{
		"ARP", "SYN4", "SYN6", "SYN with all options", "FIN4", "FIN6", "RST4", "RST6", "SACK", "ECN setup", "ECT", "payload",
		"UDP4", "UDP6", "fragment4", "fragment6", "options4", "extensions6", "ICMP error4", "ICMP error6", "too big4", "too big6",
		"echo4", "echo6", "neighbours",
	} {
		if found[k] == 0 {
			t.Errorf("no packet of the kind %q", k)
		}
	}
	return bytes
}

// kinds is what a frame is an example of. The checksums of all but fragments are right.
func kinds(t *testing.T, frame []byte) (k []string) {
	t.Helper()
	b := Packet(frame)
	if b == nil {
		return []string{"ARP"}
	}
	var (
		p wire.Packet
		h wire.TCP
		m wire.ICMP
	)
	if c := wire.ParseIP(b, len(b), wire.Verify, &p); c != wire.OK {
		if c == wire.WrongProtocol {
			return nil
		}
		t.Errorf("%x: %v", b, c)
		return nil
	}
	v := "4"
	if p.Version == 6 {
		v = "6"
	}
	if p.Version == 4 && b[0]&15 > 5 {
		k = append(k, "options4")
	}
	if p.Version == 6 && (b[6] == 0 || b[6] == 60) {
		k = append(k, "extensions6")
	}
	if p.ECN() == wire.ECT0 {
		k = append(k, "ECT")
	}
	if p.IsFragment() {
		return append(k, "fragment"+v)
	}
	if c := p.VerifyL4(b); c != wire.OK && c != wire.WrongProtocol {
		t.Errorf("%x: %v", b, c)
	}
	switch p.Proto {
	case wire.ProtoTCP:
		if c := wire.ParseTCP(b, &p, &h); c != wire.OK {
			t.Errorf("%x: %v", b, c)
		}
		for f, name := range map[wire.Flags]string{wire.SYN: "SYN", wire.FIN: "FIN", wire.RST: "RST"} {
			if h.Flags.Has(f) {
				k = append(k, name+v)
			}
		}
		o := &h.Options
		if h.Flags.Has(wire.SYN) && o.MSS > 0 && o.SACKPermitted && o.HasTimestamps && o.HasWindowScale {
			k = append(k, "SYN with all options")
		}
		if h.Flags.Has(wire.SYN | wire.ECE | wire.CWR) {
			k = append(k, "ECN setup")
		}
		if o.SACKCount > 0 {
			k = append(k, "SACK")
		}
		if h.PayloadLen > 0 {
			k = append(k, "payload")
		}
	case wire.ProtoUDP:
		k = append(k, "UDP"+v)
	case wire.ProtoICMP, wire.ProtoICMPv6:
		if p.Proto == wire.ProtoICMPv6 && b[p.L4Offset] >= 133 && b[p.L4Offset] <= 137 {
			return append(k, "neighbours")
		}
		if c := wire.ParseICMP(b, &p, &m); c != wire.OK {
			return k // of a kind that is not of interest
		}
		switch {
		case m.Kind == wire.ICMPPacketTooBig:
			k = append(k, "too big"+v)
		case m.Kind.IsError():
			k = append(k, "ICMP error"+v)
		case m.Kind == wire.ICMPEchoRequest:
			k = append(k, "echo"+v)
		}
	}
	return k
}
