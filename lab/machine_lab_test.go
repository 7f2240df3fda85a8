//go:build linux

package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/zctap/zctap/internal/testenv"
	"github.com/zctap/zctap/lab/vfiouser"
)

// clean returns m with a temporary folder of its own, in which nothing may be
// left when the test ends.
func clean(t *testing.T, m Machine) Machine {
	t.Helper()
	m.tempDir = t.TempDir()
	t.Cleanup(func() {
		if left, err := os.ReadDir(m.tempDir); err != nil || len(left) > 0 {
			t.Errorf("left behind: %v, %v", left, err)
		}
	})
	return m
}

func TestLabPanic(t *testing.T) {
	t.Parallel()
	testenv.NeedVM(t)
	Need(t)
	res, err := Run(t.Context(), clean(t, Machine{}), Job{Steps: []Step{as("echo", "before", ""), as("panic"), as("exit", "0")}})
	var died *MachineError
	if !errors.Is(err, ErrPanic) || !errors.As(err, &died) || !strings.Contains(err.Error(), "sysrq triggered crash") {
		t.Fatalf("error %v", err)
	}
	if strings.Count(err.Error(), "the guest's kernel panicked") != 1 || !strings.Contains(err.Error(), "sysrq_handle_crash") {
		t.Errorf("the error tells it more than once, or not where: %v", err)
	}
	if !bytes.Contains(died.Console, []byte("Call Trace")) || !bytes.Contains(res.KernelLog, []byte("Kernel panic")) || len(res.Splats) == 0 {
		t.Errorf("the log of the end is not there: %v", err)
	}
	if string(res.Steps[0].Stdout) != "before" || !res.Steps[1].Started || res.Steps[2].Started {
		t.Errorf("steps: %+v", res.Steps)
	}
}

// TestLabSplats has the kernel complain: of what is not known, and of what is.
func TestLabSplats(t *testing.T) {
	t.Parallel()
	testenv.NeedVM(t)
	Need(t)
	m := clean(t, Machine{Known: []Known{{regexp.MustCompile(`^BUG: a test's own`), "the test wrote it"}}})
	res, err := Run(t.Context(), m, Job{Steps: []Step{
		as("kmsg", "WARNING: CPU: 0 PID: 1 at net/core/dev.h:398 at page_pool_disable_direct_recycling+0x5b/0x80"),
		as("kmsg", "---[ end trace 0000000000000000 ]---"),
		as("kmsg", "BUG: a test's own"),
		as("kmsg", "WARNING: something else"),
	}})
	var splats *SplatError
	if !errors.As(err, &splats) || len(splats.Splats) != 1 || !strings.HasPrefix(splats.Splats[0].Text, "WARNING: something else") {
		t.Fatalf("error %v", err)
	}
	if errors.As(err, new(*StepError)) || errors.As(err, new(*MachineError)) {
		t.Errorf("the steps and the machine were good: %v", err)
	}
	if len(res.Splats) != 3 || res.Splats[0].Known == "" || res.Splats[1].Known != "the test wrote it" || res.Splats[2].Known != "" {
		t.Errorf("splats: %+v", res.Splats)
	}
}

// untilBegun runs what is to exceed its time, and tells whether it has begun. A busy host may need more
// than that to begin: then it is run again, with twice the time.
func untilBegun(run func(timeout time.Duration) (begun bool)) {
	for timeout := 5 * time.Second; timeout < DefaultTimeout && !run(timeout); {
		timeout *= 2
	}
}

// agentStopped is what the guest's kernel logs when the role "stop the agent" has done so.
const agentStopped = "the agent is stopped"

