//go:build linux

package netns

import (
	"fmt"
	"os"
)

// Current opens the namespace that the calling thread is in, for what is to be
// done there later, on another thread. Close lets go of it.
func Current() (*NS, error) {
	f, err := os.Open(threadNS)
	if err != nil {
		return nil, fmt.Errorf("netns: %w", err)
	}
	return &NS{f: f}, nil
}
