//go:build linux

package uring

import (
	"bytes"
	"errors"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/zctap/zctap/internal/testenv"
)

// pool is a provided-buffer ring with its buffers' memory, and the data received in it.
type pool struct {
	*BufRing
	t    *testing.T
	mem  []byte
	size uint32
	segs []Segment
	got  []byte
}

// newPool posts all buffers of a new ring, in an order that is not that of their ids.
func newPool(t *testing.T, r *Ring, cfg BufRingConfig, size uint32) *pool {
	t.Helper()
	p := &pool{t: t, mem: memory(t, int(cfg.Entries*size)), size: size}
	var err error
	p.BufRing, err = r.NewBufRing(cfg)
	if errors.Is(err, unix.EINVAL) && cfg.Memory == nil {
		testenv.SkipOrFail(t, "%v", err)
	}
	must(t, err)
	for i := range cfg.Entries {
		p.add(uint16(i*5+3) % uint16(cfg.Entries))
	}
	p.Publish()
	return p
}

func (p *pool) add(bid uint16) {
	p.t.Helper()
	must(p.t, p.Add(AddrOf(p.mem[uint32(bid)*p.size:]), p.size, bid))
}

// take appends a completion's data to got and returns the buffers that the kernel is through with.
func (p *pool) take(c CQE) (back []uint16) {
	p.t.Helper()
	var err error
	p.segs, err = p.Consume(p.segs[:0], c)
	must(p.t, err)
	for _, s := range p.segs {
		p.got = append(p.got, p.mem[uint32(s.BID)*p.size+s.Off:][:s.Len]...)
		if s.Done {
			back = append(back, s.BID)
		}
	}
	return back
}

// giveBack adds buffers and shows them to the kernel.
func (p *pool) giveBack(bids []uint16) {
	p.t.Helper()
	for _, bid := range bids {
		p.add(bid)
	}
	p.Publish()
}

// tcpPair returns a blocking TCP connection over loopback.
func tcpPair(t *testing.T) (a, b int) {
	t.Helper()
	ln, addr := listener(t)
	b = dial(t, addr)
	a, _, err := unix.Accept4(ln, unix.SOCK_CLOEXEC)
	must(t, err)
	return keep(t, a), b
}

// bufRingKinds are where a provided-buffer ring can lie.
func bufRingKinds(t *testing.T, f func(t *testing.T, memory func(entries uint32) []byte)) {
	t.Run("kernel's memory", func(t *testing.T) { f(t, func(uint32) []byte { return nil }) })
	t.Run("our memory", func(t *testing.T) {
		f(t, func(entries uint32) []byte { return memory(t, BufRingSize(entries)) })
	})
}

// TestRecvMultishot receives a stream far larger than the group's buffers, which therefore run out again and again: each
// time the request ends with ENOBUFS, gets its buffers back and is armed again, and no byte is lost or doubled.
func TestRecvMultishot(t *testing.T) {
	needFeature(t, MultishotRecv)
	bufRingKinds(t, func(t *testing.T, memory func(uint32) []byte) {
		onVariants(t, 8, func(t *testing.T, r *Ring) {
			p := newPool(t, r, BufRingConfig{Group: 9, Entries: 4, Memory: memory(4)}, 512)
			a, b := tcpPair(t)
			want := pattern(100_000)
			async(t, func() error {
				return errors.Join(writeAll(b, want), unix.Shutdown(b, unix.SHUT_WR))
			})
			push(t, r, RecvMultishot(a, 9, RecvPollFirst, 1))
			var held []uint16
			exhausted, ended := 0, 0
			for {
				c := next(t, r)
				if c.UserData != 1 {
					t.Fatalf("completion %+v", c)
				}
				held = append(held, p.take(c)...)
				if c.More() {
					continue // hold on to the buffer: the group must run out
				}
				ended++
				if c.Res == 0 {
					break
				}
				switch {
				case c.Res == -int32(unix.ENOBUFS):
					exhausted++
					if len(held) != 4 || p.Posted() != 0 {
						t.Fatalf("out of buffers with %d held and %d posted", len(held), p.Posted())
					}
				case c.Res < 0:
					t.Fatal(c.Err())
				}
				p.giveBack(held)
				held = held[:0]
				push(t, r, RecvMultishot(a, 9, 0, 1))
			}
			if !bytes.Equal(p.got, want) {
				t.Errorf("received %d bytes, want the %d sent (equal until %d)", len(p.got), len(want), commonPrefix(p.got, want))
			}
			if minimum := len(want) / (4 * 512); exhausted < minimum-1 {
				t.Errorf("the group ran out %d times, want about %d (ended %d times)", exhausted, minimum, ended)
			}
			if n := len(held) + p.Posted(); n != 4 {
				t.Errorf("%d buffers at the end, want 4", n)
			}
			if head, err := p.Head(); err == nil && int(p.tail-head) != p.Posted() {
				t.Errorf("the kernel has %d buffers left, we count %d", p.tail-head, p.Posted())
			} else if err != nil && !errors.Is(err, unix.EINVAL) {
				t.Error(err)
			}
		})
	})
}

