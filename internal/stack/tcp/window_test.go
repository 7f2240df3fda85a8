package tcp

import (
	"math/rand/v2"
	"testing"

	"github.com/zctap/zctap/internal/buf"
	"github.com/zctap/zctap/internal/sockq"
	"github.com/zctap/zctap/internal/wire"
)

// scaled makes a connection with window scaling.
func scaled(t *testing.T, buffers int, change func(*Config)) *script {
	s := newScript(t, buffers, change)
	s.opts.HasWindowScale, s.opts.WindowScale = true, 2
	s.establish()
	s.c.rcv.limit = uint32(s.sh.MaxRecvWindow) // as after a while of reading
	return s
}

// window is what an ACK that comes out now offers, in bytes.
func (s *script) window() int {
	s.t.Helper()
	s.c.acks.now = true
	s.c.touch()
	out := s.flush()
	if len(out) != 1 {
		s.t.Fatalf("came out %v", out)
	}
	return int(out[0].Window) << s.c.opt.rcvShift
}

// take takes n buffers out of the pool, as other connections would.
func (s *script) take(n int) (b []uint16) {
	b = make([]uint16, n)
	if s.pool.Alloc(b) != n {
		s.t.Fatalf("no %d buffers free", n)
	}
	return b
}

func (s *script) giveBack(b []uint16) {
	for _, id := range b {
		s.pool.Put(id)
	}
}

// near is got rounded down to a scaling unit, or want.
func (s *script) near(what string, got, want int) {
	s.t.Helper()
	if got > want || got <= want-1<<s.c.opt.rcvShift {
		s.t.Errorf("%s: window of %d, want %d", what, got, want)
	}
}

func TestWindowFollowsFreeBuffers(t *testing.T) {
	s := scaled(t, 1024, nil)
	// An eighth is the reserve.
	s.near("all free", s.window(), 896*testMSS)
	b := s.take(24)
	s.near("right edge stays", s.window(), 896*testMSS)
	for i := range 100 {
		s.in(1+1460*i, 1, wire.ACK, stream(0, 1460))
	}
	// 1024-24-100 are free, 100 are ours.
	s.near("after data", s.window(), 896*testMSS-146000)
	s.giveBack(b)
	s.received()
	s.near("all free again", s.window(), 896*testMSS)
}

func TestWindowCap(t *testing.T) {
	s := scaled(t, 4096, func(c *Config) { c.MaxRecvWindow = 200_000 })
	s.near("cap", s.window(), 200_000)
	s = scaled(t, 4096, func(c *Config) { c.MaxHeld = 10 })
	s.near("MaxHeld", s.window(), 10*testMSS)
	s = established(t, nil)
	if w := s.window(); w != 65535 || s.c.offered() != 65535 {
		t.Errorf("window of %d without scaling, %d bytes are taken", w, s.c.offered())
	}
}

func TestSynWindow(t *testing.T) {
	s := newScript(t, 1024, nil)
	s.opts.HasWindowScale = true
	s.c = s.l.Input(s.now, s.segment(0, 0, wire.SYN, nil), testTuple)
	out := s.flush()
	if o := out[0]; o.Window != 65535 || !o.Options.HasWindowScale || o.Options.WindowScale != 7 {
		t.Errorf("SYN-ACK with window %d, scale %d", o.Window, o.Options.WindowScale)
	}
	s.inOut(1, 1, wire.ACK, nil)
	if s.c.offered() != 65535 {
		t.Errorf("%d bytes are taken before the first ACK, %d were offered", s.c.offered(), out[0].Window)
	}
}

