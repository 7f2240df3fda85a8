//go:build linux

package uring

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// putMsghdr writes a struct msghdr with the two lengths that a multishot receive looks at. Its size differs by machine.
func putMsghdr(arg []byte, nameLen, controlLen int) {
	h := (*unix.Msghdr)(unsafe.Pointer(&arg[:unsafe.Sizeof(unix.Msghdr{})][0]))
	h.Namelen = uint32(nameLen)
	h.SetControllen(controlLen)
}
