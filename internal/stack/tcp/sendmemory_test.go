package tcp

import (
	"bytes"
	"errors"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// inLine is the line of writers.
func (m *sendMemory) inLine() (line []*SendBuffer) {
	for b := m.first; b != nil; b = b.behind {
		line = append(line, b)
	}
	return line
}

// Writers who find no memory wait in the order in which they came, whoever gives up
// makes room for the next, and in the end all is given back.
func TestSendMemoryLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &sendMemory{limit: 2*largeBlock + 100}
		greedy := NewSendBuffer(1<<20, m)
		if n, err := greedy.TryWrite(make([]byte, 5*largeBlock)); n != 2*largeBlock || err != nil {
			t.Fatalf("took %d, %v", n, err)
		}
		if line := m.inLine(); len(line) != 0 {
			t.Fatalf("who does not wait is in line: %v", line)
		}
		// Each has a small block, and wants a large one.
		results := make(chan int)
		wait := func(b *SendBuffer, name, n int) {
			go func() {
				if _, err := b.Write(make([]byte, n)); err == nil {
					results <- name
				} else if errors.Is(err, os.ErrDeadlineExceeded) {
					results <- -name
				}
			}()
			synctest.Wait()
		}
		var b [4]*SendBuffer
		for i := range b {
			b[i] = NewSendBuffer(1<<20, m)
			wait(b[i], i+1, smallBlock+1000)
			if got := b[i].Buffered(); got != smallBlock {
				t.Errorf("%d bytes in the block that each may have", got)
			}
		}
		if line := m.inLine(); len(line) != 4 || line[0] != b[0] || line[3] != b[3] || m.used.Load() != 2*largeBlock || m.waits.Load() != 4+1 {
			t.Fatalf("line %v, %d used, %d waits", line, m.used.Load(), m.waits.Load())
		}
		b[1].SetDeadline(time.Now().Add(time.Second))
		if got := <-results; got != -2 {
			t.Fatalf("%d is through", got)
		}
		greedy.drain(largeBlock)
		if got := <-results; got != 1 {
			t.Fatalf("%d is through, want the first in line", got)
		}
		greedy.drain(largeBlock) // the last one is released with the buffer
		if got := <-results; got != 3 {
			t.Fatalf("%d is through, want the next that still waits", got)
		}
		if line := m.inLine(); len(line) != 1 || line[0] != b[3] {
			t.Fatalf("line %v", line)
		}
		// Its own small block, acknowledged, helps the last one, too.
		if got := b[3].drain(smallBlock); len(got) != smallBlock {
			t.Fatal(len(got))
		}
		if got := <-results; got != 4 {
			t.Fatalf("%d is through", got)
		}
		for i := range b {
			for b[i].Buffered() > 0 {
				b[i].drain(1 << 20)
			}
		}
		if used, line := m.used.Load(), m.inLine(); used != 0 || len(line) != 0 || m.waiting.Load() != 0 {
			t.Errorf("%d bytes used, line %v", used, line)
		}
	})
}

// Many connections write to few blocks of memory: all get through, what arrives is
// what was written, and never is more in use than there is.
func TestSendMemoryConcurrent(t *testing.T) {
	const writers, size = 10, 256 << 10
	for _, blocks := range []int64{0, 1, 3} {
		m := &sendMemory{limit: blocks * largeBlock}
		var all [writers]*SendBuffer
		var wg sync.WaitGroup
		for i := range all {
			all[i] = NewSendBuffer(1<<20, m)
			wg.Go(func() {
				p := stream(i, size)
				for len(p) > 0 {
					n := min(len(p), 1000+i*10_000)
					if k, err := all[i].Write(p[:n]); k != n || err != nil {
						t.Errorf("writer %d: %d, %v", i, k, err)
						return
					}
					p = p[n:]
				}
			})
		}
		var got [writers]int
		for left := writers; left > 0 && !t.Failed(); {
			if used := m.used.Load(); used > m.limit {
				t.Fatalf("%d bytes used of %d", used, m.limit)
			}
			for i, b := range all {
				p := b.drain(30_000)
				if !bytes.Equal(p, stream(i+got[i], len(p))) {
					t.Fatalf("stream %d differs from byte %d on", i, got[i])
				}
				if got[i] += len(p); len(p) > 0 && got[i] == size {
					left--
				}
			}
		}
		wg.Wait()
		if used, line := m.used.Load(), m.inLine(); used != 0 || len(line) != 0 {
			t.Errorf("%d blocks: %d bytes used in the end, line %v", blocks, used, line)
		}
		if m.waits.Load() == 0 {
			t.Errorf("%d blocks: nobody had to wait", blocks)
		}
	}
}

// What fails leaves the line, and gives its memory to those who wait.
func TestSendMemoryFail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &sendMemory{limit: largeBlock}
		a, b := NewSendBuffer(1<<20, m), NewSendBuffer(1<<20, m)
		errs := make(chan error, 2)
		go func() { _, err := a.Write(make([]byte, 3*largeBlock)); errs <- err }()
		synctest.Wait()
		go func() { _, err := b.Write(make([]byte, largeBlock)); errs <- err }()
		synctest.Wait()
		if line := m.inLine(); len(line) != 2 {
			t.Fatalf("line %v", line)
		}
		a.fail(os.ErrInvalid)
		if err := <-errs; err != os.ErrInvalid {
			t.Error(err)
		}
		if err := <-errs; err != nil {
			t.Error(err)
		}
		b.fail(os.ErrInvalid)
		if used := m.used.Load(); used != 0 {
			t.Errorf("%d bytes used", used)
		}
	})
}
