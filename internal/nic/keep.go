//go:build linux

package nic

import (
	"errors"
	"fmt"
	"slices"
	"sync"

	"golang.org/x/sys/unix"
)

// GenericXDP are the features that the kernel turns off on an interface, and does
// not turn on again, when an XDP program is attached to it in generic mode
// (generic_xdp_install): both put packets together before the program would see
// them.
var GenericXDP = []string{FeatureHWGRO, FeatureLRO}

// noQueue is the queue of changes that are not about one.
const noQueue = -1

// A Kept puts features back that were on. Its methods may be called by any
// goroutine.
type Kept struct {
	mu sync.Mutex
	a  *Applied // nil: there is nothing to put back, or it was

	volatile error
}

// Keep is called before something that turns features of an interface off, such
// as those of [GenericXDP]: it writes those that are wanted, and can be changed,
// to a journal. Undo turns them on again. If the process is killed [Restore] does,
// and so does the next Keep or [Prepare] of the interface. The interface is one of
// the thread's network namespace. journalDir is as in [Want].
//
// Keep itself changes nothing but what ended processes have left.
func Keep(index int, features []string, journalDir string) (*Kept, error) {
	st, d, err := openWith(journalDir, func() (device, error) { return openIndex(index) })
	if err != nil {
		return nil, err
	}
	a, err := keep(d, st, features)
	if a == nil {
		err = errors.Join(err, d.close())
	}
	if err != nil {
		return nil, err
	}
	return &Kept{a: a, volatile: st.volatile()}, nil
}

// keep returns nil if there is nothing to keep.
func keep(d device, st store, features []string) (*Applied, error) {
	l, err := d.link()
	if err != nil {
		return nil, fmt.Errorf("nic: %w", err)
	}
	at := place{d.netns(), l.Index}
	changes, err := turnedOff(d, features)
	if err != nil {
		return nil, err
	}
	if len(changes) == 0 {
		// On most interfaces: then not even a lock is left on the disk.
		if left, err := st.places(at.netns); err != nil || !slices.Contains(left, at.index) {
			return nil, err
		}
	}
	unlock, err := st.lock(at)
	if err != nil {
		return nil, err
	}
	defer unlock()
	all, err := st.list(at)
	if err != nil {
		return nil, err
	}
	live, dead := split(all)
	before := Report{Interface: l.Interface, Index: l.Index, Results: revert(d, live, dead, teardownTime)}
	if err := finish(dead); err != nil {
		return nil, err
	}
	// What has just been reverted is on again.
	if changes, err = turnedOff(d, features); len(changes) == 0 || err != nil {
		return nil, err
	}
	driver, err := d.driver()
	if err != nil {
		return nil, fmt.Errorf("nic: %s: %w", l.Interface, err)
	}
	h, err := (&Plan{Interface: l.Interface, Index: l.Index, Driver: driver, Queue: noQueue, dev: d}).newHeader()
	if err != nil {
		return nil, fmt.Errorf("nic: %s: %w", l.Interface, err)
	}
	j, err := st.create(h)
	if err != nil {
		return nil, err
	}
	for _, c := range changes {
		if _, err := j.add(c); err != nil {
			return nil, errors.Join(fmt.Errorf("nic: %s: %w", l.Interface, err), j.out.remove())
		}
	}
	return &Applied{iface: l.Interface, queue: noQueue, reverted: before, st: st, at: at, dev: d, j: j}, nil
}

// Undo turns the features on again, but for those that somebody else has set
// meanwhile. Call it when what turned them off is gone. If it fails it may be
// called again; after success it does nothing.
func (k *Kept) Undo() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.a == nil {
		return nil
	}
	if _, err := k.a.Undo(); err != nil {
		return err
	}
	k.a = nil
	return nil
}

// Pending reports whether there is something for Undo to do, which needs
// CAP_NET_ADMIN then.
func (k *Kept) Pending() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.a != nil
}

// Volatile says why the features stay off if the process is killed, or is nil if
// there is a journal that outlives it.
func (k *Kept) Volatile() error { return k.volatile }

// turnedOff are the changes that are going to be made to features that are on.
func turnedOff(d device, features []string) (changes []change, err error) {
	now, err := d.features()
	if errors.Is(err, unix.EOPNOTSUPP) {
		return nil, nil // nobody can turn on or off what the kernel does not tell
	}
	if err != nil {
		return nil, fmt.Errorf("nic: %w", err)
	}
	for _, name := range features {
		if f := now[name]; f.Changeable && f.Wanted {
			changes = append(changes, change{Feature: &featureChange{Name: name, Before: true, After: false, Wanted: true}})
		}
	}
	return changes, nil
}
