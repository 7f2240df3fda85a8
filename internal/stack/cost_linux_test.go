//go:build linux

package stack

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/zctap/zctap/internal/buf"
	"github.com/zctap/zctap/internal/driver"
	"github.com/zctap/zctap/internal/stack/tcp"
	"github.com/zctap/zctap/internal/testenv"
	"github.com/zctap/zctap/internal/wire"
)

// What an attacker's packet costs, in CPU time of the thread that runs the stack, and what
// a segment of somebody honest costs. Both are measured in turn, a batch of each, and the
// median of what the one costs in terms of the other is judged: neither the machine nor its
// load counts. A packet that costs its sender nothing, and us a walk over all that we hold,
// is a multiple of any bound here.

const (
	// costBuffers is so many that the attacker's state has no bounds but the stack's own.
	costBuffers = 8192
	// dearest is how many honest segments an attacker's packet may cost. Measured are 0.5 to 3.8.
	dearest     = 5
	honestBatch = 32
	// takenBytes is what an attacker has under way who really takes it.
	takenBytes  = 8 << 20
	honestBytes = 1400
)

// threadTime is the CPU time of this thread.
func threadTime(t testing.TB) time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &ts); err != nil {
		t.Fatal(err)
	}
	return time.Duration(ts.Nano())
}

// A contest is a stack with an honest peer's connection, and an attacker, who has one, too.
type contest struct {
	*abuser
	accepted []*tcp.Conn

	honest      wire.TCP // of the honest peer's next segment
	honestConn  *tcp.Conn
	window      int
	offered     int      // bytes that the honest peer has sent
	bytes, sent int      // received from it; frames sent to anybody else
	top         wire.Seq // up to where the attacker was sent something
	batch       driver.Batch
}

func newContest(t *testing.T) *contest {
	r := newRig(t, func(c *Config, _ *driver.Caps) { c.Pool, c.SendSpace = newPool(t, costBuffers), 2*taken() })
	k := &contest{abuser: &abuser{r: r, rand: rand.New(rand.NewPCG(5, 6))}, window: 65535}
	l, err := r.stack.Listen("tcp", netip.AddrPortFrom(us6.Addr(), ourPort), func() bool { return false },
		func(c *tcp.Conn) { k.accepted = append(k.accepted, c) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		l.Close()
		r.run(5 * time.Minute) // what is half open
		r.stack.DropFragments()
		r.endAll(k.accepted)
	})
	k.h, k.conn = r.open(abuserPort, wire.TCPOptions{MSS: takenMSS, SACKPermitted: true, HasWindowScale: true, WindowScale: takenScale}, &k.accepted)
	k.una, k.top = k.h.Ack, k.h.Ack
	k.honest, k.honestConn = r.open(honestPort, wire.TCPOptions{MSS: 1440}, &k.accepted)
	r.wire.quiet, r.wire.watch = true, k.watch
	return k
}

// watch is shown what the stack sends.
func (k *contest) watch(f *driver.TxFrame) {
	if f.Head[0]>>4 != 6 || f.Head[6] != wire.ProtoTCP {
		k.sent++
		return
	}
	tcp := f.Head[wire.IPv6HeaderLen:]
	seq, ack := wire.Seq(binary.BigEndian.Uint32(tcp[4:])), wire.Seq(binary.BigEndian.Uint32(tcp[8:]))
	switch binary.BigEndian.Uint16(tcp[2:]) {
	case honestPort:
		k.honest.Seq, k.window = ack, int(binary.BigEndian.Uint16(tcp[14:]))
		return
	case abuserPort:
		if end := seq.Add(uint32(f.Len() - len(f.Head))); k.top.LessThan(end) {
			k.top = end
		}
	}
	k.sent++
}

// round is a round of the engine's loop, with frames. It returns what it took.
func (k *contest) round(frames []driver.Frame, then func()) time.Duration {
	r := k.r
	k.batch.Frames = frames
	r.now = r.now.Add(time.Millisecond)
	start := threadTime(r.t)
	r.stack.Deliver(r.now, &k.batch)
	r.stack.WindowCheck()
	r.stack.Advance(r.now)
	if err := r.stack.Flush(r.now); err != nil {
		r.t.Fatal(err)
	}
	if then != nil {
		then()
	}
	return threadTime(r.t) - start
}

