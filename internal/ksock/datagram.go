//go:build linux

package ksock

import (
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

// Packet makes a UDP socket on network "udp", "udp4" or "udp6", bound to local
// if that is valid, connected to remote if that is. Each datagram that Messages
// receives comes with the address that it was sent to.
func Packet(network string, local, remote netip.AddrPort) (*Socket, error) {
	if err := checkNetwork(network, "udp"); err != nil {
		return nil, err
	}
	p, err := locate(network, local, remote)
	if err != nil {
		return nil, err
	}
	s, err := open(p.family, unix.SOCK_DGRAM, p.v6only)
	if err != nil {
		return nil, err
	}
	if err := s.bindPacket(p); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

func (s *Socket) bindPacket(p place) error {
	// As in net: datagrams to a broadcast address may be sent.
	if err := unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_BROADCAST, 1); err != nil {
		return os.NewSyscallError("setsockopt SO_BROADCAST", err)
	}
	level, option := unix.IPPROTO_IP, unix.IP_PKTINFO
	if s.family == unix.AF_INET6 {
		level, option = unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO
	}
	if err := unix.SetsockoptInt(s.fd, level, option, 1); err != nil {
		return os.NewSyscallError("setsockopt PKTINFO", err)
	}
	if err := s.bind(p.local); err != nil {
		return err
	}
	if p.remote.IsValid() {
		if err := s.connect(p.remote); err != nil {
			return err
		}
	}
	return s.readAddrs()
}
