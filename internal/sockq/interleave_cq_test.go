//go:build interleave

package sockq

import (
	"net"
	"syscall"
	"testing"

	"github.com/zctap/zctap/internal/buf"
	"github.com/zctap/zctap/internal/interleave"
	"github.com/zctap/zctap/internal/interleave/atomic"
)

// A feed is a source and what it has to give.
type feed struct {
	*Source
	published atomic.Int64
	taken     int64 // the consumer's
}

func feeds(cq *CQ, n int) (fs []*feed) {
	for _, s := range newSources(cq, n) {
		fs = append(fs, &feed{Source: s})
	}
	return fs
}

// put publishes one more.
func (f *feed) put(cq *CQ) {
	f.published.Add(1)
	f.Raise()
	cq.Flush()
}

// visit takes one, if there is one, from the feed that s is.
func visit(fs []*feed, s *Source) (again bool) {
	f := fs[s.UserData()]
	if n := f.published.Load(); f.taken < n {
		f.taken++
		return f.taken < n
	}
	return false
}

func total(fs []*feed) (n int64) {
	for _, f := range fs {
		n += f.taken
	}
	return n
}

// Two raise their sources while the consumer visits them: nothing that was published stays there.
func TestInterleaveCQ(t *testing.T) {
	interleave.Explore(t, 2, func(x *interleave.Execution) {
		cq := NewCQ()
		fs := feeds(cq, 2)
		x.Go("a", func() { fs[0].put(cq); fs[0].put(cq) })
		x.Go("b", func() { fs[1].put(cq) })
		x.Go("consumer", func() {
			for total(fs) < 3 {
				if err := cq.Next(func(s *Source) (again, more bool) { return visit(fs, s), true }); err != nil {
					x.Error(err)
				}
			}
		})
	})
}

// The engine fails, or the queue is closed, while the consumer waits: if it fails what was raised
// comes first.
func TestInterleaveCQEnds(t *testing.T) {
	for name, c := range map[string]struct {
		end  func(cq *CQ)
		want error
		all  bool
	}{
		"fail":  {func(cq *CQ) { cq.Fail(syscall.EIO) }, syscall.EIO, true},
		"close": {func(cq *CQ) { cq.Close() }, net.ErrClosed, false},
	} {
		t.Run(name, func(t *testing.T) {
			interleave.Explore(t, 3, func(x *interleave.Execution) {
				cq := NewCQ()
				fs := feeds(cq, 1)
				x.Go("engine", func() {
					fs[0].put(cq)
					c.end(cq)
				})
				x.Go("consumer", func() {
					var err error
					for err == nil {
						err = cq.Next(func(s *Source) (again, more bool) { return visit(fs, s), true })
					}
					if err != c.want || c.all && total(fs) != 1 {
						x.Errorf("%v, behind %d of 1", err, total(fs))
					}
				})
			})
		})
	}
}

// A handler is set while the engine dispatches, perhaps one waits in Next, and something is raised, or was
// left before: the handler gets that, or Next does, and the engine sleeps only when neither has to.
func TestInterleaveHandle(t *testing.T) {
	for _, c := range []struct {
		name  string
		next  bool // somebody is in Next
		left  bool // of two sources that were raised before, Next has left one
		later bool // nothing is raised before Handle has returned
	}{
		{"alone", false, false, false},
		{"left", false, true, false},
		{"beside Next", true, false, false},
		{"later beside Next", true, false, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			interleave.Explore(t, 2, func(x *interleave.Execution) {
				cq := NewCQ()
				fs := feeds(cq, 3)
				all := int64(1)
				kicked, inside, handled := false, false, false
				cq.OnKick(func() { kicked = true })
				enter := func(s *Source) (again, more bool) {
					if inside {
						x.Error("two consumers at once")
					}
					inside = true
					again = visit(fs, s)
					inside = false
					return again, true
				}
				if c.left {
					all = 2
					for _, f := range fs[1:] {
						f.put(cq)
					}
					if err := cq.Next(func(s *Source) (again, more bool) { return visit(fs, s), false }); err != nil {
						x.Fatal(err)
					}
				}
				x.Go("engine", func() {
					if interleave.Await(func() bool { return handled || !c.later }); !c.left {
						fs[0].put(cq)
					}
					for total(fs) < all {
						kicked = false
						// No thread that there is: each goroutine is the same one's here.
						if cq.Dispatch(-1); cq.Ready() {
							interleave.Yield() // somebody has the lock
							continue
						}
						interleave.Await(func() bool { return kicked || total(fs) == all })
					}
				})
				x.Go("application", func() {
					if err := cq.Handle(&Handler{Visit: enter, Deliver: func() {}}); err != nil {
						x.Error(err)
					}
					handled = true
				})
				if c.next {
					x.Go("consumer", func() {
						if err := cq.Next(enter); err != nil && err != syscall.EBUSY {
							x.Error(err)
						}
					})
				}
			})
		})
	}
}

