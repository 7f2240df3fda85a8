package zctap

import (
	"net"
	"net/netip"
)

// WriteTo is part of net.PacketConn: addr is a *net.UDPAddr. See WriteToAddrPort.
func (c *PacketConn) WriteTo(p []byte, addr net.Addr) (int, error) {
	switch a := addr.(type) {
	case nil:
		return c.WriteToAddrPort(p, netip.AddrPort{})
	case *net.UDPAddr:
		return c.WriteToAddrPort(p, a.AddrPort())
	}
	return 0, c.q.opError("write", &net.AddrError{Err: "not a UDP address", Addr: addr.String()})
}

// WriteToAddrPort sends p as one datagram; it copies p before it returns. It blocks
// while too much waits to be sent, up to the write deadline. As with package net it may
// go to all hosts of a network, or of the wire. Errors: EMSGSIZE for
// what does not fit one packet (nothing is sent in fragments by engine User), of the
// interface or of the path, as far as routers have told of it,
// EDESTADDRREQ without an address, EAFNOSUPPORT for one of the other IP version,
// net.ErrWriteToConnected on a dialed socket.
func (c *PacketConn) WriteToAddrPort(p []byte, to netip.AddrPort) (int, error) {
	if c.c.RemoteAddr().IsValid() {
		return 0, c.q.opError("write", net.ErrWriteToConnected)
	}
	to = netip.AddrPortFrom(to.Addr().Unmap(), to.Port())
	n, err := c.c.WriteTo(p, to)
	return n, c.q.opError("write", err)
}

// Write sends p to the peer of a dialed socket; see WriteToAddrPort. It may fail
// with what an ICMP message said of something sent before, such as ECONNREFUSED:
// then p was not sent, and the next Write is.
func (c *PacketConn) Write(p []byte) (int, error) {
	n, err := c.c.WriteTo(p, netip.AddrPort{})
	return n, c.q.opError("write", err)
}

// SetTrafficClass sets the octet of the IP header that has the differentiated
// services codepoint in its upper six bits and ECN in the others, of what is sent
// from now on.
func (c *PacketConn) SetTrafficClass(tc uint8) error {
	return c.q.opError("set", c.c.SetTrafficClass(tc))
}
