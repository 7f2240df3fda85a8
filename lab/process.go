//go:build linux

package lab

import (
	"errors"
	"fmt"
	"io"
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

// pipeGrace is how long the output of a QEMU that has ended is waited for. No
// other process has it, so this is for what can't be.
const pipeGrace = 10 * time.Second

// A process is QEMU.
type process struct {
	pid    int
	stderr lockedKeeper
	done   chan struct{} // closed when it has ended and its output has been read
	err    error         // how; for when done is closed
}

// startProcess starts cmd, with its standard output going to stdout. Signals
// that a terminal sends to the host's process group do not reach it. The kernel
// kills it when the host's process ends, however that ends.
func startProcess(cmd *exec.Cmd, stdout io.Writer) (*process, error) {
	p := &process{done: make(chan struct{}), stderr: lockedKeeper{k: keeper{maxHead: maxQEMUText, maxTail: maxQEMUText}}}
	cmd.Stdout, cmd.Stderr = stdout, &p.stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.WaitDelay = pipeGrace
	started := make(chan error)
	go func() {
		// The signal of PR_SET_PDEATHSIG comes when the *thread* that forked ends
		// (prctl(2)), which in Go happens now and then; so this one is held.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err != nil {
			return
		}
		p.err = cmd.Wait()
		close(p.done)
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("%w: %w", ErrQEMU, err)
	}
	p.pid = cmd.Process.Pid
	return p, nil
}

// verdict words how the process ended; nil is by itself, without complaint.
func (p *process) verdict() error {
	var ee *exec.ExitError
	switch {
	case p.err == nil:
		return nil
	case errors.As(p.err, &ee) && ee.Sys().(syscall.WaitStatus).Signaled():
		return fmt.Errorf("%w: it was killed by signal %d (%v)", ErrQEMU, int(ee.Sys().(syscall.WaitStatus).Signal()), ee.Sys().(syscall.WaitStatus).Signal())
	}
	return fmt.Errorf("%w: %w", ErrQEMU, p.err)
}
