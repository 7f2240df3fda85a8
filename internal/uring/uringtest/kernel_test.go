//go:build linux

package uringtest_test

import (
	"bytes"
	"errors"
	"os"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/zctap/zctap/internal/uring"
	"github.com/zctap/zctap/internal/uring/uringtest"
)

// newPeer makes a Kernel with an interface queue on this thread.
func newPeer(t *testing.T, o uringtest.Options) (*peer, *uringtest.Kernel) {
	t.Helper()
	runtime.LockOSThread()
	t.Cleanup(runtime.UnlockOSThread)
	k, err := uringtest.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { k.Close() })
	p := &peer{t: t, ring: k, mixed: o.Mixed, noDevice: !o.Device}
	p.register()
	return p, k
}

// TestBooks: what comes back wrongly is counted, and what comes back in order is free and overwritten.
func TestBooks(t *testing.T) {
	p, k := newPeer(t, uringtest.Options{})
	fd, other := p.pair()
	want := pattern(300)
	p.feed(other, want)
	p.push(uring.RecvZC(fd, p.q.ID(), uint32(len(want)), 0, recvData))
	var held []uring.ZCData
	for {
		c := p.next()
		d, ok := p.q.Data(&c)
		if !ok {
			break
		}
		held = append(held, d)
	}
	if k.Out() != len(held) || len(held) == 0 {
		t.Fatalf("%d out, %d received", k.Out(), len(held))
	}
	for _, d := range held {
		p.giveBack(d.Token)
	}
	p.flush()
	if c := k.Counts(); k.Out() != 0 || c.Bogus != 0 || c.Returned != uint64(len(held)) || c.Flushes == 0 || c.Payload != uint64(len(held)) {
		t.Errorf("%d out, %+v", k.Out(), c)
	}
	if b := p.area[held[0].Offset():][:held[0].Len]; bytes.Equal(b, want[:held[0].Len]) {
		t.Error("a buffer that is free was left as it was")
	}
	for _, wrong := range []uint64{held[0].Token, uint64(len(p.area)), 1 << 48} {
		p.giveBack(wrong)
	}
	p.flush()
	if c := k.Counts(); c.Bogus != 3 {
		t.Errorf("%+v, want 3 wrong entries", c)
	}
}

// TestPacking: small pieces of several connections share a buffer, which is free only when the last of them is back.
func TestPacking(t *testing.T) {
	p, k := newPeer(t, uringtest.Options{Device: true, Chunk: 100})
	buffers := make(map[int]int)
	var tokens []uint64
	for range 3 {
		fd, other := p.pair()
		want := pattern(250)
		p.feed(other, want)
		p.push(uring.RecvZC(fd, p.q.ID(), 250, 0, recvData))
		for got := 0; ; {
			c := p.next()
			d, ok := p.q.Data(&c)
			if !ok {
				break
			}
			if !bytes.Equal(p.area[d.Offset():][:d.Len], want[got:][:d.Len]) {
				t.Fatal("wrong bytes")
			}
			got += d.Len
			buffers[d.Offset()/os.Getpagesize()]++
			tokens = append(tokens, d.Token)
		}
	}
	if len(buffers) != 1 || len(tokens) < 9 {
		t.Errorf("%d pieces in %d buffers", len(tokens), len(buffers))
	}
	for _, token := range tokens {
		p.giveBack(token)
	}
	p.q.Refill().Publish()
	for deadline := time.Now().Add(30 * time.Second); k.Out() > 0; { // by itself, without Flush
		if time.Now().After(deadline) {
			t.Fatalf("%d still out", k.Out())
		}
		runtime.Gosched()
	}
}

// TestViewsOnOtherThreads is how an engine uses it: the ring's thread receives, another goroutine reads the payload in the
// area and gives it back. Under -race this shows that the refill ring orders the reading before what is written next.
func TestViewsOnOtherThreads(t *testing.T) {
	for name, o := range map[string]uringtest.Options{
		"no device": {}, "device": {Device: true}, "packing device": {Device: true, Chunk: 1300},
	} {
		t.Run(name, func(t *testing.T) {
			p, k := newPeer(t, o)
			want := pattern(10 * len(p.area))
			fd, other := p.pair()
			p.feed(other, want)
			views, back := make(chan uring.ZCData, 4), make(chan uint64, 1024)
			go func() {
				defer close(back)
				at := 0
				for d := range views {
					if !bytes.Equal(p.area[d.Offset():][:d.Len], want[at:][:d.Len]) {
						t.Errorf("wrong bytes after %d", at)
					}
					at += d.Len
					back <- d.Token
				}
				if at != len(want) {
					t.Errorf("read %d of %d", at, len(want))
				}
			}()
			p.push(uring.RecvZC(fd, p.q.ID(), 0, 0, recvData))
			out := 0
			for open := true; open; {
				c := p.next()
				d, ok := p.q.Data(&c)
				switch {
				case ok:
					views <- d
					out++
				case c.Res == -int32(unix.ENOMEM) || c.Res == -int32(unix.ENOSPC):
					for ; out > 0; out-- {
						p.giveBack(<-back)
					}
					p.flush()
					p.push(uring.RecvZC(fd, p.q.ID(), 0, 0, recvData))
				default:
					open = false
				}
				for len(back) > 0 {
					p.giveBack(<-back)
					out--
				}
				p.q.Refill().Publish()
			}
			close(views)
			for token := range back {
				p.giveBack(token)
			}
			p.flush()
			if k.Out() != 0 || k.Counts().Bogus != 0 {
				t.Errorf("%d out, %+v", k.Out(), k.Counts())
			}
		})
	}
}