// serve has the honest peer send a batch, which the application reads, and returns what a
// segment took.
func (k *contest) serve() time.Duration {
	r := k.r
	var frames []driver.Frame
	for at := k.honest.Seq; len(frames) < honestBatch && int(at-k.honest.Seq)+honestBytes <= k.window; at = at.Add(honestBytes) {
		h := k.honest
		h.Seq = at
		p := tcpPacket(r.t, peer6, us6.Addr(), h, pattern(9, honestBytes))
		frames = append(frames, r.frame(p, layout{len(p) - honestBytes, []int{4096}}))
	}
	if len(frames) == 0 {
		r.t.Fatalf("after %d bytes the honest peer's window is %d", k.bytes, k.window)
	}
	k.offered += len(frames) * honestBytes
	took := k.round(frames, func() { k.bytes += k.read(k.honestConn) })
	return took / time.Duration(len(frames))
}

// read has c's application read all, and returns how many bytes that are.
func (k *contest) read(c *tcp.Conn) (bytes int) {
	var iovs [64]buf.Iov
	for c.Recv.Buffered() > 0 {
		n, _, _, err := c.Recv.Poll(iovs[:], 1<<30)
		if err != nil {
			k.r.t.Fatal(err)
		}
		for i := range iovs[:n] {
			bytes += iovs[i].Frag().Len()
		}
		if _, err := k.r.pool.Return(iovs[:n]); err != nil {
			k.r.t.Fatal(err)
		}
	}
	k.r.pool.Reclaim()
	return bytes
}

func median(d []float64) float64 {
	slices.Sort(d)
	return d[len(d)/2]
}

// An attack is one whose packets' cost is judged.
type attack struct {
	name  string
	begin func(k *contest) func() []driver.Frame // the attacker's rounds
}

