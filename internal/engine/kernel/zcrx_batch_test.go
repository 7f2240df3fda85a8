//go:build linux

package kernel

import (
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/zctap/zctap/internal/engine"
	"github.com/zctap/zctap/internal/uring"
	"github.com/zctap/zctap/internal/uring/uringtest"
)

// The kernel is entered once a round, and not besides: to submit, for each
// completion or for each connection. Other calls are counted by what they are for.
// And a round that has nothing to bring is one that sleeps, or does what the
// application wants.
func TestZCRXOneEnterPerBatch(t *testing.T) {
	eachZCRX(t, options{}, func(w *world) {
		const conns, size = 4, 4 << 20
		all, wait := w.crowd(conns, size)
		w.receiveAll(all, size)
		wait()
		w.ok(w.Close())
		s := w.stats()
		var rounds uint64
		for _, l := range w.loops {
			rounds += l.back.(*zcrx).rounds
		}
		again := s.Events["completion-overflow"] // what found no room is fetched
		// Without a round: opening and closing, and what the application does by itself.
		const around = 8 * (conns + 1)
		if calls := s.Syscalls - s.Events["flushes"]; calls > rounds+again+around {
			w.Errorf("%d system calls in %d rounds, %d times more completions than room: %+v", calls, rounds, again, s)
		}
		if rounds > s.Wakes+s.Batches+around {
			w.Errorf("%d rounds, of which %d slept and %d brought something: %+v", rounds, s.Wakes, s.Batches, s)
		}
		var entered uint64
		for _, k := range w.kernels {
			entered += k.Counts().Enters
		}
		if entered > rounds+again+around {
			w.Errorf("the kernel was entered %d times in %d rounds: %+v", entered, rounds, s)
		}
		t.Logf("%d completions with payload, %d batches, %d rounds, %d sleeps", s.Frames, s.Batches, rounds, s.Wakes)
	})
}

// What has come while the loop was busy, for several connections, comes in with a
// few entries of the kernel: as many as the connections' credits take.
func TestZCRXBatchesAreLarge(t *testing.T) {
	const conns, size = 8, 60_000
	var shut atomic.Bool
	gate, stopped := make(chan struct{}), make(chan struct{}, 1)
	w := zcrxOn(t, options{}, device, uringtest.Options{Device: true, Chunk: 1448, Fault: func(sqe uring.SQE) unix.Errno {
		if sqe.Opcode == uring.OpRecvZC && shut.Swap(false) {
			stopped <- struct{}{}
			<-gate
		}
		return 0
	}})
	ln := w.listen(0)
	var all []engine.Conn
	var peers []interface{ Write([]byte) (int, error) }
	for range conns {
		p := w.peer(ln)
		all, peers = append(all, w.accept(ln)), append(peers, p)
		w.ok(second(p.Write(at(0, 1))))
		w.eventually("it came", func() bool { return all[len(all)-1].Queue().Buffered() == 1 })
	}
	shut.Store(true)
	w.peer(ln) // the loop accepts it, and stops while it asks for what comes there
	<-stopped
	for _, p := range peers {
		w.ok(second(p.Write(at(1, size))))
	}
	before, entered := w.stats(), w.kernels[0].Counts().Enters
	close(gate)
	for _, c := range all {
		w.eventually("all came", func() bool { return c.Queue().Buffered() == 1+size })
	}
	n := w.stats().Frames - before.Frames
	if entered = w.kernels[0].Counts().Enters - entered; n < conns*size/1448 || entered > 12 {
		w.Errorf("%d completions in %d entries of the kernel", n, entered)
	}
	t.Logf("%d completions in %d entries of the kernel", n, entered)
}
