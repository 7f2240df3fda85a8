//go:build linux

package uring

import (
	"errors"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestPoll(t *testing.T) {
	onVariants(t, 8, func(t *testing.T, r *Ring) {
		a, b := streamPair(t)
		push(t, r, PollAdd(a, unix.POLLIN, 0, 1))
		if n, err := r.Enter(0, 0); n != 1 || err != nil || r.Ready() != 0 {
			t.Fatalf("armed %d: %v, %d ready", n, err, r.Ready())
		}
		must(t, writeAll(b, []byte("x")))
		if c := expect(t, r, 1, unix.POLLIN); c.More() {
			t.Error("a poll for once goes on")
		}
		if n, err := unix.Read(a, make([]byte, 1)); n != 1 || err != nil {
			t.Fatalf("read %d: %v", n, err)
		}

		// Multishot: one completion for each time that data comes, until it is removed.
		push(t, r, PollAdd(a, unix.POLLIN, PollMultishot, 2))
		for range 3 {
			must(t, writeAll(b, []byte("x")))
			if c := expect(t, r, 2, unix.POLLIN); !c.More() {
				t.Fatal("the multishot poll ended")
			}
		}
		push(t, r, PollRemove(2, 3), PollRemove(2, 4))
		all := collect(t, r, 3)
		if c := all[2]; len(c) != 1 || c[0].Res != -int32(unix.ECANCELED) || c[0].More() {
			t.Errorf("the removed poll completed with %+v", c)
		}
		if c := all[3]; len(c) != 1 || c[0].Res != 0 {
			t.Errorf("the removal completed with %+v", c)
		}
		if c := all[4]; len(c) != 1 || c[0].Res != -int32(unix.ENOENT) {
			t.Errorf("the second removal completed with %+v", c)
		}

		// The mask is wider than 16 bits; the peer's close shows in its upper half too where it is asked for.
		const pollRDHup = 0x2000
		must(t, unix.Shutdown(b, unix.SHUT_WR))
		push(t, r, PollAdd(a, pollRDHup, 0, 5))
		expect(t, r, 5, pollRDHup)
	})
}

func TestTimeoutRequest(t *testing.T) {
	onVariants(t, 8, func(t *testing.T, r *Ring) {
		must(t, r.PushTimeout(time.Millisecond, 0, 1))
		expect(t, r, 1, -int32(unix.ETIME))

		// Two at once in neighbouring slots: each has an argument of its own.
		must(t, r.PushTimeout(time.Hour, 0, 2))
		must(t, r.PushTimeout(time.Microsecond, 0, 3))
		expect(t, r, 3, -int32(unix.ETIME))
		push(t, r, Cancel(2, 4))
		all := collect(t, r, 2)
		if c := all[2]; len(c) != 1 || c[0].Res != -int32(unix.ECANCELED) {
			t.Errorf("the cancelled timeout completed with %+v", c)
		}
		if c := all[4]; len(c) != 1 || c[0].Res != 0 {
			t.Errorf("the cancellation completed with %+v", c)
		}

		// By count: over when two others have completed.
		must(t, r.PushTimeout(time.Hour, 2, 5))
		push(t, r, Nop(6), Nop(7))
		all = collect(t, r, 3)
		if c := all[5]; len(c) != 1 || c[0].Res != 0 {
			t.Errorf("the counting timeout completed with %+v", c)
		}
		if err := r.PushTimeout(-1, 0, 8); err == nil || r.Pending() != 0 {
			t.Errorf("a timeout before now: %v, %d pending", err, r.Pending())
		}
	})
}

func TestCancel(t *testing.T) {
	onVariants(t, 16, func(t *testing.T, r *Ring) {
		a, _ := streamPair(t)
		b, _ := streamPair(t)
		c, _ := streamPair(t)
		push(t, r,
			PollAdd(a, unix.POLLIN, 0, 1), PollAdd(a, unix.POLLIN, 0, 2), PollAdd(a, unix.POLLIN, 0, 3),
			PollAdd(b, unix.POLLIN, 0, 4), PollAdd(b, unix.POLLIN, PollMultishot, 5),
			PollAdd(c, unix.POLLIN, 0, 6))
		for _, step := range []struct {
			name   string
			cancel SQE
			res    int32
			ended  []uint64
		}{
			{"by user data", Cancel(2, 100), 0, []uint64{2}},
			{"by user data, again", Cancel(2, 100), -int32(unix.ENOENT), nil},
			{"by descriptor", CancelFD(b, 100), 2, []uint64{4, 5}},
			{"by descriptor, again", CancelFD(b, 100), 0, nil},
			{"everything", CancelEverything(100), 3, []uint64{1, 3, 6}},
			{"everything, again", CancelEverything(100), 0, nil},
		} {
			push(t, r, step.cancel)
			all := collect(t, r, 1+len(step.ended))
			if got := all[100]; len(got) != 1 || got[0].Res != step.res {
				t.Errorf("%s: result %+v, want %d", step.name, got, step.res)
			}
			for _, id := range step.ended {
				if got := all[id]; len(got) != 1 || got[0].Res != -int32(unix.ECANCELED) || got[0].More() {
					t.Errorf("%s: request %d completed with %+v", step.name, id, got)
				}
			}
		}
		if n, err := r.Enter(0, 0); n != 0 || err != nil || r.Ready() != 0 {
			t.Errorf("%d completions too many (%v)", r.Ready(), err)
		}
	})
}

func TestCloseAndShutdown(t *testing.T) {
	onVariants(t, 8, func(t *testing.T, r *Ring) {
		a, b := streamPair(t)
		push(t, r, Shutdown(a, unix.SHUT_WR, 1))
		expect(t, r, 1, 0)
		if n, err := unix.Read(b, make([]byte, 1)); n != 0 || err != nil {
			t.Errorf("reading after the peer's shutdown: %d, %v", n, err)
		}
		fd, err := unix.Dup(a)
		must(t, err)
		push(t, r, Close(fd, 2))
		expect(t, r, 2, 0)
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); !errors.Is(err, unix.EBADF) {
			t.Errorf("descriptor after close: %v", err)
		}
		push(t, r, Close(fd, 3))
		if c := expect(t, r, 3, -int32(unix.EBADF)); !errors.Is(c.Err(), unix.EBADF) {
			t.Errorf("Err is %v", c.Err())
		}
	})
}

