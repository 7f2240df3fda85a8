package sockq

import (
	"errors"
	"net"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/zctap/zctap/internal/buf"
)

// collector is a handler that notes the sources that it was given, in batches.
type collector struct {
	got     []int
	batch   []int
	batches int
	max     int    // sources in a batch
	during  func() // called by Deliver
}

func (c *collector) handler() *Handler {
	return &Handler{
		Visit: func(s *Source) (again, more bool) {
			c.batch = append(c.batch, int(s.UserData()))
			return false, len(c.batch) < c.max
		},
		Deliver: func() {
			c.got = append(c.got, c.batch...)
			c.batch = c.batch[:0]
			c.batches++
			if c.during != nil {
				c.during()
			}
		},
	}
}

// ok fails the test if err is one.
func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestDispatch: what was raised is in the handler's hands when Dispatch returns, in its
// order and in the caller's thread, and nobody was woken for it.
func TestDispatch(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cq := NewCQ()
	kicks := 0
	cq.OnKick(func() { kicks++ })
	s := newSources(cq, 10)
	s[3].Raise()
	cq.Nudge()
	if kicks != 0 || cq.Ready() {
		t.Errorf("%d kicks without a handler", kicks)
	}
	c := &collector{max: 4}
	c.during = func() {
		if CanHandle && !cq.Handling() {
			t.Error("the handler does not know that it is one")
		}
		done := make(chan bool)
		go func() { done <- cq.Handling() }()
		if <-done {
			t.Error("another goroutine is taken for the handler")
		}
	}
	ok(t, cq.Handle(c.handler()))
	if kicks != 1 || !cq.Ready() {
		t.Errorf("%d kicks for a handler when a source waits", kicks)
	}
	want := []int{3}
	for i := range s {
		if i != 3 {
			s[i].Raise()
			want = append(want, i)
		}
	}
	cq.Flush()
	if cq.Nudge(); kicks != 2 {
		t.Errorf("%d kicks", kicks)
	}
	cq.Dispatch(CurrentThread())
	if cq.Waiting() || !slices.Equal(c.got, want) || c.batches != 3 {
		t.Errorf("handled %v in %d batches", c.got, c.batches)
	}
	if cq.Ready() || cq.Handling() {
		t.Error("there is more to do")
	}
	if err := cq.Next(nil); err != syscall.EBUSY {
		t.Errorf("Next beside a handler: %v", err)
	}
}

// TestDispatchEnds: a handler that raises a source in each call does not keep the engine
// from all else, nor is it forgotten.
func TestDispatchEnds(t *testing.T) {
	cq := NewCQ()
	s := newSources(cq, 1)
	c := &collector{max: 4, during: func() { s[0].Raise() }}
	ok(t, cq.Handle(c.handler()))
	s[0].Raise()
	cq.Dispatch(CurrentThread())
	if c.batches != dispatchBatches || !cq.Ready() {
		t.Errorf("%d batches, ready: %v", c.batches, cq.Ready())
	}
	cq.Close()
	if cq.Dispatch(CurrentThread()); c.batches != dispatchBatches || cq.Ready() {
		t.Error("a handler is called after Close")
	}
	if err := cq.Handle(c.handler()); err != net.ErrClosed {
		t.Errorf("Handle after Close: %v", err)
	}
}

// TestHandlerEndsItself: what the handler leaves is the next one's, or Next's.
func TestHandlerEndsItself(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cq := NewCQ()
	s := newSources(cq, 5)
	second := &collector{max: 1}
	second.during = func() { ok(t, cq.Handle(nil)) }
	first := &collector{max: 2}
	first.during = func() { ok(t, cq.Handle(second.handler())) }
	ok(t, cq.Handle(first.handler()))
	for i := range s {
		s[i].Raise()
	}
	if CanHandle {
		cq.Dispatch(CurrentThread())
		if got := slices.Concat(first.got, second.got, next(t, cq, 9)); !slices.Equal(got, []int{0, 1, 2, 3, 4}) || len(second.got) != 1 {
			t.Errorf("handled %v, by the second %v", got, second.got)
		}
	}
}

// TestDispatchFailure: the handler gets what is left when the engine fails.
func TestDispatchFailure(t *testing.T) {
	cq := NewCQ()
	s := newSources(cq, 3)
	c := &collector{max: 1}
	ok(t, cq.Handle(c.handler()))
	for i := range s {
		s[i].Raise()
	}
	why := errors.New("gone")
	cq.Fail(why)
	if !slices.Equal(c.got, []int{0, 1, 2}) {
		t.Errorf("handled %v", c.got)
	}
	if err := cq.Handle(c.handler()); err != why || cq.Failure() != why {
		t.Errorf("Handle after Fail: %v", err)
	}
	ok(t, cq.Handle(nil))
	if err := cq.Next(nil); err != why {
		t.Errorf("Next after Fail: %v", err)
	}
}

