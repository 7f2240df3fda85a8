package tcp

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"sort"
	"testing"
	"time"

	"github.com/zctap/zctap/internal/buf"
	"github.com/zctap/zctap/internal/mono"
	"github.com/zctap/zctap/internal/testenv"
	"github.com/zctap/zctap/internal/wire"
)

// A sim is two stacks and what is between them, driven by a virtual clock: whole
// connections in no time, the same every time for a seed.
type sim struct {
	t     testing.TB
	rng   *rand.Rand
	now   mono.Time
	ends  [2]*end
	queue []packet // sorted by at
	wire  wireConfig
	lost  int
	high  [2]wire.Seq // the highest sent to each end
}

// wireConfig is what the wire does to packets, each with a probability.
type wireConfig struct {
	loss, reorder, dup, corrupt float64
	delay                       time.Duration
	// coalesce is the probability that a super-segment arrives as it was sent.
	coalesce float64
	fragSize int // payload bytes of a frag at most; 0: random
	// noSACK is a middlebox that takes SACK-permitted out of SYNs.
	noSACK bool
	// firstOnly has only data be lost that is sent for the first time.
	firstOnly bool
	// mtu is the longest packet that passes, IPv4 header included; 0: any. What is
	// longer draws an ICMP error, unless the wire is silent.
	mtu    int
	silent bool
	// mark is the probability that a packet that takes part in ECN is marked.
	mark float64
}

// A packet is a TCP segment as bytes, with its checksum.
type packet struct {
	at        mono.Time
	to        int
	headerLen int
	bytes     []byte
	ecn       wire.ECN
}

// end is one of the two.
type end struct {
	sim   *sim
	i     int
	sh    *Shared
	pool  *buf.Pool
	c     *Conn
	l     *Listener
	inbox []packet
	icmp  []wire.ICMP // errors about its segments
	ecn   wire.ECN    // of what is being sent

	toSend, sent int // bytes of the stream
	seen         int // bytes received, and verified
	eof          bool
	err          error
	shut         bool
	chunk        int // most bytes of one write
	maxRead      int // most iovs taken per round; 0: as many as there are
	holding      []buf.Iov
	hold         int // iovs that the application keeps
	dropped      int // for want of a buffer
	corrupt      int // for a wrong checksum
}

func newSim(t testing.TB, seed uint64, w wireConfig, buffers int, change func(i int, c *Config)) *sim {
	s := &sim{t: t, rng: rand.New(rand.NewPCG(seed, 1)), now: 1e9, wire: w}
	for i := range s.ends {
		e := &end{sim: s, i: i, pool: newPool(t, buffers), chunk: 100_000}
		cfg := Config{Pool: e.pool, Hasher: wire.KeyedHasher([16]byte{byte(seed), byte(i)}), TimeWait: time.Minute}
		if change != nil {
			change(i, &cfg)
		}
		cfg.Transmit, cfg.TransmitECT = e.transmit, e.transmitECT
		e.sh = NewShared(cfg)
		s.ends[i] = e
	}
	server := s.ends[1]
	server.l = &Listener{
		Shared: server.sh, MSS: func(*wire.Tuple) int { return testMSS }, Full: func() bool { return false },
		OnAccept: func(*Conn) {},
	}
	s.ends[0].c = Dial(s.ends[0].sh, s.now, testTuple, testMSS)
	t.Cleanup(s.cleanup)
	return s
}

// cleanup lets go of what the ends hold, before newPool's checks.
func (s *sim) cleanup() {
	for _, e := range s.ends {
		if e.c != nil {
			e.c.Abort(s.now)
			if e.c.Recv != nil {
				e.c.Recv.Close()
				e.c.Recv.Drain()
			}
		}
		if _, err := e.pool.Return(e.holding); err != nil {
			s.t.Error(err)
		}
	}
}

func (e *end) transmit(src, dst netip.Addr, h *wire.TCP, p [2][]byte, mss int) {
	s := e.sim
	payload := bytes.Join(p[:], nil)
	step := len(payload)
	if mss > 0 && len(payload) > mss && s.rng.Float64() >= s.wire.coalesce {
		step = mss
	}
	for first := true; first || len(payload) > 0; first = false {
		n := min(step, len(payload))
		seg := *h
		seg.Options.SACKPermitted = seg.Options.SACKPermitted && !s.wire.noSACK
		if n < len(payload) {
			seg.Flags &^= wire.FIN | wire.PSH
		}
		b := make([]byte, seg.HeaderLen()+n)
		k, err := wire.PutTCP(b, &seg)
		if err != nil {
			s.t.Fatal(err)
		}
		copy(b[k:], payload[:n])
		if err := wire.FillChecksum(b, wire.ProtoTCP, wire.PseudoSum(src, dst, wire.ProtoTCP, len(b))); err != nil {
			s.t.Fatal(err)
		}
		if tooLong(e, len(b), seg.Seq) {
			s.lost++
		} else {
			s.send(packet{to: 1 - e.i, headerLen: k, bytes: b, ecn: e.mark()})
		}
		payload = payload[n:]
		h.Seq = h.Seq.Add(uint32(n))
	}
}

