//go:build !linux

package zctap

import "syscall"

// writev without the call: one write a time is allowed to be short.
func writev(fd int, views [][]byte) (int, error) { return syscall.Write(fd, views[0]) }

// dropCapabilities: there are none.
func dropCapabilities() error { return ErrNotSupported }
