package packet

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/zctap/zctap/internal/wire"
)

// crafted is the packet that a line injects.
func crafted(t *testing.T, family int, line string) []byte {
	t.Helper()
	s, err := Parse("craft", line)
	if err != nil {
		t.Fatal(err)
	}
	w := &wiretap{}
	if err := NewRunner(s, w, family, nil).Run(); err != nil {
		t.Fatal(err)
	}
	if len(w.injected) != 1 {
		t.Fatalf("%d packets were injected", len(w.injected))
	}
	return w.injected[0]
}

// TestCraft: what a script puts into a packet is there, and is all that is wrong with it,
// as the parser of package wire says, whose own tests are elsewhere.
func TestCraft(t *testing.T) {
	for _, tc := range []struct {
		family int
		line   string
		want   wire.Cause
	}{
		{4, "< udp 10", wire.OK},
		{6, "< udp 10", wire.OK},
		{4, "< udp 10 options 0101070b04", wire.BadOption},
		{4, "< udp 10 options 0107030400", wire.OK},
		{4, "< udp 10 options 830704c0000209", wire.SourceRouted},
		{6, "< udp 10 headers 0:00010400000000,60:00010400000000", wire.OK},
		{6, "< udp 10 headers 60:00010400000000,0:00010400000000", wire.BadExtension},
		{4, "< udp 10 poke 0:55", wire.BadVersion},
		{4, "< udp 10 poke 0:44", wire.BadHeaderLen},
		{4, "< udp 10 short 1", wire.Truncated},
		{6, "< udp 10 short 1", wire.Truncated},
		{4, "< udp 10 long 7", wire.OK},
		{4, "< udp 10 from broadcast", wire.BadAddress},
		{6, "< udp 10 from group", wire.BadAddress},
		{6, "< udp 10 to group", wire.OK},
	} {
		b := crafted(t, tc.family, tc.line)
		var p wire.Packet
		c := wire.ParseIP(b, len(b), wire.Verify, &p)
		if c == wire.OK {
			c = p.VerifyL4(b)
		}
		if c != tc.want {
			t.Errorf("IPv%d %s: %v, want %v: % x", tc.family, tc.line, c, tc.want, b)
		}
	}
}

// TestCraftOptions: raw bytes lie behind the options that wire makes, and zeros behind
// them.
func TestCraftOptions(t *testing.T) {
	b := crafted(t, 4, "< S 0:0(0) <mss 1000, raw fe05abcdef>")
	var p wire.Packet
	var h wire.TCP
	if c := wire.ParseIP(b, len(b), wire.Verify, &p); c != wire.OK {
		t.Fatal(c)
	}
	if c := wire.ParseTCP(b, &p, &h); c != wire.OK || h.Options.MSS != 1000 {
		t.Errorf("%v, MSS %d", c, h.Options.MSS)
	}
	if want := []byte{0xfe, 5, 0xab, 0xcd, 0xef, 0, 0, 0}; !bytes.Equal(b[44:], want) || p.VerifyL4(b) != wire.OK {
		t.Errorf("behind the MSS lies % x, want % x", b[44:], want)
	}
}

// TestCraftErrors: what cannot be made is an error of the script.
func TestCraftErrors(t *testing.T) {
	for _, line := range []string{
		"< udp 1 from nowhere", "< udp 1 options 0", "< udp 1 options zz", "< udp 1 headers 300:00", "< udp 1 headers 0:",
		"< udp 1 poke 9000:00", "< udp 1 poke 1", "< udp 1 short 0", "< udp 1 long x", "> udp 1 short 3",
		"< udp 1 options " + strings.Repeat("00", 41), "> . 1:1(0) ack 1 <raw 0101>", "< . 1:1(0) ack 1 <raw>",
		"join u nowhere",
	} {
		if _, err := Parse("craft", line); err == nil {
			t.Errorf("%q parses", line)
		}
	}
	for line, family := range map[string]int{
		"< udp 1 headers 0:00010400000000": 4,
		"< udp 1 options 01":               6,
		"< udp 1 to broadcast":             6,
		"< udp 1 short 29":                 4,
		"< udp 1 poke 29:00":               4,
		"< S 0:0(0) <mss 1, raw " + strings.Repeat("01", 37) + ">": 4,
	} {
		s, err := Parse("craft", line)
		if err != nil {
			t.Error(err)
		} else if err := NewRunner(s, &wiretap{}, family, nil).Run(); err == nil {
			t.Errorf("IPv%d %q is injected", family, line)
		}
	}
}

// A wiretap is a Target that keeps what is injected, and does nothing else.
type wiretap struct {
	Target
	injected [][]byte
}

func (w *wiretap) Name() string                      { return Zctap }
func (w *wiretap) Now() time.Duration                { return 0 }
func (w *wiretap) Sleep(time.Duration) error         { return nil }
func (w *wiretap) Next(time.Duration) (*Sent, error) { return nil, nil }
func (w *wiretap) Inject(b []byte) error {
	w.injected = append(w.injected, b)
	return nil
}
