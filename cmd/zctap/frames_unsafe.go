//go:build linux

package main

import "unsafe"

// addressOf is where b lies.
func addressOf(b []byte) uintptr { return uintptr(unsafe.Pointer(unsafe.SliceData(b))) }
