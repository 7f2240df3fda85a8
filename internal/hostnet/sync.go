//go:build linux

package hostnet

import (
	"errors"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// sync reads what is dirty and due, puts it where lookups find it together with
// what was notified of neighbors, and tells the listeners. What it could not read
// stays dirty and as it was.
func (w *watcher) sync() error {
	old := w.h.state.Load()
	next := *old
	err := errors.Join(
		w.read(&w.link, func() error { return w.readLink(&next) }),
		w.read(&w.routes, func() error { return w.readRoutes(&next) }),
		w.read(&w.neighbors, w.readNeighbors),
	)
	// What was notified while the neighbors were dumped comes on top of them.
	lost, pollErr := w.events.poll(w.notified)
	if lost {
		w.h.counters.overruns.Add(1)
		w.suspect()
	}
	events, raised := w.publish(old, &next)
	if raised {
		w.h.version.Add(1)
	}
	w.h.listeners.tell(events)
	return errors.Join(err, pollErr)
}

// read reads a table if it is due, and says when it may be the next time.
func (w *watcher) read(t *table, dump func() error) error {
	begin := time.Now()
	if !t.due(begin) {
		return nil
	}
	w.h.counters.dumps.Add(1)
	t.dirty = false
	err := dump()
	end := time.Now()
	t.notBefore = end.Add(rest * end.Sub(begin))
	switch {
	case err == nil:
		t.tries = 0
	case errors.Is(err, errInterrupted):
		// There will be another notification for what has interrupted it, but
		// not necessarily one that is for us.
		t.dirty = true
		err = nil
	default:
		t.dirty = true
		t.notBefore = end.Add(retryInterval)
	}
	return err
}

// settle decides about a dump that was interrupted: it is done again, but not
// for ever. Where everything changes all the time, what was read is better than
// what was read long ago.
func (w *watcher) settle(t *table, err error) error {
	if !errors.Is(err, errInterrupted) {
		return err
	}
	if t.tries++; t.tries < maxTries {
		return errInterrupted
	}
	t.tries = 0
	w.h.counters.failures.Add(1)
	return nil
}

// readLink reads the link and its addresses.
func (w *watcher) readLink(s *state) error {
	l, err := getLink(w.requests, w.h.index)
	if errors.Is(err, unix.ENODEV) {
		*s = *deletedState(s)
		w.link, w.routes, w.neighbors = table{}, table{}, table{}
		return nil
	}
	if err != nil {
		return err
	}
	addrs, err := getAddresses(w.requests, w.h.index)
	if err := w.settle(&w.link, err); err != nil {
		return err
	}
	s.link, s.addrs = l, addrs
	return nil
}

// readRoutes reads the routes and rules.
func (w *watcher) readRoutes(s *state) error {
	if s.link.deleted {
		return nil
	}
	r, ignored, err := getRoutes(w.requests, w.h.index)
	var policy bool
	if !fatal(err) {
		var e error
		policy, e = getPolicy(w.requests)
		err = outcome(err, e)
	}
	if err := w.settle(&w.routes, err); err != nil {
		return err
	}
	w.h.counters.ignoredRoutes.Add(ignored)
	s.routes, s.policy = r, policy
	return nil
}

// readNeighbors reads the neighbors.
func (w *watcher) readNeighbors() error {
	// What was notified before is in the dump, or outdated by what was lost.
	clear(w.heard)
	found, ignored, err := getNeighbors(w.requests, w.h.index)
	if err := w.settle(&w.neighbors, err); err != nil {
		return err
	}
	w.h.counters.ignoredNeighbors.Add(ignored)
	w.found = found
	return nil
}

// publish puts the new state and the neighbors where lookups find them. raised
// reports whether any lookup may answer differently.
func (w *watcher) publish(old, next *state) (events []Event, raised bool) {
	if !old.equal(next) {
		w.h.state.Store(next)
		events, raised = diff(old, next), true
	}
	if next.link.deleted {
		w.found, w.heard = map[netip.Addr]Neighbor{}, nil
	}
	more, changed := w.publishNeighbors()
	events = append(events, more...)
	if next.link.deleted && !old.link.deleted {
		events = append(events, Event{Kind: Deleted}) // nothing comes after it
	}
	return events, raised || changed
}

// diff lists what has changed, but for a deletion.
func diff(old, next *state) (events []Event) {
	add := func(changed bool, kind Kind) {
		if changed {
			events = append(events, Event{Kind: kind})
		}
	}
	add(old.link.up() && !next.link.up(), LinkDown)
	for i := range old.addrs {
		if a := &old.addrs[i]; a.usable() && !slices.ContainsFunc(next.addrs, a.same) {
			events = append(events, Event{Kind: AddressRemoved, Prefix: a.prefix})
		}
	}
	for i := range next.addrs {
		a := &next.addrs[i]
		if !a.usable() {
			continue
		}
		j := slices.IndexFunc(old.addrs, a.same)
		switch {
		case j < 0:
			events = append(events, Event{Kind: AddressAdded, Prefix: a.prefix})
		case old.addrs[j] != *a:
			events = append(events, Event{Kind: AddressChanged, Prefix: a.prefix})
		}
	}
	add(!old.routes.equal(&next.routes), RoutesChanged)
	if next.link.deleted {
		return events
	}
	add(old.link.mac != next.link.mac, HardwareAddrChanged)
	add(old.link.mtu != next.link.mtu, MTUChanged)
	add(old.link.name != next.link.name, Renamed)
	add(!old.link.up() && next.link.up(), LinkUp)
	return events
}

// same reports whether b is the same address and is used as well.
func (a *address) same(b address) bool { return a.prefix == b.prefix && a.usable() == b.usable() }

// publishNeighbors applies a dump, if there is one, and then what was notified.
func (w *watcher) publishNeighbors() (events []Event, raised bool) {
	t := &w.h.neighbors
	set := func(n Neighbor) {
		old, ok := t.set(n)
		if !ok {
			w.h.counters.ignoredNeighbors.Add(1)
			return
		}
		if old != n {
			events = append(events, Event{Kind: NeighborChanged, Neighbor: n})
			raised = raised || old.MAC != n.MAC || old.State.Usable() != n.State.Usable()
		}
	}
	remove := func(a netip.Addr) {
		if old, ok := t.remove(a); ok {
			events = append(events, Event{Kind: NeighborRemoved, Neighbor: old})
			raised = raised || old.State.Usable()
		}
	}
	if w.found != nil {
		for a, n := range w.heard {
			if n.gone {
				delete(w.found, a)
			} else {
				w.found[a] = n.Neighbor
			}
		}
		for _, n := range t.all() {
			if _, ok := w.found[n.Addr]; !ok {
				remove(n.Addr)
			}
		}
		for _, n := range w.found {
			set(n)
		}
	} else {
		for a, n := range w.heard {
			if n.gone {
				remove(a)
			} else {
				set(n.Neighbor)
			}
		}
	}
	w.found = nil
	clear(w.heard)
	return events, raised
}
