//go:build linux

package uring

import (
	"bytes"
	"errors"
	"runtime"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestLabHave: the lab's kernel can do all that this package knows.
func TestLabHave(t *testing.T) {
	needLab(t, AllFeatures()...)
	q, err := QueryZCRX()
	must(t, err)
	if q.AreaFlags&zcrxAreaDMABuf == 0 || q.RefillHeader <= 0 || q.RefillHeader > page {
		t.Errorf("%+v", q)
	}
	e, err := QueryZCRXEvents()
	must(t, err)
	if e.Events != knownZCRXEvents || e.StatsSize != zcrxStatsSize || e.StatsAlign != 8 {
		t.Errorf("%+v", e)
	}
}

// TestLabZCRXWrongEntries: entries that no correct application writes take nothing and stop nothing.
func TestLabZCRXWrongEntries(t *testing.T) {
	needLab(t, ZCRX, ZCRXNoDevice, ZCRXFlush)
	onZCRXRings(t, Params{}, func(t *testing.T, r *Ring) {
		z := newZCRX(t, r, 8, nil)
		z.keep = true
		want := pattern(3 * len(z.area))
		a, b := tcpPair(t)
		feed(t, b, want)
		n, _ := z.receive(a, want, 0)

		rq := z.q.Refill()
		token := z.q.AreaToken()
		for _, wrong := range []uint64{
			token + uint64(len(z.area)), // behind the area
			1<<zcrxAreaShift - 1,
			token + 1<<zcrxAreaShift, // of an area that is not there
			1<<64 - 1,
		} {
			if put(rq, wrong) == 0 {
				t.Fatal("full")
			}
		}
		start, _ := rq.p.Reserve(rq.pending + 1)
		put(rq, z.held[0])
		rq.entries[(start+rq.pending-1)&rq.p.Mask()].Pad = 1 // not 0: not for this kernel
		z.returnHeld()                                       // the right ones, behind the wrong ones
		z.giveBack(token)                                    // a buffer that is out no more
		z.flush()

		z.keep = false
		if more, res := z.receive(a, want[n:], 0); n+more != len(want) || res != 0 {
			t.Errorf("received %d and %d of %d, ended with %d", n, more, len(want), res)
		}
	})
}

// TestLabZCRXWrongIndices: indices that no correct application writes do no harm but to itself.
func TestLabZCRXWrongIndices(t *testing.T) {
	needLab(t, ZCRX, ZCRXNoDevice, ZCRXFlush)
	onZCRXRings(t, Params{}, func(t *testing.T, r *Ring) {
		for _, tail := range []uint32{2 * 128, 1<<32 - 1, 1} {
			mem := memory(t, RefillSize(128))
			z := newZCRX(t, r, 8, func(c *ZCRXConfig) { c.RefillMemory = mem })
			z.q.Refill().p.Submit(min(tail, 128))
			if err := (*zcrxControl)(r).FlushRefill(z.q.ID()); err != nil {
				t.Errorf("tail %d: %v", tail, err)
			}
		}
	})
}

// TestLabZCRXEvents: the first copy is told and counted, and the next one only after the event was armed again.
func TestLabZCRXEvents(t *testing.T) {
	needLab(t, ZCRX, ZCRXNoDevice, ZCRXFlush, ZCRXNotices)
	onZCRXRings(t, Params{}, func(t *testing.T, r *Ring) {
		const ud = 4711
		z := newZCRX(t, r, 32, func(c *ZCRXConfig) {
			c.Events, c.EventUserData, c.Stats = ZCRXAllocFailed|ZCRXCopied, ud, true
		})
		var events []ZCRXEvents
		z.other = func(c CQE) {
			if c.UserData != ud || c.More() || c.Flags&CQE32 != 0 {
				t.Errorf("event %+v", c)
			}
			events = append(events, ParseZCRXEvent(&c))
		}
		for _, e := range []ZCRXEvents{ZCRXCopied, ZCRXAllocFailed, 1 << 2} {
			if err := z.q.ArmEvent(e); e <= knownZCRXEvents && !errors.Is(err, unix.EINVAL) || err == nil {
				t.Errorf("armed %v, which was not told: %v", e, err)
			}
		}
		want := pattern(6 * len(z.area))
		a, b := tcpPair(t)
		feed(t, b, want)
		half := len(want) / 2
		if got, res := z.receive(a, want[:half], uint32(half)); got != half || res != 0 {
			t.Fatalf("received %d, ended with %d", got, res)
		}
		if !slices.Equal(events, []ZCRXEvents{ZCRXCopied}) {
			t.Errorf("told %v", events)
		}
		must(t, z.q.ArmEvent(ZCRXCopied))
		if got, res := z.receive(a, want[half:], 0); got != half || res != 0 {
			t.Fatalf("received %d, ended with %d", got, res)
		}
		if !slices.Equal(events, []ZCRXEvents{ZCRXCopied, ZCRXCopied}) {
			t.Errorf("told %v", events)
		}
		// Fragments are counted, linear parts of packets are not: at most all.
		s := z.q.Stats()
		if s.Copies == 0 || s.CopiedBytes == 0 || s.CopiedBytes > uint64(len(want)) {
			t.Errorf("statistics: %+v of %d bytes", s, len(want))
		}
		t.Logf("%+v of %d bytes", s, len(want))
	})
}

// TestLabZCRXExport: another ring, on another thread, receives from the same queue, and the buffers go back through the
// one refill ring. The queue outlives the ring that registered it.
func TestLabZCRXExport(t *testing.T) {
	needLab(t, ZCRX, ZCRXNoDevice, ZCRXFlush, ZCRXExport)
	onZCRXRings(t, Params{}, func(t *testing.T, r *Ring) {
		z := newZCRX(t, r, 32, nil)
		fd, err := z.q.Export()
		must(t, err)
		if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
			t.Errorf("exported descriptor with flags %#x: %v", flags, err)
		}
		want := pattern(10 * page)
		a, b := tcpPair(t)
		feed(t, b, want)

		tokens := make(chan uint64, 64)
		async(t, func() error {
			defer close(tokens)
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			r2, err := New(16, Params{Flags: zcrxRing | SetupCQE32})
			if err != nil {
				return err
			}
			defer r2.Close()
			q2, err := r2.ImportZCRX(fd, z.q)
			if err != nil {
				return err
			}
			if q2.Refill() != nil || q2.BufferSize() != page || q2.AreaSize(0) != len(z.area) {
				t.Errorf("import: refill ring %v, buffers of %d", q2.Refill(), q2.BufferSize())
			}
			if err := q2.Flush(); err != nil {
				return err
			}
			if err := r2.Push(RecvZC(a, q2.ID(), 0, 0, 1)); err != nil {
				return err
			}
			for got := 0; ; {
				c, err := awaitOne(r2)
				if err != nil {
					return err
				}
				d, ok := q2.Data(&c)
				if !ok {
					if c.Res != 0 || got != len(want) {
						t.Errorf("import: received %d of %d, ended with %d", got, len(want), c.Res)
					}
					return nil
				}
				if !bytes.Equal(z.area[d.Offset():][:d.Len], want[got:][:d.Len]) {
					t.Errorf("import: wrong bytes after %d", got)
				}
				got += d.Len
				tokens <- d.Token
			}
		})
		n := 0
		for token := range tokens {
			z.giveBack(token)
			n++
		}
		z.flush()
		if n < 10 {
			t.Errorf("%d completions", n)
		}

		// A ring of its own that goes while the descriptor stays.
		must(t, unix.Close(fd))
		late, err := z.q.Export()
		must(t, err)
		keep(t, late)
	})
}