func (s *sim) send(p packet) {
	copies := 1
	if s.rng.Float64() < s.wire.dup {
		copies = 2
	}
	for range copies {
		if s.rng.Float64() < s.wire.loss && s.mayLose(&p) {
			s.lost++
			continue
		}
		p.at = s.now.Add(s.wire.delay)
		if s.rng.Float64() < s.wire.reorder {
			p.at = p.at.Add(time.Duration(s.rng.Int64N(int64(3 * s.wire.delay))))
		}
		if s.rng.Float64() < s.wire.corrupt {
			p.bytes = bytes.Clone(p.bytes)
			p.bytes[s.rng.IntN(len(p.bytes))] ^= 1 << s.rng.IntN(8)
		}
		i := sort.Search(len(s.queue), func(i int) bool { return p.at < s.queue[i].at })
		s.queue = append(s.queue, packet{})
		copy(s.queue[i+1:], s.queue[i:])
		s.queue[i] = p
	}
}

// mayLose reports whether p is of those that the wire loses.
func (s *sim) mayLose(p *packet) bool {
	if !s.wire.firstOnly {
		return true
	}
	n := len(p.bytes) - p.headerLen
	end := wire.Seq(binary.BigEndian.Uint32(p.bytes[4:])).Add(uint32(n))
	if n == 0 || s.high[p.to] != 0 && end.LessEq(s.high[p.to]) {
		return false
	}
	s.high[p.to] = end
	return true
}

// step moves to the next event and lets the ends work; false: nothing is going to
// happen any more.
func (s *sim) step() bool {
	next := mono.Time(0)
	if len(s.queue) > 0 {
		next = s.queue[0].at
	}
	for _, e := range s.ends {
		if e.c == nil || e.c.Done() {
			continue
		}
		if d := e.c.Deadline(); d != 0 && (next == 0 || d < next) {
			next = d
		}
	}
	busy := false
	for _, e := range s.ends {
		busy = e.round() || busy
	}
	if busy {
		return true
	}
	if next == 0 {
		return false
	}
	s.now = max(s.now, next)
	for len(s.queue) > 0 && s.queue[0].at <= s.now {
		p := s.queue[0]
		s.queue = s.queue[1:]
		s.ends[p.to].inbox = append(s.ends[p.to].inbox, p)
	}
	return true
}

// round is one of an engine's loop, and one of the application.
func (e *end) round() (busy bool) {
	s := e.sim
	for _, p := range e.inbox {
		e.deliver(p)
		busy = true
	}
	e.inbox = e.inbox[:0]
	busy = e.takeErrors() || busy
	if e.c == nil {
		return busy
	}
	if d := e.c.Deadline(); d != 0 && d <= s.now {
		e.c.Advance(s.now)
		busy = true
	}
	busy = e.application() || busy
	e.sh.WindowCheck()
	for c := e.sh.NextDirty(); c != nil; c = e.sh.NextDirty() {
		c.Output(s.now)
		busy = true
	}
	if err := checkConn(e.c); err != nil {
		s.t.Fatalf("end %d: %v\n%s", e.i, err, s.describe())
	}
	return busy
}

