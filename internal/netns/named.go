//go:build linux

package netns

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// namedDir is where ip-netns(8) keeps namespaces by name.
const namedDir = "/run/netns"

// Open opens the namespace that was made as name, by `ip netns add` for example.
// Close lets go of it; it goes on to exist.
func Open(name string) (*NS, error) {
	if name == "" || strings.Contains(name, "/") {
		return nil, fmt.Errorf("netns: %q is no name of a network namespace", name)
	}
	f, err := os.Open(filepath.Join(namedDir, name))
	if err != nil {
		return nil, fmt.Errorf("netns: no network namespace %s: %w", name, err)
	}
	return &NS{f: f}, nil
}
