package main

import (
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"net"
	"syscall"
)

// maxSegments is what Linux takes of a datagram to be cut up (UDP_MAX_SEGMENTS of
// Linux before 6.9; later 128).
const maxSegments = 64

// A datagramFlags is what send has for UDP.
type datagramFlags struct {
	count   int  // 0: a TCP stream is sent instead
	size    int  // bytes of payload of each
	segment bool // give many to the kernel at a time
}

func (d *datagramFlags) check(fs *flag.FlagSet) error {
	err := idle(fs, "is of a stream; --udp sends datagrams", "in", "pattern", "size", "wait")
	if d.count == 0 {
		err = idle(fs, "is of datagrams, sent with --udp", "datagram", "gso")
	}
	switch {
	case err != nil:
		return err
	case d.count < 0:
		return usagef("--udp is a number of datagrams")
	case d.size < 1 || d.size > 65507:
		return usagef("--datagram is 1 to 65507")
	}
	return nil
}

// perCall is how many datagrams one call sends.
func (d *datagramFlags) perCall() int {
	if !d.segment {
		return 1
	}
	return max(min(maxSegments, 65000/d.size), 1)
}

// sendDatagrams sends d.count datagrams to addr as fast as the kernel takes them.
func sendDatagrams(ctx context.Context, addr string, d *datagramFlags) error {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "udp", addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	c := conn.(*net.UDPConn)
	per := d.perCall()
	if d.segment {
		if err := setSegment(c, d.size); err != nil {
			return err
		}
	}
	b := make([]byte, per*d.size)
	for sent := 0; sent < d.count; {
		n := min(per, d.count-sent)
		binary.BigEndian.PutUint32(b[len(b)-4:], uint32(sent)) // so that they differ
		_, err := c.Write(b[:n*d.size])
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.ENOBUFS):
			// What was said of one before, and a queue that is full: the receiver
			// counts what is missing.
		case err != nil:
			return fmt.Errorf("after %d datagrams: %w", sent, err)
		}
		sent += n
	}
	return nil
}
