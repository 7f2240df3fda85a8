//go:build linux

package ksock

import (
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

// Packet makes a UDP socket on network "udp", "udp4" or "udp6", bound to local
// if that is valid, connected to remote if that is. merge lets the kernel put
// datagrams together, as Info tells: then who receives from it has to have room for
// the largest one, 64 KiB, or loses whole ones.
func Packet(network string, local, remote netip.AddrPort, merge bool) (*Socket, error) {
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
	if err := s.bindPacket(p, merge); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

func (s *Socket) bindPacket(p place, merge bool) error {
	// As in net: datagrams to a broadcast address may be sent.
	if err := unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_BROADCAST, 1); err != nil {
		return os.NewSyscallError("setsockopt SO_BROADCAST", err)
	}
	if err := s.wantInfo(merge); err != nil {
		return err
	}
	if err := s.ownGroups(); err != nil {
		return err
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
