//go:build !linux

package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"runtime"

	"github.com/zctap/zctap"
)

// What receives needs Linux; the kernel's own sockets, by which send sends, are
// everywhere.
var (
	runDemo  = needsLinux
	runRecv  = needsLinux
	runBench = needsLinux
	runNIC   = needsLinux
	runLab   = needsLinux
)

func needsLinux(context.Context, *environ, []string) error {
	return fmt.Errorf("%w on %s: it needs Linux; what runs here is zctap send, without --gso", zctap.ErrNotSupported, runtime.GOOS)
}

// isTerminal: no progress is shown.
func isTerminal(io.Writer) bool { return false }

// setSegment: there is no UDP_SEGMENT.
func setSegment(*net.UDPConn, int) error { return needsLinux(context.Background(), nil, nil) }
