//go:build linux

package steer

import (
	"errors"
	"fmt"
	"net/netip"
	"sync"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/zctap/zctap/internal/wire"
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
	local locals
	refs  map[listenerKey]int // how many of asked need each entry of the map
}

// locals are the addresses that a listener on any address stands for: our own, and for
// UDP those of all hosts (RFC 1122 section 3.3.6).
type locals struct{ own, broadcasts map[netip.Addr]struct{} }

func newLocals() locals {
	return locals{
		own:        make(map[netip.Addr]struct{}),
		broadcasts: map[netip.Addr]struct{}{wire.LimitedBroadcast: {}},
	}
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
		local: newLocals(),
		refs:  make(map[listenerKey]int),
	}
}

// AddListener steers what comes to a local address and port. The unspecified
// address of a family, 0.0.0.0 or ::, stands for all of that family that
// SetPrefixes has named, and names later; :: does not include IPv4. IPv4-mapped
// addresses count as IPv4, zones are ignored.
//
// Datagrams to all hosts, on the wire (255.255.255.255) or in a network that SetPrefixes
// has named, are steered to a UDP listener on 0.0.0.0, or on that address, as the kernel
// gives them to such sockets. Nobody else on this machine can have the port then: claim
// it. Those to other ports stay the kernel's.
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

// SetPrefixes says which addresses are the interface's own, each with its network:
// those that a listener on any address stands for. It replaces what was set before, and is to be called
// before the first such listener gets frames, and when the addresses change.
//
// A host forwards frames of others, between containers for example; they are for
// the same ports as ours, and only by their address they are not ours. Therefore
// "any" does not mean every address that there is.
//
// Errors, on which nothing changes: ENOSPC if Options.Listeners is too small for
// all addresses of all listeners.
func (p *Program) SetPrefixes(prefixes []netip.Prefix) error {
	if err := p.use(); err != nil {
		return fmt.Errorf("steer: setting the local addresses: %w", err)
	}
	defer p.mu.RUnlock()
	if err := p.listening.setPrefixes(prefixes); err != nil {
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
	l.expand(s.local, d, +1)
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
	l.expand(s.local, d, -1)
	if err := s.apply(d); err != nil {
		return err
	}
	delete(s.asked, l)
	return nil
}

func (s *listenerSet) setPrefixes(prefixes []netip.Prefix) error {
	l := newLocals()
	for _, p := range prefixes {
		if !p.IsValid() {
			return fmt.Errorf("one is not set: %w", unix.EINVAL)
		}
		if a := canonical(p.Addr()); !a.IsUnspecified() && !a.IsMulticast() {
			l.own[a] = struct{}{}
			if b := wire.Broadcast(p); b.IsValid() {
				l.broadcasts[b] = struct{}{}
			}
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	d := make(delta)
	for asked := range s.asked {
		asked.expand(s.local, d, -1)
		asked.expand(l, d, +1)
	}
	if err := s.apply(d); err != nil {
		return err
	}
	s.local = l
	return nil
}

// A delta says by how much the references to entries change.
type delta map[listenerKey]int

// expand adds n to each entry that the listener needs, given the local addresses.
func (l listener) expand(local locals, d delta, n int) {
	at, port := l.local.Addr(), l.local.Port()
	_, all := local.broadcasts[at]
	switch {
	case l.proto == UDP && all:
		d[makeBroadcastKey(l.local)] += n
		return
	case !at.IsUnspecified():
		d[makeListenerKey(l.proto, l.local)] += n
		return
	}
	for a := range local.own {
		if a.Is4() == at.Is4() {
			d[makeListenerKey(l.proto, netip.AddrPortFrom(a, port))] += n
		}
	}
	if l.proto == UDP && at.Is4() {
		for a := range local.broadcasts {
			d[makeBroadcastKey(netip.AddrPortFrom(a, port))] += n
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
