package sim

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"github.com/zctap/zctap/internal/mono"
	"github.com/zctap/zctap/internal/pattern"
)

// A Kind is what the applications at both ends of a connection do.
type Kind uint8

// The kinds of flows.
const (
	// Transfer: both send at once, each closes its direction when it has.
	Transfer Kind = iota
	// Request: the one that connected sends and closes its direction; the other
	// answers when it has seen the end, over the half that is open.
	Request
	// Echo: the one that connected sends messages, and waits for each to come
	// back.
	Echo
	// Reset: as Transfer, but one side aborts on the way.
	Reset
	// Leave: as Transfer, but one side closes on the way, with data unread or
	// not.
	Leave

	kinds = iota
)

func (k Kind) String() string {
	return [...]string{"transfer", "request", "echo", "reset", "leave"}[k]
}

// breaks reports whether the connection may end before all was delivered.
func (k Kind) breaks() bool { return k >= Reset }

// mourning is how long a side goes on after the other has broken the connection,
// whose last word may have been lost.
const mourning = 3 * time.Minute

// A Plan is what happens on one connection.
type Plan struct {
	Kind    Kind
	From    int // the host that connects
	Start   time.Duration
	Bytes   [2]int64 // what each side sends, by host
	Message int64    // of an Echo, bytes
	Breaker int      // of a Reset or Leave, the host that does it
	After   int64    // having sent and received as many bytes
	Write   [2]int   // most bytes of a Write, by host
	Read    [2]int   // most bytes of a Read
	Pause   [2]float64
	PauseBy time.Duration
	Keep    [2]float64       // probability that a Read keeps its views
	Stall   [2]time.Duration // until when a side keeps all views that it gets
}

// stream is what all flows send, each from another place on.
var stream = sync.OnceValue(func() *pattern.Pattern { return pattern.New(6) })

// flow is a connection under way.
type flow struct {
	world *world
	plan  *Plan
	port  uint16
	rand  *rand.Rand
	sides [2]side // by host
	dials int
}

// mostDials is how often a connection is tried. A path that loses three SYNs of ten and corrupts
// one of ten of the others lets all eight of one call fail in one of 3,000.
const mostDials = 4

// side is the application at one end.
type side struct {
	conn   Conn
	base   int64 // of what it sends, in the stream
	sent   int64
	got    int64
	shut   bool // it has closed its direction
	eof    bool
	kept   bool // Read may have kept views
	closed bool
	asleep mono.Time
	broken mono.Time // when the other one broke the connection
}

func newFlow(w *world, i int) (*flow, error) {
	f := &flow{world: w, plan: &w.sc.Flows[i], port: uint16(1000 + i), rand: rand.New(rand.NewPCG(w.sc.Seed, uint64(i)))}
	for k := range f.sides {
		f.sides[k].base = int64(2*i+k) << 32
	}
	to := 1 - f.plan.From
	err := w.hosts[to].Listen(f.port, func(c Conn) { f.sides[to].conn = c })
	return f, err
}

func (f *flow) done() bool { return f.sides[0].closed && f.sides[1].closed }

func (f *flow) String() string {
	return fmt.Sprintf("%v at %v\n  %v\n  %v", f.plan.Kind, f.world.now.Sub(start), &f.sides[0], &f.sides[1])
}

func (s *side) String() string {
	return fmt.Sprintf("connected %v, sent %d, received %d, shut %v, EOF %v, closed %v", s.conn != nil, s.sent, s.got, s.shut, s.eof, s.closed)
}

// next is when the applications do something of their own, 0 for never.
func (f *flow) next(now mono.Time) (t mono.Time) {
	if f.sides[f.plan.From].conn == nil {
		return start.Add(f.plan.Start)
	}
	for i := range f.sides {
		s := &f.sides[i]
		if s.broken != 0 && !s.closed && !now.Before(s.asleep) {
			t = earlier(t, s.broken.Add(mourning))
		}
		if s.conn == nil || s.closed {
			continue
		}
		switch {
		case now.Before(s.asleep):
			t = earlier(t, s.asleep)
		case s.kept:
			t = earlier(t, max(now.Add(time.Millisecond), start.Add(f.plan.Stall[i])))
		}
	}
	return t
}

// step has both applications do what they can; busy says that they did something.
func (f *flow) step(now mono.Time) (busy bool, err error) {
	if from := &f.sides[f.plan.From]; from.conn == nil {
		if now.Before(start.Add(f.plan.Start)) {
			return false, nil
		}
		to := 1 - f.plan.From
		f.dials++
		from.conn, err = f.world.hosts[f.plan.From].Dial(now, netip.AddrPortFrom(f.world.sc.addr(to), f.port))
		return true, err
	}
	for i := range f.sides {
		s := &f.sides[i]
		if s.conn == nil && f.sides[1-i].closed {
			f.missed(now, s)
		}
		if s.conn == nil || s.closed || now.Before(s.asleep) {
			continue
		}
		b, err := f.act(now, i)
		if f.unanswered(i, err) && f.dials < mostDials {
			*s = side{base: s.base}
			return true, nil
		}
		if err != nil {
			return b, fmt.Errorf("host %d's application: %w", i, err)
		}
		busy = busy || b
	}
	return busy, nil
}

