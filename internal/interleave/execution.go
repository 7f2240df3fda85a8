//go:build interleave

package interleave

import (
	"fmt"
	"iter"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
)

// maxTrace is how many steps a failure shows at most.
const maxTrace = 400

// An Execution is one schedule of a test's goroutines, and a testing.TB: what fails is the
// schedule, and Cleanup is for its end, when all goroutines have ended.
type Execution struct {
	testing.TB
	path        *path
	preemptions int // that are left
	threads     []*thread
	current     *thread // nil while body, or what it has left to Cleanup, runs
	memory      memory
	cleanups    []func()
	steps       int
	failure     string
	cut         bool // for want of preemptions somebody did not run who could have
	over        bool // goroutines that have not ended are to do so now
	traced      bool
	trace       []string // the last steps
}

// A thread is a goroutine of an Execution.
type thread struct {
	name  string
	next  func() (struct{}, bool) // runs it to its next point; false: it has ended
	stop  func()
	yield func(struct{}) bool
	ready func() bool // what it waits for; nil: nothing
	ended bool

	yields bool // it waits until another has done a step, or none can
}

// active is the execution that runs now, if one does.
var active *Execution

// running is the execution by which the caller runs, or nil: then it is no goroutine of one.
func running() *Execution {
	if active == nil || active.current == nil {
		return nil
	}
	return active
}

// An outcome is what came of an execution.
type outcome struct {
	failure string // empty: none
	steps   int
	cut     bool // see Execution
	path    *path
	trace   string
}

func (o *outcome) String() string {
	failure := o.failure
	if failure == "" {
		failure = "no failure"
	}
	return fmt.Sprintf("%s\nto run it again: ZCTAP_SCHEDULE=%q\n%s", failure, o.path, o.trace)
}

// execute runs one schedule.
func execute(t testing.TB, p *path, trace bool, body func(x *Execution)) *outcome {
	x := &Execution{TB: t, path: p, preemptions: p.preemptions, traced: trace}
	active = x
	defer func() { active = nil }()
	x.guard(func() { body(x) })
	if x.failure == "" {
		x.guard(x.schedule)
	}
	x.end()
	for _, f := range slices.Backward(x.cleanups) {
		x.guard(f)
	}
	return &outcome{failure: x.failure, steps: x.steps, cut: x.cut, path: p, trace: strings.Join(x.trace, "\n")}
}

// Go starts a goroutine. It is called by Explore's body only.
func (x *Execution) Go(name string, f func()) {
	th := &thread{name: name}
	th.next, th.stop = iter.Pull(func(yield func(struct{}) bool) {
		th.yield = yield
		x.guard(f)
	})
	x.threads = append(x.threads, th)
}

// aborted is what goroutines panic with that are to end.
type aborted struct{}

// guard calls f, and takes a panic as failure.
func (x *Execution) guard(f func()) {
	defer func() {
		switch v := recover().(type) {
		case nil, aborted:
		default:
			x.fail(fmt.Sprintf("panic: %v\n%s", v, debug.Stack()))
		}
	}()
	f()
}

// fail notes a failure, if it is the first and not of an end that was forced.
func (x *Execution) fail(what string) {
	if x.failure == "" && !x.over {
		x.failure = what
	}
}

// schedule runs the goroutines until all have ended, or something has failed.
func (x *Execution) schedule() {
	for _, th := range x.threads {
		x.step(th) // to its first point
	}
	var last *thread
	for x.failure == "" {
		can := x.enabled(last)
		if len(can) == 0 {
			if x.memory.settle(x) {
				continue // somebody may have waited for that
			}
			if x.unyield(nil) {
				continue
			}
			if waiting := x.waiting(); waiting != "" {
				x.fail("all wait that have not ended: " + waiting)
			}
			return
		}
		th := can[x.path.choose(len(can))]
		if th != last && can[0] == last {
			x.preemptions--
		}
		if x.steps++; x.steps > maxSteps {
			x.fail(fmt.Sprintf("%d steps, and no end of %s", maxSteps, th.name))
			return
		}
		x.step(th)
		x.unyield(th)
		last = th
	}
}

