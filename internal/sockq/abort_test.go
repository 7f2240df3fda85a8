package sockq

import (
	"errors"
	"testing"
	"testing/synctest"

	"github.com/zctap/zctap/internal/buf"
)

var errBroken = errors.New("the engine is broken")

// TestAbort: whoever waits is told why, whoever comes later, and who is armed; and
// what was not taken is dropped, though nobody has closed anything.
func TestAbort(t *testing.T) { synctest.Test(t, testAbort) }

func testAbort(t *testing.T) {
	e := newEngine(t, 8)
	stream, datagrams, backlog := NewQueue(e.p), NewDatagrams(e.p), NewBacklog[int]()
	recv := map[string]func() error{
		"stream":    func() error { _, err := stream.Recv(make([]buf.Iov, 1), 1); return err },
		"datagrams": func() error { _, _, err := datagrams.Recv(make([]buf.Iov, 1), make([]Message, 1)); return err },
		"backlog":   func() error { _, err := backlog.Accept(); return err },
	}
	abort := func() (dropped int) {
		backlog.Abort(errBroken)
		return stream.Abort(errBroken) + datagrams.Abort(errBroken)
	}
	ended := make(chan error, len(recv))
	for _, f := range recv {
		go func() { ended <- f() }()
	}
	synctest.Wait()
	if n := abort(); n != 0 {
		t.Errorf("dropped %d of nothing", n)
	}
	for range cap(ended) {
		if err := <-ended; err != errBroken {
			t.Errorf("a call that waited: %v", err)
		}
	}
	for name, f := range recv {
		if err := f(); err != errBroken {
			t.Errorf("%s, later: %v", name, err)
		}
	}

	stream, datagrams, backlog = NewQueue(e.p), NewDatagrams(e.p), NewBacklog[int]()
	stream.Push(e.frag(30))
	stream.Publish()
	stream.Push(e.frag(40)) // not published
	datagrams.Push(Message{Len: 5}, e.frags(5))
	datagrams.Publish()
	datagrams.Push(Message{Len: 6}, e.frags(6))
	backlog.Push(7)
	cq := NewCQ()
	armed := []*Source{&stream.Source, &datagrams.Source, &backlog.Source}
	for i, s := range armed {
		s.Arm(cq, uint64(i))
	}
	if n := abort(); n != 72 {
		t.Errorf("dropped %d bytes and datagrams, want 70 and 2", n)
	}
	if c, err := e.p.Census(); err != nil || c.Out() != 0 {
		t.Errorf("census %+v, %v", c, err)
	}
	cq.Fail(errBroken)
	raised := make([]int, len(armed))
	var err error
	for err == nil {
		err = cq.Next(func(s *Source) (again, more bool) {
			raised[s.UserData()]++
			return false, true
		})
	}
	if err != errBroken || raised[0] != 1 || raised[1] != 1 || raised[2] != 1 {
		t.Errorf("Next: %v; raised %v", err, raised)
	}
	if _, _, _, err := stream.Poll(make([]buf.Iov, 1), 1); err != errBroken {
		t.Errorf("Poll: %v", err)
	}
	if _, _, more, err := datagrams.Poll(make([]buf.Iov, 1), make([]Message, 1)); err != errBroken || more {
		t.Errorf("Poll of datagrams: more %v, %v", more, err)
	}
	if _, ok, more, err := backlog.Poll(); err != errBroken || ok || more {
		t.Errorf("Poll of the backlog: %v, more %v, %v", ok, more, err)
	}
	var left []int
	backlog.Drain(func(c int) { left = append(left, c) })
	if len(left) != 1 || left[0] != 7 {
		t.Errorf("drained %v", left)
	}
}
