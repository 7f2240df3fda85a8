//go:build linux

package nic

import "unsafe"

const (
	ifreqLen        = uint64(unsafe.Sizeof(ifreqData{}))
	ifreqDataOffset = uint64(unsafe.Offsetof(ifreqData{}.data))
)
