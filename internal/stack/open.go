package stack

import (
	"fmt"
	"net/netip"
	"slices"
	"syscall"

	"github.com/zctap/zctap/internal/mono"
	"github.com/zctap/zctap/internal/stack/tcp"
	"github.com/zctap/zctap/internal/wire"
)

// A Listener accepts connections at one local end.
type Listener struct {
	tcp.Listener
	stack *Stack
	addr  netip.AddrPort
	keys  []wire.Tuple
}

// Listen listens on network "tcp", "tcp4" or "tcp6". An invalid or unspecified
// address means all of ours, port 0 a free port. full tells that no further
// complete connection is wanted, accept takes one. Errors: EADDRINUSE,
// EADDRNOTAVAIL, EAFNOSUPPORT.
func (s *Stack) Listen(network string, addr netip.AddrPort, full func() bool, accept func(*tcp.Conn)) (*Listener, error) {
	v4, v6, err := s.families(network, "tcp", addr.Addr())
	if err != nil {
		return nil, err
	}
	free := func(port uint16) bool {
		for _, k := range localKeys(wire.ProtoTCP, netip.AddrPortFrom(addr.Addr(), port), v4, v6) {
			if s.listening(k.Local) {
				return false
			}
		}
		return true
	}
	port := addr.Port()
	switch {
	case port == 0:
		if port = s.ephemeral(free); port == 0 {
			return nil, fmt.Errorf("all ports at %v are in use: %w", addr.Addr(), syscall.EADDRINUSE)
		}
	case !free(port):
		return nil, fmt.Errorf("port %d: %w", port, syscall.EADDRINUSE)
	}
	l := &Listener{
		Listener: tcp.Listener{
			Shared:   s.tcp,
			MSS:      func(t *wire.Tuple) int { return s.tx.MSS(t.Local.Addr().Is6()) },
			Full:     full,
			OnAccept: accept,

			MaxPending: s.maxPending,
		},
		stack: s,
		addr:  netip.AddrPortFrom(anyOr(addr.Addr(), v6), port),
	}
	l.keys = localKeys(wire.ProtoTCP, l.addr, v4, v6)
	for i := range l.keys {
		s.listeners.put(&l.keys[i], l)
	}
	return l, nil
}

// anyOr is addr, or the unspecified address if it is invalid.
func anyOr(addr netip.Addr, v6 bool) netip.Addr {
	if addr.IsValid() {
		return addr
	}
	return anyAddr(v6)
}

// listening reports whether somebody listens where local would.
func (s *Stack) listening(local netip.AddrPort) bool {
	return slices.ContainsFunc(s.listeners.values(), func(l *Listener) bool {
		return slices.ContainsFunc(l.keys, func(k wire.Tuple) bool { return overlap(k.Local, local) })
	})
}

// Addr is where l listens.
func (l *Listener) Addr() netip.AddrPort { return l.addr }

// Close stops listening. What was accepted is not touched.
func (l *Listener) Close() {
	for i := range l.keys {
		if l.stack.listeners.get(&l.keys[i]) == l {
			l.stack.listeners.remove(&l.keys[i])
		}
	}
	l.Listener.Close()
}

// unusedPorts is how many ports are tried before one is taken that is in TIME-WAIT and
// may be.
const unusedPorts = 16

// Dial begins to connect; the first segment goes out with Flush. local may be
// invalid, or leave out its address or port. The caller sets the connection's
// Tag and OnConnect right away. Errors: EADDRINUSE, EADDRNOTAVAIL,
// EAFNOSUPPORT, ENETUNREACH; whether somebody answers is for OnConnect.
func (s *Stack) Dial(now mono.Time, network string, local, remote netip.AddrPort) (*tcp.Conn, error) {
	key := wire.Tuple{Remote: remote, Proto: wire.ProtoTCP}
	looks := 0
	l, err := s.local(network, "tcp", local, remote, func(l netip.AddrPort) bool {
		key.Local = l
		if s.conns.get(&key) != nil {
			return false
		}
		// Ends that are in TIME-WAIT only when others are hard to find.
		looks++
		w := s.waits.table.get(&key)
		return w == nil || (looks > unusedPorts || local.Port() != 0) && w.Reusable(now)
	})
	if err != nil {
		return nil, err
	}
	key.Local = l
	c := tcp.Dial(s.tcp, now, key, s.tx.MSS(remote.Addr().Is6()))
	if w := s.waits.table.get(&key); w != nil {
		s.endWait(w)
		c.Follow(w)
	}
	s.conns.put(c.Tuple(), c)
	return c, nil
}

// Conns is every connection that the stack keeps state for, but for those in
// TIME-WAIT, in no order.
func (s *Stack) Conns() []*tcp.Conn { return s.conns.values() }
