package sim

import (
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/zctap/zctap/internal/buf"
	"github.com/zctap/zctap/internal/driver"
	"github.com/zctap/zctap/internal/driver/mem"
	"github.com/zctap/zctap/internal/mono"
)

// Bounds of one run: what needs more has come to a standstill that moves.
const (
	maxSteps = 5_000_000
	maxTime  = 200 * time.Hour
)

// start is the time at which simulations begin. Not 0, which is "never".
const start = mono.Time(time.Hour)

// ErrStandstill is why a run fails in which no host, no application and no frame
// has anything left to do or to wait for, though not all is done.
var ErrStandstill = errors.New("nothing will ever happen again")

// ErrEndless is the error of a run in which something happens for ever.
var ErrEndless = errors.New("it does not come to an end")

// A Maker makes host i, that is 0 or 1, on a driver.
type Maker func(i int, s Settings, p *buf.Pool, d driver.Driver) (Host, error)

// MakeLocal makes hosts with our stack.
func MakeLocal(_ int, s Settings, p *buf.Pool, d driver.Driver) (Host, error) {
	return NewLocal(s, p, d)
}

// A Result is what a run came to.
type Result struct {
	Elapsed time.Duration // in simulated time
	Steps   int
	Bytes   int64 // delivered and verified, both ways
	Lost    uint64

	// Datagrams sent, received and verified (copies, too), and refused for what an ICMP
	// error had said.
	Sent, Received, Refused int
}

// world is a run under way.
type world struct {
	sc    *Scenario
	now   mono.Time
	path  *Path
	hosts [2]Host
	flows []*flow
	udp   []*datagrams
	steps int
}

// Run plays sc. Whatever goes wrong is an error, a panic too; it says where, and
// the scenario's seed is all that is needed to see it again.
func Run(sc *Scenario, makeHost Maker) (r Result, err error) {
	w := &world{sc: sc, now: start}
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
		r.Elapsed, r.Steps = w.now.Sub(start), w.steps
		if err != nil {
			err = fmt.Errorf("after %v and %d steps: %w\n%s", r.Elapsed, r.Steps, err, w.describe())
		}
	}()
	if err := w.build(makeHost); err != nil {
		return r, err
	}
	if err := w.play(); err != nil {
		return r, err
	}
	for _, f := range w.flows {
		for i := range f.sides {
			r.Bytes += f.sides[i].got
		}
	}
	for _, d := range w.udp {
		r.Sent += len(d.sizes)
		r.Received += d.received
		r.Refused += d.refused
	}
	r.Lost = w.path.Lost()
	return r, errors.Join(w.hosts[0].Close(), w.hosts[1].Close(), w.path.Close())
}

func (w *world) build(makeHost Maker) error {
	var pools [2]*buf.Pool
	var wires [2]*mem.End
	sc := w.sc
	var err error
	w.path, err = NewPath(sc.Path, sc.Seed, func(i int, p mem.Config) (*mem.End, error) {
		s := &sc.Hosts[i]
		if pools[i], err = newPool(s.Buffers); err != nil {
			return nil, err
		}
		// What leaves the path for this host is what the other one's device sends.
		far := sc.Hosts[1-i].Wire(nil)
		p.MTU, p.MaxGSO, p.Offload, p.LinkHeader = far.MTU, far.MaxGSO, far.Offload, far.LinkHeader
		p.QueueFrames = sc.Queue
		c := s.Wire(pools[i])
		c.QueueFrames = sc.Queue
		end, inner, err := mem.Pipe(c, p)
		wires[i] = end
		return inner, err
	})
	if err != nil {
		return err
	}
	for i := range w.hosts {
		s := sc.Hosts[i]
		s.Prefixes = prefixes(i)
		if w.hosts[i], err = makeHost(i, s, pools[i], wires[i]); err != nil {
			return err
		}
	}
	for i := range sc.Flows {
		f, err := newFlow(w, i)
		if err != nil {
			return err
		}
		w.flows = append(w.flows, f)
	}
	for i := range sc.Datagrams {
		d, err := newDatagrams(w, i)
		if err != nil {
			return err
		}
		w.udp = append(w.udp, d)
	}
	return nil
}

// play steps until all is over.
func (w *world) play() error {
	quiet := 0 // steps in a row behind which nothing was left to wait for
	for w.steps = 1; ; w.steps++ {
		busy, err := w.step()
		if err != nil {
			return err
		}
		if w.done() {
			return nil
		}
		if busy {
			quiet = 0
			w.now = w.now.Add(5 * time.Microsecond)
		} else {
			next := w.next()
			if next == 0 {
				// Not at once: the application of a connection that a timer has just ended
				// has not looked at it since.
				if quiet++; quiet > 1 {
					return ErrStandstill
				}
			}
			w.now = max(w.now+1, next)
		}
		if w.steps > maxSteps || w.now.Sub(start) > maxTime {
			return ErrEndless
		}
	}
}

func (w *world) step() (busy bool, err error) {
	busy, err = w.path.Round(w.now)
	if err != nil {
		return false, fmt.Errorf("path: %w", err)
	}
	for i, f := range w.flows {
		b, err := f.step(w.now)
		if err != nil {
			return false, fmt.Errorf("flow %d: %w", i, err)
		}
		busy = busy || b
	}
	for i, d := range w.udp {
		b, err := d.step(w.now)
		if err != nil {
			return false, fmt.Errorf("datagrams %d: %w", i, err)
		}
		busy = busy || b
	}
	for i, h := range w.hosts {
		b, err := h.Round(w.now)
		if err == nil && w.steps%max(w.sc.CheckEvery, 1) == 0 {
			err = h.Check()
		}
		if err != nil {
			return false, fmt.Errorf("host %d: %w", i, err)
		}
		busy = busy || b
	}
	return busy, nil
}

func (w *world) done() bool {
	for _, f := range w.flows {
		if !f.done() {
			return false
		}
	}
	for _, d := range w.udp {
		if !d.done() {
			return false
		}
	}
	return w.hosts[0].Conns()+w.hosts[1].Conns() == 0
}

// next is when something will happen that is not under way, 0 for never.
func (w *world) next() mono.Time {
	t := w.path.Next(w.now)
	for _, h := range w.hosts {
		t = earlier(t, h.Next())
	}
	for _, f := range w.flows {
		t = earlier(t, f.next(w.now))
	}
	for _, d := range w.udp {
		t = earlier(t, d.due(w.now))
	}
	return t
}

func (w *world) describe() string {
	s := w.sc.String()
	for i, f := range w.flows {
		s += fmt.Sprintf("\nflow %d: %v", i, f)
	}
	for i, d := range w.udp {
		s += fmt.Sprintf("\ndatagrams %d: %v", i, d)
	}
	return s
}