// TestHandleWhileFailing: a handler that comes while the engine fails, which does not see
// it any more, is refused, and what is left is for Next.
func TestHandleWhileFailing(t *testing.T) {
	cq := NewCQ()
	s := newSources(cq, 2)
	c := &collector{max: 4}
	why := errors.New("gone")
	cq.mu.Lock() // as by a consumer
	refused := make(chan error)
	go func() { refused <- cq.Handle(c.handler()) }()
	for !cq.Handled() {
		runtime.Gosched()
	}
	for i := range s {
		s[i].Raise()
	}
	cq.Fail(why)
	cq.mu.Unlock()
	if err := <-refused; err != why || cq.Handled() || len(c.got) != 0 {
		t.Fatalf("Handle: %v, %v handled", err, c.got)
	}
	if got := next(t, cq, 9); !slices.Equal(got, []int{0, 1}) {
		t.Errorf("Next brings %v", got)
	}
	if err := cq.Next(nil); err != why {
		t.Errorf("the next Next: %v", err)
	}
}

// TestDispatchNextToReceiver: a goroutine that blocks in Recv since before the queue was
// armed, and is to be woken by the engine's thread, does not block that; what it leaves
// comes to the handler.
func TestDispatchNextToReceiver(t *testing.T) {
	e := newEngine(t, 8)
	q := NewQueue(e.p)
	cq := NewCQ()
	var kicked atomic.Int32
	cq.OnKick(func() { kicked.Add(1) })
	var got []int
	h := &Handler{Deliver: func() {}, Visit: func(*Source) (again, more bool) {
		iovs := make([]buf.Iov, 4)
		n, bytes, more, _ := q.Poll(iovs, 1<<20)
		e.p.Return(iovs[:n])
		if n > 0 {
			got = append(got, bytes)
		}
		return more, true
	}}
	ok(t, cq.Handle(h))
	kicked.Store(0)
	received := make(chan int)
	go func() {
		iovs := make([]buf.Iov, 1)
		n, err := q.Recv(iovs, 1)
		if err != nil || n != 1 {
			t.Errorf("Recv: %d, %v", n, err)
		}
		e.p.Return(iovs)
		received <- n
	}()
	for !q.Waiting() {
		runtime.Gosched()
	}
	q.Arm(cq, 1)
	var wakes Wakes
	q.Push(e.p.Frag(e.alloc(), 0, 100))
	q.PublishTo(&wakes)
	cq.Dispatch(CurrentThread())
	if len(got) != 0 || kicked.Load() != 0 {
		t.Errorf("handled %v beside one who receives, %d kicks", got, kicked.Load())
	}
	wakes.Wake()
	<-received
	if kicked.Load() != 1 {
		t.Errorf("%d kicks for what Recv has left", kicked.Load())
	}
	if cq.Dispatch(CurrentThread()); !slices.Equal(got, []int{99}) {
		t.Errorf("handled %v, after Recv has taken 1 byte of 100", got)
	}
	q.Close()
}

// TestDispatchOfSeveralThreads: sources of several threads of an engine, each of which
// dispatches what any has raised. The handler runs once at a time, and when all are
// done nothing is left.
func TestDispatchOfSeveralThreads(t *testing.T) {
	const threads, each = 4, 5000
	cq := NewCQ()
	var inside atomic.Bool
	var published [threads]atomic.Int64
	var taken [threads]int64
	h := &Handler{
		Visit: func(s *Source) (again, more bool) {
			i := s.UserData()
			// One at a time, and with more to give as long as it lags behind.
			if taken[i] < published[i].Load() {
				taken[i]++
			}
			return taken[i] < published[i].Load(), true
		},
		Deliver: func() {
			if inside.Swap(true) {
				t.Error("the handler is called by two at once")
			}
			runtime.Gosched()
			inside.Store(false)
		},
	}
	ok(t, cq.Handle(h))
	s := newSources(cq, threads)
	var wg sync.WaitGroup
	for i := range threads {
		wg.Go(func() {
			runtime.LockOSThread()
			for range each {
				published[i].Add(1)
				s[i].Raise()
				cq.Flush()
				cq.Dispatch(CurrentThread())
			}
			// As before a sleep: whoever else is at it takes care.
			for cq.Ready() {
				cq.Dispatch(CurrentThread())
			}
		})
	}
	wg.Wait()
	for i := range taken {
		if taken[i] != each {
			t.Errorf("source %d: %d of %d", i, taken[i], each)
		}
	}
}

// TestDispatchAllocates nothing, once the list of sources has its length.
func TestDispatchAllocates(t *testing.T) {
	cq := NewCQ()
	s := newSources(cq, 64)
	h := &Handler{Visit: func(*Source) (again, more bool) { return false, true }, Deliver: func() {}}
	ok(t, cq.Handle(h))
	if n := testing.AllocsPerRun(1000, func() {
		for i := range s {
			s[i].Raise()
		}
		cq.Flush()
		cq.Dispatch(CurrentThread())
	}); n != 0 {
		t.Errorf("%v allocations a batch", n)
	}
}
