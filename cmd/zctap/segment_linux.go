package main

import (
	"fmt"
	"net"

	"golang.org/x/sys/unix"
)

// udpSegment is the socket option UDP_SEGMENT (linux/udp.h).
const udpSegment = 103

// setSegment has the kernel cut what is written into datagrams of size bytes.
func setSegment(c *net.UDPConn, size int) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var set error
	if err := raw.Control(func(fd uintptr) {
		set = unix.SetsockoptInt(int(fd), unix.IPPROTO_UDP, udpSegment, size)
	}); err != nil {
		return err
	}
	if set != nil {
		return fmt.Errorf("send datagrams in one piece (UDP_SEGMENT, Linux 4.18): %w", set)
	}
	return nil
}
