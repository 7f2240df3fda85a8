//go:build linux

package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/zctap/zctap/lab/internal/guest"
	"github.com/zctap/zctap/lab/vfiouser"
)

const (
	// cancelGrace is how long the guest has to end a job that is cancelled.
	cancelGrace = 10 * time.Second
	// closeGrace is how long it has to switch itself off.
	closeGrace = 20 * time.Second
)

// A VM is a lab machine that runs. Its methods may be called from any goroutine.
type VM struct {
	machine Machine
	ctx     context.Context
	fail    context.CancelCauseFunc // kills QEMU, and says why
	console *console
	session *session
	qemu    *process
	hello   guest.Hello
	started time.Time
	boot    time.Duration // until hello
	closing atomic.Bool
	grace   time.Duration // cancelGrace
	served  chan struct{} // closed when the port is at its end
	done    chan struct{} // closed when nothing of the machine is left
	err     error         // why it ended; for when done is closed
	cleanup []func() error
	servers sync.WaitGroup
}

// Boot starts a machine and returns when it is ready for jobs. The machine
// ends with ctx, or by Close, which the caller has to call.
func Boot(ctx context.Context, m Machine) (*VM, error) {
	vm, _, err := boot(ctx, m, nil)
	return vm, err
}

// boot starts a machine. A first job, if there is one, is part of its file
// system, so that it runs without being sent.
func boot(ctx context.Context, m Machine, first *Job) (*VM, *job, error) {
	m, err := m.check()
	if err != nil {
		return nil, nil, err
	}
	ctx, fail := context.WithCancelCause(ctx)
	vm := &VM{
		machine: m, ctx: ctx, fail: fail, console: newConsole(m.Console, m.Known),
		grace: cancelGrace, served: make(chan struct{}), done: make(chan struct{}),
	}
	job, err := vm.start(first)
	if err != nil {
		fail(err)
		vm.servers.Wait()
		return nil, nil, errors.Join(err, vm.clean())
	}
	go vm.reap()
	if err := vm.awaitHello(); err != nil {
		return nil, nil, err
	}
	return vm, job, nil
}

// start does all that has to be done before QEMU runs, and starts it.
func (vm *VM) start(first *Job) (*job, error) {
	m := &vm.machine
	b, err := openBundle(vm.ctx, m.CacheDir, m.Kernel, m.Progress)
	if err != nil {
		return nil, err
	}
	dir, remove, err := makeTempDir(m.tempDir)
	if err != nil {
		return nil, err
	}
	vm.cleanup = append(vm.cleanup, remove)

	ours, theirs, err := socketPair()
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	vm.cleanup = append(vm.cleanup, ours.Close)
	vm.session = newSession(vm.ctx, &port{ours})

	var config guest.Config
	var running *job
	if first != nil {
		var names []string
		if config.Job, names, err = first.check(); err != nil {
			return nil, err
		}
		if running, err = vm.session.register(first, config.Job, names); err != nil {
			return nil, err
		}
	}
	l := launch{kernel: b.Kernel(), initramfs: dir + "/initramfs", tsc: tscFrequency()}
	if err := m.writeInitramfs(vm.ctx, b, l.initramfs, config); err != nil {
		return nil, err
	}
	for i, d := range m.Devices {
		path := fmt.Sprintf("%s/dev%d", dir, i)
		l.devices = append(l.devices, path)
		if err := vm.serveDevice(i, d, path); err != nil {
			return nil, err
		}
	}
	cmd := b.QEMU(vm.ctx, m.args(l)...)
	cmd.Dir = dir
	cmd.ExtraFiles = []*os.File{theirs}
	vm.progress("boot", 0, b.KernelRelease())
	vm.started = time.Now()
	if vm.qemu, err = startProcess(cmd, vm.console); err != nil {
		return nil, err
	}
	vm.servers.Go(func() { vm.servePort(ours) })
	return running, nil
}

func (vm *VM) progress(stage string, percent float64, text string) {
	if vm.machine.Progress != nil {
		vm.machine.Progress(Progress{stage, percent, text})
	}
}

