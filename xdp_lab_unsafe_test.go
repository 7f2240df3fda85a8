//go:build linux

package zctap_test

import "unsafe"

// addressOf is where b lies in this process.
func addressOf(b []byte) uintptr { return uintptr(unsafe.Pointer(unsafe.SliceData(b))) }
