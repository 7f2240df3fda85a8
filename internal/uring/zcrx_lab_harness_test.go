//go:build linux

package uring

import (
	"bytes"
	"errors"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The tests named TestLab use interface queues without a device, so they need a newer kernel than that of an ordinary
// machine, and CAP_NET_ADMIN. They run in the lab's VM, where labEnv is set and nothing may be missing.
//
// Between them they have the cases of liburing's test/zcrx.c:
//
//	test_register_basic      TestLabZCRXRegister
//	test_rq                  TestLabZCRXRegisterErrors (refill ring: ...)
//	test_area, test_area_ro  TestLabZCRXRegisterErrors (area: ...)
//	test_invalid_rx_page     TestLabZCRXRegisterErrors (buffer size: ...)
//	test_ro_params           TestLabZCRXRegisterErrors (read-only structures)
//	test_invalid_recv        TestLabZCRXRecvErrors
//	test_exit_with_inflight  TestLabZCRXClose
//	test_abnormal_exit       TestLabZCRXClose (task work or a worker under way, exported or not)
//	test_zcrx_invalid_clone  TestLabZCRXExportErrors
//	test_zcrx_clone          TestLabZCRXExport
//	test_rq_flush            TestLabZCRXReceive, TestLabZCRXControlErrors
//	test_invalid_rqes        TestLabZCRXWrongEntries
//	test_invalid_rq_pointers TestLabZCRXWrongIndices
//	test_recv                TestLabZCRXReceive, TestLabZCRXNoMemory (exhausted area), TestLabZCRXSmallRefill (lazy return)
const labEnv = "ZCTAP_LAB"

// needLab ends the test where the kernel lacks a feature. In the lab that is a failure.
func needLab(t testing.TB, features ...Feature) {
	t.Helper()
	for _, f := range features {
		err := Have(f)
		switch {
		case err == nil:
		case os.Getenv(labEnv) == "1" || !errors.Is(err, ErrNotSupported):
			t.Fatal(err)
		default:
			t.Skipf("runs in the lab: %v", err)
		}
	}
}

// zcrxRings are the two kinds of ring that can have interface queues.
var zcrxRings = []struct {
	name  string
	flags SetupFlags
}{
	{"CQE32", zcrxRing | SetupCQE32},
	{"CQE_MIXED", zcrxRing | SetupCQEMixed | SetupSubmitAll | SetupNoSQArray},
}

// onZCRXRings runs f for each.
func onZCRXRings(t *testing.T, p Params, f func(t *testing.T, r *Ring)) {
	t.Helper()
	for _, v := range zcrxRings {
		t.Run(v.name, func(t *testing.T) {
			p := p
			p.Flags |= v.flags
			f(t, newRing(t, 64, p))
		})
	}
}

const page = 4096

// zcrx is an interface queue without a device.
type zcrx struct {
	t    testing.TB
	r    *Ring
	q    *IFQ
	area []byte

	keep   bool     // do not return buffers
	lazy   bool     // return, and flush only when the refill ring is full or a receive ends for want of buffers
	held   []uint64 // what is not returned
	data   int      // data completions seen
	finals map[int32]int
	other  func(CQE) // completions of other requests
}

// newZCRX registers a queue with an area of so many pages. change may change the registration.
func newZCRX(t testing.TB, r *Ring, pages int, change func(*ZCRXConfig)) *zcrx {
	t.Helper()
	z := &zcrx{t: t, r: r, area: memory(t, pages*page), finals: make(map[int32]int)}
	cfg := ZCRXConfig{NoDevice: true, Area: Area{Memory: z.area}, RefillEntries: 128}
	if change != nil {
		change(&cfg)
	}
	var err error
	z.q, err = r.RegisterZCRX(cfg)
	must(t, err)
	return z
}

// giveBack returns one buffer, and flushes if need be.
func (z *zcrx) giveBack(token uint64) {
	z.t.Helper()
	rq := z.q.Refill()
	if put(rq, token) == 0 {
		rq.Publish()
		must(z.t, z.q.Flush())
		if put(rq, token) == 0 {
			z.t.Fatal("no room in the refill ring after a flush")
		}
	}
}

func (z *zcrx) flush() {
	z.t.Helper()
	z.q.Refill().Publish()
	must(z.t, z.q.Flush())
	if n := z.q.Refill().InFlight(); n != 0 {
		z.t.Fatalf("%d entries left after a flush", n)
	}
}

// returnHeld returns what was kept.
func (z *zcrx) returnHeld() {
	z.t.Helper()
	for _, token := range z.held {
		z.giveBack(token)
	}
	z.held = nil
	z.flush()
}

// receive receives from fd what want says, verifies it and returns the result of the last completion, re-arming after
// those that say how: ENOSPC always, ENOMEM if nothing is kept.
func (z *zcrx) receive(fd int, want []byte, size uint32) (got int, res int32) {
	z.t.Helper()
	const ud = 900
	arm := func() {
		left := size
		if size != 0 {
			left -= uint32(got)
		}
		push(z.t, z.r, RecvZC(fd, z.q.ID(), left, 0, ud))
	}
	arm()
	for {
		c := z.next(ud)
		if c.UserData != ud {
			if z.other == nil {
				z.t.Fatalf("unexpected completion %+v", c)
			}
			z.other(c)
			continue
		}
		if d, ok := z.q.Data(&c); ok {
			z.data++
			if d.Area() != 0 || got+d.Len > len(want) || !bytes.Equal(z.area[d.Offset():][:d.Len], want[got:][:d.Len]) {
				z.t.Fatalf("wrong bytes: %d at %#x, after %d of %d", d.Len, d.Token, got, len(want))
			}
			got += d.Len
			switch {
			case z.keep:
				z.held = append(z.held, d.Token)
			case z.lazy:
				z.giveBack(d.Token)
			default:
				z.giveBack(d.Token)
				z.flush()
			}
			continue
		}
		if c.More() || c.Res > 0 {
			z.t.Fatalf("neither payload nor the end: %+v", c)
		}
		z.finals[c.Res]++
		switch {
		case c.Res == -int32(unix.ENOSPC):
		case c.Res == -int32(unix.ECANCELED): // by next
		case c.Res == -int32(unix.ENOMEM) && !z.keep:
			z.flush()
		default:
			return got, c.Res
		}
		arm()
	}
}

// next returns the next completion. On kernels where a receive can stall it cancels the one with user data ud if nothing
// comes.
func (z *zcrx) next(ud uint64) CQE {
	z.t.Helper()
	if Have(ZCRXNoStall) == nil {
		return next(z.t, z.r)
	}
	const (
		cancel   = 901
		restless = 200 * time.Millisecond
	)
	for range int(patience / restless) {
		if z.r.Ready() == 0 {
			if _, err := z.r.Enter(1, restless); err != nil && !Busy(err) {
				z.t.Fatal(err)
			}
		}
		if z.r.Ready() == 0 && !z.r.Overflowing() {
			push(z.t, z.r, Cancel(ud, cancel))
		}
		var c [1]CQE
		if z.r.Reap(c[:]) == 1 && c[0].UserData != cancel {
			return c[0]
		}
	}
	z.t.Fatal("no completion came")
	return CQE{}
}

// feed sends b on fd beside the test, and the end of the stream after it.
func feed(t testing.TB, fd int, b []byte) {
	t.Helper()
	async(t, func() error { return errors.Join(writeAll(fd, b), unix.Shutdown(fd, unix.SHUT_WR)) })
	t.Cleanup(func() { unix.Shutdown(fd, unix.SHUT_RDWR) }) // a test that failed reads no more
}
