//go:build linux

package lab

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/zctap/zctap/lab/internal/guest"
)

// maxDevices is how many devices have a slot of their own on the machine's PCI
// bus, behind those that QEMU itself puts there.
const (
	maxDevices  = 8
	firstDevice = 0x10
)

// portFD is the descriptor of QEMU's that is its end of the port's socket:
// exec.Cmd.ExtraFiles begin there.
const portFD = 3

// A launch is what the command line needs beside the Machine.
type launch struct {
	kernel, initramfs string   // files
	devices           []string // sockets
	tsc               uint64   // the host's, in kHz; 0: not known
}

// args returns QEMU's arguments. Nothing of the host's configuration has a say.
func (m *Machine) args(l launch) []string {
	args := []string{
		"-no-user-config", "-nodefaults", "-display", "none", "-no-reboot",
		"-m", fmt.Sprintf("%dM", m.Memory>>20), "-smp", fmt.Sprint(m.CPUs),
	}
	machine, cpu, accel, serial := "q35", "max", []string{m.Accel}, "virtio-serial-pci"
	switch {
	case m.Deterministic:
		// Without the instructions that ask the host for random numbers.
		cpu, accel = "max,-rdrand,-rdseed", []string{"tcg,thread=single"}
		args = append(args, "-icount", "shift=0,sleep=off", "-seed", "1", "-rtc", "base=2022-10-18T00:00:00,clock=vm")
		// What the guest writes is taken at once, not when another thread gets to it.
		serial += ",ioeventfd=off"
	case m.Accel == "auto":
		accel = []string{"kvm", "tcg"} // QEMU takes the first that works
	}
	if len(l.devices) > 0 {
		// Devices outside of QEMU map the guest's memory.
		machine += ",memory-backend=mem"
		args = append(args, "-object", fmt.Sprintf("memory-backend-memfd,id=mem,size=%dM,share=on", m.Memory>>20))
	}
	args = append(args, "-machine", machine, "-cpu", cpu)
	for _, a := range accel {
		args = append(args, "-accel", a)
	}
	args = append(args,
		"-kernel", l.kernel, "-initrd", l.initramfs, "-append", m.cmdline(l.tsc),
		"-chardev", "stdio,id=console,signal=off", "-serial", "chardev:console",
		"-device", serial,
		"-chardev", fmt.Sprintf("socket,id=port,fd=%d", portFD),
		"-device", "virtserialport,chardev=port,name="+guest.PortName,
	)
	for i, path := range l.devices {
		args = append(args, "-device", deviceArg(i, path))
	}
	return args
}

// deviceArg describes device i, in JSON, since the socket is a structure. The
// slot is fixed: the guest finds devices in the order of their slots.
func deviceArg(i int, path string) string {
	text, err := json.Marshal(map[string]any{
		"driver": "vfio-user-pci",
		"id":     fmt.Sprintf("dev%d", i),
		"addr":   fmt.Sprintf("%#x", firstDevice+i),
		"socket": map[string]string{"type": "unix", "path": path},
	})
	if err != nil {
		panic(err) // strings only
	}
	return string(text)
}

// cmdline returns the kernel's command line. tsc is the frequency of the host's time
// stamp counter, in kHz, which is the guest's too, or 0.
func (m *Machine) cmdline(tsc uint64) string {
	params := []string{
		"console=ttyS0", "loglevel=7", // all but debugging
		"panic=-1", "oops=panic", // with -no-reboot: ends QEMU at once
		// A busy host lets an emulated CPU stand still for longer than a real one
		// ever does. The kernel is not to take that for broken hardware, or a lockup.
		"no_timer_check", "tsc=reliable",
		"rcupdate.rcu_cpu_stall_timeout=120", "sysctl.kernel.watchdog_thresh=60",
		guest.Marker + "=init",
	}
	switch {
	case m.Deterministic:
		params = append(params, "nokaslr", "norandmaps")
	case tsc > 0:
		// To measure it the kernel needs a CPU that does not stand still.
		params = append(params, fmt.Sprintf("tsc_early_khz=%d", tsc))
	}
	return strings.Join(append(params, m.Cmdline...), " ")
}