// TestLabDeaths ends machines in the middle of a job, from outside and from inside.
func TestLabDeaths(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name string
		step Step
		kill func(t *testing.T, vm *VM, cancel context.CancelCauseFunc)
		is   error
		says string
	}{
		{
			name: "QEMU is killed", step: as("serve"), is: ErrQEMU, says: "killed by signal 9",
			kill: func(t *testing.T, vm *VM, _ context.CancelCauseFunc) {
				if err := syscall.Kill(vm.qemu.pid, syscall.SIGKILL); err != nil {
					t.Error(err)
				}
			},
		},
		{name: "the guest switches itself off", step: as("poweroff"), is: ErrGuest, says: "switched itself off"},
		{name: "the guest hangs", step: as("stop the agent"), is: os.ErrDeadlineExceeded, says: "did not end its processes"},
		{
			name: "the context ends", step: as("serve"), is: syscall.EXDEV, says: "EXDEV",
			kill: func(_ *testing.T, _ *VM, cancel context.CancelCauseFunc) {
				cancel(errors.Join(syscall.EXDEV, errors.New("EXDEV")))
			},
		},
	}
	testenv.NeedVM(t)
	Need(t)
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			die := func(timeout time.Duration) (begun bool) {
				ctx, cancel := context.WithCancelCause(t.Context())
				defer cancel(nil)
				vm, err := Boot(ctx, clean(t, Machine{}))
				if err != nil {
					t.Fatal(err)
				}
				defer vm.Kill()
				vm.grace = time.Second
				job := Job{Timeout: timeout, Steps: []Step{c.step}, OnEvent: func(context.Context, Event) ([]byte, error) {
					if c.kill != nil {
						go c.kill(t, vm, cancel)
					}
					return nil, nil
				}}
				res, err := vm.Run(t.Context(), job)
				if c.is == os.ErrDeadlineExceeded && !bytes.Contains(vm.Log(), []byte(agentStopped)) {
					return false
				}
				if !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.says) {
					t.Errorf("error %v", err)
				}
				if res == nil || !res.Steps[0].Started {
					t.Errorf("the result: %+v", res)
				}
				if err := vm.Close(); !errors.Is(err, c.is) {
					t.Errorf("Close: %v", err)
				}
				return true
			}
			if c.is != os.ErrDeadlineExceeded {
				die(0) // only a failure takes as long as DefaultTimeout
				return
			}
			begun := false
			untilBegun(func(timeout time.Duration) bool { begun = die(timeout); return begun })
			if !begun {
				t.Error("the step never begins")
			}
		})
	}
}

// TestLabHostIsKilled: a QEMU does not outlive the process that started it.
func TestLabHostIsKilled(t *testing.T) {
	t.Parallel()
	testenv.NeedVM(t)
	Need(t)
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	host := exec.Command(program)
	host.Env = append(os.Environ(), roleVar+"=host", "TMPDIR="+t.TempDir())
	out, err := host.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	host.Stderr = os.Stderr
	if err := host.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = host.Wait() }()
	defer func() { _ = host.Process.Kill() }()
	var pid int
	if _, err := fmt.Fscan(out, &pid); err != nil {
		t.Fatal(err)
	}
	state := func() string {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			return "gone"
		}
		return string(text[bytes.LastIndexByte(text, ')')+2])
	}
	if s := state(); s == "gone" || s == "Z" {
		t.Fatalf("QEMU %d is in state %s before", pid, s)
	}
	if err := host.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	// Whoever takes care of orphans may leave it as a zombie.
	for deadline := time.Now().Add(20 * time.Second); state() != "gone" && state() != "Z"; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("QEMU %d lives on", pid)
		}
	}
}

func TestLabBootTimeout(t *testing.T) {
	t.Parallel()
	testenv.NeedVM(t)
	Need(t)
	_, err := Boot(t.Context(), clean(t, Machine{BootTimeout: 300 * time.Millisecond}))
	if !errors.Is(err, os.ErrDeadlineExceeded) || !strings.Contains(err.Error(), "not ready 300ms after") {
		t.Errorf("error %v", err)
	}
}

func TestLabQEMUFails(t *testing.T) {
	t.Parallel()
	testenv.NeedVM(t)
	Need(t)
	_, err := Boot(t.Context(), clean(t, Machine{Accel: "kvm", Memory: 1 << 50}))
	if !errors.Is(err, ErrQEMU) || !strings.Contains(err.Error(), "QEMU said:") {
		t.Errorf("error %v", err)
	}
}

