package stack

import (
	"fmt"
	"net/netip"
	"slices"
	"syscall"

	"github.com/zctap/zctap/internal/driver"
	"github.com/zctap/zctap/internal/mono"
	"github.com/zctap/zctap/internal/sockq"
	"github.com/zctap/zctap/internal/stack/udp"
	"github.com/zctap/zctap/internal/wire"
)

// inputUDP queues a datagram in its socket, or says that there is none.
func (s *Stack) inputUDP(now mono.Time, f *driver.Frame) cause {
	h := &s.rx
	if c := s.verify(f, h); c != accepted {
		return c
	}
	if f.GSOSize > 0 && h.udp.PayloadLen > f.GSOSize {
		return mergedUDP
	}
	key := h.ip.Tuple(h.udp.SrcPort, h.udp.DstPort)
	u := s.sockets.get(&key)
	if u == nil {
		if c := s.stranger(&h.ip); c != accepted {
			return c
		}
		if u = s.socket(&key); u == nil {
			s.unreachable(now, f)
			return noSocket
		}
	}
	from := h.link + h.udp.PayloadOffset
	if !s.cut(f, from, from+h.udp.PayloadLen) {
		return noBuffer
	}
	ok, first := u.Input(sockq.Message{Src: key.Remote, Dst: key.Local, Len: h.udp.PayloadLen}, f.Frags)
	if first {
		s.received = append(s.received, u)
	}
	if !ok {
		return socketFull
	}
	return accepted
}

// socket is who receives from everybody where a datagram with the key goes.
func (s *Stack) socket(key *wire.Tuple) *udp.Socket {
	k := wire.Tuple{Local: key.Local, Proto: key.Proto}
	if u := s.sockets.get(&k); u != nil {
		return u
	}
	k.Local = netip.AddrPortFrom(anyAddr(key.Local.Addr().Is6()), key.Local.Port())
	return s.sockets.get(&k)
}

// unreachable tells the sender of f that there is no socket. It quotes what lies
// in one piece: headers at least, which is what identifies the datagram.
func (s *Stack) unreachable(now mono.Time, f *driver.Frame) {
	if !s.unreachables.take(now) {
		s.stats.UnreachablesSuppressed++
		return
	}
	s.tx.Error(wire.PortUnreachable, &s.rx.ip, s.rx.head)
	s.stats.Unreachables++
}

// ListenPacket makes a UDP socket ("udp", "udp4", "udp6"), connected if remote is
// valid. local may be invalid, or leave out its address or port. Errors:
// EADDRINUSE, EADDRNOTAVAIL, EAFNOSUPPORT, ENETUNREACH.
func (s *Stack) ListenPacket(network string, local, remote netip.AddrPort) (*udp.Socket, error) {
	if remote.IsValid() {
		key := wire.Tuple{Remote: remote, Proto: wire.ProtoUDP}
		l, err := s.local(network, "udp", local, remote, func(l netip.AddrPort) bool {
			key.Local = l
			return s.sockets.get(&key) == nil
		})
		if err != nil {
			return nil, err
		}
		key.Local = l
		return s.newSocket(l, remote, []wire.Tuple{key}), nil
	}
	v4, v6, err := s.families(network, "udp", local.Addr())
	if err != nil {
		return nil, err
	}
	free := func(port uint16) bool {
		keys := localKeys(wire.ProtoUDP, netip.AddrPortFrom(local.Addr(), port), v4, v6)
		return !slices.ContainsFunc(keys, func(k wire.Tuple) bool { return s.bound(k.Local) })
	}
	port := local.Port()
	switch {
	case port == 0:
		if port = s.ephemeral(free); port == 0 {
			return nil, fmt.Errorf("all ports at %v are in use: %w", local.Addr(), syscall.EADDRINUSE)
		}
	case !free(port):
		return nil, fmt.Errorf("%v: %w", local, syscall.EADDRINUSE)
	}
	addr := netip.AddrPortFrom(anyOr(local.Addr(), v6), port)
	return s.newSocket(addr, netip.AddrPort{}, localKeys(wire.ProtoUDP, addr, v4, v6)), nil
}

func (s *Stack) newSocket(local, remote netip.AddrPort, keys []wire.Tuple) *udp.Socket {
	u := udp.NewSocket(&s.udp, local, remote)
	u.Keys = keys
	for i := range keys {
		s.sockets.put(&keys[i], u)
	}
	return u
}

// bound reports whether a socket receives from everybody where one at local
// would.
func (s *Stack) bound(local netip.AddrPort) bool {
	return slices.ContainsFunc(s.sockets.values(), func(u *udp.Socket) bool {
		return !u.Remote.IsValid() &&
			slices.ContainsFunc(u.Keys, func(k wire.Tuple) bool { return overlap(k.Local, local) })
	})
}

// CloseSocket takes u out of the stack. What waits in its send queue is sent by
// the next Flush; what waits in its receive queue is the caller's to drain.
func (s *Stack) CloseSocket(u *udp.Socket) {
	for i := range u.Keys {
		if s.sockets.get(&u.Keys[i]) == u {
			s.sockets.remove(&u.Keys[i])
		}
	}
	s.SendDatagrams(u)
}
