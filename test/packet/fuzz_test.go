package packet

import (
	"os"
	"strings"
	"testing"
)

// FuzzParse: whatever the text, Parse returns; and what an event is written as means
// the same event.
func FuzzParse(f *testing.F) {
	for _, s := range load(f, "scripts") {
		text, err := os.ReadFile(s.Name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text))
	}
	f.Add("< . 1:w+1(w) ack t-5 win 7 urg 3 <sack 1:2 3:4, ts a 5> ecn 1 garbage 5:9 badsum")
	f.Add("< udp 3000 cut 0:1480,2960:*,1480:2960")
	f.Add("< udp 10 from loopback to group options 0101 poke 0:45,1:00 short 3")
	f.Add("< . 1:1(0) ack 1 <mss 5, raw fe04abcd> headers 0:00010400000000,60:00010400000000 poke 6:3b long 9")
	f.Add("* > . *:5(*) ack *\n+1s..2s > udp 5..9")
	f.Fuzz(func(t *testing.T, text string) {
		s, err := Parse("a.pkt", text)
		if err != nil {
			if !strings.HasPrefix(err.Error(), "a.pkt:") {
				t.Errorf("an error without a place: %v", err)
			}
			return
		}
		for _, e := range s.Events {
			again, err := Parse("b.pkt", e.String())
			if err != nil {
				t.Fatalf("%q does not parse: %v", e.String(), err)
			}
			if got := again.Events[0].String(); got != e.String() {
				t.Fatalf("%q parses as %q", e.String(), got)
			}
		}
	})
}