// unanswered reports whether err says to side i that its call was not answered.
func (f *flow) unanswered(i int, err error) bool {
	return errors.Is(err, syscall.ETIMEDOUT) && i == f.plan.From && f.sides[1-i].conn == nil
}

// missed is for a side to which no connection came before the other broke it: after
// a time none will.
func (f *flow) missed(now mono.Time, s *side) {
	if s.broken == 0 {
		s.broken = now
	}
	s.closed = !now.Before(s.broken.Add(mourning))
}

// act is one side's turn.
func (f *flow) act(now mono.Time, i int) (busy bool, err error) {
	s, other, p := &f.sides[i], &f.sides[1-i], f.plan
	if p.Kind.breaks() && p.Breaker == i && s.sent+s.got >= p.After {
		return true, f.breakUp(now, i)
	}
	if other.closed && p.Kind.breaks() && s.broken == 0 {
		s.broken = now
	}
	n, err := f.write(i)
	if err == nil {
		var k int
		k, err = f.read(i)
		n += k
	}
	switch {
	case errors.Is(err, errWrong):
		return true, err
	case errors.Is(err, io.EOF):
		s.eof = true
		n++ // what is due may have changed
	case err != nil && p.Kind.breaks() && other.closed:
		s.closed = true
		return true, s.conn.Close(now)
	case err != nil:
		return true, err
	}
	if !s.shut && s.sent == f.due(i) && f.mayShut(i) {
		s.shut = true
		s.conn.CloseWrite(now)
		return true, nil
	}
	if s.eof && !p.Kind.breaks() && s.got != p.Bytes[1-i] {
		return true, fmt.Errorf("%w: end after %d bytes of %d", errWrong, s.got, p.Bytes[1-i])
	}
	switch {
	case s.shut && s.eof, s.eof && p.Kind.breaks():
		s.closed = true
		return true, s.conn.Close(now)
	case s.broken != 0 && !now.Before(s.broken.Add(mourning)):
		s.closed = true
		return true, s.conn.Abort(now)
	}
	if f.rand.Float64() < p.Pause[i] {
		s.asleep = now.Add(time.Duration(f.rand.Int64N(int64(p.PauseBy) + 1)))
	}
	return n > 0, nil
}

// breakUp ends the connection from side i, in the way that the plan has it.
func (f *flow) breakUp(now mono.Time, i int) error {
	s := &f.sides[i]
	s.closed = true
	if f.plan.Kind == Reset {
		return s.conn.Abort(now)
	}
	return s.conn.Close(now)
}

// due is how much side i is to have sent by now.
func (f *flow) due(i int) int64 {
	p, s := f.plan, &f.sides[i]
	switch {
	case p.Kind == Request && i != p.From && !s.eof:
		return 0
	case p.Kind == Echo && i == p.From: // one message ahead
		return min(p.Bytes[i], s.got/p.Message*p.Message+p.Message)
	case p.Kind == Echo:
		return s.got
	}
	return p.Bytes[i]
}

// mayShut reports whether side i, having sent what is due, has sent all.
func (f *flow) mayShut(i int) bool { return f.sides[i].sent == f.plan.Bytes[i] }

func (f *flow) write(i int) (int, error) {
	s := &f.sides[i]
	n := min(f.due(i)-s.sent, int64(1+f.rand.IntN(f.plan.Write[i])))
	if n <= 0 || s.shut {
		return 0, nil
	}
	p := make([]byte, n)
	stream().Fill(p, s.base+s.sent)
	k, err := s.conn.Write(p)
	s.sent += int64(k)
	return k, err
}

var errWrong = errors.New("wrong")

func (f *flow) read(i int) (int, error) {
	s, from := &f.sides[i], &f.sides[1-i]
	verify := func(off int64, b []byte) error {
		if end := off + int64(len(b)); end > from.sent {
			return fmt.Errorf("%w: %d bytes received of %d sent", errWrong, end, from.sent)
		}
		if bad := stream().Mismatches(b, from.base+off); bad > 0 {
			return fmt.Errorf("%w: %d bytes of the %d from %d on", errWrong, bad, len(b), off)
		}
		return nil
	}
	stalled := f.world.now.Before(start.Add(f.plan.Stall[i]))
	if s.kept && !stalled && f.rand.IntN(4) == 0 {
		s.kept = false
		if err := s.conn.Release(verify); err != nil {
			return 0, fmt.Errorf("%w: %w", errWrong, err)
		}
	}
	if s.eof {
		return 0, nil
	}
	keep := stalled || f.rand.Float64() < f.plan.Keep[i]
	n, err := s.conn.Read(1+f.rand.IntN(f.plan.Read[i]), keep, verify)
	s.got += int64(n)
	if n > 0 && s.got == f.plan.Bytes[1-i] && f.world.sc.Arrived != nil {
		f.world.sc.Arrived(f.world.now.Sub(start))
	}
	s.kept = (s.kept || n > 0) && keep && err == nil
	return n, err
}