func TestLabZCRXExportErrors(t *testing.T) {
	needLab(t, ZCRX, ZCRXNoDevice, ZCRXExport)
	onZCRXRings(t, Params{}, func(t *testing.T, r *Ring) {
		z := newZCRX(t, r, 4, nil)
		for name, fd := range map[string]int{"no descriptor": -1, "another file": r.FD()} {
			if _, err := r.ImportZCRX(fd, z.q); !errors.Is(err, unix.EBADF) {
				t.Errorf("import of %s: %v", name, err)
			}
		}
		if _, err := (*zcrxControl)(r).Export(z.q.ID() + 1); !errors.Is(err, unix.ENXIO) {
			t.Errorf("export of no queue: %v", err)
		}
		plain := newRing(t, 4, Params{Flags: zcrxRing})
		if _, err := plain.ImportZCRX(0, z.q); err == nil || errors.Is(err, ErrNotSupported) {
			t.Errorf("import into a ring without large completions: %v", err)
		}
		if _, err := plain.RegisterZCRX(ZCRXConfig{NoDevice: true, Area: Area{Memory: z.area}, RefillEntries: 2}); err == nil {
			t.Error("registered with a ring without large completions")
		}
		// Read-only arguments: nothing is exported when the answer can't be written.
		arg := memory(t, page)
		if errno := exportInto(r, z.q.ID(), arg, true); errno != unix.EFAULT {
			t.Errorf("export into memory that is read-only: %v", errno)
		}
		if errno := exportInto(r, z.q.ID(), arg, false); errno != 0 {
			t.Errorf("export: %v", errno)
		}
	})
}

