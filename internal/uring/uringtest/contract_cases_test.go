//go:build linux

package uringtest_test

import (
	"bytes"
	"errors"
	"net"
	"os"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/zctap/zctap/internal/uring"
)

func testStream(t *testing.T, p *peer) {
	want := pattern(5*len(p.area) + 3)
	fd, other := p.pair()
	p.feed(other, want)
	if got, res := p.receive(fd, want, 0); got != len(want) || res != 0 {
		t.Errorf("received %d of %d, ended with %d", got, len(want), res)
	}
	if s := p.q.Stats(); p.noDevice && (s.Copies == 0 || s.CopiedBytes > uint64(len(want))) || !p.noDevice && s != (uring.ZCRXStats{}) {
		t.Errorf("statistics: %+v", s)
	}
}

func testCredit(t *testing.T, p *peer) {
	want := pattern(20_000)
	fd, other := p.pair()
	p.feed(other, want)
	at := 0
	for _, credit := range []int{1, 4096, 8191, 10} {
		if got, res := p.receive(fd, want[at:at+credit], credit); got != credit || res != 0 {
			t.Errorf("credit %d: received %d, ended with %d", credit, got, res)
		}
		at += credit
	}
	if got, res := p.receive(fd, want[at:], 0); at+got != len(want) || res != 0 {
		t.Errorf("then received %d of %d, ended with %d", got, len(want)-at, res)
	}
}

func testQueueFull(t *testing.T, p *peer) {
	want := pattern(4 * len(p.area))
	fd, other := p.pair()
	p.feed(other, want)
	if got, res := p.receive(fd, want, 0); got != len(want) || res != 0 {
		t.Errorf("received %d of %d, ended with %d", got, len(want), res)
	}
	if !slices.Contains(p.ends, -int32(unix.ENOSPC)) {
		t.Errorf("the queue was never full: %v", p.ends)
	}
}

func testCancel(t *testing.T, p *peer) {
	fd, _ := p.pair()
	for name, tc := range map[string]struct {
		sqe uring.SQE
		res int32
	}{
		"by user data":  {uring.Cancel(recvData, 9), 0},
		"by descriptor": {uring.CancelFD(fd, 9), 1},
		"all":           {uring.CancelEverything(9), 1},
		"none":          {uring.Cancel(77, 9), -int32(unix.ENOENT)},
	} {
		p.push(uring.RecvZC(fd, p.q.ID(), 0, 0, recvData))
		if _, err := p.ring.Enter(0, 0); err != nil {
			t.Fatal(err)
		}
		p.push(tc.sqe)
		results := map[uint64]int32{}
		c := p.next()
		results[c.UserData] = c.Res
		if name == "none" {
			p.push(uring.Cancel(recvData, 8))
			if c := p.next(); c.UserData == 8 {
				p.next()
			} else if c := p.next(); c.UserData != 8 {
				t.Errorf("%+v", c)
			}
		} else {
			c = p.next()
			results[c.UserData] = c.Res
			if results[recvData] != -int32(unix.ECANCELED) {
				t.Errorf("%s: the receive ended with %d", name, results[recvData])
			}
		}
		if results[9] != tc.res {
			t.Errorf("%s: result %d, want %d", name, results[9], tc.res)
		}
	}
}

func testErrors(t *testing.T, p *peer) {
	fd, other := p.pair()
	if _, err := other.Write([]byte("something")); err != nil {
		t.Fatal(err)
	}
	udp, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(udp)
	tcp, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(tcp)
	file, err := os.Open("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	single := uring.RecvZC(fd, p.q.ID(), 0, 0, recvData)
	single.IOPrio = 0
	for name, tc := range map[string]struct {
		sqe  uring.SQE
		want unix.Errno
	}{
		"UDP":           {uring.RecvZC(udp, p.q.ID(), 0, 0, recvData), unix.EPROTONOSUPPORT},
		"not connected": {uring.RecvZC(tcp, p.q.ID(), 0, 0, recvData), unix.ENOTCONN},
		"no socket":     {uring.RecvZC(int(file.Fd()), p.q.ID(), 0, 0, recvData), unix.ENOTSOCK},
		"no descriptor": {uring.RecvZC(-1, p.q.ID(), 0, 0, recvData), unix.EBADF},
		"no such queue": {uring.RecvZC(fd, p.q.ID()+1, 0, 0, recvData), unix.EINVAL},
		"single shot":   {single, unix.EINVAL},
	} {
		p.push(tc.sqe)
		if c := p.next(); c.Res != -int32(tc.want) || c.More() {
			t.Errorf("%s: %+v, want %v", name, c, tc.want)
		}
	}
	// Reset by the other end, after what it had sent.
	if got, res := p.receive(fd, []byte("something"), len("something")); got != len("something") || res != 0 {
		t.Errorf("received %d, ended with %d", got, res)
	}
	other.(*net.TCPConn).SetLinger(0)
	other.Close()
	if got, res := p.receive(fd, nil, 0); got != 0 || res != -int32(unix.ECONNRESET) {
		t.Errorf("after a reset: received %d, ended with %d", got, res)
	}
	// Another thread.
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		_, err := p.ring.Enter(0, 0)
		done <- errors.Join(err, p.q.Flush())
	}()
	if err := <-done; !errors.Is(err, unix.EEXIST) {
		t.Errorf("another thread: %v", err)
	}
}