// The window closes as the application keeps buffers, and opens when it returns
// them: without a segment that comes in, and not by dribs and drabs.
func TestWindowClosesAndReopens(t *testing.T) {
	s := scaled(t, 64, func(c *Config) { c.MaxHeld = 16 })
	at := 1
	for s.c.offered() > 0 {
		n := min(1460, int(s.c.offered()))
		s.inOut(at, 1, wire.ACK|wire.PSH, stream(at-1, n))
		at += n
	}
	if w := s.window(); w != 0 {
		t.Fatalf("window of %d with all taken", w)
	}
	if s.sh.Constrained() != 1 {
		t.Fatalf("%d constrained", s.sh.Constrained())
	}
	s.sh.WindowCheck()
	s.expect("nothing came back", s.flush())
	// Take what is queued, return it one by one.
	iovs := s.popAll()
	returned := 0
	var out []sent
	for len(out) == 0 && returned < len(iovs) {
		if _, err := s.pool.Return(iovs[returned : returned+1]); err != nil {
			t.Fatal(err)
		}
		returned++
		s.sh.WindowCheck()
		out = s.flush()
	}
	s.expect("update", out, seg(1, at, wire.ACK, 0))
	if w := int(out[0].Window) << s.c.opt.rcvShift; w < 2*testMSS || returned < 2 {
		t.Errorf("window opens by %d after %d buffers", w, returned)
	}
	// The rest: no update for each.
	updates := 0
	for _, v := range iovs[returned:] {
		if _, err := s.pool.Return([]iov{v}); err != nil {
			t.Fatal(err)
		}
		s.sh.WindowCheck()
		updates += len(s.flush())
	}
	if updates > 4 {
		t.Errorf("%d updates for %d buffers", updates, len(iovs)-returned)
	}
	if s.sh.Constrained() != 0 {
		t.Errorf("%d constrained with all buffers back", s.sh.Constrained())
	}
	if int(s.sh.Stats.WindowUpdates) != updates+1 {
		t.Errorf("%+v", s.sh.Stats)
	}
}

// Silly window avoidance (RFC 9293 section 3.8.6.2.2): the edge moves by segments.
func TestReceiverSillyWindow(t *testing.T) {
	s := scaled(t, 1024, func(c *Config) { c.MaxRecvWindow = 10_000 })
	s.window()
	edge := s.c.rcv.adv
	s.inOut(1, 1, wire.ACK|wire.PSH, stream(0, 1000))
	s.received()
	s.window()
	if d := s.c.rcv.adv.Sub(edge); d >= 1<<s.c.opt.rcvShift {
		t.Errorf("edge moved by %d", d)
	}
	s.inOut(1001, 1, wire.ACK|wire.PSH, stream(1000, 1000))
	s.received()
	s.window()
	if d := s.c.rcv.adv.Sub(edge); d < 1460 {
		t.Errorf("edge moved by %d after 2000 bytes", d)
	}
}

// Half of the largest window is enough where that is less than a segment, and nothing less (RFC
// 9293 section 3.8.6.2.2).
func TestReceiverSillyWindowOfLittle(t *testing.T) {
	s := newScript(t, 1024, func(c *Config) { c.MaxRecvWindow = 1000 })
	s.establish()
	for i := range 10 {
		s.inOut(1+100*i, 1, wire.ACK, stream(100*i, 100))
	}
	for read, want := range []int{0, 0, 0, 0, 0, 500} {
		if read > 0 {
			s.read(1)
		}
		if w := s.window(); w != want {
			t.Errorf("window of %d after %d of 10 pieces were read, want %d", w, read, want)
		}
	}
}

// read has the application read and return n frags.
func (s *script) read(n int) {
	s.t.Helper()
	iovs := make([]iov, n)
	if got, _, _, err := s.c.Recv.Poll(iovs, 1<<30); got != n || err != nil {
		s.t.Fatalf("%d frags, %v", got, err)
	}
	if _, err := s.pool.Return(iovs); err != nil {
		s.t.Fatal(err)
	}
}

// No ACK of its own tells of a window that is not twice what it was: the application that reads
// by dribs and drabs would draw one for each.
func TestWindowUpdatesAreFew(t *testing.T) {
	s := scaled(t, 1024, func(c *Config) { c.MaxRecvWindow = 20_000 })
	for i := range 14 {
		s.inOut(1+1000*i, 1, wire.ACK, stream(1000*i, 1000))
	}
	s.c.acks.now = false
	if s.c.offered() != 6000 {
		t.Fatalf("window of %d", s.c.offered())
	}
	s.read(5)
	s.c.checkWindow()
	s.expect("5000 bytes more", s.flush())
	s.read(1)
	s.c.checkWindow()
	s.expect("6000 bytes more", s.flush(), seg(1, 14001, wire.ACK, 0))
}

// What is free bounds the window, whatever a connection may keep; and when the reserve is
// touched half of what is left of it may still be promised.
func TestWindowOfFewFreeBuffers(t *testing.T) {
	s := scaled(t, 64, func(c *Config) { c.MaxHeld = 1000 })
	b := s.take(40)
	if n, _ := s.c.space(); n != (24-8)*testMSS {
		t.Errorf("%d bytes with 24 buffers free, 8 of them the reserve", n)
	}
	b = append(b, s.take(18)...)
	if n, _ := s.c.space(); n != 3*testMSS {
		t.Errorf("%d bytes with 6 buffers free", n)
	}
	s.giveBack(b)
}