func commonPrefix(a, b []byte) int {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}

// TestRecvManySockets shares one group among several sockets, with buffers given back at once.
func TestRecvManySockets(t *testing.T) {
	needFeature(t, MultishotRecv)
	onVariants(t, 64, func(t *testing.T, r *Ring) {
		const flows = 8
		p := newPool(t, r, BufRingConfig{Entries: 16}, 256)
		want := pattern(20_000)
		var socks [flows]int
		var got [flows][]byte
		for i := range flows {
			a, b := tcpPair(t)
			socks[i] = a
			async(t, func() error {
				return errors.Join(writeAll(b, want[i:]), unix.Shutdown(b, unix.SHUT_WR))
			})
			push(t, r, RecvMultishot(a, 0, 0, uint64(i)))
		}
		for open := flows; open > 0; {
			c := next(t, r)
			flow := int(c.UserData)
			p.got = p.got[:0]
			back := p.take(c)
			got[flow] = append(got[flow], p.got...)
			p.giveBack(back)
			switch {
			case c.More():
			case c.Res == 0:
				open--
			case c.Res > 0 || c.Res == -int32(unix.ENOBUFS):
				push(t, r, RecvMultishot(socks[flow], 0, 0, uint64(flow)))
			default:
				t.Fatal(c.Err())
			}
		}
		for i := range flows {
			if !bytes.Equal(got[i], want[i:]) {
				t.Errorf("flow %d: %d bytes, want %d (equal until %d)", i, len(got[i]), len(want)-i, commonPrefix(got[i], want[i:]))
			}
		}
		if p.Posted() != 16 {
			t.Errorf("%d buffers posted at the end, want 16", p.Posted())
		}
	})
}

// TestRecvBundle receives into several buffers a completion.
func TestRecvBundle(t *testing.T) {
	needFeature(t, BundleRecv)
	bufRingKinds(t, func(t *testing.T, memory func(uint32) []byte) {
		onVariants(t, 8, func(t *testing.T, r *Ring) {
			if r.Features()&FeatRecvSendBundle == 0 {
				t.Error("the kernel bundles and does not say so")
			}
			p := newPool(t, r, BufRingConfig{Entries: 32, Memory: memory(32)}, 300)
			a, b := tcpPair(t)
			want := pattern(200_000)
			async(t, func() error {
				return errors.Join(writeAll(b, want), unix.Shutdown(b, unix.SHUT_WR))
			})
			push(t, r, RecvMultishot(a, 0, RecvBundle|RecvPollFirst, 1))
			widest := 0
			for {
				c := next(t, r)
				back := p.take(c)
				widest = max(widest, len(p.segs))
				p.giveBack(back)
				if c.More() {
					continue
				}
				if c.Res == 0 {
					break
				}
				if c.Res < 0 && c.Res != -int32(unix.ENOBUFS) {
					t.Fatal(c.Err())
				}
				push(t, r, RecvMultishot(a, 0, RecvBundle, 1))
			}
			if !bytes.Equal(p.got, want) {
				t.Errorf("received %d bytes, want the %d sent (equal until %d)", len(p.got), len(want), commonPrefix(p.got, want))
			}
			if widest < 2 {
				t.Error("no completion had more than one buffer")
			}
			if p.Posted() != 32 {
				t.Errorf("%d buffers posted at the end, want 32", p.Posted())
			}
		})
	})
}

