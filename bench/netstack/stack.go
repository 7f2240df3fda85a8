package netstack

import (
	"errors"
	"fmt"
	"math/rand"
	"net/netip"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
)

const nicID = 1

// newStack makes a stack with one interface. clock nil: the machine's.
func newStack(l *Link, clock tcpip.Clock, seed int64, prefixes []netip.Prefix) (*stack.Stack, error) {
	rng := rand.New(rand.NewSource(seed))
	s := stack.New(stack.Options{
		NetworkProtocols:   []stack.NetworkProtocolFactory{ipv4.NewProtocol, ipv6.NewProtocol},
		TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocol, udp.NewProtocol},
		Clock:              clock, RandSource: rand.NewSource(seed), SecureRNG: rng,
	})
	if err := s.CreateNIC(nicID, l); err != nil {
		return nil, fail("making an interface", err)
	}
	var routes []tcpip.Route
	for _, p := range prefixes {
		proto, any4 := ipv4.ProtocolNumber, header.IPv4EmptySubnet
		if p.Addr().Is6() {
			proto, any4 = ipv6.ProtocolNumber, header.IPv6EmptySubnet
		}
		a := tcpip.ProtocolAddress{Protocol: proto, AddressWithPrefix: tcpip.AddressWithPrefix{
			Address: tcpip.AddrFromSlice(p.Addr().AsSlice()), PrefixLen: p.Bits(),
		}}
		if err := s.AddProtocolAddress(nicID, a, stack.AddressProperties{}); err != nil {
			return nil, fail("adding an address", err)
		}
		routes = append(routes, tcpip.Route{Destination: any4, NIC: nicID})
	}
	s.SetRouteTable(routes)
	return s, nil
}

// stubborn has s never give a connection up, and keep it in TIME-WAIT as long as ours.
func stubborn(s *stack.Stack) error {
	retries, syns := tcpip.TCPMaxRetriesOption(1000), tcpip.TCPSynRetriesOption(255)
	wait, linger := tcpip.TCPTimeWaitTimeoutOption(time.Minute), tcpip.TCPLingerTimeoutOption(time.Minute)
	// Without RACK: with it the sender has been seen to wait for ever for what was
	// lost, with no timer set (seeds 301 and 885).
	rack := tcpip.TCPRecovery(0)
	for _, o := range []tcpip.SettableTransportProtocolOption{&retries, &syns, &wait, &linger, &rack} {
		if err := s.SetTransportProtocolOption(tcp.ProtocolNumber, o); err != nil {
			return fail(fmt.Sprintf("setting %T", o), err)
		}
	}
	return nil
}

// full is an address with its port as gVisor has it, and the protocol that it is of.
func full(a netip.AddrPort) (tcpip.FullAddress, tcpip.NetworkProtocolNumber) {
	f := tcpip.FullAddress{Port: a.Port()}
	if a.Addr().IsValid() && !a.Addr().IsUnspecified() {
		f.Addr = tcpip.AddrFromSlice(a.Addr().AsSlice())
	}
	if a.Addr().Is6() {
		return f, ipv6.ProtocolNumber
	}
	return f, ipv4.ProtocolNumber
}

// fail makes an error of one of gVisor's.
func fail(doing string, err tcpip.Error) error {
	return fmt.Errorf("netstack: %s: %w", doing, errors.New(err.String()))
}