// With a closed window the ACK of a segment counts, and a FIN needs no buffer.
func TestClosedWindow(t *testing.T) {
	s := scaled(t, 64, nil)
	s.write(100)
	s.flush()
	probe := s.segment(1, 51, wire.ACK, []byte("x"))
	b := s.take(63)
	s.c.rcv.adv = s.c.rcv.nxt
	s.c.Input(s.now, probe)
	s.expect("ACK of nothing", s.flush(), seg(101, 1, wire.ACK, 0))
	if s.c.Send.Buffered() != 50 {
		t.Errorf("%d bytes unacknowledged", s.c.Send.Buffered())
	}
	s.expect("FIN", s.inOut(1, 101, wire.ACK|wire.FIN, nil), seg(101, 2, wire.ACK, 0))
	s.state(CloseWait)
	s.giveBack(b)
}

// A peer that has filled the window, and whose data was lost, has no other number
// for its ACKs than the one just behind.
func TestAckBehindFullWindow(t *testing.T) {
	s := scaled(t, 64, nil)
	s.write(100)
	s.flush()
	edge := int(s.c.rcv.adv.Sub(s.irs))
	s.expect("ACK", s.inOut(edge, 101, wire.ACK, nil))
	if s.c.Send.Buffered() != 0 {
		t.Error("the ACK was not seen")
	}
	s.expect("one further", s.inOut(edge+1, 101, wire.ACK, nil), seg(101, 1, wire.ACK, 0))
}

// What a peer's buffers hold on average is learned.
func TestBytesPerBuffer(t *testing.T) {
	for _, tt := range []struct{ n, want int }{{4096, 4096}, {1460, 1460}, {500, 500}, {10, copyBreak}} {
		s := scaled(t, 1024, nil)
		for i := range 500 {
			s.inOut(1+tt.n*i, 1, wire.ACK|wire.PSH, stream(0, tt.n))
			s.received()
		}
		if got := s.c.bytesPerBuffer(); got < tt.want*9/10 || got > tt.want*11/10 {
			t.Errorf("payloads of %d: %d bytes a buffer, want about %d", tt.n, got, tt.want)
		}
	}
}

// Frags that come together make the estimate that they make one by one: else what a peer is offered
// would depend on how many of its segments were merged.
func TestEstimateOfRun(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 5))
	a, b := scaled(t, 1024, nil), scaled(t, 1024, nil)
	for range 200 {
		var fs []buf.Frag
		n := r.IntN(150)
		for range n {
			fs = append(fs, frags(t, a.pool, stream(0, copyBreak+1+r.IntN(4096-copyBreak)), 4096)...)
		}
		if k, _ := a.c.staying(fs); k != n {
			t.Fatalf("%d of %d frags stay", k, n)
		}
		for i := range fs {
			b.c.staying(fs[i : i+1])
			a.pool.Put(fs[i].Buffer())
		}
		if a.c.rcv != b.c.rcv {
			t.Fatalf("behind %d frags: %+v, one by one %+v", n, a.c.rcv, b.c.rcv)
		}
	}
}

// Connections that nobody reads share what is left, and leave as much to the next
// one (dynamic thresholds).
func TestShares(t *testing.T) {
	s := newScript(t, 1200, nil)
	var conns []*Conn
	for i := range 3 {
		tu := testTuple
		tu.Remote = netipAddrPort(tu.Remote, uint16(1000+i))
		c := newConn(s.sh, s.now, tu, testMSS)
		c.opt.scaling, c.opt.rcvShift = true, 7
		conns = append(conns, c)
	}
	// A buffer each, in turn, as long as the window is open.
	var taken []uint16
	for open := true; open; {
		open = false
		for _, c := range conns {
			if bytes, _ := c.space(); bytes > 0 {
				b := s.take(1)
				s.pool.Charge(b[0], c.account)
				taken = append(taken, b...)
				open = true
			}
		}
	}
	for i, c := range conns {
		if h := c.Held(); h < 262 || h > 264 {
			t.Errorf("connection %d holds %d of 1200 buffers, want a quarter of them less the reserve", i, h)
		}
	}
	s.giveBack(taken)
}

