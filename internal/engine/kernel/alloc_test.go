//go:build linux

package kernel

import (
	"math"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"github.com/zctap/zctap/internal/buf"
	"github.com/zctap/zctap/internal/engine"
	"github.com/zctap/zctap/internal/sockq"
)

// mallocs is how many heap objects f makes, on all goroutines.
func mallocs(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.Mallocs - before.Mallocs
}

// allowedPerMB is how many allocations a MiB may cost: what the Go runtime makes
// for itself meanwhile.
const allowedPerMB = 1

// A running engine allocates nothing for what it receives, nor does taking it.
func TestNoAllocationPerReceive(t *testing.T) {
	if buf.Invariants {
		t.Skip("-tags invariants remembers each view")
	}
	each(t, options{}, func(w *world) {
		if w.fake != nil {
			return // which allocates
		}
		c, p := w.connect()
		iovs := make([]buf.Iov, 64)
		p.SetWriteDeadline(time.Time{}) // it waits for what is taken, which is bounded
		taken := int64(0)
		take := func(n int64) {
			c.Queue().SetDeadline(deadlineNow())
			for n += taken; taken < n; {
				k, err := c.Queue().Recv(iovs, int(n-taken))
				w.ok(err)
				for i := range iovs[:k] {
					taken += int64(len(iovs[i].Bytes()))
				}
				w.giveBack(iovs[:k])
			}
		}
		// Bulk, then pieces that are moved to a tail.
		for name, piece := range map[string]int{"bulk": 1 << 16, "pieces": 700} {
			const warm, total, rounds = 8 << 20, 16 << 20, 4
			const end = warm + rounds*total
			sent := make(chan error, 1)
			go func() {
				var err error
				for off := int64(0); off < end && err == nil; {
					var k int
					k, err = p.Write(at(off, int(min(int64(piece), end-off))))
					off += int64(k)
				}
				sent <- err
			}()
			take(warm)
			frames := w.stats().Frames
			// The best round counts: a queue that becomes longer than it ever was
			// allocates in the one where it does, a receive that does in all of them.
			n := uint64(math.MaxUint64)
			for range rounds {
				n = min(n, mallocs(func() { take(total) }))
			}
			w.ok(<-sent)
			if frames = w.stats().Frames - frames; frames < 10*rounds {
				w.Errorf("%s: only %d receives", name, frames)
			}
			if perMB := float64(n) / float64(total>>20); perMB > allowedPerMB {
				w.Errorf("%s: at least %d allocations in %d MiB, in each of %d rounds; %d receives", name, n, total>>20, rounds, frames)
			}
		}
	})
}

// The same for datagrams.
func TestNoAllocationPerDatagram(t *testing.T) {
	if buf.Invariants {
		t.Skip("-tags invariants remembers each view")
	}
	each(t, options{}, func(w *world) {
		if w.fake != nil {
			return // which allocates
		}
		u := w.packet("udp", netip.AddrPortFrom(loopback4, 0), netip.AddrPort{})
		from := w.packet("udp", netip.AddrPortFrom(loopback4, 0), netip.AddrPort{})
		iovs, msgs := make([]buf.Iov, 64), make([]sockq.Message, 1)
		exchange := func(n int) {
			for range n {
				_, err := from.WriteTo(stream[:1000], u.LocalAddr())
				w.ok(err)
				_, k, err := u.Queue().Recv(iovs, msgs)
				w.ok(err)
				w.giveBack(iovs[:k])
			}
		}
		exchange(1000)
		const n = 10_000
		if got := mallocs(func() { exchange(n) }); got > n/100 {
			w.Errorf("%d allocations for %d datagrams", got, n)
		}
	})
}

// An engine that has nothing to do sleeps, also when connections are paused.
func TestSleeps(t *testing.T) {
	each(t, options{buffers: 64}, func(w *world) {
		var conns []engine.Conn
		for range 3 {
			c, p := w.connect()
			w.sender(p, 1<<20)
			conns = append(conns, c)
		}
		idle, _ := w.connect()
		u := w.packet("udp", netip.AddrPortFrom(loopback4, 0), netip.AddrPort{})
		_, err := w.udpPeer(loopback4).WriteToUDPAddrPort([]byte("x"), u.LocalAddr())
		w.ok(err)
		w.settle("all are paused", func() bool { return w.stats().Events["paused"] >= 3 && u.Queue().Len() == 1 })
		// Asleep means: the loop says so, and it stays so. A wake may still be on
		// its way from what came before; one that polls is never quiet.
		w.eventually("the loop sleeps, and nothing wakes it", func() bool {
			before := w.stats()
			w.settle("a while goes by", func() bool { return true })
			after := w.stats()
			return w.asleep() && after.Wakes == before.Wakes && after.Syscalls == before.Syscalls
		})
		for _, c := range conns {
			w.wantEOF(c, 1<<20)
		}
		_ = idle
	})
}
