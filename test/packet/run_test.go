package packet

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/zctap/zctap/internal/wire"
)

const handshake = `listen l
< S 0:0(0) <mss 1000>
> S. 0:0(0) ack 1 <mss max>
< . 1:1(0) ack 1
accept l c
`

// TestFailures: scripts that are wrong fail, in the line that is wrong, and say what
// was expected and what came.
func TestFailures(t *testing.T) {
	for _, tt := range []struct {
		name, script string
		line         int
		timing       bool
		want         []string
	}{
		{"seq", handshake + "send c 10 -> 10\n> P. 2:12(10) ack 1", 7, false,
			[]string{"seq 1, want 2; end 11, want 12", "want > P. 2:12(10) ack 1", "got  > P. 1:11(10) ack 1"}},
		{"ack", handshake + "< . 1:11(10) ack 1\n> . 1:1(0) ack 12", 7, false, []string{"ack 11, want 12"}},
		{"flags", handshake + "shutdown c\n> . 1:1(0) ack 1", 7, false, []string{"flags F., want ."}},
		{"push", handshake + "< . 1:11(10) ack 1\n> P. 1:1(0) ack 11", 7, false, []string{"flags ., want P."}},
		{"window", handshake + "< . 1:11(10) ack 1\n> . 1:1(0) ack 11 win 7", 7, false, []string{"win 65", "want 7"}},
		{"option missing", "listen l\n< S 0:0(0) <mss 1000>\n> S. 0:0(0) ack 1 <mss max, wscale 6>", 3, false, []string{"without option wscale"}},
		{"option unwanted", "listen l\n< S 0:0(0) <mss 1000>\n> S. 0:0(0) ack 1", 3, false, []string{"with option mss"}},
		{"option value", "listen l\n< S 0:0(0) <mss 1000>\n> S. 0:0(0) ack 1 <mss 5>", 3, false, []string{"mss 1460, want 5"}},
		{"variable", handshake + "< . 1:11(10) ack 1\n> . a:a(0) ack 11\n< . 11:12(1) ack 1\n> . 1:1(0) ack a", 9, false, []string{"ack 12, want a (a is 1)"}},
		{"variable unknown", handshake + "< . 1:11(10) ack b", 6, false, []string{"b has no value yet"}},
		{"lengths", handshake + "< . 1:max(5) ack 1", 6, false, []string{"do not fit"}},
		{"protocol", "< ping 5\n> udp 5", 2, false, []string{"another protocol"}},
		{"length", "< ping 5\n> pong 6", 2, false, []string{"length 5, want 6"}},
		{"message", "< udp 5\n> icmp host-unreachable", 2, false, []string{"icmp port-unreachable, want host-unreachable"}},
		{"flow", handshake + "flow 2\n< S 0:0(0) <mss 1000>\nflow 1\n> S. 0:0(0) ack 1 <mss max>", 9, false, []string{"another flow's ports"}},
		{"nothing came", handshake + "> . 1:1(0) ack 1", 6, true, []string{"nothing came, want\n        > . 1:1(0) ack 1"}},
		{"not quiet", handshake + "send c 10 -> 10\nquiet 10ms", 7, true, []string{"nothing was to come within 10ms, got\n        > P. 1:11(10) ack 1"}},
		{"something left", handshake + "send c 10 -> 10", 6, true, []string{"nothing was to come when the script ends"}},
		{"too early", handshake + "set c keepalive 1s\n+2s > . 0:0(0) ack 1", 7, true, []string{"it came 1s early (1s after the last event)"}},
		{"too late", handshake + "send c 10 -> 10\n> P. 1:11(10) ack 1\n+10ms..20ms > P. 1:11(10) ack 1", 8, true, []string{"nothing came"}},
		{"result", handshake + "recv c 10 -> EOF", 6, false, []string{"recv c 10 -> EOF: returned EAGAIN"}},
		{"state", handshake + "state c -> CLOSING", 6, false, []string{"returned ESTABLISHED"}},
		{"no socket", "accept x y", 1, false, []string{"no socket x"}},
		{"no connection", "listen l\nshutdown l", 2, false, []string{"l is no connection"}},
		{"no listener", "udp u\naccept u c", 2, false, []string{"u does not listen"}},
		{"no option", "udp u\nset u rcvbuf 5", 2, false, []string{"returned ENOTSUP"}},
		{"garbage delivered", handshake + "< P. 1:101(100) ack 1 garbage\n> . 1:1(0) ack 101\nrecv c 200 -> 100", 8, false, []string{"not what the peer's stream has from 0 on"}},
		{"nothing to quote", "< icmp port-unreachable", 1, false, []string{"nothing yet that it could be about"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, err := Parse("a.pkt", tt.script)
			if err != nil {
				t.Fatal(err)
			}
			f, _, leak := runOn(s, 4, NewZctap)
			if leak != nil {
				t.Error(leak)
			}
			if f == nil {
				t.Fatal("it passes")
			}
			if f.Line != tt.line || f.Timing != tt.timing {
				t.Errorf("failed in line %d, timing %v; want line %d, %v", f.Line, f.Timing, tt.line, tt.timing)
			}
			for _, want := range append(tt.want, "a.pkt:") {
				if !strings.Contains(f.Error(), want) {
					t.Errorf("%v\nhas no %q", f, want)
				}
			}
		})
	}
}