// A region so small that all of it, free, is less than a window update is worth:
// the window opens all the same, or it would stay closed for ever.
func TestTinyRegionReopens(t *testing.T) {
	for _, tt := range []struct {
		name   string
		reopen func(s *script) []sent
	}{
		{"by itself", func(s *script) []sent { s.sh.WindowCheck(); return s.flush() }},
		{"when probed", func(s *script) []sent {
			return s.inOut(int(s.c.rcv.nxt-s.irs), 1, wire.ACK, []byte("x"))
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := scaled(t, 5, nil)
			s.c.rcv.estBytes, s.c.rcv.estBuffers = 1000, 10 // tiny payloads
			s.c.rcv.adv = s.c.rcv.nxt
			b := s.take(4)
			for _, id := range b {
				s.pool.Charge(id, s.c.account)
			}
			if w := s.window(); w != 0 {
				t.Fatalf("window of %d", w)
			}
			s.giveBack(b)
			out := tt.reopen(s)
			if len(out) != 1 || out[0].Window == 0 {
				t.Errorf("came out %+v", out)
			}
		})
	}
}

// The window begins small and grows as the application reads; what it does not
// read counts.
func TestWindowGrowsWithReading(t *testing.T) {
	s := newScript(t, 4096, nil)
	s.opts.HasWindowScale = true
	s.establish()
	if w := s.window(); w != firstWindow {
		t.Fatalf("first window %d", w)
	}
	at := 1
	send := func(n int) {
		for end := at + n; at < end; at += 1460 {
			s.inOut(at, 1, wire.ACK, stream(at-1, 1460))
		}
	}
	send(100_000)
	got := at - 1
	s.near("unread data takes from it", s.window(), firstWindow-got)
	s.received()
	s.near("read, and less than half", s.window(), firstWindow)
	send(firstWindow/2 - got + 1460)
	s.received()
	s.near("half of it was read", s.window(), 2*firstWindow)
	send(firstWindow * 9 / 10)
	s.received()
	s.near("not quite half of that", s.window(), 2*firstWindow)
	send(firstWindow / 5)
	s.received()
	s.near("half of that", s.window(), 4*firstWindow)
	for range 20 {
		send(1 << 19)
		s.received()
		s.window()
	}
	s.near("bounded", s.window(), DefaultRecvWindow)
}

func TestFirstWindow(t *testing.T) {
	for _, tt := range []struct{ buffers, conns, want int }{
		{16384, 0, firstWindow},
		{1024, 0, 128 * testMSS},
		{1024, 4, 64 * testMSS},
		{1024, 60, 8 * testMSS},
		{1024, 10000, 2 * testMSS},
		{16, 0, 2 * testMSS},
		{2, 0, 2 * testMSS},
	} {
		s := newScript(t, tt.buffers, nil)
		s.sh.conns = tt.conns
		if c := newConn(s.sh, s.now, testTuple, testMSS); int(c.rcv.limit) != tt.want {
			t.Errorf("%d buffers, %d connections: first window %d, want %d", tt.buffers, tt.conns, c.rcv.limit, tt.want)
		}
	}
}

// When buffers run short, a connection that has used up its share gets no more,
// though its window is open, and one that has not does.
func TestOverdrawn(t *testing.T) {
	s := scaled(t, 64, nil)
	for i := range 10 {
		s.inOut(1+1460*i, 1, wire.ACK, stream(1460*i, 1460))
	}
	b := s.take(64 - 10 - 7) // 7 are free: an eighth would be 8
	edge := s.c.offered()
	if edge < 1460 {
		t.Fatalf("window of %d", edge)
	}
	next := 1 + 14600
	s.expect("no ACK, no data", s.inOut(next, 1, wire.ACK|wire.PSH, stream(next-1, 1460)))
	if s.sh.Stats.Drops.OverShare != 1 || s.c.rcv.total != 14600 {
		t.Errorf("%d refused, %d received", s.sh.Stats.Drops.OverShare, s.c.rcv.total)
	}
	// Its ACK counts, though.
	s.write(10)
	s.flush()
	s.inOut(next, 11, wire.ACK|wire.PSH, stream(next-1, 1460))
	if s.c.Send.Buffered() != 0 {
		t.Error("the ACK of refused data was not seen")
	}
	// With less than its share it is served.
	s.received()
	s.inOut(next, 11, wire.ACK|wire.PSH, stream(next-1, 1460))
	if s.c.rcv.total != 14600+1460 {
		t.Errorf("%d received", s.c.rcv.total)
	}
	s.giveBack(b)
}

