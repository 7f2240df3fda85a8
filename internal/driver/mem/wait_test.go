package mem

import (
	"bytes"
	"sync"
	"testing"
	"time"

	"github.com/zctap/zctap/internal/buf/buftest"
	"github.com/zctap/zctap/internal/driver"
	"github.com/zctap/zctap/internal/mono"
)

// waiter runs e.Wait on a goroutine of its own, and returns when that is about
// to sleep. done is closed when Wait has returned.
func waiter(t *testing.T, e *End, until mono.Time) (done chan struct{}) {
	t.Helper()
	done = make(chan struct{})
	go func() {
		defer close(done)
		if err := e.Wait(until); err != nil {
			t.Errorf("Wait: %v", err)
		}
	}()
	for !e.waiting.Load() {
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
	frame := udpFrame(t, src4, dst4, []byte("hello"))
	x, y := pipe(t, Config{QueueFrames: 1}, Config{})
	b := driver.NewBatch(1, 1)

	// A frame that is there, one that comes, a wake, an end of time.
	send(t, x, frame)
	returns(t, waiter(t, y, 0))
	poll(t, y, b, 1)
	put(y.config.Pool, b)
	done := waiter(t, y, 0)
	send(t, x, frame)
	returns(t, done)
	poll(t, y, b, 1)
	put(y.config.Pool, b)
	y.Wake()
	returns(t, waiter(t, y, 0)) // one wake too many is allowed
	done = waiter(t, y, 0)
	y.Wake()
	returns(t, done)
	for range 2 {
		returns(t, waiter(t, y, mono.Now().Add(time.Millisecond)))
	}
	returns(t, waiter(t, y, mono.Now()-1))

	// Room in the queue.
	send(t, x, frame)
	if n, _ := x.Send(0, []driver.TxFrame{frame}); n != 0 {
		t.Fatal("the queue has room for two frames")
	}
	done = waiter(t, x, 0)
	poll(t, y, b, 1)
	put(y.config.Pool, b)
	returns(t, done)
	send(t, x, frame)
	poll(t, y, b, 1)
	put(y.config.Pool, b)
}

// TestWaitForBuffers: a receiver without buffers does not spin on the frames
// that it can't take, and is woken when buffers come back.
func TestWaitForBuffers(t *testing.T) {
	p := buftest.Heap(t, 3)
	x, y := pipe(t, Config{}, Config{Pool: p})
	p.OnReturn(y.Wake)
	held := make([]uint16, 3)
	p.Alloc(held)
	b := driver.NewBatch(1, 1)
	send(t, x, udpFrame(t, src4, dst4, []byte("hello")))
	poll(t, y, b, 0)

	limit := mono.Now().Add(2 * time.Millisecond)
	if err := y.Wait(limit); err != nil || mono.Now().Before(limit) {
		t.Errorf("Wait without buffers: %v, or returned before its time", err)
	}
	began := statsOf(y).Waits
	done := make(chan struct{})
	go func() {
		defer close(done)
		for len(b.Frames) == 0 {
			if err := y.Wait(0); err != nil {
				t.Errorf("Wait: %v", err)
			}
			if err := y.Poll(0, b); err != nil {
				t.Errorf("Poll: %v", err)
			}
		}
	}()
	for !y.waiting.Load() {
		time.Sleep(time.Microsecond)
	}
	p.Put(held[0])
	returns(t, done)
	if w := statsOf(y).Waits - began; w > 2 {
		t.Errorf("%d waits for one frame", w)
	}
	put(p, b)
	p.Put(held[1])
	p.Put(held[2])
}

// TestConcurrent has two goroutines exchange frames as two engines do, with
// queues and pools that are often exhausted.
func TestConcurrent(t *testing.T) {
	const total = 20000
	x, y := pipe(t,
		Config{QueueFrames: 16, QueueBytes: 20000, Pool: buftest.Heap(t, 8)},
		Config{QueueFrames: 5, QueueBytes: 3000, Pool: buftest.Heap(t, 4), NoSplit: true})
	payloads := make([]driver.TxFrame, 64)
	for i := range payloads {
		payloads[i] = udpFrame(t, src4, dst4, pattern(uint64(i), i*21))
	}
	var wg sync.WaitGroup
	for _, e := range []*End{x, y} {
		pool := e.config.Pool
		pool.OnReturn(e.Wake)
		returned := make(chan []uint16, 1000)
		wg.Go(func() { // the application
			for ids := range returned {
				for _, id := range ids {
					pool.Put(id)
				}
			}
		})
		wg.Go(func() {
			defer e.peer.Wake() // if it failed
			defer close(returned)
			b := driver.NewBatch(3, 6)
			for sent, received := 0, 0; (sent < total || received < total) && !t.Failed(); {
				want := min(8, total-sent, 64-sent%64)
				n, err := e.Send(0, payloads[sent%64:sent%64+want])
				if err != nil {
					t.Errorf("Send: %v", err)
					return
				}
				sent += n
				if err := e.Poll(0, b); err != nil {
					t.Errorf("Poll: %v", err)
					return
				}
				ids := make([]uint16, 0, len(b.Frags))
				for i := range b.Frames {
					if !bytes.Equal(contents(pool, &b.Frames[i]), flat(&payloads[received%64])) {
						t.Errorf("frame %d is not as it was sent", received)
						return
					}
					received++
				}
				for _, f := range b.Frags {
					ids = append(ids, f.Buffer())
				}
				returned <- ids
				if len(b.Frames) == 0 && (n < want || sent == total && received < total) {
					// A limit, so that a lost wake fails the test and not hangs it.
					limit := mono.Now().Add(30 * time.Second)
					if err := e.Wait(limit); err != nil {
						t.Errorf("Wait: %v", err)
						return
					}
					if !mono.Now().Before(limit) {
						t.Errorf("a wake was lost, with %d sent and %d received", sent, received)
						return
					}
				}
			}
		})
	}
	wg.Wait()
}
