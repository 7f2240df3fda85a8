package zctap

import (
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"syscall"

	"github.com/zctap/zctap/internal/steer"
)

// A hostPort is a port that zctap has from the kernel: sockets that hold it, one
// for each IP version, and the steering of what is for it.
type hostPort struct {
	shared *shared
	held   []*steer.Port
	undo   []func() error // the steering

	mu     sync.Mutex                  // guards what follows
	groups map[netip.AddrPort]struct{} // that were joined; nil once it was given back
}

// ephemeralAttempts is how often another port is tried when that which the
// kernel has chosen for one IP version is taken in the other.
const ephemeralAttempts = 16

// Listen is user.Host: it takes a port to receive at.
func (s *shared) Listen(proto uint8, network string, local netip.AddrPort) (port uint16, undo func(), err error) {
	if err := s.admit(proto); err != nil {
		return 0, nil, err
	}
	addrs := anyAddresses(network, local.Addr())
	for range ephemeralAttempts {
		p := &hostPort{shared: s, groups: map[netip.AddrPort]struct{}{}}
		if port, err = p.take(steer.Proto(proto), addrs, local.Port()); err == nil {
			err = p.listen(steer.Proto(proto))
		}
		if err == nil {
			return port, s.keep(p), nil
		}
		p.free()
		if local.Port() != 0 {
			break
		}
	}
	return 0, nil, err
}

// Dial is user.Host: it takes a port for one flow.
func (s *shared) Dial(proto uint8, local, remote netip.AddrPort) (from netip.AddrPort, undo func(), err error) {
	if err := s.admit(proto); err != nil {
		return local, nil, err
	}
	addr := local.Addr()
	if !addr.IsValid() || addr.IsUnspecified() {
		var ok bool
		if addr, ok = s.host.Source(remote.Addr()); !ok {
			return local, nil, s.unreachable(remote.Addr())
		}
	}
	p := &hostPort{shared: s}
	port, err := p.take(steer.Proto(proto), []netip.Addr{addr}, local.Port())
	if err == nil {
		from = netip.AddrPortFrom(addr, port)
		err = s.program.AddFlow(steer.Proto(proto), from, remote)
	}
	if err != nil {
		p.free()
		return local, nil, err
	}
	p.undo = append(p.undo, func() error { return s.program.RemoveFlow(steer.Proto(proto), from, remote) })
	return from, s.keep(p), nil
}

// admit sees to it that the mode does for the protocol.
func (s *shared) admit(proto uint8) error {
	if steer.Proto(proto) == steer.TCP {
		return nil
	}
	return s.steered.leaveTCP()
}

// unreachable is the error of a destination that there is no route to.
func (s *shared) unreachable(dst netip.Addr) error {
	if !s.host.LinkUp() && !s.host.Deleted() {
		return fmt.Errorf("no route to %v: %s is down, or has no carrier (see `ip link`): %w", dst, s.host.Name(), syscall.ENETDOWN)
	}
	return fmt.Errorf("no route to %v by %s: %w", dst, s.host.Name(), syscall.ENETUNREACH)
}

// keep remembers p until undo is called, or the interface is left.
func (s *shared) keep(p *hostPort) (undo func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.claims[p] = struct{}{}
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if _, ours := s.claims[p]; ours {
			delete(s.claims, p)
			p.free()
		}
	}
}

// take claims a port, 0 for a free one, at each of the addresses.
func (p *hostPort) take(proto steer.Proto, addrs []netip.Addr, port uint16) (uint16, error) {
	err := p.shared.ns.Do(func() error {
		for _, a := range addrs {
			c, err := p.shared.program.Claim(proto, netip.AddrPortFrom(a, port))
			if err != nil {
				return err
			}
			p.held = append(p.held, c)
			port = c.Addr().Port()
		}
		return nil
	})
	return port, err
}

// listen steers what is for the port.
func (p *hostPort) listen(proto steer.Proto) error {
	for _, c := range p.held {
		at := c.Addr()
		if at.Addr().IsMulticast() {
			continue // Join's
		}
		if err := p.shared.program.AddListener(proto, at); err != nil {
			return err
		}
		p.undo = append(p.undo, func() error { return p.shared.program.RemoveListener(proto, at) })
	}
	return nil
}

// free gives the port back: first the steering, so that the kernel's silence
// covers what is under way.
func (p *hostPort) free() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for group := range p.groups {
		_ = p.shared.program.RemoveGroup(group)
	}
	p.groups = nil
	for _, undo := range p.undo {
		_ = undo() // it was added; a program that is gone steers nothing
	}
	for _, c := range p.held {
		_ = c.Close() // of a socket
	}
	p.undo, p.held = nil, nil
}

// anyAddresses are the addresses to take a port at: addr, or if that says all of
// them the unspecified one of each version that network allows.
func anyAddresses(network string, addr netip.Addr) []netip.Addr {
	v4, v6 := netip.IPv4Unspecified(), netip.IPv6Unspecified()
	switch {
	case addr.IsValid() && !addr.IsUnspecified():
		return []netip.Addr{addr}
	case strings.HasSuffix(network, "4"), addr == v4:
		return []netip.Addr{v4}
	case strings.HasSuffix(network, "6"):
		return []netip.Addr{v6}
	}
	return []netip.Addr{v4, v6}
}
