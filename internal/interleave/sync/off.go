//go:build !interleave

package sync

import "sync"

// Mutex is that of Go's sync.
type Mutex = sync.Mutex
