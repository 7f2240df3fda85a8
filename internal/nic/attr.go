//go:build linux

package nic

import (
	"encoding/binary"
	"fmt"

	"golang.org/x/sys/unix"
)

// attrs is a list of netlink attributes being put together (struct nlattr).
type attrs []byte

func (a *attrs) put(typ uint16, value []byte) {
	*a = binary.NativeEndian.AppendUint16(*a, uint16(unix.SizeofNlAttr+len(value)))
	*a = binary.NativeEndian.AppendUint16(*a, typ)
	*a = append(*a, value...)
	for len(*a)%unix.NLA_ALIGNTO != 0 {
		*a = append(*a, 0)
	}
}

func (a *attrs) u8(typ uint16, v uint8)   { a.put(typ, []byte{v}) }
func (a *attrs) u32(typ uint16, v uint32) { a.put(typ, binary.NativeEndian.AppendUint32(nil, v)) }
func (a *attrs) flag(typ uint16)          { a.put(typ, nil) }

// text is a string with its NUL.
func (a *attrs) text(typ uint16, s string) { a.put(typ, append([]byte(s), 0)) }

func (a *attrs) nest(typ uint16, fill func(*attrs)) {
	var inner attrs
	fill(&inner)
	a.put(typ|unix.NLA_F_NESTED, inner)
}

// attr is an attribute that was received.
type attr struct {
	typ   uint16 // without flags
	value []byte
}

// parseAttrs splits a list of attributes. A length that does not fit is an error.
func parseAttrs(b []byte) ([]attr, error) {
	var list []attr
	for len(b) >= unix.SizeofNlAttr {
		n := int(binary.NativeEndian.Uint16(b))
		if n < unix.SizeofNlAttr || n > len(b) {
			return nil, fmt.Errorf("netlink attribute of %d bytes in %d: %w", n, len(b), unix.EBADMSG)
		}
		typ := binary.NativeEndian.Uint16(b[2:]) &^ (unix.NLA_F_NESTED | unix.NLA_F_NET_BYTEORDER)
		list = append(list, attr{typ, b[unix.SizeofNlAttr:n]})
		b = b[min(len(b), (n+unix.NLA_ALIGNTO-1)&^(unix.NLA_ALIGNTO-1)):]
	}
	return list, nil
}

// nested splits an attribute that holds attributes. One that is malformed holds
// none: the kernel does not send such.
func (a attr) nested() []attr {
	list, err := parseAttrs(a.value)
	if err != nil {
		return nil
	}
	return list
}

// num is the number in an attribute of any width, as netlink's "uint" type has it.
func (a attr) num() uint64 {
	switch len(a.value) {
	case 1:
		return uint64(a.value[0])
	case 2:
		return uint64(binary.NativeEndian.Uint16(a.value))
	case 4:
		return uint64(binary.NativeEndian.Uint32(a.value))
	case 8:
		return binary.NativeEndian.Uint64(a.value)
	}
	return 0
}

func (a attr) u32() uint32 { return uint32(a.num()) }

func (a attr) text() string { return unix.ByteSliceToString(a.value) }

// u32s is an array of numbers.
func (a attr) u32s() []uint32 {
	list := make([]uint32, len(a.value)/4)
	for i := range list {
		list[i] = binary.NativeEndian.Uint32(a.value[4*i:])
	}
	return list
}
