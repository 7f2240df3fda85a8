package tcp

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"
)

// drain is the engine's side: it takes up to n bytes as if they had been sent and
// acknowledged.
func (b *SendBuffer) drain(n int) []byte {
	n = min(n, b.Buffered())
	var cur sendCursor
	p := b.peek(&cur, 0, n)
	out := bytes.Join(p[:], nil)
	b.ack(&cur, len(out))
	return out
}

func TestSendBuffer(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	b := NewSendBuffer(300_000, nil)
	wrote, read, acked := 0, 0, 0
	cur := new(sendCursor)
	for range 20_000 {
		switch rng.IntN(4) {
		case 0:
			n, err := b.TryWrite(stream(wrote, rng.IntN(1<<rng.IntN(18))))
			if wrote += n; err != nil {
				t.Fatal(err)
			}
		case 1:
			if n := min(rng.IntN(1<<17), wrote-read); n > 0 {
				p := b.peek(cur, read-acked, n)
				got := bytes.Join(p[:], nil)
				if len(got) == 0 || len(got) > n || !bytes.Equal(got, stream(read, len(got))) {
					t.Fatalf("peek of %d at %d: %d bytes, or wrong ones", n, read, len(got))
				}
				read += len(got)
			}
		case 3: // what was sent before is sent again
			if read > acked {
				off := rng.IntN(read - acked)
				p := b.peek(cur, off, read-acked-off)
				if got := bytes.Join(p[:], nil); len(got) == 0 || !bytes.Equal(got, stream(acked+off, len(got))) {
					t.Fatalf("peek at %d: %d bytes, or wrong ones", acked+off, len(got))
				}
			}
		case 2:
			n := rng.IntN(read - acked + 1)
			b.ack(cur, n)
			acked += n
		}
		if b.Buffered() != wrote-acked || b.Buffered() > 300_000 {
			t.Fatalf("%d buffered, want %d", b.Buffered(), wrote-acked)
		}
		if empty := b.head == nil; empty != (b.Buffered() == 0) {
			t.Fatalf("%d buffered, memory released: %v", b.Buffered(), empty)
		}
	}
}

// The last bytes of a super-segment may lie in the block after the next.
func TestPeekBlocks(t *testing.T) {
	b := NewSendBuffer(1<<20, nil)
	b.TryWrite(stream(0, 100)) // a small block
	b.TryWrite(stream(100, 3*largeBlock))
	p := b.peek(new(sendCursor), 0, 2*largeBlock)
	if n := len(p[0]) + len(p[1]); n != smallBlock+largeBlock {
		t.Errorf("%d bytes in two pieces", n)
	}
	if !bytes.Equal(bytes.Join(p[:], nil), stream(0, smallBlock+largeBlock)) {
		t.Error("wrong bytes")
	}
}

func TestSendBufferErrors(t *testing.T) {
	reset := errors.New("reset")
	for _, tt := range []struct {
		name string
		end  func(b *SendBuffer)
		want error
	}{
		{"Shut", func(b *SendBuffer) { b.Shut() }, syscall.EPIPE},
		{"fail", func(b *SendBuffer) { b.fail(reset) }, reset},
		{"fail twice", func(b *SendBuffer) { b.fail(reset); b.fail(net.ErrClosed) }, reset},
		{"fail after Shut", func(b *SendBuffer) { b.Shut(); b.fail(reset) }, reset},
		{"Close", func(b *SendBuffer) { b.Close() }, net.ErrClosed},
		{"deadline", func(b *SendBuffer) { b.SetDeadline(time.Unix(1, 0)) }, os.ErrDeadlineExceeded},
	} {
		t.Run(tt.name, func(t *testing.T) {
			// One that waits for space, and one that comes later.
			b := NewSendBuffer(1000, nil)
			type result struct {
				n   int
				err error
			}
			done, wrote := make(chan result), make(chan struct{}, 1)
			b.Notify = func() { wrote <- struct{}{} }
			go func() {
				n, err := b.Write(make([]byte, 1500))
				done <- result{n, err}
			}()
			<-wrote
			b.Notify = nil
			tt.end(b)
			if r := <-done; r.n != 1000 || !errors.Is(r.err, tt.want) {
				t.Errorf("waiting write took %d: %v", r.n, r.err)
			}
			if n, err := b.Write([]byte("x")); n != 0 || !errors.Is(err, tt.want) {
				t.Errorf("later write took %d: %v", n, err)
			}
			if n, err := b.Write(nil); n != 0 || tt.name != "deadline" && !errors.Is(err, tt.want) {
				t.Errorf("empty write: %d, %v", n, err)
			}
		})
	}
}

// A failed buffer keeps no memory, whoever is at it when it fails.
func TestFailReleases(t *testing.T) {
	b := NewSendBuffer(1<<20, nil)
	b.TryWrite(make([]byte, 100_000))
	b.mu.Lock()
	b.fail(syscall.ECONNRESET)
	if b.head == nil {
		t.Fatal("released under a writer's feet")
	}
	b.mu.Unlock()
	b.left()
	if b.head != nil || b.tail != nil {
		t.Error("not released when the writer left")
	}
}

func TestNotify(t *testing.T) {
	b := NewSendBuffer(1000, nil)
	told := 0
	b.Notify = func() { told++ }
	b.TryWrite([]byte("a"))
	b.TryWrite([]byte("b"))
	if told != 1 {
		t.Errorf("notified %d times before the engine looked", told)
	}
	b.look()
	b.TryWrite(nil)
	if told != 1 {
		t.Error("notified of nothing")
	}
	b.TryWrite([]byte("c"))
	if told != 2 {
		t.Errorf("notified %d times", told)
	}
}

// Writers and the engine at the same time, for the race detector: every byte
// arrives, in one piece for each write, and no wake is lost.
func TestSendBufferConcurrent(t *testing.T) {
	const writers, records, size = 4, 2000, 64
	b := NewSendBuffer(5000, nil)
	wake := make(chan struct{}, 1)
	b.Notify = func() {
		select {
		case wake <- struct{}{}:
		default:
		}
	}
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range records {
				rec := bytes.Repeat([]byte{byte(w), byte(i)}, size/2)
				if n, err := b.Write(rec); n != size || err != nil {
					t.Errorf("writer %d: %d, %v", w, n, err)
					return
				}
			}
		})
	}
	go func() {
		wg.Wait()
		b.Shut()
		b.Notify()
	}()
	var got []byte
	for {
		b.look()
		p := b.drain(777)
		got = append(got, p...)
		if len(p) > 0 {
			continue
		}
		if b.sealed() && b.Buffered() == 0 {
			break
		}
		<-wake
	}
	if len(got) != writers*records*size {
		t.Fatalf("%d bytes, want %d", len(got), writers*records*size)
	}
	var next [writers]byte
	for ; len(got) > 0; got = got[size:] {
		w := got[0]
		if !bytes.Equal(got[:size], bytes.Repeat([]byte{w, next[w]}, size/2)) {
			t.Fatalf("record %x", got[:size])
		}
		next[w]++
	}
	if b.head != nil {
		t.Error("memory not released")
	}
}
