//go:build linux

package hostnet

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// message is a netlink message (struct nlmsghdr).
type message struct {
	typ, flags uint16
	seq        uint32
	payload    []byte
}

// nextMessage takes the first message off b. It is not ok at the end, and at
// bytes that are no message.
func nextMessage(b []byte) (m message, rest []byte, ok bool) {
	if len(b) < unix.SizeofNlMsghdr {
		return m, nil, false
	}
	n := int(binary.NativeEndian.Uint32(b))
	if n < unix.SizeofNlMsghdr || n > len(b) {
		return m, nil, false
	}
	m = message{
		typ:     binary.NativeEndian.Uint16(b[4:]),
		flags:   binary.NativeEndian.Uint16(b[6:]),
		seq:     binary.NativeEndian.Uint32(b[8:]),
		payload: b[unix.SizeofNlMsghdr:n],
	}
	return m, b[min(len(b), align(n)):], true
}

// errno is the error in an acknowledgement, or at the end of a dump: both begin
// with a negative errno. 0 if there is none.
func (m *message) errno() unix.Errno {
	if len(m.payload) < 4 {
		if m.typ == unix.NLMSG_DONE {
			return 0
		}
		return unix.EBADMSG
	}
	if code := int32(binary.NativeEndian.Uint32(m.payload)); code < 0 {
		return unix.Errno(-code)
	}
	return 0
}

// attribute is one attribute of a message (struct nlattr).
type attribute struct {
	typ   uint16 // without flags
	value []byte
}

// nextAttribute takes the first attribute off b. It is not ok at the end, and at
// bytes that are no attribute.
func nextAttribute(b []byte) (a attribute, rest []byte, ok bool) {
	if len(b) < unix.SizeofNlAttr {
		return a, nil, false
	}
	n := int(binary.NativeEndian.Uint16(b))
	if n < unix.SizeofNlAttr || n > len(b) {
		return a, nil, false
	}
	a = attribute{binary.NativeEndian.Uint16(b[2:]) &^ (unix.NLA_F_NESTED | unix.NLA_F_NET_BYTEORDER), b[unix.SizeofNlAttr:n]}
	return a, b[min(len(b), align(n)):], true
}

// u32 is the number in the attribute, 0 if it is not one of 32 bits.
func (a attribute) u32() uint32 {
	if len(a.value) != 4 {
		return 0
	}
	return binary.NativeEndian.Uint32(a.value)
}

// align rounds up to the alignment of messages and of attributes, both 4.
func align(n int) int { return (n + unix.NLMSG_ALIGNTO - 1) &^ (unix.NLMSG_ALIGNTO - 1) }

// appendAttribute appends an attribute to a message.
func appendAttribute(b []byte, typ uint16, value []byte) []byte {
	b = binary.NativeEndian.AppendUint16(b, uint16(unix.SizeofNlAttr+len(value)))
	b = binary.NativeEndian.AppendUint16(b, typ)
	b = append(b, value...)
	for len(b)%unix.NLA_ALIGNTO != 0 {
		b = append(b, 0)
	}
	return b
}

// u32bytes is a number as an attribute has it.
func u32bytes(v uint32) []byte { return binary.NativeEndian.AppendUint32(nil, v) }