// TestRecvIncremental has the kernel fill large buffers bit by bit, with and without bundles.
func TestRecvIncremental(t *testing.T) {
	needFeature(t, IncrementalBuffers)
	for name, flags := range map[string]RecvFlags{"alone": 0, "with bundles": RecvBundle} {
		t.Run(name, func(t *testing.T) {
			if flags&RecvBundle != 0 {
				needFeature(t, BundleRecv)
			}
			onVariants(t, 8, func(t *testing.T, r *Ring) {
				p := newPool(t, r, BufRingConfig{Entries: 4, Incremental: true}, 2000)
				a, b := tcpPair(t)
				want := pattern(30_000)
				// In lockstep, so that there are many completions a buffer.
				push(t, r, RecvMultishot(a, 0, flags, 1))
				partial := 0
				for sent := 0; sent < len(want); {
					n := min(1+sent%777, len(want)-sent)
					must(t, writeAll(b, want[sent:sent+n]))
					sent += n
					for len(p.got) < sent {
						c := next(t, r)
						if c.Res < 0 && c.Res != -int32(unix.ENOBUFS) {
							t.Fatal(c.Err())
						}
						back := p.take(c)
						if c.Flags&CQEBufMore != 0 {
							partial++
						}
						p.giveBack(back)
						if !c.More() {
							push(t, r, RecvMultishot(a, 0, flags, 1))
						}
					}
				}
				if !bytes.Equal(p.got, want) {
					t.Errorf("received %d bytes, want the %d sent (equal until %d)", len(p.got), len(want), commonPrefix(p.got, want))
				}
				if partial == 0 {
					t.Error("no buffer lived through a completion")
				}
				if p.Posted() != 4 {
					t.Errorf("%d buffers posted at the end, want 4", p.Posted())
				}
				must(t, unix.Shutdown(b, unix.SHUT_WR))
				expect(t, r, 1, 0)
			})
		})
	}
}

// TestRecvCQOverflow has multishot receives complete into a queue that nobody reaps: the stream is whole all the same.
func TestRecvCQOverflow(t *testing.T) {
	needFeature(t, MultishotRecv)
	for _, v := range variants {
		t.Run(v.name, func(t *testing.T) {
			v.p.CQEntries = 4
			r := newRing(t, 4, v.p)
			p := newPool(t, r, BufRingConfig{Entries: 32}, 64)
			a, b := tcpPair(t)
			want := pattern(64 * 32)
			must(t, writeAll(b, want))
			must(t, unix.Shutdown(b, unix.SHUT_WR))
			push(t, r, RecvMultishot(a, 0, 0, 1))
			for range 20 { // give the kernel every chance to overflow
				if _, err := r.Enter(0, 0); err != nil && !Busy(err) {
					t.Fatal(err)
				}
			}
			for {
				c := next(t, r)
				p.giveBack(p.take(c))
				if c.More() {
					continue
				}
				if c.Res == 0 {
					break
				}
				if c.Res < 0 && c.Res != -int32(unix.ENOBUFS) {
					t.Fatal(c.Err())
				}
				push(t, r, RecvMultishot(a, 0, 0, 1))
			}
			if !bytes.Equal(p.got, want) {
				t.Errorf("received %d bytes, want the %d sent (equal until %d)", len(p.got), len(want), commonPrefix(p.got, want))
			}
		})
	}
}

// TestRecvAllocatesNothing: a packet in, consumed, and its buffer given back.
func TestRecvAllocatesNothing(t *testing.T) {
	needFeature(t, MultishotRecv)
	r := newRing(t, 8, Params{Flags: SetupSingleIssuer | SetupDeferTaskrun})
	p := newPool(t, r, BufRingConfig{Entries: 8}, 64)
	a, b := tcpPair(t)
	push(t, r, RecvMultishot(a, 0, 0, 1))
	message := pattern(64)
	cqes, segs := make([]CQE, 8), make([]Segment, 0, 8)
	var failed error
	if n := testing.AllocsPerRun(200, func() {
		if _, err := unix.Write(b, message); err != nil {
			failed = err
		}
		n := 0
		for n == 0 {
			if _, err := r.Enter(1, patience); err != nil {
				failed = err
				return
			}
			n = r.Reap(cqes)
		}
		for _, c := range cqes[:n] {
			var err error
			if segs, err = p.Consume(segs[:0], c); err != nil || !c.More() {
				failed = errors.Join(err, c.Err())
				continue
			}
			for _, s := range segs {
				if err := p.Add(AddrOf(p.mem[uint32(s.BID)*p.size:]), p.size, s.BID); err != nil {
					failed = err
				}
			}
		}
		p.Publish()
	}); n != 0 || failed != nil {
		t.Errorf("%v allocations a message, want 0 (%v)", n, failed)
	}
	must(t, unix.Shutdown(b, unix.SHUT_WR))
	for {
		if c := next(t, r); !c.More() {
			break
		}
	}
}
