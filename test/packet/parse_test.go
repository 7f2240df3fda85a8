package packet

import (
	"strings"
	"testing"
)

// TestParse reads events and writes them again: as they were, or as they are meant.
func TestParse(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"< S 0:0(0) win 65535 <mss 1000,wscale 7>", "< S 0:0(0) win 65535 <mss 1000, wscale 7>"},
		{"+200ms~20ms > P. 1:1001(1000) ack 1", "+180ms..220ms > P. 1:1001(1000) ack 1"},
		{"+1s..1.5s > . 1:1(0) ack 1", "+1s..1.5s > . 1:1(0) ack 1"},
		{"* > . w+1:*(200..300) ack 5..9 win 0 <ts t+5..9 *, *>", ""},
		{"< .FPSEUW 1:2(1) ack 1 urg 7", "< FSP.UEW 1:2(1) ack 1 urg 7"},
		{"< - 5:15(10)", ""},
		{"< . -1:0(1) ack -5", ""},
		{"< . 1:w+1(w) ack 1 ecn 3 garbage 5:9 badsum", ""},
		{"< udp 3000 badsum cut 8:16,0:8,16:*", ""},
		{"< P. 1:11(10) ack 1 garbage", ""},
		{"> . 1:1(0) ack 1 <sack 5:9 20:30>", ""},
		{"< udp 100", ""},
		{"> udp *", ""},
		{"< icmp too-big 1300", ""},
		{"> icmp port-unreachable", ""},
		{"> pong 56 # as asked", "> pong 56"},
		{"quiet 1.5s", ""},
		{"flow 2", ""},
		{"isn 4294967295", ""},
		{"listen l", ""},
		{"accept l -> EAGAIN", ""},
		{"accept l c -> ok", "accept l c"},
		{"+5ms send c w-1 -> 5", ""},
		{"recv c 0 -> ok", ""},
		{"udp u connected", ""},
		{"set c nodelay off", ""},
		{"state c -> FIN-WAIT-1", ""},
	} {
		s, err := Parse("a.pkt", tt.in)
		if err != nil {
			t.Errorf("%s: %v", tt.in, err)
			continue
		}
		want := tt.want
		if want == "" {
			want = tt.in
		}
		if got := s.Events[0].String(); got != want {
			t.Errorf("%s: read as\n%s, want\n%s", tt.in, got, want)
		}
	}
}

// TestParseErrors: what is wrong is told, with its place.
func TestParseErrors(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"", "a.pkt: there is no event"},
		{"listen l\nfoo", `a.pkt:2: what is "foo"?`},
		{"< S 0:0(0) <mss 1000", "options without an end"},
		{`on linux because "x`, "a quote without an end"},
		{"< S 0:0(0) <foo 7>", `option "foo"`},
		{"< S 0:0(0) <*>", `option "*"`},
		{"< X 0:0(0)", `"X" are no flags`},
		{"< . 0:0(0)", "ack N"},
		{"< . 0:5(4) ack 1", "the numbers do not fit"},
		{"< . 0-5 ack 1", "first:end(length)"},
		{"< . *:0(0) ack 1", "say which"},
		{"< . 0:0(0) ack 1..2", "say which"},
		{"< . 0:0(0) ack 1 <ts * 5>", "say which"},
		{"> . 0:0(0) ack 2..1", "ends before it begins"},
		{"> . 0:0(0) ack +1", "no sign"},
		{"> . 0:0(0) ack 99999999999", "32 bits"},
		{"> . 0:0(0) ack 1x", `"1x" is no number`},
		{"> . 0:0(0) ack 1 garbage", "injected"},
		{"> . 0:0(0) ack 1 foo", `"foo"`},
		{"> . 0:0(0) ack 1 <sack 1>", "first:end"},
		{"> . 0:0(0) ack 1 <sack>", "0 SACK blocks"},
		{"< . 0:9(9) ack 1 garbage 7:3", "garbage from 7 to 3"},
		{"< icmp foo", `icmp "foo"`},
		{"< udp 70000", "70000 bytes"},
		{"<", "which packet?"},
		{"+1x quiet 1s", "is no time"},
		{"+2s..1s > udp 1", "ends before it begins"},
		{"+1s~1s listen l", "not exact"},
		{"* < udp 1", "not exact"},
		{"+1s quiet 1s", "quiet has no time"},
		{"quiet 0s", "for how long"},
		{"+1s", "nothing that happens"},
		{"flow 0", "1 to 99"},
		{"isn *", "one number"},
		{"listen", "names no socket"},
		{"accept l 7", "names no socket"},
		{"send c 5", "say what it returns"},
		{"send c 1..2 -> 5", "a number of bytes"},
		{"recv c 5 -> !", "is no result"},
		{"set c nodelay maybe", "on or off"},
		{"set c foo 1", `set "foo"`},
		{"set c rcvbuf x", "no number"},
		{"on linux\nlisten l\nend", "because"},
		{`on linux because " "`, "because"},
		{`on mars because "x"`, `"mars"`},
		{"on linux because \"x\"\nlisten l", "without an 'end'"},
		{"end", "'end' of nothing"},
		{"on linux because \"x\"\non zctap because \"x\"", "inside of another"},
		{"listen l\nmtu 1500", "head of the script"},
		{"mtu 100", "1280"},
		{"ip 5", "4 or 6"},
		{"ip 4", "because"},
		{"sysctl kernel/panic 1", "net/"},
		{"zctap foo 1", `zctap "foo"`},
		{"zctap buffers 0", "not from 1"},
		{"zctap timewait x", "is no time"},
		{strings.Repeat("x", 2000), "2000 bytes"},
		{strings.Repeat("listen l\n", maxEvents+1), "more than"},
	} {
		_, err := Parse("a.pkt", tt.in)
		if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.HasPrefix(err.Error(), "a.pkt:") {
			t.Errorf("%.60q: %v, want an error with a place and %q", tt.in, err, tt.want)
		}
	}
}

// TestParseConfig reads a head.
func TestParseConfig(t *testing.T) {
	s, err := Parse("a.pkt", `
ip 6 because "of a reason"
mtu 9000
sysctl net/ipv4/tcp_rmem "4096 8192 16384"
zctap timewait 3s
zctap window 5000
listen l
on zctap because "of another"
listen m
end
listen n
`)
	if err != nil {
		t.Fatal(err)
	}
	c := s.Config
	if len(c.Families) != 1 || c.Families[0] != 6 || c.MTU != 9000 || c.Zctap.Window != 5000 || c.Zctap.TimeWait.Seconds() != 3 ||
		len(c.Sysctls) != 1 || c.Sysctls[0] != (Setting{"net/ipv4/tcp_rmem", "4096 8192 16384"}) {
		t.Errorf("config %+v", c)
	}
	where := []Where{Everywhere, OnZctap, Everywhere}
	for i, e := range s.Events {
		if e.Where != where[i] {
			t.Errorf("line %d is for %v, want %v", e.Line, whereNames[e.Where], whereNames[where[i]])
		}
	}
}
