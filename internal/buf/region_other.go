//go:build !linux

package buf

import "syscall"

// Elsewhere than on Linux only heap regions exist: enough for the package to
// compile and its own tests to run.

func mapMemory(int, bool) ([]byte, Kind, error) { return nil, Mapped, syscall.ENOTSUP }
func unmapMemory([]byte) error                  { return nil }
func probeWritable([]byte, int) error           { return nil }