// serveDevice serves a device at a socket until the machine has ended.
func (vm *VM) serveDevice(i int, d vfiouser.Device, path string) error {
	server, err := vfiouser.NewServer(d)
	if err != nil {
		return fmt.Errorf("lab: Machine.Devices[%d]: %w", i, err)
	}
	l, err := vfiouser.Listen(path)
	if err != nil {
		return fmt.Errorf("lab: Machine.Devices[%d]: %w", i, err)
	}
	vm.cleanup = append(vm.cleanup, l.Close)
	vm.servers.Go(func() {
		err := l.Serve(vm.ctx, server, func(err error) {
			if err != nil {
				vm.fail(fmt.Errorf("lab: Machine.Devices[%d]: %w", i, err))
			}
		})
		if err != nil && !errors.Is(err, net.ErrClosed) {
			vm.fail(fmt.Errorf("lab: Machine.Devices[%d]: %w", i, err))
		}
	})
	return nil
}

// awaitHello waits until the guest is ready.
func (vm *VM) awaitHello() error {
	timeout := time.NewTimer(vm.machine.BootTimeout)
	defer timeout.Stop()
	select {
	case vm.hello = <-vm.session.ready:
		vm.boot = time.Since(vm.started)
		vm.progress("boot", 100, vm.hello.Release)
		return nil
	case <-timeout.C:
		vm.fail(fmt.Errorf("the guest was not ready %v after QEMU's start: %w", vm.machine.BootTimeout, os.ErrDeadlineExceeded))
	case <-vm.done:
	}
	<-vm.done
	return vm.err
}

// reap waits for QEMU's end, and takes away all that belonged to the machine.
func (vm *VM) reap() {
	<-vm.qemu.done
	<-vm.served // the guest may have said why it ends
	vm.console.flush()
	err := vm.verdict()
	vm.fail(ErrClosed) // ends what still serves it
	cleaned := vm.clean()
	vm.servers.Wait()
	vm.session.wg.Wait()
	if err != nil {
		_, splats := vm.console.splats()
		err = &MachineError{Err: err, Splats: splats, Console: vm.console.text(), QEMU: vm.qemu.stderr.bytes()}
	}
	vm.err = errors.Join(err, cleaned)
	close(vm.done)
}

// verdict says why the machine ended; nil is as it should.
func (vm *VM) verdict() error {
	if message := vm.console.panicked(); message != "" {
		return fmt.Errorf("%w: %s", ErrPanic, printable(message))
	}
	if vm.ctx.Err() != nil {
		return context.Cause(vm.ctx)
	}
	if err := vm.qemu.verdict(); err != nil {
		return err
	}
	if !vm.closing.Load() {
		return fmt.Errorf("%w: it switched itself off", ErrGuest)
	}
	return nil
}

// clean undoes what start has made, the last first.
func (vm *VM) clean() error {
	var errs []error
	for i := len(vm.cleanup) - 1; i >= 0; i-- {
		errs = append(errs, vm.cleanup[i]())
	}
	vm.cleanup = nil
	return errors.Join(errs...)
}

// Log returns what the guest's kernel has logged so far. Of very much only the
// beginning and the end are kept.
func (vm *VM) Log() []byte { return vm.console.text() }

// Splats returns what the guest's kernel has complained of so far.
func (vm *VM) Splats() []Splat {
	all, _ := vm.console.splats()
	return all
}

// Done is closed when the machine has ended and nothing of it is left.
func (vm *VM) Done() <-chan struct{} { return vm.done }

// Kill ends the machine at once, as cutting its power does.
func (vm *VM) Kill() {
	vm.closing.Store(true)
	vm.fail(ErrClosed)
	<-vm.done
}

// Close has the guest switch itself off, waits for that, and returns what the
// machine died of, if it did, or the splats that are not known.
func (vm *VM) Close() error {
	if !vm.closing.Swap(true) {
		timeout := time.AfterFunc(closeGrace, func() {
			vm.fail(fmt.Errorf("the guest did not switch itself off within %v: %w", closeGrace, os.ErrDeadlineExceeded))
		})
		defer timeout.Stop()
		// If it fails the machine is at its end already, or will be.
		_ = vm.session.out.Write(guest.KindShutdown, 0, nil)
	}
	<-vm.done
	_, unknown := vm.console.splats()
	if vm.err != nil || len(unknown) == 0 {
		return vm.err
	}
	return &SplatError{unknown}
}
