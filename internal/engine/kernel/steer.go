//go:build linux

package kernel

import (
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
)

// steering is which flows the engine had put into its queue.
type steering struct {
	put func(local netip.AddrPort) (undo func() error, err error) // nil: nobody steers

	mu    sync.Mutex
	flows map[*flow]struct{}
	errs  []error // of undoing
}

// A flow is steered to the queue as long as somebody uses it: a listener, and
// the connections that it has accepted, which may outlive it. A nil flow is one
// that nobody steers.
type flow struct {
	by   *steering
	undo func() error
	refs atomic.Int32
}

// steer has what is for local come in by the queue.
func (t *steering) steer(local netip.AddrPort) (*flow, error) {
	if t.put == nil {
		return nil, nil
	}
	undo, err := t.put(local)
	if err != nil {
		return nil, fmt.Errorf("kernel: steer %s to the queue: %w", named(local), err)
	}
	f := &flow{by: t, undo: undo}
	f.refs.Store(1)
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.flows == nil {
		t.flows = map[*flow]struct{}{}
	}
	t.flows[f] = struct{}{}
	return f, nil
}

// named is what is for local.
func named(local netip.AddrPort) string {
	if !local.Addr().IsValid() {
		return fmt.Sprintf("what is for port %d", local.Port())
	}
	return fmt.Sprintf("what is for %v", local)
}

// keep adds a user, who calls drop.
func (f *flow) keep() *flow {
	if f != nil {
		f.refs.Add(1)
	}
	return f
}

// drop is called once by each user.
func (f *flow) drop() {
	if f != nil && f.refs.Add(-1) == 0 {
		f.by.end(f)
	}
}

// end undoes f, if it is not undone.
func (t *steering) end(f *flow) {
	t.mu.Lock()
	_, there := t.flows[f]
	delete(t.flows, f)
	t.mu.Unlock()
	if !there || f.undo == nil {
		return
	}
	if err := f.undo(); err != nil {
		t.mu.Lock()
		t.errs = append(t.errs, err)
		t.mu.Unlock()
	}
}

// close undoes all that is left, and returns what failed since the beginning.
func (t *steering) close() error {
	t.mu.Lock()
	var left []*flow
	for f := range t.flows {
		left = append(left, f)
	}
	t.mu.Unlock()
	for _, f := range left {
		t.end(f)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	err := errors.Join(t.errs...)
	t.errs = nil
	return err
}

// wildcard is addr as it is steered, of a listener on network that has the port
// of bound: no address if it listens for both families.
func wildcard(network string, addr, bound netip.AddrPort) netip.AddrPort {
	if network == "tcp" && (!addr.Addr().IsValid() || addr.Addr().IsUnspecified()) {
		return netip.AddrPortFrom(netip.Addr{}, bound.Port())
	}
	return bound
}