// A handler is taken away while the engine dispatches: what it has left comes by Next.
func TestInterleaveHandleNil(t *testing.T) {
	interleave.Explore(t, 3, func(x *interleave.Execution) {
		cq := NewCQ()
		fs := feeds(cq, 1)
		cq.OnKick(func() {})
		ended := false
		h := &Handler{Deliver: func() {}, Visit: func(s *Source) (again, more bool) {
			if ended {
				x.Error("the handler runs, of which Handle has said that it does not")
			}
			return visit(fs, s), false
		}}
		if err := cq.Handle(h); err != nil {
			x.Fatal(err)
		}
		x.Go("engine", func() {
			fs[0].put(cq)
			cq.Dispatch(-1)
			fs[0].put(cq)
			cq.Dispatch(-1)
		})
		x.Go("application", func() {
			if err := cq.Handle(nil); err != nil {
				x.Error(err)
			}
			ended = true
			for total(fs) < 2 {
				if err := cq.Next(func(s *Source) (again, more bool) { return visit(fs, s), true }); err != nil {
					x.Error(err)
				}
			}
		})
	})
}

// A datagram and an error come while a consumer blocks: it is told of each once.
func TestInterleaveDatagrams(t *testing.T) {
	interleave.Explore(t, 3, func(x *interleave.Execution) {
		e := newEngine(x, 2)
		q := NewDatagrams(e.p)
		f := e.frag(10)
		x.Go("engine", func() {
			q.Push(Message{Len: 10}, []buf.Frag{f})
			q.Publish()
			q.Fail(syscall.ECONNREFUSED)
		})
		x.Go("consumer", func() {
			datagrams, failures := 0, 0
			for datagrams+failures < 2 {
				var dst [2]buf.Iov
				var msgs [2]Message
				n, iovs, err := q.Recv(dst[:], msgs[:])
				e.p.Return(dst[:iovs])
				if datagrams += n; err == syscall.ECONNREFUSED {
					failures++
				} else if err != nil {
					x.Error(err)
				}
			}
			if datagrams != 1 || failures != 1 {
				x.Errorf("%d datagrams, %d failures", datagrams, failures)
			}
		})
	})
}

// A listener is closed, or its engine fails, while connections come and one is accepted: each is
// accepted or drained.
func TestInterleaveBacklog(t *testing.T) {
	for name, end := range map[string]func(b *Backlog[int]) error{
		"close": func(b *Backlog[int]) error { b.Close(); return net.ErrClosed },
		"abort": func(b *Backlog[int]) error { b.Abort(syscall.EIO); return syscall.EIO },
	} {
		t.Run(name, func(t *testing.T) {
			interleave.Explore(t, 3, func(x *interleave.Execution) {
				b := NewBacklog[int]()
				accepted, drained := 0, 0
				var got, want error
				x.Go("engine", func() {
					b.Push(1)
					b.Push(2)
					want = end(b)
					b.Drain(func(c int) { drained += c })
				})
				x.Go("acceptor", func() {
					for got == nil {
						var c int
						if c, got = b.Accept(); got == nil && c == 0 {
							x.Error("no connection, and no error")
						}
						accepted += c
					}
				})
				x.Cleanup(func() {
					if accepted+drained != 3 || got != want {
						x.Errorf("%d accepted, %d drained, and %v, want %v", accepted, drained, got, want)
					}
				})
			})
		})
	}
}