func testAccept(t *testing.T, p *peer) {
	ln, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(ln)
	if err := errors.Join(unix.Bind(ln, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}), unix.Listen(ln, 8)); err != nil {
		t.Fatal(err)
	}
	sa, err := unix.Getsockname(ln)
	if err != nil {
		t.Fatal(err)
	}
	addr := net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: sa.(*unix.SockaddrInet4).Port}
	p.push(uring.AcceptMultishot(ln, 7))
	for range 3 {
		c, err := net.Dial("tcp4", addr.String())
		if err != nil {
			t.Fatal(err)
		}
		cqe := p.next()
		if cqe.UserData != 7 || cqe.Res < 0 || !cqe.More() {
			t.Fatalf("%+v", cqe)
		}
		c.Write([]byte("hello"))
		c.Close()
		if got, res := p.receive(int(cqe.Res), []byte("hello"), 0); got != 5 || res != 0 {
			t.Errorf("received %d, ended with %d", got, res)
		}
		p.push(uring.Close(int(cqe.Res), 6))
		if c := p.next(); c.UserData != 6 || c.Res != 0 {
			t.Errorf("close: %+v", c)
		}
	}
}

func testWake(t *testing.T, p *peer) {
	fd, _ := p.pair()
	p.push(uring.RecvZC(fd, p.q.ID(), 0, 0, recvData))
	w := p.ring.Waker(5, 3)
	const wakes = 50
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for range wakes {
				if err := w.Wake(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for range 2 * wakes {
		if c := p.next(); c.UserData != 5 || c.Res != 3 || c.More() {
			t.Fatalf("%+v", c)
		}
	}
	wg.Wait()
	if err := p.ring.Close(); err != nil {
		t.Fatal(err)
	}
	if err := w.Wake(); !errors.Is(err, uring.ErrClosed) {
		t.Errorf("wake of a closed ring: %v", err)
	}
	if put(p.q.Refill(), 0) && p.q.Flush() == nil {
		t.Error("flushed a closed ring")
	}
}

func testPoll(t *testing.T, p *peer) {
	fd, other := p.pair()
	p.push(uring.PollAdd(fd, unix.POLLIN, 0, 5))
	if n, err := p.ring.Enter(1, 5*time.Millisecond); n != 1 || err != nil || p.ring.Ready() != 0 {
		t.Errorf("entered %d, %d ready: %v", n, p.ring.Ready(), err)
	}
	other.Write([]byte("x"))
	if c := p.next(); c.UserData != 5 || c.Res&unix.POLLIN == 0 || c.More() {
		t.Errorf("%+v", c)
	}
	p.push(uring.PollAdd(fd, unix.POLLOUT, 0, 5))
	if c := p.next(); c.Res&unix.POLLOUT == 0 {
		t.Errorf("%+v", c)
	}
	quiet, _ := p.pair()
	p.push(uring.PollAdd(quiet, unix.POLLIN, uring.PollMultishot, 5))
	p.push(uring.PollRemove(5, 6))
	for range 2 {
		if c := p.next(); c.UserData == 5 && c.Res != -int32(unix.ECANCELED) || c.UserData == 6 && c.Res != 0 {
			t.Errorf("%+v", c)
		}
	}
	p.push(uring.Nop(8))
	if c := p.next(); c.UserData != 8 || c.Res != 0 {
		t.Errorf("%+v", c)
	}
	if err := errors.Join(p.ring.Push(uring.Shutdown(fd, unix.SHUT_WR, 9))); err != nil {
		t.Fatal(err)
	}
	if n, err := p.ring.Submit(); n != 1 || err != nil {
		t.Errorf("submitted %d: %v", n, err)
	}
	if c := p.next(); c.UserData != 9 || c.Res != 0 {
		t.Errorf("%+v", c)
	}
}

// testExhaustion keeps every buffer. Without a device the receive ends; with one it waits, and says so. Then it goes on.
func testExhaustion(t *testing.T, p *peer) {
	want := pattern(3 * len(p.area))
	fd, other := p.pair()
	p.feed(other, want)
	var held []uring.ZCData
	got := 0
	p.push(uring.RecvZC(fd, p.q.ID(), 0, 0, recvData))
	var c [8]uring.CQE
	ended := false
	for deadline := time.Now().Add(20 * time.Second); !ended && !slices.ContainsFunc(p.other, isAllocFailed); {
		if time.Now().After(deadline) {
			t.Fatal("no end")
		}
		if _, err := p.ring.Enter(1, time.Second); err != nil && !uring.Busy(err) {
			t.Fatal(err)
		}
		for _, c := range c[:p.ring.Reap(c[:])] {
			if c.UserData == eventData {
				p.other = append(p.other, c)
				continue
			}
			d, ok := p.q.Data(&c)
			if !ok {
				if c.Res != -int32(unix.ENOMEM) {
					t.Fatalf("ended with %+v", c)
				}
				ended = true
				continue
			}
			if !bytes.Equal(p.area[d.Offset():][:d.Len], want[got:][:d.Len]) {
				t.Fatalf("wrong bytes after %d", got)
			}
			got += d.Len
			held = append(held, d)
		}
	}
	if ended != p.noDevice || got == 0 || got > len(p.area) {
		t.Fatalf("ended %v after %d bytes", ended, got)
	}
	if !ended {
		p.push(uring.Cancel(recvData, 9))
		p.next()
		p.next()
	}
	at := 0
	for _, d := range held {
		if !bytes.Equal(p.area[d.Offset():][:d.Len], want[at:][:d.Len]) {
			t.Fatalf("%d bytes that were not returned were overwritten", d.Len)
		}
		at += d.Len
	}
	for _, d := range held {
		p.giveBack(d.Token)
	}
	p.flush()
	if more, res := p.receive(fd, want[got:], 0); got+more != len(want) || res != 0 {
		t.Errorf("received %d and %d of %d, ended with %d", got, more, len(want), res)
	}
}

func isAllocFailed(c uring.CQE) bool { return uring.ParseZCRXEvent(&c) == uring.ZCRXAllocFailed }

func testEvents(t *testing.T, p *peer) {
	if !p.noDevice {
		return // a NIC that works copies nothing: testExhaustion has its event
	}
	want := pattern(2 * len(p.area))
	half := len(want) / 2
	fd, other := p.pair()
	p.feed(other, want)
	for _, part := range [][]byte{want[:half], want[half:]} {
		p.receive(fd, part, len(part))
		if err := p.q.ArmEvent(uring.ZCRXCopied); err != nil {
			t.Error(err)
		}
		if err := p.q.ArmEvent(uring.ZCRXCopied); !errors.Is(err, unix.EINVAL) {
			t.Errorf("armed twice: %v", err)
		}
	}
	if len(p.other) != 2 || uring.ParseZCRXEvent(&p.other[0]) != uring.ZCRXCopied || uring.ParseZCRXEvent(&p.other[1]) != uring.ZCRXCopied {
		t.Errorf("told %+v", p.other)
	}
}

func testExport(t *testing.T, p *peer) {
	fd, err := p.q.Export()
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if _, err := p.ring.ImportZCRX(-1, p.q); !errors.Is(err, unix.EBADF) {
		t.Errorf("import of nothing: %v", err)
	}
	want := pattern(10_000)
	sock, other := p.pair()
	p.feed(other, want)
	second := &peer{t: t, ring: p.open(t, 8, 64, p.mixed), area: p.area}
	defer second.ring.Close()
	if second.q, err = second.ring.ImportZCRX(fd, p.q); err != nil {
		t.Fatal(err)
	}
	second.push(uring.RecvZC(sock, second.q.ID(), uint32(len(want)), 0, recvData))
	for got := 0; ; {
		c := second.next()
		d, ok := second.q.Data(&c)
		if !ok {
			if c.Res != 0 || got != len(want) {
				t.Errorf("received %d, ended with %d", got, c.Res)
			}
			break
		}
		if !bytes.Equal(p.area[d.Offset():][:d.Len], want[got:][:d.Len]) {
			t.Fatalf("wrong bytes after %d", got)
		}
		got += d.Len
		p.giveBack(d.Token)
	}
	p.flush()
}