// TestLabDeterministic runs the same twice, on a machine that counts instructions.
func TestLabDeterministic(t *testing.T) {
	t.Parallel()
	testenv.NeedVM(t)
	Need(t)
	type run struct{ user, system, start time.Duration }
	var runs [2]run
	var wg sync.WaitGroup
	for i := range runs {
		wg.Go(func() {
			res, err := Run(t.Context(), Machine{Deterministic: true}, Job{Steps: []Step{as("count")}})
			if err != nil {
				t.Error(err)
				return
			}
			s := res.Steps[0]
			runs[i] = run{s.User, s.System, s.Start}
		})
	}
	wg.Wait()
	// The loop has some instructions a round, each of them a nanosecond.
	if cpu := runs[0].user + runs[0].system; runs[0] != runs[1] || cpu < countRounds || cpu > 100*countRounds {
		t.Errorf("two runs took %+v and %+v", runs[0], runs[1])
	}
}

// aDevice is a device with nothing in it.
type aDevice struct{ attached, detached atomic.Bool }

func (d *aDevice) Info() vfiouser.Info {
	return vfiouser.Info{Vendor: 0x1af4, Device: 0x10f0, Revision: 7, Class: 0xff0000, BARs: [6]uint64{1: 4096}, Vectors: 1, TableBAR: 1, PBABAR: 1, PBAOff: 2048}
}
func (d *aDevice) Attach(*vfiouser.Bus)               { d.attached.Store(true) }
func (d *aDevice) Detach()                            { d.detached.Store(true) }
func (d *aDevice) ReadBAR(int, uint64, []byte) error  { return nil }
func (d *aDevice) WriteBAR(int, uint64, []byte) error { return nil }
func (d *aDevice) Reset()                             {}

// TestLabPackage runs the tests of another package in the guest, on two CPUs, with two devices plugged
// in: those that run on any kernel and need no compiler, of which none may skip. (lab/scenario has TestLabHave.)
func TestLabPackage(t *testing.T) {
	t.Parallel()
	testenv.NeedVM(t)
	Need(t)
	program, err := BuildTest(t.Context(), t.TempDir(), "../internal/uring")
	if err != nil {
		t.Fatal(err)
	}
	var devices [2]aDevice
	m := Machine{
		CPUs: 2, Devices: []vfiouser.Device{&devices[0], &devices[1]},
		Files: []File{{Path: "/bin/uring.test", Source: program}}, Tools: []string{"busybox"},
	}
	res, err := Run(t.Context(), m, Job{Steps: []Step{
		{Name: "cpus", Args: []string{"nproc"}},
		{Name: "devices", Args: []string{"sh", "-c", "cat /sys/bus/pci/devices/0000:00:10.0/device /sys/bus/pci/devices/0000:00:11.0/revision"}},
		{Name: "uring", Args: []string{"uring.test", "-test.v", "-test.skip=^(TestAgainstKernelHeader$|TestNS|TestLab)"}, Env: []string{"ZCTAP_CI=1"}},
	}})
	if err != nil {
		t.Fatalf("%v\n%s", err, res.Steps[2].Stdout)
	}
	for _, passed := range []string{"TestHave", "TestWake", "TestConsume", "TestRecvMultishot"} {
		if !bytes.Contains(res.Steps[2].Stdout, []byte("--- PASS: "+passed)) {
			t.Errorf("%s did not run:\n%s", passed, res.Steps[2].Stdout)
		}
	}
	if got := string(res.Steps[0].Stdout); got != "2\n" {
		t.Errorf("nproc: %q", got)
	}
	if got := string(res.Steps[1].Stdout); got != "0x10f0\n0x07\n" {
		t.Errorf("the devices: %q", got)
	}
	for i := range devices {
		if !devices[i].attached.Load() || !devices[i].detached.Load() {
			t.Errorf("device %d: attached %v, detached %v", i, devices[i].attached.Load(), devices[i].detached.Load())
		}
	}
}
