//go:build linux

package hostnet

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// auditInterval is when everything is looked at anew though nothing was
	// heard: not every change of the kernel's routes is notified.
	auditInterval = time.Minute
	// retryInterval is the pause after a dump that failed.
	retryInterval = 500 * time.Millisecond
	// maxTries is how often a dump that is interrupted by changes is tried before
	// its result is good enough.
	maxTries = 8
	// rest is how many times as long as a dump took the next one is put off.
	rest = 10
)

// options are what tests vary.
type options struct {
	receiveBuffer int           // bytes; 0: receiveBuffer
	audit         time.Duration // 0: auditInterval
}

// table is one of the kernel's tables, or what is dumped together with it.
type table struct {
	dirty     bool
	notBefore time.Time // to be dumped again
	tries     int       // that were interrupted
}

// due reports whether the table is to be dumped now.
func (t *table) due(now time.Time) bool { return t.dirty && !now.Before(t.notBefore) }

// watcher is the part of a Host that follows the kernel. It belongs to one
// goroutine.
type watcher struct {
	h        *Host
	events   *events
	requests *conn

	link, routes, neighbors table
	audit                   time.Time
	auditEvery              time.Duration

	// heard is what was last notified of each neighbor, and not applied yet.
	heard map[netip.Addr]notice
	// found is a dump of the neighbors that was not applied yet, nil if there is
	// none.
	found map[netip.Addr]Neighbor
}

// notice is what was notified of one neighbor.
type notice struct {
	Neighbor
	gone bool
}

func watch(name string, index int, o options) (*Host, error) {
	h, err := newHost(name, index, o)
	if err != nil {
		if name == "" {
			name = fmt.Sprint("number ", index)
		}
		if errors.Is(err, unix.ENODEV) {
			return nil, fmt.Errorf("hostnet: there is no interface %s in this network namespace (`ip link` lists them): %w", name, unix.ENODEV)
		}
		return nil, fmt.Errorf("hostnet: watching interface %s: %w", name, err)
	}
	h.wg.Add(2)
	go h.watcher.run()
	go h.answer()
	return h, nil
}

// newHost opens the sockets and reads everything once.
func newHost(name string, index int, o options) (h *Host, err error) {
	h = &Host{done: make(chan struct{})}
	h.neighbors.init()
	w := &watcher{h: h, heard: make(map[netip.Addr]notice), auditEvery: o.audit}
	if w.auditEvery == 0 {
		w.auditEvery = auditInterval
	}
	if o.receiveBuffer == 0 {
		o.receiveBuffer = receiveBuffer
	}
	h.watcher = w
	// All of one namespace, whatever the scheduler does meanwhile.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if w.requests, err = dial(); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			w.requests.close()
		}
	}()
	if h.index, err = findLink(w.requests, name, index); err != nil {
		return nil, err
	}
	if w.events, err = subscribe(o.receiveBuffer); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			w.events.close()
		}
	}()
	if h.asker, err = newAsker(h.index); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			h.asker.close()
		}
	}()
	h.state.Store(new(state))
	w.suspect()
	for tries := 0; w.link.dirty || w.routes.dirty || w.neighbors.dirty; tries++ {
		if tries > 2*maxTries {
			return nil, fmt.Errorf("reading its state: %w", unix.EAGAIN)
		}
		w.link.notBefore, w.routes.notBefore, w.neighbors.notBefore = time.Time{}, time.Time{}, time.Time{}
		if err = w.sync(); err != nil {
			return nil, fmt.Errorf("reading its state: %w", err)
		}
	}
	if h.Deleted() {
		return nil, unix.ENODEV
	}
	return h, nil
}

// suspect marks everything to be read again.
func (w *watcher) suspect() {
	w.link.dirty, w.routes.dirty, w.neighbors.dirty = true, true, true
	w.audit = time.Now().Add(w.auditEvery)
}

// run follows the kernel until Close, or until there is nothing to follow.
func (w *watcher) run() {
	defer w.h.wg.Done()
	for !w.h.Deleted() {
		lost, err := w.events.receive(w.deadline(), w.notified)
		if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			// Close, most likely. Whatever else it may be, something may be
			// lost, and it must not end in a busy loop.
			lost = true
			select {
			case <-w.h.done:
				return
			case <-time.After(retryInterval):
			}
			w.h.counters.failures.Add(1)
		}
		if lost {
			w.h.counters.overruns.Add(1)
		}
		if lost || !time.Now().Before(w.audit) {
			w.suspect()
		}
		if err := w.sync(); err != nil {
			w.h.counters.failures.Add(1)
		}
	}
}

// deadline is when there is something to do even if nothing is notified.
func (w *watcher) deadline() time.Time {
	at := w.audit
	for _, t := range []*table{&w.link, &w.routes, &w.neighbors} {
		if t.dirty && t.notBefore.Before(at) {
			at = t.notBefore
		}
	}
	if now := time.Now(); at.Before(now) {
		// A deadline in the past would keep the socket from being read.
		at = now.Add(time.Microsecond)
	}
	return at
}

// notified takes in a notification.
func (w *watcher) notified(m message) {
	switch m.typ {
	case unix.RTM_NEWLINK, unix.RTM_DELLINK:
		index, ok := linkIndex(m.payload)
		if !ok {
			return
		}
		// IPv4 routes go with a link without being mentioned. Neighbors are.
		w.routes.dirty = true
		if index == w.h.index {
			w.link.dirty = true
		}
	case unix.RTM_NEWADDR, unix.RTM_DELADDR:
		// So do, in older kernels, routes with an address as preferred source.
		w.routes.dirty = true
		if index, _, ok := parseAddress(m.payload); ok && index == w.h.index {
			w.link.dirty = true
		}
	case unix.RTM_NEWROUTE, unix.RTM_DELROUTE, unix.RTM_NEWRULE, unix.RTM_DELRULE,
		unix.RTM_NEWNEXTHOP, unix.RTM_DELNEXTHOP:
		w.routes.dirty = true
	case unix.RTM_NEWNEIGH, unix.RTM_DELNEIGH:
		index, n, ok := parseNeighbor(m.payload)
		if !ok || index != w.h.index {
			return
		}
		w.heard[n.Addr] = notice{n, m.typ == unix.RTM_DELNEIGH}
	default:
		return
	}
	w.h.counters.notifications.Add(1)
}