// TestLabZCRXControlErrors are the operations that cannot be.
func TestLabZCRXControlErrors(t *testing.T) {
	needLab(t, ZCRX, ZCRXNoDevice, ZCRXFlush, ZCRXNotices, ZCRXAddArea)
	onZCRXRings(t, Params{}, func(t *testing.T, r *Ring) {
		z := newZCRX(t, r, 4, nil)
		c, id := (*zcrxControl)(r), z.q.ID()
		var none zcrxCtrl
		for _, tc := range []struct {
			name string
			err  error
			want error
		}{
			{"flush of no queue", c.FlushRefill(id + 1), unix.ENXIO},
			{"unknown operation", c.do(ctrlAddArea+1, id, &none), ErrNotSupported},
			{"flush with an argument", c.do(ctrlFlushRQ, id, &zcrxCtrl{arg: [6]uint64{1}}), unix.EINVAL},
			{"reserved words", c.do(ctrlFlushRQ, id, &zcrxCtrl{resv: [2]uint64{1}}), unix.EFAULT},
			{"area at no address", c.do(ctrlAddArea, id, &zcrxCtrl{}), unix.EFAULT},
		} {
			if !errors.Is(tc.err, tc.want) {
				t.Errorf("%s: %v, want %v", tc.name, tc.err, tc.want)
			}
		}
		done := make(chan error)
		go func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			done <- z.q.Flush()
		}()
		if err := <-done; !errors.Is(err, unix.EEXIST) {
			t.Errorf("flush by another thread: %v", err)
		}
	})
}

// TestLabZCRXAddArea: when the first area is used up, payload goes to the second, under its own id.
func TestLabZCRXAddArea(t *testing.T) {
	needLab(t, ZCRX, ZCRXNoDevice, ZCRXFlush, ZCRXAddArea)
	onZCRXRings(t, Params{}, func(t *testing.T, r *Ring) {
		z := newZCRX(t, r, 4, nil)
		areas := [][]byte{z.area, memory(t, 6*page)}
		token, err := z.q.AddArea(Area{Memory: areas[1]})
		must(t, err)
		if token != 1<<zcrxAreaShift || z.q.Areas() != 2 || z.q.AreaSize(1) != 6*page {
			t.Errorf("token %#x, %d areas", token, z.q.Areas())
		}
		if _, err := z.q.AddArea(Area{Memory: areas[1][1:page]}); err == nil {
			t.Error("added an area that is not aligned")
		}
		const rounds = 3
		want := pattern(rounds * 10 * page)
		a, b := tcpPair(t)
		feed(t, b, want)
		got := 0
		for round := range rounds {
			var held []uint64
			used := [2]int{}
			push(t, r, RecvZC(a, z.q.ID(), 0, 0, 1))
			for {
				c := next(t, r)
				d, ok := z.q.Data(&c)
				if !ok {
					if c.Res != -int32(unix.ENOMEM) && got < len(want) {
						t.Fatalf("round %d ended with %d after %d of %d", round, c.Res, got, len(want))
					}
					break
				}
				if !bytes.Equal(areas[d.Area()][d.Offset():][:d.Len], want[got:][:d.Len]) {
					t.Fatalf("wrong bytes at %#x", d.Token)
				}
				got += d.Len
				used[d.Area()]++
				held = append(held, d.Token)
			}
			if round < rounds-1 && used != [2]int{4, 6} {
				t.Errorf("round %d: %v buffers used", round, used)
			}
			z.held = held
			z.returnHeld()
		}
	})
}

// TestLabZCRXSeveral: one ring has several queues, each with its own area.
func TestLabZCRXSeveral(t *testing.T) {
	needLab(t, ZCRX, ZCRXNoDevice, ZCRXFlush)
	onZCRXRings(t, Params{}, func(t *testing.T, r *Ring) {
		ids := make(map[uint32]bool)
		var all []*zcrx
		for range 3 {
			z := newZCRX(t, r, 16, nil)
			ids[z.q.ID()] = true
			all = append(all, z)
		}
		if len(ids) != 3 {
			t.Errorf("ids %v", ids)
		}
		for i, z := range all {
			want := pattern((30 + i) * page)
			a, b := tcpPair(t)
			feed(t, b, want)
			if got, res := z.receive(a, want, 0); got != len(want) || res != 0 {
				t.Errorf("queue %d: received %d of %d, ended with %d", i, got, len(want), res)
			}
		}
	})
}

// TestLabZCRXWake: a message from another thread ends a wait of a ring that also receives.
func TestLabZCRXWake(t *testing.T) {
	needLab(t, ZCRX, ZCRXNoDevice, MsgRingWake)
	onZCRXRings(t, Params{}, func(t *testing.T, r *Ring) {
		z := newZCRX(t, r, 4, nil)
		a, _ := tcpPair(t)
		push(t, r, RecvZC(a, z.q.ID(), 0, 0, 1))
		w := r.Waker(77, 5)
		tid := unix.Gettid()
		for range 5 {
			async(t, func() error {
				awaitBlocked(t, tid)
				return w.Wake()
			})
			if _, err := r.Enter(1, time.Minute); err != nil {
				t.Fatal(err)
			}
			c := expect(t, r, 77, 5)
			if c.Extra != [2]uint64{} {
				t.Errorf("%+v", c)
			}
			if _, ok := z.q.Data(&c); ok {
				t.Error("taken for payload")
			}
		}
	})
}
