//go:build linux

package ksock

import (
	"net"
	"os"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"
)

// zones remembers interface names: link-local IPv6 addresses carry an index in
// the kernel and a name in Go (RFC 4007, 11), and asking the kernel for the name
// takes several system calls.
var zones sync.Map // uint32 → string

// zoneName is the name of the interface with the index, or the index in digits
// if there is none.
func zoneName(index uint32) string {
	if name, ok := zones.Load(index); ok {
		return name.(string)
	}
	ifi, err := net.InterfaceByIndex(int(index))
	if err != nil {
		return strconv.FormatUint(uint64(index), 10)
	}
	zones.Store(index, ifi.Name)
	return ifi.Name
}

// zoneIndex is the index of the interface name, or of the index in digits; 0
// for no zone. EINVAL if there is no such interface.
func zoneIndex(name string) (uint32, error) {
	if name == "" {
		return 0, nil
	}
	if ifi, err := net.InterfaceByName(name); err == nil {
		return uint32(ifi.Index), nil
	}
	n, err := strconv.ParseUint(name, 10, 32)
	if err != nil {
		return 0, &os.SyscallError{Syscall: "zone " + name, Err: unix.EINVAL}
	}
	return uint32(n), nil
}