// attacks are those of abuses, and floods of strangers' packets, and what would be dear if
// what is held were walked over for each segment.
func attacks() (all []attack) {
	for _, a := range abuses {
		all = append(all, attack{a.name, func(k *contest) func() []driver.Frame {
			return func() []driver.Frame { return a.round(k.abuser) }
		}})
	}
	return append(all, []attack{
		{"SYNs of anybody", func(k *contest) func() []driver.Frame {
			f := newFlood(k.r, floodSYN)
			return func() []driver.Frame { f.fill(f.spoof); return f.batch.Frames }
		}},
		{"ACKs of anybody, at cookies", func(k *contest) func() []driver.Frame {
			f := newFlood(k.r, floodSYN)
			for range 2 * tcp.DefaultMaxPending / floodBatch {
				f.send(f.spoof)
			}
			f = newFlood(k.r, wire.TCP{Flags: wire.ACK, Window: 65535})
			return func() []driver.Frame { f.fill(f.guess); return f.batch.Frames }
		}},
		{"fragments of datagrams that never end", func(k *contest) func() []driver.Frame {
			return k.fragments(func(round, i int) (id uint32, part int) { return uint32(round<<8 | i), 1 })
		}},
		{"fragments that overlap", func(k *contest) func() []driver.Frame {
			return k.fragments(func(round, i int) (id uint32, part int) { return uint32(round<<8 | i/8), i % 2 })
		}},
		{"datagrams to nobody", func(k *contest) func() []driver.Frame {
			p := udpPacket(k.r.t, netip.AddrPortFrom(peer6, 9), netip.AddrPortFrom(us6.Addr(), 9), pattern(1, 64))
			return func() (f []driver.Frame) {
				for range 64 {
					f = append(f, driver.Frame{Head: p, Len: len(p)})
				}
				return f
			}
		}},
		// The holes are filled, too, at the end of each round: what is held goes up to its
		// bound and down again.
		{"as many holes as can be, from the last to the first", func(k *contest) func() []driver.Frame {
			return k.holes(func(i int) int { return holes - 1 - i })
		}},
		{"as many holes as can be, anywhere", func(k *contest) func() []driver.Frame {
			return k.holes(func(i int) int { return i * 389 % holes })
		}},
		{"one range of many pieces", func(k *contest) func() []driver.Frame {
			return func() (f []driver.Frame) {
				k.read(k.conn)
				for i := range 2000 {
					f = append(f, k.segment(1+i, []byte{1}, nil))
				}
				// A byte of it again, and many others, so that where it ends is forgotten.
				for i := range 500 {
					f = append(f, k.segment(1+i*4, []byte{1}, nil), k.segment(3000+2*(i%100), []byte{1}, nil))
				}
				f = append(f, k.segment(0, pattern(1, 1400), nil), k.segment(1400, pattern(1, 1400), nil), k.segment(2800, pattern(1, 1000), nil))
				k.h.Seq = k.h.Seq.Add(3800)
				return f
			}
		}},
		// As many records of what was sent as there can be, and news in each ACK.
		{"SACKs of every second byte, and ACKs of one byte", func(k *contest) func() []driver.Frame {
			next, ack := 0, 0
			return func() (f []driver.Frame) {
				for range 64 {
					f = append(f, k.segment(0, nil, func(h *wire.TCP) {
						flight, blocks := int(k.top.Sub(k.una)), 4
						if next-ack > 7000 {
							blocks = 1
						}
						o := &h.Options
						for ; blocks > 0 && next+2 < flight; blocks-- {
							next += 2
							from := k.una.Add(uint32(next))
							o.SACK[o.SACKCount] = wire.SACKBlock{Start: from, End: from + 1}
							o.SACKCount++
						}
						if next-ack > 7000 || o.SACKCount == 0 {
							ack = min(ack+2, flight)
							next = max(next, ack)
						}
						k.h.Ack = k.una.Add(uint32(ack))
						h.Ack = k.h.Ack
					}))
				}
				return f
			}
		}},
		// The same of whole segments, of which really thousands are under way.
		{"SACKs of every second segment of 8 MB, and ACKs of two", func(k *contest) func() []driver.Frame {
			return k.take(func(una, top, next int) (int, int, []int) {
				if top-next < 10 {
					return min(una+2, top), max(next, una+2), nil
				}
				return una, next + 8, []int{next * takenMSS, (next + 1) * takenMSS, (next + 2) * takenMSS, (next + 3) * takenMSS,
					(next + 4) * takenMSS, (next + 5) * takenMSS, (next + 6) * takenMSS, (next + 7) * takenMSS}
			})
		}},
		{"SACKs of every second segment of 8 MB, and then ACKs of all", func(k *contest) func() []driver.Frame {
			return k.take(func(una, top, next int) (int, int, []int) {
				if top-next < 10 {
					return top, next, nil
				}
				return una, next + 4, []int{next * takenMSS, (next + 1) * takenMSS, (next + 2) * takenMSS, (next + 3) * takenMSS}
			})
		}},
		{"SACKs of a byte of each segment of 8 MB", func(k *contest) func() []driver.Frame {
			return k.take(func(una, top, next int) (int, int, []int) {
				if top-next < 10 {
					return top, next, nil
				}
				var b []int
				for i := range 4 {
					b = append(b, (next+i)*takenMSS+700, (next+i)*takenMSS+701)
				}
				return una, next + 4, b
			})
		}},
	}...)
}

// taken is the bytes that are under way to an attacker who really takes them.
func taken() int {
	if testenv.Race {
		return 1 << 20
	}
	return 8 << 20
}

// takenMSS is the payload of what is sent to who takes 8 MB.
const takenMSS = 1440