// fakeTarget sends what a test has put into it. Only what the test needs is there.
type fakeTarget struct {
	Target
	now         time.Duration
	early, late time.Duration
	sent        []*Sent
}

func (f *fakeTarget) Name() string                            { return Linux }
func (f *fakeTarget) Now() time.Duration                      { return f.now }
func (f *fakeTarget) Slack() (early, late time.Duration)      { return f.early, f.late }
func (f *fakeTarget) Sleep(until time.Duration) error         { f.now = max(f.now, until); return nil }
func (f *fakeTarget) Inject([]byte) error                     { return nil }
func (f *fakeTarget) Listen(netip.AddrPort) (Listener, error) { return nil, nil }

func (f *fakeTarget) Next(until time.Duration) (*Sent, error) {
	if len(f.sent) == 0 || f.sent[0].At > until {
		f.now = max(f.now, until)
		return nil, nil
	}
	s := f.sent[0]
	f.sent = f.sent[1:]
	f.now = max(f.now, s.At)
	return s, nil
}

// datagram is one from the stack, with n bytes of its stream.
func datagram(t *testing.T, at time.Duration, n int) *Sent {
	t.Helper()
	w := worlds[4]
	w.stack, w.peer = w.peer, w.stack
	b, err := buildUDP(w, stackPort, peerPorts+1, 0, fillStream(stackStream, 0, n))
	if err != nil {
		t.Fatal(err)
	}
	return &Sent{At: at, Raw: b}
}

// TestSlack: how much earlier or later than its time a packet may come.
func TestSlack(t *testing.T) {
	const ms = time.Millisecond
	for _, tt := range []struct {
		script string
		at     time.Duration
		ok     bool
	}{
		{"> udp 5", 0, true},
		{"> udp 5", 20 * ms, true},
		{"> udp 5", 21 * ms, false},
		{"+70ms > udp 5", 59 * ms, false},
		{"+70ms > udp 5", 60 * ms, true},
		{"+70ms > udp 5", 100 * ms, true}, // slack, and a seventh of the time
		{"+70ms > udp 5", 101 * ms, false},
		{"+70ms~10ms > udp 5", 100 * ms, true},
		{"+70ms~10ms > udp 5", 101 * ms, false},
		{"+70ms~10ms > udp 5", 49 * ms, false},
		{"* > udp 5", 10 * time.Second, true},
		{"* > udp 5", time.Minute, false},
		{"quiet 50ms\n> udp 5", 60 * ms, true},
		{"quiet 50ms\n> udp 5", 50 * ms, false},
		{"+50ms < udp 1\n> udp 5", 30 * ms, false}, // it was sent before
		{"+50ms < udp 1\n> udp 5", 51 * ms, true},
	} {
		s, err := Parse("a.pkt", tt.script)
		if err != nil {
			t.Fatal(err)
		}
		f := &fakeTarget{early: 10 * ms, late: 20 * ms, sent: []*Sent{datagram(t, tt.at, 5)}}
		err = NewRunner(s, f, 4, nil).Run()
		var failure *Failure
		switch {
		case (err == nil) != tt.ok:
			t.Errorf("%q at %v: %v, want ok: %v", tt.script, tt.at, err, tt.ok)
		case err != nil && (!errors.As(err, &failure) || !failure.Timing):
			t.Errorf("%q at %v: %v is no failure of timing", tt.script, tt.at, err)
		}
	}
}

// TestLateAndWrong: what a packet says may be wrong for it was late, and only then.
func TestLateAndWrong(t *testing.T) {
	for at, timing := range map[time.Duration]bool{70 * time.Millisecond: false, 90 * time.Millisecond: true} {
		s, err := Parse("a.pkt", "+70ms > udp 5")
		if err != nil {
			t.Fatal(err)
		}
		f := &fakeTarget{late: 50 * time.Millisecond, sent: []*Sent{datagram(t, at, 6)}}
		var failure *Failure
		err = NewRunner(s, f, 4, nil).Run()
		if !errors.As(err, &failure) || failure.Timing != timing || !strings.Contains(err.Error(), "length 6") {
			t.Errorf("at %v: %v, want a wrong length, for its timing: %v", at, err, timing)
		}
	}
}

// TestBadPackets: a stack that sends something that is wrong is found out, whatever
// the script says of it.
func TestBadPackets(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(b []byte)
		want   string
	}{
		"version":           {func(b []byte) { b[0] = 0x75 }, "IP header is wrong"},
		"header checksum":   {func(b []byte) { b[8]-- }, "IP header is wrong"},
		"UDP checksum":      {func(b []byte) { b[wire.IPv4HeaderLen+6] ^= 1 }, "protocol 17 that is wrong"},
		"payload":           {func(b []byte) { b[len(b)-1] ^= 1 }, "protocol 17 that is wrong"},
		"swapped, sum kept": {func(b []byte) { n := len(b); b[n-2], b[n-4] = b[n-4], b[n-2] }, "not what the application sent"},
	} {
		s, err := Parse("a.pkt", "> udp 20")
		if err != nil {
			t.Fatal(err)
		}
		sent := datagram(t, 0, 20)
		tt.change(sent.Raw)
		err = NewRunner(s, &fakeTarget{sent: []*Sent{sent}}, 4, nil).Run()
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", name, err, tt.want)
		}
	}
}