func TestLinkAndSkip(t *testing.T) {
	r := newRing(t, 8, Params{})
	failing := Close(1<<30, 1)
	failing.Flags = IOLink
	push(t, r, failing, Nop(2)) // the second depends on the first
	expect(t, r, 1, -int32(unix.EBADF))
	expect(t, r, 2, -int32(unix.ECANCELED))
	quiet := Nop(3)
	quiet.Flags = CQESkipSuccess
	push(t, r, quiet, Nop(4))
	expect(t, r, 4, 0)
	if r.Ready() != 0 {
		t.Error("a request that was to be quiet completed")
	}
}

func TestMsgRing(t *testing.T) {
	onVariants(t, 8, func(t *testing.T, r *Ring) {
		target := newRing(t, 8, Params{Flags: r.Flags()})
		push(t, r, MsgRing(target.FD(), 42, 7, 1))
		expect(t, r, 1, 0)
		expect(t, target, 42, 7)
		a, _ := streamPair(t)
		push(t, r, MsgRing(a, 42, 7, 2))
		expect(t, r, 2, -int32(unix.EBADFD))
	})
}

func TestProbe(t *testing.T) {
	r := newRing(t, 8, Params{})
	p, err := r.Probe()
	must(t, err)
	for _, op := range []Op{
		OpNop, OpPollAdd, OpPollRemove, OpSendMsg, OpRecvMsg, OpTimeout, OpAccept, OpAsyncCancel,
		OpConnect, OpClose, OpSend, OpRecv, OpShutdown, OpMsgRing,
	} {
		if !p.Supports(op) {
			t.Errorf("operation %d is not there", op)
		}
	}
	if p.Supports(255) {
		t.Error("operation 255 is there")
	}
}
