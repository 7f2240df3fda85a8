//go:build linux

package steer

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

// A Proto is a transport protocol that can be steered.
type Proto uint8

// The protocols, by their numbers in an IP header.
const (
	TCP Proto = unix.IPPROTO_TCP
	UDP Proto = unix.IPPROTO_UDP
)

func (p Proto) String() string {
	switch p {
	case TCP:
		return "tcp"
	case UDP:
		return "udp"
	}
	return fmt.Sprintf("protocol %d", uint8(p))
}

// check is the error of a protocol that can't be steered.
func (p Proto) check() error {
	if p != TCP && p != UDP {
		return fmt.Errorf("%v is neither tcp nor udp: %w", p, unix.EPROTONOSUPPORT)
	}
	return nil
}

// A listenerKey is a key of the map of listeners: the local address (an IPv4 one
// mapped), its port in network order, the protocol, and the IP version, by which a
// packet of IPv6 with a mapped address is told from one of IPv4. Addresses of all hosts
// have versionBroadcast instead: only frames to all stations are looked up by it, and by
// no other, so that none of them passes for what was sent to us alone.
type listenerKey [20]byte

const versionBroadcast = 255

// A flowKey is a key of the map of flows: the remote port in network order, two zero
// bytes, the remote address, and the listenerKey of the local side.
type flowKey [40]byte

func makeListenerKey(p Proto, local netip.AddrPort) (k listenerKey) {
	*(*[16]byte)(k[0:]) = local.Addr().As16()
	binary.BigEndian.PutUint16(k[16:], local.Port())
	k[18] = uint8(p)
	k[19] = 6
	if local.Addr().Is4() {
		k[19] = 4
	}
	return k
}

func makeBroadcastKey(local netip.AddrPort) listenerKey {
	k := makeListenerKey(UDP, local)
	k[19] = versionBroadcast
	return k
}

func makeFlowKey(p Proto, local, remote netip.AddrPort) (k flowKey) {
	binary.BigEndian.PutUint16(k[0:], remote.Port())
	*(*[16]byte)(k[4:]) = remote.Addr().As16()
	*(*listenerKey)(k[20:]) = makeListenerKey(p, local)
	return k
}

// canonical is an address as the program sees it: without a zone, which is not in a
// packet, and IPv4 as such.
func canonical(a netip.Addr) netip.Addr { return a.Unmap().WithZone("") }

// endpoint makes an address and port canonical and says what is wrong with it.
// The unspecified address is right for a listener.
func endpoint(what string, a netip.AddrPort) (netip.AddrPort, error) {
	if !a.IsValid() {
		return a, fmt.Errorf("the %s address is not set: %w", what, unix.EINVAL)
	}
	a = netip.AddrPortFrom(canonical(a.Addr()), a.Port())
	switch {
	case a.Port() == 0:
		return a, fmt.Errorf("%s address %s has no port: %w", what, a, unix.EINVAL)
	case a.Addr().IsMulticast():
		return a, fmt.Errorf("%s address %s is of a group: %w", what, a, unix.EINVAL)
	}
	return a, nil
}
