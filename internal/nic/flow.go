//go:build linux

package nic

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// AddFlow steers a flow to the queue. A flow that is added twice has to be
// removed twice. The error is an [ObstacleError] where a plan would have had one;
// then nothing has changed.
func (a *Applied) AddFlow(f Flow) error {
	matches, err := f.matches()
	if err != nil || a.manual {
		return err
	}
	return a.locked(func() error {
		for i, m := range matches {
			if err := a.addMatch(m); err != nil {
				for _, m := range matches[:i] {
					err = errors.Join(err, a.removeMatch(m))
				}
				return err
			}
		}
		return nil
	})
}

// RemoveFlow undoes one AddFlow, or one of Want's flows. A flow that was not
// added is unix.ENOENT. A rule that somebody else has changed or deleted
// meanwhile is left as it is.
func (a *Applied) RemoveFlow(f Flow) error {
	matches, err := f.matches()
	if err != nil || a.manual {
		return err
	}
	return a.locked(func() error {
		for _, m := range matches {
			if s := a.flows[m]; s == nil || s.refs == 0 {
				return fmt.Errorf("nic: %s queue %d: no flow %v: %w", a.iface, a.queue, f, unix.ENOENT)
			}
		}
		var errs []error
		for _, m := range matches {
			errs = append(errs, a.removeMatch(m))
		}
		return errors.Join(errs...)
	})
}

// Flows are those that are steered to the queue, one for each IP version.
func (a *Applied) Flows() []Flow {
	a.mu.Lock()
	defer a.mu.Unlock()
	var list []Flow
	for _, m := range slices.SortedFunc(maps.Keys(a.flows), func(x, y Match) int {
		return strings.Compare(x.String(), y.String())
	}) {
		if a.flows[m].refs > 0 {
			list = append(list, m.flow())
		}
	}
	return list
}

// flow is the flow of one IP version that the rule is for.
func (m Match) flow() Flow {
	addr := m.Addr
	switch {
	case addr.IsValid():
	case m.IPv6:
		addr = netip.IPv6Unspecified()
	default:
		addr = netip.IPv4Unspecified()
	}
	return Flow{m.Proto, netip.AddrPortFrom(addr, m.Port)}
}

// locked runs fn with the plan and the interface to itself.
func (a *Applied) locked(fn func() error) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.dev == nil {
		return a.errUndone()
	}
	unlock, err := a.st.lock(a.at)
	if err != nil {
		return err
	}
	defer unlock()
	return fn()
}

func (a *Applied) addMatch(m Match) error {
	if s := a.flows[m]; s != nil {
		s.refs++
		return nil
	}
	c := change{Rule: newRuleChange(m, a.queue, a.context)}
	seq, err := a.make(c)
	if err != nil {
		if seq > 0 {
			err = errors.Join(err, a.drop(seq, c))
		}
		return err
	}
	a.flows[m] = &steered{seq: seq, refs: 1}
	return nil
}

func (a *Applied) removeMatch(m Match) error {
	s := a.flows[m]
	if s.refs--; s.refs > 0 {
		return nil
	}
	// If the rule can't be deleted it stays known, with no references: AddFlow
	// takes it up again, Undo tries once more.
	r := a.j.record(s.seq)
	if err := a.drop(s.seq, r.Change); err != nil {
		return err
	}
	delete(a.flows, m)
	return nil
}

// drop undoes a rule.
func (a *Applied) drop(seq int, c change) error {
	o, _, err := c.Rule.undo(a.dev)
	if errors.Is(err, unix.ENODEV) {
		o, err = Vanished, nil
	}
	if o.final() {
		err = a.j.done(seq, o)
	}
	if err != nil {
		return fmt.Errorf("nic: %s queue %d: removing flow rule %v: %w", a.iface, a.queue, c.Rule.Rule.Match, err)
	}
	return nil
}