// unyield lets those go on that yield, all but one, and reports whether there were any.
func (x *Execution) unyield(but *thread) (any bool) {
	for _, th := range x.threads {
		if th.yields && th != but {
			th.yields, th.ready, any = false, nil, true
		}
	}
	return any
}

// enabled is the goroutines that can run: the one that ran last, if it can go on, and the others if
// a preemption is left, or none is needed.
func (x *Execution) enabled(last *thread) (can []*thread) {
	if last != nil && last.enabled() {
		can = append(can, last)
	}
	preempts := len(can) > 0
	for _, th := range x.threads {
		if th == last || !th.enabled() {
			continue
		}
		if preempts && x.preemptions == 0 {
			x.cut = true
			break
		}
		can = append(can, th)
	}
	return can
}

func (th *thread) enabled() bool { return !th.ended && (th.ready == nil || th.ready()) }

// waiting names the goroutines that have not ended.
func (x *Execution) waiting() string {
	var names []string
	for _, th := range x.threads {
		if !th.ended {
			names = append(names, th.name)
		}
	}
	return strings.Join(names, ", ")
}

// step runs th to its next point.
func (x *Execution) step(th *thread) {
	th.ready = nil
	x.current = th
	_, more := th.next()
	x.current = nil
	th.ended = !more
}

// end has all goroutines end that have not.
func (x *Execution) end() {
	x.memory.settle(x)
	x.over = x.failure != ""
	for _, th := range x.threads {
		x.current = th // its deferred calls are no part of the schedule: see pause
		th.stop()
	}
	x.current = nil
}

// pause lets another goroutine run before the caller's next operation, which op names.
func (x *Execution) pause(op string) {
	if x.over {
		return
	}
	th := x.current
	if !th.yield(struct{}{}) {
		x.over = true
		panic(aborted{})
	}
	if x.traced {
		if len(x.trace) == maxTrace {
			x.trace = append(x.trace[:0], x.trace[maxTrace/2:]...)
		}
		x.trace = append(x.trace, fmt.Sprintf("  %-10s %-24s %s", th.name, op, caller()))
	}
}

// caller is where the operation is.
func caller() string {
	var pcs [16]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(3, pcs[:])])
	for {
		f, more := frames.Next()
		if ours := strings.Contains(f.Function, "/internal/interleave") && !strings.HasSuffix(f.File, "_test.go"); !ours || !more {
			return fmt.Sprintf("%s:%d %s", f.File[strings.LastIndexByte(f.File, '/')+1:], f.Line, f.Function[strings.LastIndexByte(f.Function, '/')+1:])
		}
	}
}

// Cleanup has f called when all goroutines have ended, the last one first.
func (x *Execution) Cleanup(f func()) { x.cleanups = append(x.cleanups, f) }

// Failed reports whether the schedule has failed.
func (x *Execution) Failed() bool { return x.failure != "" }

// Helper does nothing: a failure has its schedule.
func (x *Execution) Helper() {}

// Error is Errorf for operands as of fmt.Sprintln.
func (x *Execution) Error(args ...any) {
	x.Errorf("%s", strings.TrimSuffix(fmt.Sprintln(args...), "\n"))
}

// Errorf fails the schedule.
func (x *Execution) Errorf(format string, args ...any) {
	x.fail(fmt.Sprintf("%s (%s)", fmt.Sprintf(format, args...), caller()))
}

// Fatal is Fatalf for operands as of fmt.Sprintln.
func (x *Execution) Fatal(args ...any) {
	x.Error(args...)
	x.FailNow()
}

// Fatalf fails the schedule, and ends the goroutine.
func (x *Execution) Fatalf(format string, args ...any) {
	x.Errorf(format, args...)
	x.FailNow()
}

// FailNow ends the goroutine, and the schedule, which has failed.
func (x *Execution) FailNow() {
	x.fail("FailNow")
	panic(aborted{})
}
