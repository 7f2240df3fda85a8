//go:build !linux

package zctap

import (
	"net"
	"os"
)

func writeFile(f *os.File, views net.Buffers) (int64, error) { return views.WriteTo(f) }

// dropCapabilities: there are none.
func dropCapabilities() error { return ErrNotSupported }
