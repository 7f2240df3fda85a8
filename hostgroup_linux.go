package zctap

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"

	"github.com/zctap/zctap/internal/steer"
)

// Join is user.Host: the kernel becomes a member of the group, by the socket that
// holds the port, and what is sent there is steered. No other socket of the kernel's
// wants it: it would need the same port.
func (s *shared) Join(group netip.AddrPort) error {
	p, held, err := s.holder(group)
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.groups == nil {
		return net.ErrClosed
	}
	if err := held.Join(group.Addr(), s.host.Index()); err != nil {
		return err
	}
	if err := s.program.AddGroup(group); err != nil {
		return errors.Join(err, held.Leave(group.Addr(), s.host.Index()))
	}
	p.groups[group] = struct{}{}
	return nil
}

// Leave is user.Host: it takes Join back.
func (s *shared) Leave(group netip.AddrPort) error {
	p, held, err := s.holder(group)
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, ok := p.groups[group]; !ok {
		return fmt.Errorf("group %v is not joined: %w", group.Addr(), syscall.EADDRNOTAVAIL)
	}
	delete(p.groups, group)
	return errors.Join(s.program.RemoveGroup(group), held.Leave(group.Addr(), s.host.Index()))
}

// holder is the port that a group is received at, and the kernel's socket of it.
func (s *shared) holder(group netip.AddrPort) (*hostPort, *steer.Port, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for p := range s.claims {
		for _, c := range p.held {
			at := c.Addr()
			if c.Proto() == steer.UDP && at.Port() == group.Port() && at.Addr().Is4() == group.Addr().Is4() &&
				(at.Addr().IsUnspecified() || at.Addr() == group.Addr()) {
				return p, c, nil
			}
		}
	}
	return nil, nil, net.ErrClosed
}