// The share of the reserve is half of what is free (alpha is one half).
func TestOverdrawnByHalf(t *testing.T) {
	for own, taken := range map[int]bool{2: true, 3: false, 4: false} {
		s := scaled(t, 64, nil)
		for i := range own {
			s.inOut(1+1460*i, 1, wire.ACK, stream(1460*i, 1460))
		}
		b := s.take(64 - own - 7) // 6 are free behind the next segment
		s.inOut(1+1460*own, 1, wire.ACK, stream(1460*own, 1460))
		if got := s.c.rcv.total == uint64(1460*(own+1)); got != taken {
			t.Errorf("with %d buffers, and 6 free: taken %v", own, got)
		}
		s.giveBack(b)
	}
}

// A connection that keeps nothing gets the last buffer: nobody else's is certain to
// be read.
func TestLastBuffer(t *testing.T) {
	s := scaled(t, 64, nil)
	segment := s.segment(1, 1, wire.ACK|wire.PSH, []byte("last"))
	b := s.take(63)
	s.c.Input(s.now, segment)
	s.flush()
	if got := s.received(); string(got) != "last" {
		t.Errorf("received %q", got)
	}
	s.giveBack(b)
}

// Giving up data out of order does not help when it is data in order, not read,
// that takes the share.
func TestNoRoom(t *testing.T) {
	s := scaled(t, 64, nil)
	for i := range 10 {
		s.inOut(1+1460*i, 1, wire.ACK, stream(1460*i, 1460))
	}
	s.inOut(20_000, 1, wire.ACK, make([]byte, 1460))
	b := s.take(64 - 11 - 7)
	s.expect("data in order", s.inOut(14601, 1, wire.ACK|wire.PSH, stream(14600, 1460)))
	if s.sh.Stats.Drops.OverShare != 1 || s.c.rcv.total != 14600 || s.sh.Stats.Reneged != 1 {
		t.Errorf("%d received, %+v", s.c.rcv.total, s.sh.Stats)
	}
	s.giveBack(b)
}

// Data in order takes the place of data out of order.
func TestMakeRoom(t *testing.T) {
	s := scaled(t, 64, nil)
	for i := range 10 {
		s.inOut(2000+1460*i, 1, wire.ACK, make([]byte, 1460))
	}
	b := s.take(64 - 10 - 7)
	s.in(20_000, 1, wire.ACK, make([]byte, 1460)) // refused, and judges the batch
	s.expect("data in order", s.inOut(1, 1, wire.ACK|wire.PSH, stream(0, 1460)), seg(1, 1461, wire.ACK, 0))
	if s.sh.Stats.Drops.OverShare != 1 {
		t.Errorf("%+v", s.sh.Stats.Drops)
	}
	if s.sh.Stats.Reneged != 1 || len(s.c.ooo.list) != 0 || s.c.Held() != 1 {
		t.Errorf("%d frags held, %d buffers, %+v", len(s.c.ooo.list), s.c.Held(), s.sh.Stats)
	}
	s.giveBack(b)
}

// TestWindowCheckTakesTurns: of many that wait each is looked at within a few rounds, a
// bounded number at a time, also while others leave; and all of them before a sleep.
func TestWindowCheckTakesTurns(t *testing.T) {
	s := newScript(t, 1024, nil)
	var conns []*Conn
	for i := range 3*maxChecks - 10 {
		tu := testTuple
		tu.Remote = netipAddrPort(tu.Remote, uint16(1000+i))
		c := newConn(s.sh, s.now, tu, testMSS)
		c.Recv = sockq.NewQueue(s.pool)
		c.rcv.adv = c.rcv.nxt // closed
		c.constrain(true)
		conns = append(conns, c)
	}
	looked := func() (n int) {
		for _, c := range conns {
			if c.acks.now {
				n++
			}
		}
		return n
	}
	s.sh.WindowCheck()
	if n := looked(); n != maxChecks {
		t.Errorf("%d looked at, want %d", n, maxChecks)
	}
	conns[0].constrain(false)
	conns[len(conns)-1].constrain(false)
	for range 3 {
		s.sh.WindowCheck()
	}
	if n := looked(); n < len(conns)-2 {
		t.Errorf("%d of %d looked at after three more rounds", n, len(conns))
	}
	for _, c := range conns {
		c.acks.now = false
	}
	s.sh.WindowCheckAll()
	if n := looked(); n != len(conns)-2 {
		t.Errorf("%d of %d looked at before a sleep", n, len(conns)-2)
	}
	for _, c := range conns {
		c.kill(nil)
	}
}
