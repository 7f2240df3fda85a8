//go:build linux

package hostnet

import (
	"fmt"
	"net/netip"
	"sync"
)

// Kind is what an Event tells of.
type Kind uint8

// What can change.
const (
	AddressAdded        Kind = iota + 1 // Prefix is usable now
	AddressRemoved                      // Prefix is not any more
	AddressChanged                      // Prefix became deprecated, or preferred again
	LinkUp                              // up and running
	LinkDown                            // not any more
	MTUChanged                          // see Host.MTU
	HardwareAddrChanged                 // see Host.HardwareAddr
	Renamed                             // see Host.Name
	Deleted                             // the last event of all
	RoutesChanged                       // anything that lookups of routes depend on
	NeighborChanged                     // Neighbor is new, or has another MAC or State
	NeighborRemoved                     // Neighbor was as it says
)

var kindNames = [...]string{
	AddressAdded: "address added", AddressRemoved: "address removed", AddressChanged: "address changed",
	LinkUp: "link up", LinkDown: "link down", MTUChanged: "MTU changed",
	HardwareAddrChanged: "hardware address changed", Renamed: "renamed", Deleted: "deleted",
	RoutesChanged: "routes changed", NeighborChanged: "neighbor changed", NeighborRemoved: "neighbor removed",
}

func (k Kind) String() string {
	if int(k) < len(kindNames) && kindNames[k] != "" {
		return kindNames[k]
	}
	return fmt.Sprintf("event %d", uint8(k))
}

// An Event says what has changed.
type Event struct {
	Kind     Kind
	Prefix   netip.Prefix // of Address events: the address and its subnet's length
	Neighbor Neighbor     // of Neighbor events
}

func (e Event) String() string {
	switch {
	case e.Prefix.IsValid():
		return e.Kind.String() + ": " + e.Prefix.String()
	case e.Neighbor.Addr.IsValid():
		return e.Kind.String() + ": " + e.Neighbor.String()
	}
	return e.Kind.String()
}

// listeners are the functions that want to know. The lock is held while they
// run, so that none runs once its stop function has returned.
type listeners struct {
	mu   sync.Mutex
	next int
	list []listener
}

type listener struct {
	id int
	f  func(Event)
}

// OnChange has f called for each change from now on, until stop is called,
// which waits for a call that is under way. Who needs to know how things are
// looks after OnChange has returned.
//
// f is called on the goroutine that follows the kernel, one event at a time,
// when lookups show the change already. It must not block for long, nor call
// OnChange, stop or Close. What changed and changed back before we looked, or
// while notifications were lost, is not told.
func (h *Host) OnChange(f func(Event)) (stop func()) {
	l := &h.listeners
	l.mu.Lock()
	defer l.mu.Unlock()
	l.next++
	id := l.next
	l.list = append(l.list, listener{id, f})
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		for i, x := range l.list {
			if x.id == id {
				l.list = append(l.list[:i:i], l.list[i+1:]...)
				return
			}
		}
	}
}

// tell calls the listeners.
func (l *listeners) tell(events []Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range events {
		for _, x := range l.list {
			x.f(e)
		}
	}
}
