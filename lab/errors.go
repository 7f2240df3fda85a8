//go:build linux

package lab

import (
	"errors"
	"fmt"
	"strings"

	"github.com/zctap/zctap/lab/internal/bundle"
	"github.com/zctap/zctap/lab/internal/guest"
)

// What a machine can die of, for errors.Is. Besides: the cause of the context's
// end, and os.ErrDeadlineExceeded when a boot or a job took too long.
var (
	// ErrPanic: the guest's kernel panicked.
	ErrPanic = errors.New("the guest's kernel panicked")
	// ErrGuest: the guest ended by itself, or its agent failed.
	ErrGuest = errors.New("the guest gave up")
	// ErrQEMU: QEMU could not be started, failed, or was killed.
	ErrQEMU = errors.New("QEMU failed")
	// ErrProtocol: what came out of the guest is not what the agent sends.
	ErrProtocol = guest.ErrProtocol
	// ErrClosed: the machine has been closed.
	ErrClosed = errors.New("the lab machine is closed")
)

// What can be missing on the host, for errors.Is.
var (
	ErrArchitecture = bundle.ErrArchitecture // it is not an amd64 one
	ErrProgram      = bundle.ErrProgram      // a program, such as apt-get
	ErrNoMirror     = bundle.ErrNoMirror     // no Debian mirror
	ErrNoKernel     = bundle.ErrNoKernel     // the mirror has no kernel of the version asked for
	ErrNetwork      = bundle.ErrNetwork      // the mirror can't be reached
	ErrNoSpace      = bundle.ErrNoSpace      // disk space
)

// A MachineError says that a machine has died, of what, and the last that was
// heard of it.
type MachineError struct {
	Err     error   // the cause
	Splats  []Splat // what its kernel had complained of, that is not known
	Console []byte  // the guest's kernel log
	QEMU    []byte  // what QEMU wrote to its standard error
}

// Error words the cause, what QEMU said, the first complaint of the kernel, and
// the end of its log.
func (e *MachineError) Error() string {
	text := "lab: " + e.Err.Error() + tail("\nQEMU said:", e.QEMU, 20)
	if len(e.Splats) > 0 {
		text += tail("\nthe guest's kernel complained:", []byte(firstLines(e.Splats[0].Text, 24)), 24)
	}
	return text + tail("\nthe end of the guest's log:", e.Console, 20)
}

func (e *MachineError) Unwrap() error { return e.Err }

// A SplatError says that the guest's kernel complained of something that is
// not known to be harmless.
type SplatError struct {
	Splats []Splat // those that are not known
}

func (e *SplatError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "lab: the guest's kernel complained %d time(s)", len(e.Splats))
	for i, s := range e.Splats {
		if i == 3 {
			fmt.Fprintf(&b, "\nand so on")
			break
		}
		b.WriteString(tail("; first lines:", []byte(firstLines(s.Text, 12)), 12))
	}
	return b.String()
}

func firstLines(text string, n int) string {
	lines := strings.SplitN(text, "\n", n+1)
	return strings.Join(lines[:min(n, len(lines))], "\n")
}