// take is an attacker with a window of some megabytes, which are under way to him. ack says
// what his next ACK has, in segments from the first on that is: up to where it acknowledges, and
// what he goes on from, next; and SACK blocks, in bytes. All before una is acknowledged, and all
// before top was sent.
func (k *contest) take(ack func(una, top, next int) (int, int, []int)) func() []driver.Frame {
	data, first, una, next := pattern(1, 1<<20), k.una, 0, 1
	write := func() {
		for n := 1; n > 0; {
			n, _ = k.conn.Send.TryWrite(data)
		}
		k.conn.Kick()
	}
	// grow acknowledges all, until as much as is wanted is sent at once.
	grow := func() {
		for rounds := 0; int(k.top.Sub(k.h.Ack)) < taken()*9/10; rounds++ {
			write()
			k.r.now = k.r.now.Add(100 * time.Millisecond) // or the window would not be back for many rounds
			k.h.Ack = k.top
			k.round([]driver.Frame{k.segment(0, nil, nil)}, nil)
			if rounds == 10_000 {
				k.r.t.Fatalf("only %d bytes are under way", k.top.Sub(k.h.Ack))
			}
		}
		first, una, next = k.h.Ack, 0, 1
	}
	k.h.Options, k.h.Window = wire.TCPOptions{}, uint16(taken()>>takenScale)
	return func() (f []driver.Frame) {
		write()
		if int(k.top.Sub(k.h.Ack)) < taken()/4 {
			grow()
		}
		for range 64 {
			var b []int
			una, next, b = ack(una, int(k.top-first)/takenMSS, next)
			f = append(f, k.segment(0, nil, func(h *wire.TCP) {
				h.Ack = first.Add(uint32(una * takenMSS))
				k.h.Ack = h.Ack
				for i := 0; i < len(b); i += 2 {
					h.Options.SACK[i/2] = wire.SACKBlock{Start: first.Add(uint32(b[i])), End: first.Add(uint32(b[i+1]))}
					h.Options.SACKCount++
				}
			}))
		}
		return f
	}
}

// takenScale is the attacker's window scale.
const takenScale = 8

// holes is how many holes an attacker leaves.
const holes = 1000

// holes is an attacker who leaves every second byte out, in some order, and then fills in
// what is missing, one byte after the other.
func (k *contest) holes(order func(i int) int) func() []driver.Frame {
	return func() (f []driver.Frame) {
		k.read(k.conn)
		for i := range holes {
			f = append(f, k.segment(1+2*order(i), []byte{1}, nil))
		}
		for range holes {
			f = append(f, k.segment(0, []byte{1}, nil))
			k.h.Seq = k.h.Seq.Add(2)
		}
		return f
	}
}

// fragments is an attacker of many sources whose datagrams are cut into three.
func (k *contest) fragments(which func(round, i int) (id uint32, part int)) func() []driver.Frame {
	r, round := k.r, 0
	p := udpPacket(r.t, netip.AddrPortFrom(peer6, 9), netip.AddrPortFrom(us6.Addr(), 53), pattern(1, 2000))
	return func() (f []driver.Frame) {
		round++
		for i := range 64 {
			id, part := which(round, i)
			b := fragmentsOf(r.t, p, id, 800+80*(i%3))[part]
			b[23] = byte(i / 16) // the source
			f = append(f, r.frame(b, layout{48, []int{4096}}))
		}
		return f
	}
}

// TestCostOfAttacks: no packet of an attacker costs much more than an honest segment, and
// the honest peer, who sends beside it, is served in each round.
func TestCostOfAttacks(t *testing.T) {
	packets := 20_000
	if testenv.Race {
		packets = 4000
	}
	for _, a := range attacks() {
		t.Run(a.name, func(t *testing.T) {
			runtime.LockOSThread() // whose CPU time it is
			defer runtime.UnlockOSThread()
			k := newContest(t)
			if _, err := k.conn.Send.TryWrite(pattern(1, 1<<20)); err != nil {
				t.Fatal(err)
			}
			k.conn.Kick()
			k.round(nil, nil)
			attack := a.begin(k)
			var ratios, theirs, ours []float64
			for n := 0; n < packets; {
				frames := attack()
				n += len(frames)
				dear := float64(k.round(frames, nil)) / float64(len(frames))
				cheap := float64(k.serve())
				if n >= packets/3 { // what the attacker has us hold has grown by then
					ratios, theirs, ours = append(ratios, dear/cheap), append(theirs, dear), append(ours, cheap)
				}
			}
			ratio := median(ratios)
			t.Logf("%.2f of an honest segment: %.0f and %.0f ns of CPU; %d frames drawn", ratio, median(theirs), median(ours), k.sent)
			// The race detector looks at each byte that is moved, and so measures itself.
			if ratio > dearest && !testenv.Race {
				t.Errorf("a packet of the attacker takes %.1f times the CPU of an honest segment", ratio)
			}
			if k.bytes < k.offered {
				t.Errorf("of the honest peer's %d bytes %d were received", k.offered, k.bytes)
			}
		})
	}
}