func TestFaults(t *testing.T) {
	broken := errors.New("broken")
	o := uringtest.Options{
		RegisterErr: broken,
		Disabled:    true,
		SQEntries:   1,
		Fault: func(s uring.SQE) unix.Errno {
			if s.UserData == 13 {
				return unix.EFAULT
			}
			return 0
		},
	}
	open := uringtest.Opener(o)
	k, err := open(4, uring.Params{CQEntries: 8, Flags: uring.SetupRDisabled})
	if err != nil {
		t.Fatal(err)
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if _, err := k.RegisterZCRX(uring.ZCRXConfig{}); err != broken {
		t.Errorf("register: %v", err)
	}
	if _, err := k.Enter(0, 0); !errors.Is(err, unix.EBADFD) {
		t.Errorf("enter of a disabled ring: %v", err)
	}
	if err := errors.Join(k.Enable(), k.RegisterRingFD()); err != nil {
		t.Fatal(err)
	}
	if err := k.Enable(); err == nil {
		t.Error("enabled twice")
	}
	if err := k.Push(uring.Nop(13)); err != nil {
		t.Fatal(err)
	}
	if err := k.Push(uring.Nop(14)); err != uring.ErrQueueFull || k.Pending() != 1 {
		t.Errorf("a full queue, %d pending: %v", k.Pending(), err)
	}
	if n, err := k.Enter(1, 30*time.Second); n != 1 || err != nil {
		t.Errorf("entered %d: %v", n, err)
	}
	var c [2]uring.CQE
	if n := k.Reap(c[:]); n != 1 || c[0].Res != -int32(unix.EFAULT) {
		t.Errorf("%d completions, %+v", n, c[0])
	}
	if err := errors.Join(k.Close(), k.Close()); err != nil {
		t.Error(err)
	}
	if _, err := k.Enter(0, 0); !errors.Is(err, uring.ErrClosed) || !errors.Is(k.Push(uring.Nop(1)), uring.ErrClosed) {
		t.Errorf("a closed ring: %v", err)
	}
}

// TestStalls: what older kernels do. Cancelled and pushed again, the receive goes on, and no byte is lost.
func TestStalls(t *testing.T) {
	for name, o := range map[string]uringtest.Options{
		"no buffer": {Stalls: true, CQEntries: 64}, "no room": {Stalls: true, SQEntries: 4, CQEntries: 4},
	} {
		t.Run(name, func(t *testing.T) {
			p, _ := newPeer(t, o)
			want := pattern(len(p.area) + 3*os.Getpagesize()) // what one write brings at once
			fd, other := p.pair()
			p.push(uring.RecvZC(fd, p.q.ID(), 0, 0, recvData))
			if _, err := p.ring.Enter(0, 0); err != nil { // it waits for the socket
				t.Fatal(err)
			}
			if _, err := other.Write(want); err != nil {
				t.Fatal(err)
			}
			got, stalls := 0, 0
			for deadline := time.Now().Add(20 * time.Second); got < len(want); {
				if time.Now().After(deadline) {
					t.Fatalf("received %d of %d", got, len(want))
				}
				if _, err := p.ring.Enter(1, 50*time.Millisecond); err != nil {
					t.Fatal(err)
				}
				if p.ring.Ready() == 0 {
					stalls++
					p.flush()
					p.push(uring.Cancel(recvData, 9))
				}
				var c [1]uring.CQE
				for p.ring.Reap(c[:]) == 1 {
					d, ok := p.q.Data(&c[0])
					switch {
					case ok:
						if !bytes.Equal(p.area[d.Offset():][:d.Len], want[got:][:d.Len]) {
							t.Fatalf("wrong bytes after %d", got)
						}
						got += d.Len
						p.giveBack(d.Token)
					case c[0].UserData == recvData:
						p.flush()
						p.push(uring.RecvZC(fd, p.q.ID(), 0, 0, recvData))
					}
				}
			}
			if stalls == 0 {
				t.Error("it never stalled")
			}
		})
	}
}