func (e *end) deliver(p packet) {
	s := e.sim
	tu := *e.tuple()
	ip := wire.Packet{Version: 4, Proto: wire.ProtoTCP, Src: tu.Remote.Addr(), Dst: tu.Local.Addr(), L4Len: len(p.bytes)}
	var h wire.TCP
	if ip.VerifyL4(p.bytes) != wire.OK {
		e.corrupt++
		return
	}
	if c := wire.ParseTCP(p.bytes, &ip, &h); c != wire.OK {
		s.t.Fatal(c)
	}
	payload := p.bytes[p.headerLen:]
	var f []buf.Frag
	for rest := payload; len(rest) > 0; {
		size := s.wire.fragSize
		if size == 0 {
			size = 1 + s.rng.IntN(4096)
		}
		n := min(len(rest), size)
		var ids [1]uint16
		if e.pool.Alloc(ids[:]) == 0 {
			e.dropped++
			e.pool.PutFrags(f)
			return
		}
		g := e.pool.Frag(ids[0], 0, n)
		copy(e.pool.Region().View(g), rest[:n])
		f = append(f, g)
		rest = rest[n:]
	}
	seg := &Segment{TCP: &h, Frags: f, Len: len(payload), ECN: p.ecn}
	if e.c == nil || e.c.Done() {
		if e.l == nil || e.c != nil {
			e.sh.Refuse(seg, tu)
			return
		}
		if c := e.l.Input(s.now, seg, tu); c != nil {
			e.c = c
		}
		return
	}
	e.c.Input(s.now, seg)
}

// tuple is the connection as this end sees it.
func (e *end) tuple() *wire.Tuple {
	if e.i == 0 {
		return &testTuple
	}
	t := testTuple.Reverse()
	return &t
}

// application writes its stream, and reads and verifies the other's.
func (e *end) application() (busy bool) {
	if e.c == nil || e.c.Send == nil {
		return false
	}
	if e.sent < e.toSend {
		n, _ := e.c.Send.TryWrite(stream(e.sent, min(e.toSend-e.sent, 1+e.sim.rng.IntN(e.chunk))))
		if e.sent += n; n > 0 {
			e.c.Kick()
			busy = true
		}
	}
	if e.sent == e.toSend && !e.shut {
		e.shut = true
		e.c.CloseWrite(e.sim.now)
		busy = true
	}
	return e.read() || busy
}

func (e *end) read() (busy bool) {
	room := 64
	if e.maxRead > 0 {
		room = e.maxRead
	}
	iovs := make([]buf.Iov, room)
	n, _, _, err := e.c.Recv.Poll(iovs, 1<<30)
	for i := range iovs[:n] {
		got := iovs[i].Bytes()
		if want := stream(e.seen, len(got)); !bytes.Equal(got, want) {
			e.sim.t.Fatalf("end %d: at byte %d of the stream %.16x, want %.16x", e.i, e.seen, got, want)
		}
		e.seen += len(got)
	}
	e.holding = append(e.holding, iovs[:n]...)
	if k := len(e.holding) - e.hold; k > 0 {
		if _, err := e.pool.Return(e.holding[:k]); err != nil {
			e.sim.t.Fatal(err)
		}
		e.holding = append(e.holding[:0], e.holding[k:]...)
		busy = true
	}
	if err != nil && !e.eof && e.err == nil {
		busy = true
		if err == io.EOF {
			e.eof = true
		} else {
			e.err = err
		}
	}
	return busy || n > 0
}

// run goes on until both ends have everything and are done, for at most limit of
// virtual time.
func (s *sim) run(limit time.Duration) {
	s.t.Helper()
	deadline := s.now.Add(limit)
	for s.step() {
		if deadline < s.now {
			s.t.Fatalf("not done after %v: %s", limit, s.describe())
		}
	}
	for _, e := range s.ends {
		other := s.ends[1-e.i]
		if e.seen != other.toSend || !e.eof || !e.c.Done() {
			s.t.Fatalf("end %d: %s", e.i, s.describe())
		}
		if got := e.sh.Stats.ZeroCopyBytes + e.sh.Stats.CopiedBytes; got != uint64(e.seen) {
			s.t.Errorf("end %d: %d bytes counted, %d delivered", e.i, got, e.seen)
		}
		if e.c.Send.head != nil {
			s.t.Errorf("end %d keeps send blocks", e.i)
		}
		if len(e.sh.constrained) != 0 {
			s.t.Errorf("end %d: a closed connection is constrained", e.i)
		}
	}
}

func (s *sim) describe() string {
	d := fmt.Sprintf("at %v, %d lost", time.Duration(s.now), s.lost)
	for _, e := range s.ends {
		d += fmt.Sprintf("\nend %d: seen %d of %d, eof %v, err %v, dropped %d, ", e.i, e.seen, s.ends[1-e.i].toSend, e.eof, e.err, e.dropped)
		if c := e.c; c != nil {
			d += fmt.Sprintf("%v, snd una %d nxt %d max %d wnd %d, cwnd %d, held %d free %d offered %d ooo %d, timers %v\n%+v",
				c.state, c.snd.una-c.snd.iss, c.snd.nxt-c.snd.iss, c.snd.max-c.snd.iss, c.snd.wnd, c.cc.cwnd,
				c.Held(), e.pool.Free(), c.offered(), len(c.ooo.list), c.timers, e.sh.Stats)
		}
	}
	return d
}

