//go:build linux

package steer

import (
	"errors"
	"fmt"
	"net/netip"
	"sync"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// A listener is what AddListener was asked for.
type listener struct {
	proto Proto
	local netip.AddrPort
}

// A listenerSet keeps the map of listeners. The map has one entry for each local
// address and port that is steered, so that the program finds with one look-up;
// a listener on any address is expanded here, over the addresses that are ours.
type listenerSet struct {
	mu    sync.Mutex
	room  int // entries that the map can have
	table table
	asked map[listener]struct{}
	addrs map[netip.Addr]struct{}
	refs  map[listenerKey]int // how many of asked need each entry of the map
}

// A table is the map in the kernel.
type table interface {
	Update(key, value any, flags ebpf.MapUpdateFlags) error
	Delete(key any) error
}

func newListenerSet(room int, t table) listenerSet {
	return listenerSet{
		room:  room,
		table: t,
		asked: make(map[listener]struct{}),
		addrs: make(map[netip.Addr]struct{}),
		refs:  make(map[listenerKey]int),
	}
}

// AddListener steers what comes to a local address and port. The unspecified
// address of a family, 0.0.0.0 or ::, stands for all of that family that
// SetAddresses has named, and names later; :: does not include IPv4. IPv4-mapped
// addresses count as IPv4, zones are ignored.
//
// Errors, on which nothing changes: EINVAL, EPROTONOSUPPORT; EEXIST if it was added
// already; ENOSPC if Options.Listeners is too small.
func (p *Program) AddListener(proto Proto, local netip.AddrPort) error {
	if err := p.use(); err != nil {
		return fmt.Errorf("steer: %v listener on %v: %w", proto, local, err)
	}
	defer p.mu.RUnlock()
	if err := p.listening.add(proto, local); err != nil {
		return fmt.Errorf("steer: %v listener on %v: %w", proto, local, err)
	}
	return nil
}

// RemoveListener takes back AddListener. Flows that AddFlow has added stay. ENOENT
// if it was not added.
func (p *Program) RemoveListener(proto Proto, local netip.AddrPort) error {
	if err := p.use(); err != nil {
		return fmt.Errorf("steer: %v listener on %v: %w", proto, local, err)
	}
	defer p.mu.RUnlock()
	if err := p.listening.remove(proto, local); err != nil {
		return fmt.Errorf("steer: %v listener on %v: %w", proto, local, err)
	}
	return nil
}

// SetAddresses says which addresses are the interface's own: those that a listener
// on any address stands for. It replaces what was set before, and is to be called
// before the first such listener gets frames, and when the addresses change.
//
// A host forwards frames of others, between containers for example; they are for
// the same ports as ours, and only by their address they are not ours. Therefore
// "any" does not mean every address that there is.
//
// Errors, on which nothing changes: ENOSPC if Options.Listeners is too small for
// all addresses of all listeners.
func (p *Program) SetAddresses(addrs []netip.Addr) error {
	if err := p.use(); err != nil {
		return fmt.Errorf("steer: setting the local addresses: %w", err)
	}
	defer p.mu.RUnlock()
	if err := p.listening.setAddresses(addrs); err != nil {
		return fmt.Errorf("steer: setting the local addresses: %w", err)
	}
	return nil
}

func checkListener(proto Proto, local netip.AddrPort) (listener, error) {
	if err := proto.check(); err != nil {
		return listener{}, err
	}
	local, err := endpoint("local", local)
	return listener{proto, local}, err
}

func (s *listenerSet) add(proto Proto, local netip.AddrPort) error {
	l, err := checkListener(proto, local)
	if err != nil {
		return err
	}
	return s.addChecked(l)
}

func (s *listenerSet) addChecked(l listener) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.asked[l]; ok {
		return fmt.Errorf("is there already: %w", unix.EEXIST)
	}
	d := make(delta)
	l.expand(s.addrs, d, +1)
	if err := s.apply(d); err != nil {
		return err
	}
	s.asked[l] = struct{}{}
	return nil
}

func (s *listenerSet) remove(proto Proto, local netip.AddrPort) error {
	l, err := checkListener(proto, local)
	if err != nil {
		return err
	}
	return s.removeChecked(l)
}

func (s *listenerSet) removeChecked(l listener) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.asked[l]; !ok {
		return fmt.Errorf("is not there: %w", unix.ENOENT)
	}
	d := make(delta)
	l.expand(s.addrs, d, -1)
	if err := s.apply(d); err != nil {
		return err
	}
	delete(s.asked, l)
	return nil
}

func (s *listenerSet) setAddresses(addrs []netip.Addr) error {
	set := make(map[netip.Addr]struct{}, len(addrs))
	for _, a := range addrs {
		if !a.IsValid() {
			return fmt.Errorf("one is not set: %w", unix.EINVAL)
		}
		if a = canonical(a); !a.IsUnspecified() && !a.IsMulticast() {
			set[a] = struct{}{}
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	d := make(delta)
	for l := range s.asked {
		l.expand(s.addrs, d, -1)
		l.expand(set, d, +1)
	}
	if err := s.apply(d); err != nil {
		return err
	}
	s.addrs = set
	return nil
}

// A delta says by how much the references to entries change.
type delta map[listenerKey]int

// expand adds n to each entry that the listener needs, given the local addresses.
func (l listener) expand(addrs map[netip.Addr]struct{}, d delta, n int) {
	if !l.local.Addr().IsUnspecified() {
		d[makeListenerKey(l.proto, l.local)] += n
		return
	}
	for a := range addrs {
		if a.Is4() == l.local.Addr().Is4() {
			d[makeListenerKey(l.proto, netip.AddrPortFrom(a, l.local.Port()))] += n
		}
	}
}

// apply brings the references and the map in the kernel to what d makes of them,
// or leaves both as they are. Entries that stay are not touched: their frames are
// not disturbed.
func (s *listenerSet) apply(d delta) error {
	after := len(s.refs)
	var put, del []listenerKey
	for k, n := range d {
		switch was, is := s.refs[k], s.refs[k]+n; {
		case was == 0 && is > 0:
			put = append(put, k)
			after++
		case was > 0 && is == 0:
			del = append(del, k)
			after--
		}
	}
	if after > s.room {
		return fmt.Errorf("%d pairs of address and port, no room for more than Options.Listeners = %d: %w", after, s.room, unix.ENOSPC)
	}
	// First out, then in: there need not be room for both.
	if n, err := each(del, s.delete); err != nil {
		_, undo := each(del[:n], s.put)
		return errors.Join(err, undo)
	}
	if n, err := each(put, s.put); err != nil {
		_, out := each(put[:n], s.delete)
		_, in := each(del, s.put)
		return errors.Join(err, out, in)
	}
	for k, n := range d {
		if s.refs[k] += n; s.refs[k] == 0 {
			delete(s.refs, k)
		}
	}
	return nil
}

// each calls do until it fails, and returns how often it did not.
func each(keys []listenerKey, do func(listenerKey) error) (int, error) {
	for i, k := range keys {
		if err := do(k); err != nil {
			return i, err
		}
	}
	return len(keys), nil
}

func (s *listenerSet) put(k listenerKey) error {
	return s.table.Update(k[:], nothing[:], ebpf.UpdateAny)
}

func (s *listenerSet) delete(k listenerKey) error { return s.table.Delete(k[:]) }
