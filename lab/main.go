//go:build linux

package lab

import (
	"context"

	"github.com/zctap/zctap/lab/internal/guest"
)

// Main has to be called first of all by a program that boots machines, unless
// these have another Machine.Agent: in main, or in TestMain. On the host it
// returns at once. In the guest, of which the same program is the first process,
// it does that process's work, and does not return.
func Main() { guest.Main() }

// Signal is for programs in the guest: it tells the runner that name has
// happened, with data, and returns the answer of Job.OnEvent. A step that waits
// for this one by Step.Ready goes on after the answer.
func Signal(ctx context.Context, name string, data []byte) (answer []byte, err error) {
	return guest.Signal(ctx, name, data)
}

// InGuest reports whether this process runs in the guest of a lab machine.
func InGuest() bool { return guest.Inside() }