func TestTransfer(t *testing.T) {
	for _, tt := range []struct {
		name    string
		wire    wireConfig
		a, b    int // bytes each way
		buffers int
		seeds   int
		limit   time.Duration
		ends    func(s *sim)
		config  func(i int, c *Config)
	}{
		{"clean", wireConfig{delay: time.Millisecond, coalesce: 1, fragSize: 4096}, 3 << 20, 1 << 20, 2048, 1, 3 * time.Minute, nil, nil},
		{"loss", wireConfig{delay: 5 * time.Millisecond, loss: 0.02}, 1 << 20, 1 << 19, 1024, 6, 10 * time.Minute, nil, nil},
		{"reordering", wireConfig{delay: 5 * time.Millisecond, reorder: 0.3}, 1 << 20, 1 << 18, 1024, 6, 5 * time.Minute, nil, nil},
		{"duplicates", wireConfig{delay: time.Millisecond, dup: 0.3}, 1 << 20, 1 << 18, 1024, 6, 5 * time.Minute, nil, nil},
		{"corruption", wireConfig{delay: time.Millisecond, corrupt: 0.05}, 1 << 19, 1 << 18, 1024, 4, 10 * time.Minute, nil, nil},
		{"everything", wireConfig{delay: 10 * time.Millisecond, loss: 0.1, reorder: 0.2, dup: 0.1, corrupt: 0.02, coalesce: 0.3}, 1 << 18, 1 << 17, 1024, 20, 30 * time.Minute, nil, nil},
		{"awful", wireConfig{delay: 10 * time.Millisecond, loss: 0.3, reorder: 0.3, dup: 0.3, coalesce: 0.2}, 1 << 16, 1 << 16, 512, 20, 24 * time.Hour, nil, nil},
		{"loss without SACK", wireConfig{delay: 5 * time.Millisecond, loss: 0.02, noSACK: true}, 1 << 20, 1 << 19, 1024, 6, 10 * time.Minute, nil, nil},
		{"everything without SACK", wireConfig{delay: 10 * time.Millisecond, loss: 0.1, reorder: 0.2, dup: 0.1, corrupt: 0.02, coalesce: 0.3, noSACK: true}, 1 << 18, 1 << 17, 1024, 20, 30 * time.Minute, nil, nil},
		{"everything with Reno", wireConfig{delay: 10 * time.Millisecond, loss: 0.1, reorder: 0.2, dup: 0.1, corrupt: 0.02, coalesce: 0.3}, 1 << 18, 1 << 17, 1024, 20, 30 * time.Minute, nil,
			func(_ int, c *Config) { c.Congestion = Reno }},
		{"tiny writes", wireConfig{delay: time.Millisecond, loss: 0.01}, 8_000, 8_000, 256, 2, 30 * time.Minute,
			func(s *sim) { s.ends[0].chunk, s.ends[1].chunk = 3, 1 }, nil},
		{"slow reader", wireConfig{delay: time.Millisecond, loss: 0.01, coalesce: 0.5}, 1 << 20, 0, 128, 4, 60 * time.Minute,
			func(s *sim) { s.ends[1].maxRead, s.ends[1].hold = 1, 50 }, nil},
		{"tiny region", wireConfig{delay: time.Millisecond, loss: 0.01}, 1 << 18, 1 << 18, 16, 4, 60 * time.Minute, nil, nil},
		{"tiny region, tiny writes", wireConfig{delay: time.Millisecond, loss: 0.02}, 1 << 14, 0, 16, 4, 60 * time.Minute,
			func(s *sim) { s.ends[0].chunk = 2 }, nil},
		{"small window", wireConfig{delay: time.Millisecond, loss: 0.02}, 1 << 18, 1 << 18, 512, 4, 60 * time.Minute, nil,
			func(_ int, c *Config) { c.MaxRecvWindow = 5000; c.MaxHeld = 8 }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if testenv.Race {
				tt.seeds = 1
			}
			for seed := range tt.seeds {
				t.Run(fmt.Sprint(seed), func(t *testing.T) {
					s := newSim(t, uint64(seed), tt.wire, tt.buffers, tt.config)
					s.ends[0].toSend, s.ends[1].toSend = tt.a, tt.b
					if tt.ends != nil {
						tt.ends(s)
					}
					s.run(tt.limit)
				})
			}
		})
	}
}
