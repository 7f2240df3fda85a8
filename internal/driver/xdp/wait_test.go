//go:build linux

package xdp

import (
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/zctap/zctap/internal/driver"
	"github.com/zctap/zctap/internal/mono"
	"github.com/zctap/zctap/internal/wire"
)

// waiting runs d.Wait on a goroutine of its own, and returns when that is about
// to block. done is closed when Wait has returned.
func waiting(t *testing.T, d *Driver, until mono.Time) (done chan struct{}) {
	t.Helper()
	done = make(chan struct{})
	go func() {
		defer close(done)
		if err := d.Wait(until); err != nil {
			t.Errorf("Wait: %v", err)
		}
	}()
	for !d.waiting.Load() {
		select {
		case <-done:
			return done
		default:
			time.Sleep(time.Microsecond)
		}
	}
	return done
}

func returns(t *testing.T, done chan struct{}) {
	t.Helper()
	select {
	case <-done:
	case <-time.After(patience):
		t.Fatal("Wait does not return")
	}
}

func TestWait(t *testing.T) {
	d, ks := fake(t, fakeConfig(newPool(t, 256, false), 64, 32), 2)
	for i := range 6 {
		// A socket that becomes readable: here that is left to the test.
		k := ks[i%2]
		if _, err := unix.Write(k.fd, []byte{1}); err != nil {
			t.Fatal(err)
		}
		returns(t, waiting(t, d, 0))
		d.prod(d.queues[i%2]) // takes it off
		done := waiting(t, d, 0)
		if _, err := unix.Write(k.fd, []byte{1}); err != nil {
			t.Fatal(err)
		}
		returns(t, done)
		d.prod(d.queues[i%2])
		// A wake before, several, and one in time.
		d.Wake()
		d.Wake()
		returns(t, waiting(t, d, 0))
		done = waiting(t, d, 0)
		d.Wake()
		returns(t, done)
		// What is over: at most one Wait may still be woken by it.
		early := 0
		for limit := mono.Now().Add(2 * time.Millisecond); mono.Now().Before(limit); early++ {
			fatal(t, d.Wait(limit))
		}
		if early > 2 {
			t.Errorf("%d waits for one wake that was over", early)
		}
		// An end of time.
		returns(t, waiting(t, d, mono.Now().Add(time.Millisecond)))
		returns(t, waiting(t, d, 1))
	}
}

// TestLinger: frames do not end it, a wake does.
func TestLinger(t *testing.T) {
	d, ks := fake(t, fakeConfig(newPool(t, 256, false), 64, 32), 1)
	if _, err := unix.Write(ks[0].fd, []byte{1}); err != nil {
		t.Fatal(err)
	}
	until := mono.Now().Add(5 * time.Millisecond)
	if fatal(t, d.Linger(until)); mono.Now().Before(until) {
		t.Error("a frame ends it")
	}
	d.Wake()
	fatal(t, d.Linger(mono.Now().Add(patience)))
	returns(t, waiting(t, d, 0)) // the frame is still there
}

// TestWaitForRoom: after a Send that fell short, Wait returns soon, again and
// again, but does not spin.
func TestWaitForRoom(t *testing.T) {
	d, ks := fake(t, fakeConfig(newPool(t, 128, false), 64, 32), 1)
	f := packetTo(t, dst4, wire.ProtoUDP, noise(1, 6000))
	for {
		n, err := d.Send(0, []driver.TxFrame{f})
		fatal(t, err)
		if n == 0 {
			break
		}
	}
	began := mono.Now()
	for range 10 {
		fatal(t, d.Wait(0))
	}
	if took := mono.Now().Sub(began); took < 10*txRetry {
		t.Errorf("10 waits for a full wire took %v", took)
	}
	ks[0].transmit(1)
	if n, err := d.Send(0, []driver.TxFrame{f}); n != 1 || err != nil {
		t.Errorf("Send = %d, %v; want 1", n, err)
	}
	limit := mono.Now().Add(20 * time.Millisecond)
	if fatal(t, d.Wait(limit)); mono.Now().Before(limit) {
		t.Error("Wait returns before its time though Send has taken all")
	}
}

// TestWaitForDeadWire: the longer nothing is sent, the longer Wait waits, so that a
// wire that is dead costs little until it is given up. What comes back makes it look
// soon again.
func TestWaitForDeadWire(t *testing.T) {
	for _, mode := range []Mode{Copy, ZeroCopy} {
		d, ks := fake(t, fakeConfig(newPool(t, 128, false), 64, 32), 1)
		d.mode = mode
		f := packetTo(t, dst4, wire.ProtoUDP, noise(1, 6000))
		send := func() (n int) {
			n, err := d.Send(mono.Now(), []driver.TxFrame{f})
			fatal(t, err)
			return n
		}
		for send() > 0 {
		}
		waits, end := 0, mono.Now().Add(20*maxTxRetry)
		for ; mono.Now().Before(end); waits++ {
			fatal(t, d.Wait(0))
			send()
		}
		// 8 until nothing was sent for maxTxRetry, twenty from there on.
		if waits > 30 {
			t.Errorf("%v: %d waits in %v", mode, waits, 20*maxTxRetry)
		}
		sent := mono.Now()
		ks[0].transmit(1)
		if send() != 1 || send() != 0 {
			t.Fatalf("%v: not one more was sent", mode)
		}
		if d.tx.stuck < sent {
			t.Errorf("%v: when something was sent Wait waits as before", mode)
		}
	}
}

// TestWakeConcurrent: wakes from other goroutines are never lost.
func TestWakeConcurrent(t *testing.T) {
	d, _ := fake(t, fakeConfig(newPool(t, 128, false), 64, 32), 1)
	const rounds = 2000
	var published, seen atomic.Int64
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range int64(rounds) {
			published.Store(i + 1)
			d.Wake()
			for seen.Load() <= i && !t.Failed() {
				runtime.Gosched()
			}
		}
	}()
	for seen.Load() < rounds {
		limit := mono.Now().Add(patience)
		fatal(t, d.Wait(limit))
		if !mono.Now().Before(limit) {
			t.Errorf("wake %d was lost", seen.Load())
			break
		}
		seen.Store(published.Load())
	}
	returns(t, done)
}
