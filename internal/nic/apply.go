//go:build linux

package nic

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Applied is a plan in force. Its methods may be called by any goroutine.
type Applied struct {
	iface   string
	queue   int
	steps   []Step
	manual  bool
	context *uint32 // of ours, that rules send to, or nil: they send to the queue
	// reverted is what was done about what others had left.
	reverted Report

	st store
	at place

	mu    sync.Mutex
	dev   device // nil once it was undone
	j     *journal
	flows map[Match]*steered
}

// steered is a rule that is there, and how many flows need it.
type steered struct {
	seq  int // its record's
	refs int
}

// teardownTime is how long to wait for a queue whose io_uring instance is being
// taken down, which the kernel does some time after the ring was closed. Tests
// shorten it.
var teardownTime = 5 * time.Second

// Prepare plans and applies. A queue that is bound to an io_uring instance it
// gives five seconds to become free: the kernel unbinds it a while after its
// process has ended.
func Prepare(iface string, want Want) (*Applied, error) {
	for deadline := time.Now().Add(teardownTime); ; time.Sleep(freePoll) {
		p, err := NewPlan(iface, want)
		again := onlyRing(err)
		if err == nil {
			var a *Applied
			if a, err = p.Apply(); err == nil {
				return a, nil
			}
			// Somebody was faster; there may be other queues.
			again = want.Queue == AnyQueue && IsObstacle(err, QueueBusy)
		}
		if !again || time.Now().After(deadline) {
			return nil, err
		}
	}
}

// onlyRing reports whether all that stands in the way is an io_uring instance on
// the queue that is nobody's who would have prepared it.
func onlyRing(err error) bool {
	var p *PlanError
	if !errors.As(err, &p) || len(p.Obstacles) != 1 {
		return false
	}
	return p.Obstacles[0].ring
}

// Apply makes the changes. Before that it reverts what ended processes left on
// the interface, and looks at everything again, for it may have changed since
// the plan was made: Steps says what was done. If one change fails, those before
// it are undone.
func (p *Plan) Apply() (*Applied, error) {
	if p.dev == nil {
		return nil, fmt.Errorf("nic: %s: the plan was applied or closed: %w", p.Interface, unix.EBADF)
	}
	if p.want.DryRun {
		return nil, fmt.Errorf("nic: %s: a dry run can't be applied: %w", p.Interface, unix.EINVAL)
	}
	a, err := p.apply()
	if err != nil {
		return nil, errors.Join(err, p.Close())
	}
	p.dev = nil // is a's now
	return a, nil
}

func (p *Plan) apply() (*Applied, error) {
	at := place{p.dev.netns(), p.Index}
	unlock, err := p.st.lock(at)
	if err != nil {
		return nil, err
	}
	defer unlock()
	all, err := p.st.list(at)
	if err != nil {
		return nil, err
	}
	live, dead := split(all)
	before := Report{Interface: p.Interface, Index: p.Index, Results: revert(p.dev, live, dead, teardownTime)}
	if err := finish(dead); err != nil {
		return nil, err
	}

	want := p.want
	want.Queue = p.Queue
	now, err := makePlan(p.dev, p.st, want, all)
	if err != nil {
		return nil, err
	}
	h, err := now.newHeader()
	if err != nil {
		return nil, fmt.Errorf("nic: %s: %w", p.Interface, err)
	}
	j, err := p.st.create(h)
	if err != nil {
		return nil, err
	}
	a := &Applied{
		iface: now.Interface, queue: now.Queue, manual: want.ManualSteering,
		reverted: before, st: p.st, at: at, dev: p.dev, j: j, flows: make(map[Match]*steered),
	}
	if err := a.makeAll(now.changes); err != nil {
		// The interface is put back, or its journal kept for the next to do it.
		results := revert(a.dev, live, []*journal{j}, 0)
		return nil, errors.Join(err, failures(a.iface, results), finish([]*journal{j}))
	}
	return a, nil
}

func (a *Applied) makeAll(changes []change) error {
	for _, c := range changes {
		if c.Rule != nil && c.Rule.Rule.Context != nil {
			c.Rule.Rule.Context = a.context
		}
		seq, err := a.make(c)
		if err != nil {
			return err
		}
		a.steps = append(a.steps, c.get().step(a.iface))
		switch {
		case c.Context != nil:
			a.context = c.Context.Created
		case c.Rule != nil:
			a.flows[c.Rule.Rule.Match] = &steered{seq: seq, refs: 1}
		}
	}
	return a.verify()
}

