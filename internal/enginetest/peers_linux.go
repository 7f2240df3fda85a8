package enginetest

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"
)

// SendSegments gives b to the kernel in one piece, which it sends as datagrams of
// size bytes (UDP_SEGMENT), or hands on whole where the device can take that.
func (k KernelPeer) SendSegments(c net.PacketConn, b []byte, size int, to netip.AddrPort) error {
	oob := make([]byte, unix.CmsgSpace(2))
	h := unix.Cmsghdr{Level: unix.IPPROTO_UDP, Type: unix.UDP_SEGMENT}
	h.SetLen(unix.CmsgLen(2))
	if _, err := binary.Encode(oob, binary.NativeEndian, h); err != nil {
		return err
	}
	binary.NativeEndian.PutUint16(oob[unix.CmsgLen(0):], uint16(size))
	n, _, err := c.(*net.UDPConn).WriteMsgUDPAddrPort(b, oob, to)
	if err == nil && n != len(b) {
		err = fmt.Errorf("sent %d of %d bytes", n, len(b))
	}
	return err
}

// SetTrafficClass sets DSCP and ECN of what c sends.
func (k KernelPeer) SetTrafficClass(c net.PacketConn, tc uint8) error {
	raw, err := c.(*net.UDPConn).SyscallConn()
	if err != nil {
		return err
	}
	level, option := syscall.IPPROTO_IP, syscall.IP_TOS
	if k.Own.Is6() {
		level, option = syscall.IPPROTO_IPV6, unix.IPV6_TCLASS
	}
	var set error
	if err := raw.Control(func(fd uintptr) { set = syscall.SetsockoptInt(int(fd), level, option, int(tc)) }); err != nil {
		return err
	}
	return set
}
