//go:build linux

package uring

import (
	"encoding/binary"
	"fmt"
)

// recvMsgHeader is the size of struct io_uring_recvmsg_out, which precedes name, control data and payload in a buffer
// filled by RecvMsgMultishot: the true sizes of the three and the msg_flags.
const recvMsgHeader = 16

// RecvMsgOut is what RecvMsgMultishot left in a buffer. The slices are views of it.
type RecvMsgOut struct {
	Name    []byte // the sender's sockaddr
	Control []byte // control messages
	Payload []byte // the datagram, cut to what the buffer had room for
	Flags   uint32 // msg_flags: MSG_TRUNC if Payload was cut, MSG_CTRUNC if Control was
}

// ParseRecvMsg takes apart buf, the bytes that a completion of RecvMsgMultishot counts (buffer[:Res]), given the lengths
// that the request was pushed with.
func ParseRecvMsg(buf []byte, nameLen, controlLen int) (RecvMsgOut, error) {
	if nameLen < 0 || controlLen < 0 || len(buf) < recvMsgHeader || nameLen > len(buf)-recvMsgHeader ||
		controlLen > len(buf)-recvMsgHeader-nameLen {
		return RecvMsgOut{}, fmt.Errorf("uring: recvmsg buffer of %d bytes, shorter than its header, a name of %d and control of %d",
			len(buf), nameLen, controlLen)
	}
	name := binary.NativeEndian.Uint32(buf[0:])
	control := binary.NativeEndian.Uint32(buf[4:])
	payload := binary.NativeEndian.Uint32(buf[8:])
	flags := binary.NativeEndian.Uint32(buf[12:])

	// Name and control have room of fixed size, whatever they filled of it; the sizes told may be larger than the room.
	rest := buf[recvMsgHeader:]
	cut := func(room int, size uint32) []byte {
		b := rest[:room]
		rest = rest[room:]
		n := int(min(uint64(size), uint64(room)))
		return b[:n:n]
	}
	out := RecvMsgOut{Flags: flags}
	out.Name = cut(nameLen, name)
	out.Control = cut(controlLen, control)
	out.Payload = cut(len(rest), payload)
	return out, nil
}
