//go:build linux

package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/zctap/zctap/lab/internal/guest"
)

// Run starts a machine, runs one job on it, and ends it.
//
// The error is nil only if all went well: the machine lived to its end, each
// step succeeded, each file was collected, and the kernel had nothing to complain
// of. Otherwise it has in it, for errors.As, a *MachineError, a *StepError for
// each step that failed, and a *SplatError. The result is there as soon as
// the guest was ready, whatever happened then.
func Run(ctx context.Context, m Machine, j Job) (*Result, error) {
	var first *Job
	if m.Deterministic {
		first = &j
	}
	vm, running, err := boot(ctx, m, first)
	if err != nil {
		return nil, err
	}
	var res *Result
	if running != nil {
		res, err = vm.await(ctx, running)
	} else {
		res, err = vm.Run(ctx, j)
	}
	if closed := vm.Close(); closed != nil && !errors.Is(err, closed) {
		err = errors.Join(err, closed)
	}
	if res != nil {
		res.KernelLog, res.Splats = vm.Log(), vm.Splats()
	}
	return res, err
}

// Run runs a job, beside others that may run. When ctx ends, or the job's time
// is up, all its processes are killed; if the guest does not manage that within
// some seconds, the machine is.
//
// The error is like that of Run without splats, which Close reports. The
// result is nil only if the job is not valid or the machine has ended before.
func (vm *VM) Run(ctx context.Context, j Job) (*Result, error) {
	g, names, err := j.check()
	if err != nil {
		return nil, err
	}
	running, err := vm.session.register(&j, g, names)
	if err != nil {
		return nil, vm.gone(err)
	}
	if err := vm.session.out.Message(guest.KindJob, running.id, g); errors.Is(err, os.ErrDeadlineExceeded) {
		vm.fail(fmt.Errorf("%w: it does not take the job", ErrGuest))
	} // any other failure is that of a machine at its end, which says why itself
	return vm.await(ctx, running)
}

// Exec runs one program, and returns what it wrote to its standard output.
func (vm *VM) Exec(ctx context.Context, args ...string) ([]byte, error) {
	res, err := vm.Run(ctx, Job{Steps: []Step{{Args: args}}})
	if res == nil {
		return nil, err
	}
	return res.Steps[0].Stdout, err
}

// gone waits for the machine's end, and says why it ended, which is err if
// nothing is known to be wrong.
func (vm *VM) gone(err error) error {
	<-vm.done
	if vm.err != nil {
		return vm.err
	}
	return err
}

// await waits for the end of a job that the guest has been given.
func (vm *VM) await(ctx context.Context, j *job) (*Result, error) {
	timeout := j.Timeout
	if timeout == 0 {
		timeout = DefaultTimeout
	}
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, fmt.Errorf("the job was not done within %v: %w", timeout, os.ErrDeadlineExceeded))
	defer cancel()
	start := time.Now()
	for i, st := range j.steps {
		if st.Stdin != nil {
			go st.pump(j.first+uint16(i), vm.session.out)
		}
	}
	var late error
	select {
	case <-j.over:
	case <-ctx.Done():
		late = context.Cause(ctx)
		vm.cancel(j, late)
	}
	res := &Result{Release: vm.hello.Release, Boot: vm.boot, Duration: time.Since(start), Files: j.files}
	for _, st := range j.steps {
		res.Steps = append(res.Steps, st.res)
	}
	err := j.err
	if errors.Is(err, errGone) {
		err = vm.gone(ErrClosed)
	}
	if late != nil && !errors.Is(err, late) {
		err = errors.Join(fmt.Errorf("lab: %w%s", late, stillRunning(res.Steps)), err)
	}
	res.KernelLog, res.Splats = vm.Log(), vm.Splats()
	return res, errors.Join(err, stepErrors(j.Job, res.Steps))
}

// cancel has the guest end a job, or ends the machine, and returns when the job
// has ended.
func (vm *VM) cancel(j *job, why error) {
	// In a goroutine: the port may be full.
	go func() { _ = vm.session.out.Write(guest.KindCancel, j.id, nil) }()
	select {
	case <-j.over:
	case <-time.After(vm.grace):
		vm.fail(fmt.Errorf("%w, and the guest did not end its processes for %v", why, vm.grace))
		<-j.over
	}
}

// stillRunning names the steps that were stopped.
func stillRunning(steps []StepResult) string {
	text := ""
	for i := range steps {
		if steps[i].Stopped {
			text += tail(fmt.Sprintf("\nstep %s was running; it wrote last:", steps[i].Name), append(steps[i].Stdout, steps[i].Stderr...), 10)
		}
	}
	return text
}
