//go:build linux

package lab

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/zctap/zctap/lab/internal/guest"
)

// A session is the runner's end of the port to the agent. What comes out of
// the port is hostile: each frame is checked against what was asked for, and
// what is kept of them is bounded. One goroutine takes the frames (serve), and
// it alone writes to the jobs and steps that are running.
type session struct {
	out   *guest.Writer
	ready chan guest.Hello // gets one
	ctx   context.Context  // for handlers of events
	wg    sync.WaitGroup   // of them
	hello bool             // serve's

	mu     sync.Mutex
	jobs   map[uint16]*job
	steps  map[uint16]*step // those of the jobs
	lastID uint16           // of a job
	nextID uint16           // of a step
	events map[uint16]bool  // that have no answer yet
	ended  bool             // nobody takes frames any more
}

func newSession(ctx context.Context, port io.Writer) *session {
	return &session{
		out: guest.NewWriter(port), ready: make(chan guest.Hello, 1), ctx: ctx,
		jobs: make(map[uint16]*job), steps: make(map[uint16]*step), nextID: 1,
		events: make(map[uint16]bool),
	}
}

// register enters a job, and gives it and its steps numbers.
func (s *session) register(j *Job, g *guest.Job, names []string) (*job, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return nil, ErrClosed
	}
	if s.lastID == 1<<16-1 || int(s.nextID)+len(names) > 1<<16-1 {
		return nil, errors.New("lab: the machine has run too many jobs: start another")
	}
	s.lastID++
	g.ID, g.First = s.lastID, s.nextID
	jb := newJob(j, g, names)
	s.jobs[g.ID] = jb
	for _, st := range jb.steps {
		s.steps[s.nextID] = st
		s.nextID++
	}
	return jb, nil
}

// serve takes frames until the port is closed or broken (nil), which means that
// QEMU has ended, or the guest breaks the protocol or gives up. Then all jobs are
// at their end.
func (s *session) serve(port io.Reader) error {
	in := guest.NewReader(bufio.NewReaderSize(port, 128<<10), true)
	var err error
	for err == nil {
		var f guest.Frame
		if f, err = in.Next(); err == nil {
			err = s.take(f)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	for _, j := range s.jobs {
		s.finish(j, errGone)
	}
	if errors.Is(err, ErrProtocol) || errors.Is(err, ErrGuest) {
		return err
	}
	return nil
}

// finish takes a job off the books. The lock is held.
func (s *session) finish(j *job, err error) {
	delete(s.jobs, j.id)
	for i := range j.steps {
		delete(s.steps, j.first+uint16(i))
	}
	j.end(err)
}

// violation is the error of a frame that can't be.
func violation(f guest.Frame, format string, args ...any) error {
	return fmt.Errorf("frame of kind %d for %d: %s: %w", f.Kind, f.ID, fmt.Sprintf(format, args...), ErrProtocol)
}

// take takes one frame.
func (s *session) take(f guest.Frame) error {
	switch {
	case f.Kind == guest.KindFatal:
		return fmt.Errorf("%w: %s", ErrGuest, printable(string(f.Payload)))
	case s.hello == (f.Kind == guest.KindHello):
		return violation(f, "out of order")
	}
	switch f.Kind {
	case guest.KindHello:
		return s.greet(f)
	case guest.KindEvent:
		return s.event(f)
	case guest.KindFile, guest.KindFileData, guest.KindDone:
		s.mu.Lock()
		j := s.jobs[f.ID]
		s.mu.Unlock()
		if j == nil {
			return violation(f, "there is no such job")
		}
		if f.Kind != guest.KindDone {
			return j.file(f)
		}
		failed, err := j.done(f)
		if err == nil {
			s.mu.Lock()
			s.finish(j, failed)
			s.mu.Unlock()
		}
		return err
	}
	s.mu.Lock()
	st := s.steps[f.ID]
	s.mu.Unlock()
	if st == nil || st.exited {
		return violation(f, "there is no such step")
	}
	return st.take(f)
}

// greet takes the agent's first frame.
func (s *session) greet(f guest.Frame) error {
	var h guest.Hello
	if err := f.Decode(&h); err != nil {
		return err
	}
	if h.Version != guest.Version {
		return violation(f, "the agent speaks version %d and this is %d: build it anew", h.Version, guest.Version)
	}
	h.Release = printable(h.Release)
	s.hello = true
	s.ready <- h
	return nil
}

// event starts the handler of an event.
func (s *session) event(f guest.Frame) error {
	var e guest.Event
	if err := f.Decode(&e); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.events) == guest.MaxEvents || s.events[f.ID] || len(e.Data) > guest.MaxEventData {
		return violation(f, "%d events wait, and this has %d bytes", len(s.events), len(e.Data))
	}
	s.events[f.ID] = true
	ev := Event{Name: e.Name, Data: e.Data}
	var handlers []handler
	if st := s.steps[e.Step]; st != nil {
		ev.Step = st.res.Name
		handlers = append(handlers, st.job.OnEvent)
	} else {
		for _, j := range s.jobs {
			handlers = append(handlers, j.OnEvent)
		}
	}
	s.wg.Go(func() {
		reply := answer(s.ctx, handlers, ev)
		s.mu.Lock()
		delete(s.events, f.ID)
		s.mu.Unlock()
		// If the port is broken the machine is at its end, and says why itself.
		_ = s.out.Message(guest.KindReply, f.ID, reply)
	})
	return nil
}

// A handler is a Job's OnEvent.
type handler func(context.Context, Event) ([]byte, error)

// answer calls the handlers of an event, and takes the last one's answer.
func answer(ctx context.Context, handlers []handler, e Event) guest.Reply {
	var reply guest.Reply
	for _, handle := range handlers {
		if handle == nil {
			continue
		}
		data, err := handle(ctx, e)
		if err == nil && len(data) > guest.MaxEventData {
			err = fmt.Errorf("the answer has %d bytes, %d are possible", len(data), guest.MaxEventData)
		}
		if err != nil {
			return guest.Reply{Error: err.Error()[:min(len(err.Error()), 4<<10)]}
		}
		reply.Data = data
	}
	return reply
}
