//go:build linux

package tun

import (
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/zctap/zctap/internal/driver"
	"github.com/zctap/zctap/internal/mono"
	"github.com/zctap/zctap/internal/wire"
)

// waiter runs d.Wait on a goroutine of its own, and returns when that is about
// to block. done is closed when Wait has returned.
func waiter(t *testing.T, d *Driver, until mono.Time) (done chan struct{}) {
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
	case <-time.After(30 * time.Second):
		t.Fatal("Wait does not return")
	}
}

func TestWait(t *testing.T) {
	d, kernel := fake(t, 20)
	b := driver.NewBatch(1, 17)
	packet := flat(flow4.udp(t, noise(1, 1000)))
	receive := func() {
		t.Helper()
		poll(t, d, b, 1)
		put(d, b)
	}
	for range 3 {
		// A packet that is there, and one that comes.
		deliver(t, kernel, wire.VnetHdr{}, packet)
		returns(t, waiter(t, d, 0))
		receive()
		done := waiter(t, d, 0)
		deliver(t, kernel, wire.VnetHdr{}, packet)
		returns(t, done)
		receive()
		// A wake before, several, and one in time.
		d.Wake()
		d.Wake()
		returns(t, waiter(t, d, 0))
		done = waiter(t, d, 0)
		d.Wake()
		returns(t, done)
		// What is over: at most one Wait may still be woken by it.
		early := 0
		for limit := mono.Now().Add(2 * time.Millisecond); mono.Now().Before(limit); early++ {
			if err := d.Wait(limit); err != nil {
				t.Fatal(err)
			}
		}
		if early > 2 {
			t.Errorf("%d waits for one wake that was over", early)
		}
		// An end of time.
		returns(t, waiter(t, d, mono.Now().Add(time.Millisecond)))
		returns(t, waiter(t, d, 1))
	}
}

// TestLinger: packets do not end it, a wake does.
func TestLinger(t *testing.T) {
	d, kernel := fake(t, 20)
	deliver(t, kernel, wire.VnetHdr{}, flat(flow4.udp(t, noise(1, 1000))))
	until := mono.Now().Add(5 * time.Millisecond)
	if err := d.Linger(until); err != nil || mono.Now().Before(until) {
		t.Errorf("a packet ends it (%v)", err)
	}
	d.Wake()
	if err := d.Linger(mono.Now().Add(time.Minute)); err != nil {
		t.Error(err)
	}
	b := driver.NewBatch(1, 17)
	poll(t, d, b, 1)
	put(d, b)
}

// TestWaitForRoom: a Send that fell short is woken when there is room.
func TestWaitForRoom(t *testing.T) {
	d, kernel := fake(t, 20)
	frame := []driver.TxFrame{{Head: noise(1, 1000)}}
	sent := 0
	for {
		n, err := d.Send(0, frame)
		if err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			break
		}
		sent++
	}
	done := waiter(t, d, 0)
	for range sent {
		taken(t, kernel)
	}
	returns(t, done)
	if n, err := d.Send(0, frame); n != 1 || err != nil {
		t.Errorf("Send = %d, %v; want 1", n, err)
	}
	done = waiter(t, d, mono.Now().Add(time.Millisecond))
	returns(t, done)
}

// TestWaitForBuffers: a driver without buffers does not spin on the packets that
// it can't read, and is woken when enough buffers came back.
func TestWaitForBuffers(t *testing.T) {
	d, kernel := fake(t, 20)
	pool := d.rx.pool
	pool.OnReturn(d.Wake)
	held := make([]uint16, 10)
	if n := pool.Alloc(held); n != len(held) {
		t.Fatal(n)
	}
	b := driver.NewBatch(1, 17)
	poll(t, d, b, 0)
	deliver(t, kernel, wire.VnetHdr{}, flat(flow4.udp(t, noise(1, 1000))))
	poll(t, d, b, 0)
	limit := mono.Now().Add(2 * time.Millisecond)
	if err := d.Wait(limit); err != nil || mono.Now().Before(limit) {
		t.Errorf("Wait without buffers: %v, or returned before its time", err)
	}
	began := statsOf(d).Waits
	done := make(chan struct{})
	go func() {
		defer close(done)
		for len(b.Frames) == 0 {
			if err := d.Wait(0); err != nil {
				t.Errorf("Wait: %v", err)
			}
			if err := d.Poll(0, b); err != nil {
				t.Errorf("Poll: %v", err)
			}
		}
	}()
	for !d.waiting.Load() {
		time.Sleep(time.Microsecond)
	}
	for _, id := range held {
		pool.Put(id)
	}
	returns(t, done)
	if waits := statsOf(d).Waits - began; waits > uint64(len(held))+1 {
		t.Errorf("%d waits for %d buffers", waits, len(held))
	}
	put(d, b)
}

// TestWakeConcurrent: wakes from other goroutines are never lost.
func TestWakeConcurrent(t *testing.T) {
	d, _ := fake(t, 20)
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
		limit := mono.Now().Add(30 * time.Second)
		if err := d.Wait(limit); err != nil {
			t.Fatal(err)
		}
		if !mono.Now().Before(limit) {
			t.Errorf("wake %d was lost", seen.Load())
			break
		}
		seen.Store(published.Load())
	}
	returns(t, done)
}
