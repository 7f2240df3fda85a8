package sockq

import (
	"errors"
	"net"
	"os"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

func TestBacklogOrder(t *testing.T) {
	b := NewBacklog[int]()
	for i := range 100 {
		b.Push(i)
	}
	for i := range 50 {
		if b.Len() != 100-i {
			t.Fatalf("Len is %d, want %d", b.Len(), 100-i)
		}
		if c, err := b.Accept(); c != i || err != nil {
			t.Fatalf("Accept: %d, %v; want %d", c, err, i)
		}
	}
	for i := 50; i < 100; i++ {
		c, ok, more, err := b.Poll()
		if c != i || !ok || more != (i < 99) || err != nil {
			t.Fatalf("Poll: %d, %v, %v, %v; want %d", c, ok, more, err, i)
		}
	}
	if _, ok, more, err := b.Poll(); ok || more || err != nil {
		t.Fatalf("Poll of an empty backlog: %v, %v, %v", ok, more, err)
	}
}

func TestBacklogWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBacklog[int]()
		type result struct {
			c   int
			err error
		}
		results := make(chan result, 1)
		accept := func() {
			go func() { c, err := b.Accept(); results <- result{c, err} }()
			synctest.Wait()
		}
		accept()
		b.Push(1)
		if r := <-results; r != (result{1, nil}) {
			t.Fatalf("%+v", r)
		}
		b.SetDeadline(time.Now().Add(time.Minute))
		accept()
		if r := <-results; !errors.Is(r.err, os.ErrDeadlineExceeded) {
			t.Fatalf("%+v", r)
		}
		b.SetDeadline(time.Time{})
		accept()
		b.Close()
		if r := <-results; !errors.Is(r.err, net.ErrClosed) {
			t.Fatalf("%+v", r)
		}
		if _, _, _, err := b.Poll(); !errors.Is(err, net.ErrClosed) {
			t.Fatalf("Poll: %v", err)
		}
	})
}

func TestBacklogArmed(t *testing.T) {
	b, cq := NewBacklog[int](), NewCQ()
	b.Owner = 9
	b.Arm(cq, 9)
	b.Push(1)
	b.Push(2)
	if _, err := b.Accept(); !errors.Is(err, syscall.EBUSY) {
		t.Fatalf("Accept while armed: %v", err)
	}
	if got := next(t, cq, 10); !slices.Equal(got, []int{9}) {
		t.Fatalf("visited %v", got)
	}
	if c, ok, more, _ := b.Poll(); c != 1 || !ok || !more {
		t.Fatal("Poll")
	}
	b.Disarm()
	if c, err := b.Accept(); c != 2 || err != nil {
		t.Fatalf("Accept: %d, %v", c, err)
	}
}

func TestBacklogDrain(t *testing.T) {
	b := NewBacklog[int]()
	for i := range 40 {
		b.Push(i)
	}
	if _, err := b.Accept(); err != nil {
		t.Fatal(err)
	}
	b.Arm(NewCQ(), 1)
	b.Close()
	if b.Armed() {
		t.Fatal("armed after Close")
	}
	var left []int
	b.Drain(func(c int) { left = append(left, c) })
	if len(left) != 39 || left[0] != 1 || left[38] != 39 || b.Len() != 0 {
		t.Fatalf("drained %v", left)
	}
	b.Drain(func(int) { t.Error("drained twice") })
}

// TestBacklogForgets: a connection that was accepted is not kept alive by the
// backlog.
func TestBacklogForgets(t *testing.T) {
	b := NewBacklog[*[1 << 16]byte]()
	gone := make(chan struct{})
	func() { // its variables are gone when it returns
		c := new([1 << 16]byte)
		runtime.AddCleanup(c, func(int) { close(gone) }, 0)
		b.Push(c)
	}()
	if _, err := b.Accept(); err != nil {
		t.Fatal(err)
	}
	runtime.GC()
	select {
	case <-gone:
	case <-time.After(time.Minute):
		t.Fatal("still reachable")
	}
	runtime.KeepAlive(b)
}

// TestBacklogAcceptors has several goroutines that accept: each connection goes
// to one of them.
func TestBacklogAcceptors(t *testing.T) {
	n := 20_000
	if testing.Short() {
		n /= 20
	}
	b := NewBacklog[int]()
	var acceptors sync.WaitGroup
	got := make([][]int, 4)
	for k := range got {
		acceptors.Go(func() {
			for {
				c, err := b.Accept()
				if err != nil {
					if !errors.Is(err, net.ErrClosed) {
						t.Error(err)
					}
					return
				}
				got[k] = append(got[k], c)
			}
		})
	}
	for i := range n {
		b.Push(i)
	}
	for b.Len() > 0 {
		runtime.Gosched()
	}
	b.Close()
	acceptors.Wait()
	all := slices.Concat(got...)
	slices.Sort(all)
	if len(all) != n || all[0] != 0 || all[n-1] != n-1 || len(slices.Compact(all)) != n {
		t.Fatalf("%d of %d connections accepted", len(all), n)
	}
}
