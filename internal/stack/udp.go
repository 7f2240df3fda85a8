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
	if f.GSOSize == driver.GSOUnknown {
		return mergedUDP
	}
	var key wire.Tuple
	h.ip.PutTuple(&key, h.udp.SrcPort, h.udp.DstPort)
	u := s.recent.get(&key)
	if u == nil {
		var c cause
		if u, c = s.socket(&key, &h.ip); c != accepted {
			if c == noSocket {
				s.unreachable(now, f)
			}
			return c
		}
		s.recent = recentSocket{key, u}
	}
	from := h.link + h.udp.PayloadOffset
	if !s.cut(f, from, from+h.udp.PayloadLen) {
		return noBuffer
	}
	ok, first := u.Input(sockq.Message{
		Src: key.Remote, Dst: key.Local, Len: h.udp.PayloadLen,
		UnixNano: s.udp.Epoch + int64(now), TrafficClass: h.ip.TrafficClass,
	}, f.Frags, int(f.GSOSize))
	if first {
		s.received = append(s.received, u)
	}
	if !ok {
		if f.GSOSize > 0 {
			s.drops[socketFull] += uint64(udp.Datagrams(h.udp.PayloadLen, int(f.GSOSize)) - 1)
		}
		return socketFull
	}
	return accepted
}

// recentSocket is who the datagram before was for: in a burst from one sender the
// next is for the same, and needs no look-up. Whoever changes the table of sockets,
// or what they receive, empties it.
type recentSocket struct {
	key    wire.Tuple
	socket *udp.Socket
}

func (r *recentSocket) get(key *wire.Tuple) *udp.Socket {
	if r.socket != nil && r.key == *key {
		return r.socket
	}
	return nil
}

// socket is whom a datagram with the key is for: the socket that is connected to
// its sender, else who receives from everybody at its destination.
func (s *Stack) socket(key *wire.Tuple, p *wire.Packet) (*udp.Socket, cause) {
	if u := s.sockets.get(key); u != nil {
		return u, accepted
	}
	group, all := key.Local.Addr().IsMulticast(), s.addrs.everybody(key.Local.Addr())
	judge := s.stranger
	if group || all {
		judge = s.toMany
	}
	if c := judge(p); c != accepted {
		return nil, c
	}
	k := wire.Tuple{Local: key.Local, Proto: key.Proto}
	u := s.sockets.get(&k)
	if u == nil {
		k.Local = netip.AddrPortFrom(anyAddr(key.Local.Addr().Is6()), key.Local.Port())
		u = s.sockets.get(&k)
	}
	switch {
	case group && (u == nil || !u.Joined(key.Local.Addr())), all && u == nil:
		return nil, notOurs // and nobody is told (RFC 1122 section 3.2.2)
	case u == nil:
		return nil, noSocket
	}
	return u, accepted
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
		return nil, fmt.Errorf("port %d: %w", port, syscall.EADDRINUSE)
	}
	addr := netip.AddrPortFrom(anyOr(local.Addr(), v6), port)
	return s.newSocket(addr, netip.AddrPort{}, localKeys(wire.ProtoUDP, addr, v4, v6)), nil
}

func (s *Stack) newSocket(local, remote netip.AddrPort, keys []wire.Tuple) *udp.Socket {
	s.recent = recentSocket{}
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
	s.recent = recentSocket{}
	for i := range u.Keys {
		if s.sockets.get(&u.Keys[i]) == u {
			s.sockets.remove(&u.Keys[i])
		}
	}
	for _, g := range u.Groups {
		s.left(g)
	}
	s.SendDatagrams(u)
}

// SetEpoch says what time it was at mono.Time 0, in nanoseconds since 1970: what
// datagrams are stamped by.
func (s *Stack) SetEpoch(unixNano int64) { s.udp.Epoch = unixNano }

// JoinGroup makes u receive what is sent to a multicast group; see udp.Socket.Join.
func (s *Stack) JoinGroup(u *udp.Socket, group netip.Addr) error {
	err := u.Join(group)
	if err == nil {
		s.joined[group]++
	}
	return err
}

// LeaveGroup takes JoinGroup back.
func (s *Stack) LeaveGroup(u *udp.Socket, group netip.Addr) error {
	s.recent = recentSocket{}
	err := u.Leave(group)
	if err == nil {
		s.left(group)
	}
	return err
}

// left notes that one socket less is in the group.
func (s *Stack) left(group netip.Addr) {
	if s.joined[group]--; s.joined[group] == 0 {
		delete(s.joined, group)
	}
}