// make journals a change and makes it.
func (a *Applied) make(c change) (seq int, err error) {
	doing := c.get().step(a.iface).Setting
	if err := c.get().refresh(a.dev); err != nil {
		return 0, a.explain(doing, err)
	}
	if seq, err = a.j.add(c); err != nil {
		return 0, fmt.Errorf("nic: %s: %w", a.iface, err)
	}
	n, err := c.get().do(a.dev)
	if err == nil && n != nil {
		err = a.j.setNumber(seq, *n)
	}
	if err != nil {
		return seq, a.explain(doing, err)
	}
	return seq, nil
}

// explain adds what a plan would have said of an error.
func (a *Applied) explain(doing string, err error) error {
	o := &ObstacleError{Interface: a.iface, Queue: a.queue, Detail: fmt.Sprintf("%s: %v", doing, err), Err: err}
	switch {
	case errors.Is(err, unix.EEXIST) && doing == stepRule:
		o.Obstacle, o.Remedy = FlowConflict, "use another port, or delete that rule with ethtool -N"
	case errors.Is(err, unix.ENOSPC) && doing == stepRule:
		o.Obstacle, o.Remedy = RulesFull, "delete some: ethtool -n "+a.iface+" lists them"
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		o.Obstacle, o.Remedy = NoPermission, remedyPermission
	default:
		return fmt.Errorf("nic: %s queue %d: %s: %w", a.iface, a.queue, doing, err)
	}
	return o
}

// Interface is the name of the interface, as it was.
func (a *Applied) Interface() string { return a.iface }

// Index is the interface's index.
func (a *Applied) Index() int { return a.at.index }

// Queue is the receive queue that was prepared.
func (a *Applied) Queue() int { return a.queue }

// Steps are the changes that were made, those of flows that were added since
// not among them.
func (a *Applied) Steps() []Step { return slices.Clone(a.steps) }

// Reverted is what Apply did about the changes that ended processes had left. One
// that could not be undone then is tried again by Undo.
func (a *Applied) Reverted() Report { return a.reverted }

// Volatile says why the changes stay if the process is killed, or is nil if
// there is a journal that outlives it.
func (a *Applied) Volatile() error { return a.st.volatile() }

// Verify reads back all that the queue relies on. An error, which is
// unix.ESTALE, says what is no longer as it was set: somebody changed it, or the
// device has been reset.
func (a *Applied) Verify() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.dev == nil {
		return a.errUndone()
	}
	return a.verify()
}

// Drifted reads back what the kernel lets others change while the queue is bound, but for
// the rules, of which there may be many: the RSS table and the features. Errors are as
// those of Verify. The most telling one is the first: with the queue in the RSS table other
// programs' packets come to memory that they can't read.
func (a *Applied) Drifted() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.dev == nil {
		return a.errUndone()
	}
	var errs []error
	for _, key := range []string{keyRSS, keyFeature(FeatureRules), keyFeature(FeatureHWGRO)} {
		if !slices.Contains(a.j.header.Needs, key) {
			continue
		}
		if err := a.checkNeed(key); err != nil {
			errs = append(errs, fmt.Errorf("nic: %s queue %d: %s: %w", a.iface, a.queue, key, err))
		}
	}
	return errors.Join(errs...)
}

func (a *Applied) verify() error {
	var errs []error
	failed := func(setting string, err error) {
		if err != nil {
			errs = append(errs, fmt.Errorf("nic: %s queue %d: %s: %w", a.iface, a.queue, setting, err))
		}
	}
	for _, key := range a.j.header.Needs {
		failed(key, a.checkNeed(key))
	}
	for _, r := range a.j.pending() {
		switch c := r.Change; {
		case c.Rule != nil:
			failed(c.Rule.key(), c.Rule.check(a.dev))
		case c.Context != nil:
			failed(c.Context.key(), c.Context.check(a.dev))
		}
	}
	return errors.Join(errs...)
}

// checkNeed checks one of the settings that a plan needs.
func (a *Applied) checkNeed(key string) error {
	switch key {
	case keyChannels:
		s, err := inspect(a.dev)
		if err == nil && s.rxQueues() <= a.queue {
			err = fmt.Errorf("%d receive queues: %w", s.rxQueues(), unix.ESTALE)
		}
		return err
	case keyRings:
		r, err := a.dev.rings()
		if err == nil && !r.splitsAll() {
			err = fmt.Errorf("%v: %w", r, unix.ESTALE)
		}
		return err
	case keyRSS:
		return (&rssChange{Queue: a.queue}).check(a.dev)
	case keyFeature(FeatureRules):
		return (&featureChange{Name: FeatureRules, After: true}).check(a.dev)
	case keyFeature(FeatureHWGRO):
		return (&featureChange{Name: FeatureHWGRO, After: true}).check(a.dev)
	}
	return nil
}

func (a *Applied) errUndone() error {
	return fmt.Errorf("nic: %s queue %d: it was undone: %w", a.iface, a.queue, unix.EBADF)
}
