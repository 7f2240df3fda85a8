package stack

import (
	"fmt"
	"net/netip"
	"slices"
	"syscall"

	"github.com/zctap/zctap/internal/mono"
	"github.com/zctap/zctap/internal/stack/udp"
	"github.com/zctap/zctap/internal/wire"
)

// CheckDatagram says what keeps u from sending n bytes to the address to, which
// is ignored if u is connected: EDESTADDRREQ, EINVAL, EAFNOSUPPORT, ENETUNREACH,
// EMSGSIZE, also for what routers have said of the path, and once what an ICMP error said
// of what u had sent. clock is asked only if something is known of a path. Any goroutine.
func (s *Stack) CheckDatagram(clock func() mono.Time, u *udp.Socket, to netip.AddrPort, n int) error {
	if u.Remote.IsValid() {
		to = u.Remote
	}
	a := to.Addr()
	o := s.outlook.Load()
	sameVersion := func(k wire.Tuple) bool { return k.Local.Addr().Is6() == a.Is6() }
	if err := u.Queue.Failure(); err != nil {
		return err
	}
	switch {
	case !to.IsValid():
		return syscall.EDESTADDRREQ
	case a.Is4In6() || a.Zone() != "" || a.IsUnspecified() || to.Port() == 0:
		return syscall.EINVAL
	case !slices.ContainsFunc(u.Keys, sameVersion):
		return syscall.EAFNOSUPPORT
	case o.addrs.martian(a) && !o.addrs.everybody(a):
		return syscall.ENETUNREACH
	}
	most := o.maxUDP4
	if a.Is6() {
		most = o.maxUDP6
	}
	if n > most {
		return fmt.Errorf("%d bytes; with an MTU of %d a datagram to %v has %d at most: %w", n, o.mtu, a, most, syscall.EMSGSIZE)
	}
	if len(o.paths) == 0 {
		return nil
	}
	if mtu := o.path(clock(), a); mtu != 0 && n > most-(o.mtu-mtu) {
		return fmt.Errorf("%d bytes; a router on the way to %v passes packets of %d bytes, and a datagram of %d: %w", n, a, mtu, most-(o.mtu-mtu), syscall.EMSGSIZE)
	}
	return nil
}

// SendDatagrams makes Flush send what waits in u's send queue.
func (s *Stack) SendDatagrams(u *udp.Socket) {
	if !u.Sending {
		u.Sending = true
		s.sending = append(s.sending, u)
	}
}

// flushUDP shows what was received, and puts what is to be sent behind TCP's.
func (s *Stack) flushUDP() {
	for i, u := range s.received {
		u.Publish()
		s.received[i] = nil
	}
	s.received = s.received[:0]
	for _, u := range s.sending {
		for !s.tx.Stalled() {
			payload, to, tc, ok := u.Send.Next()
			if !ok {
				break
			}
			s.sendDatagram(u, payload, to, tc)
		}
	}
}

func (s *Stack) sendDatagram(u *udp.Socket, payload []byte, to netip.AddrPort, tc uint8) {
	if u.Remote.IsValid() {
		to = u.Remote
	}
	from := u.Local
	if f := from.Addr(); f.IsUnspecified() || f.IsMulticast() || s.addrs.everybody(f) {
		a, _ := s.addrs.source(to.Addr())
		from = netip.AddrPortFrom(a, from.Port())
	}
	// What cannot be sent CheckDatagram has refused, and Tx counts.
	if s.tx.UDP(from, to, tc, payload) == nil {
		s.stats.DatagramsSent++
		s.stats.DatagramBytesSent += uint64(len(payload))
	}
}

// freeUDP runs after the frames have gone: their payload is not needed any more.
// Sockets with more to send stay listed, for when the wire has room.
func (s *Stack) freeUDP() {
	s.sending = slices.DeleteFunc(s.sending, func(u *udp.Socket) bool {
		u.Send.Free()
		u.Sending = !u.Send.Empty()
		return !u.Sending
	})
}
