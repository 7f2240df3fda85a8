package packet

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// patience is how long a packet may take that may come at any time.
const patience = 30 * time.Second

// timerSlack is the part of its time that a timer may be late, one in that many:
// what the kernel's timer wheel rounds up (kernel/time/timer.c).
const timerSlack = 7

// A Runner does a script on a target.
type Runner struct {
	target Target
	script *Script
	world  world
	vars   map[string]int64

	flows map[int]*flow
	flow  *flow

	sockets map[string]*socket

	last    time.Duration // of the last event
	lastIn  []byte        // what was injected last
	lastOut []byte        // what the stack sent last
	// fragmented is the packets that were injected in fragments.
	fragmented uint16
	trace      []string
	traceAll   io.Writer // nil: none
}

// A Failure is what a script's run came to, if not to its end.
type Failure struct {
	Script string
	Line   int
	Err    error
	// Timing: it would have come out right had it been earlier or later.
	Timing bool
	// Trace is what happened before, a line each.
	Trace []string
}

// Error tells it with the last of what happened.
func (f *Failure) Error() string {
	const lines = 20
	t := f.Trace[max(0, len(f.Trace)-lines):]
	return fmt.Sprintf("%s:%d: %v\n%s", f.Script, f.Line, f.Err, strings.Join(t, "\n"))
}

// Unwrap is the reason alone.
func (f *Failure) Unwrap() error { return f.Err }

// NewRunner makes a Runner over a target that speaks the IP version family. Trace,
// if not nil, is told of everything that happens, as it happens.
func NewRunner(s *Script, target Target, family int, trace io.Writer) *Runner {
	r := &Runner{
		target: target, script: s, world: worlds[family],
		vars:     map[string]int64{"max": int64(s.Config.MTU - 40)},
		flows:    map[int]*flow{1: newFlow(1)},
		sockets:  map[string]*socket{},
		traceAll: trace,
	}
	if family == 6 {
		r.vars["max"] -= 20
	}
	r.flow = r.flows[1]
	return r
}

// Run does the script. An error is a *Failure. The target stays open, and so do the
// sockets that the script did not close: they are the target's.
func (r *Runner) Run() error {
	line := 0
	for i := range r.script.Events {
		e := &r.script.Events[i]
		if e.Where != Everywhere && whereNames[e.Where] != r.target.Name() {
			continue
		}
		line = e.Line
		if err := r.do(e); err != nil {
			return r.failure(line, err)
		}
	}
	if err := r.nothing(r.target.Now(), "when the script ends"); err != nil {
		return r.failure(line, err)
	}
	return nil
}

func (r *Runner) failure(line int, err error) *Failure {
	f := &Failure{Script: r.script.Name, Line: line, Err: err, Trace: r.trace}
	_, f.Timing = err.(*timingError)
	return f
}

// timingError says that something was too early or too late.
type timingError struct{ what string }

func (e *timingError) Error() string { return e.what }

func untimely(format string, args ...any) error {
	return &timingError{fmt.Sprintf(format, args...)}
}

// note adds a line to the trace.
func (r *Runner) note(at time.Duration, format string, args ...any) {
	s := stamp(at) + "  " + fmt.Sprintf(format, args...)
	r.trace = append(r.trace, s)
	if r.traceAll != nil {
		fmt.Fprintln(r.traceAll, s)
	}
}

func (r *Runner) do(e *Event) error {
	switch {
	case e.Packet != nil && e.Packet.Expected:
		return r.expect(e)
	case e.Quiet > 0:
		if err := r.nothing(r.last+e.Quiet, fmt.Sprintf("within %v", e.Quiet)); err != nil {
			return err
		}
		r.last = r.target.Now()
		return nil
	}
	if err := r.target.Sleep(r.last + e.When.Lo); err != nil {
		return err
	}
	r.last = r.target.Now()
	switch {
	case e.Packet != nil:
		r.note(r.last, "%v", e)
		return r.inject(e.Packet)
	case e.Call != nil:
		return r.call(e)
	}
	return r.change(e.Flow)
}

// change switches the flow, or gives it new sequence numbers.
func (r *Runner) change(c *FlowChange) error {
	if c.ISN != nil {
		n, err := r.resolve(*c.ISN)
		if err != nil {
			return err
		}
		r.flow.ours = seqOf(n)
		r.flow.learned = false
		return nil
	}
	if r.flows[c.Number] == nil {
		r.flows[c.Number] = newFlow(c.Number)
	}
	r.flow = r.flows[c.Number]
	return nil
}

// resolve is the number that v stands for.
func (r *Runner) resolve(v Value) (int64, error) {
	if v.Name == "" {
		return v.Lo, nil
	}
	base, ok := r.vars[v.Name]
	if !ok {
		return 0, fmt.Errorf("%s has no value yet: it gets one from a packet that is expected", v.Name)
	}
	return base + v.Lo, nil
}

// nothing fails if the stack sends something until then.
func (r *Runner) nothing(until time.Duration, when string) error {
	sent, err := r.target.Next(until)
	if err != nil || sent == nil {
		return err
	}
	got, err := dissect(sent)
	if err != nil {
		return err
	}
	r.note(got.at, "%v", got.pattern(r.flow))
	return untimely("nothing was to come %s, got\n        %v", when, got.pattern(r.flow))
}
