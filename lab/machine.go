//go:build linux

package lab

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/zctap/zctap/lab/vfiouser"
)

// A Machine describes a lab machine. The zero value is one CPU, 768 MiB, the
// newest kernel, and no network interface but the loopback.
type Machine struct {
	// Kernel is the version to run: "7.3.4", the beginning of one ("6.16"), or a
	// whole release. Empty is the newest that the machine's Debian mirror has.
	Kernel string
	// CPUs is the number of virtual CPUs; 0 is 1.
	CPUs int
	// Memory is the size of the guest's memory in bytes; 0 is DefaultMemory.
	Memory int64

	// Devices are plugged in as PCI devices, in this order. The machine serves
	// them while it runs. They are the caller's, who may act on them meanwhile
	// and has them back, without a client, when the machine has ended.
	Devices []vfiouser.Device
	// Modules are kernel modules to load, by name, in this order and with those
	// that they need: "gve", "tun".
	Modules []string
	// Files are put into the guest's file system, which has little else: no
	// shell and no tools but those that are named here.
	Files []File
	// Tools are programs of the bundle to put there: "busybox" (with links
	// for the shell and its commands), "ethtool", "ip".
	Tools []string
	// Cmdline are parameters for the kernel's command line, after the lab's own.
	Cmdline []string

	// Agent is the program that becomes the guest's first process; it calls Main
	// first of all. Empty is the running executable.
	Agent string
	// Accel says how the CPU is emulated: "tcg" in software, "kvm" by the
	// host's, "auto" by what there is. Empty is "tcg": the same everywhere.
	Accel string
	// Deterministic makes time in the guest count instructions, a nanosecond
	// for each, and removes what differs between runs: address randomization,
	// random seeds, the date. The CPU time of a step is then the number of its
	// instructions. A job that is run by Run, without devices, comes to the same
	// numbers each time. It needs one CPU and no KVM.
	Deterministic bool

	// Console, if not nil, gets what the guest's kernel logs, line by line as it
	// comes. It holds up the guest while it blocks.
	Console io.Writer
	// Known are splats to accept, beside KnownSplats.
	Known []Known
	// Progress, if not nil, is called while the bundle is fetched and the
	// machine starts. It must not block.
	Progress func(Progress)
	// CacheDir has the bundle; empty is zctap/lab in the user's cache folder.
	CacheDir string
	// BootTimeout bounds the time from QEMU's start until the guest is ready for
	// jobs; 0 is DefaultBootTimeout.
	BootTimeout time.Duration

	tempDir string // where the machine's folder is made; a test's
}

const (
	// DefaultMemory is what a machine has if its description does not say, in bytes.
	DefaultMemory = 768 << 20
	// MinMemory is the least that a machine may have, in bytes.
	MinMemory = 128 << 20
	// MaxCPUs is the most that a machine may have.
	MaxCPUs = 64
	// DefaultBootTimeout is generous: a guest needs 3 s on an idle machine, and a
	// minute has been seen on a very busy one.
	DefaultBootTimeout = 5 * time.Minute
	// DefaultTimeout bounds a job that does not say how long it may take.
	DefaultTimeout = 5 * time.Minute
)

// A Progress tells what is going on before the guest is ready.
type Progress struct {
	Stage   string  // "download", "unpack", "boot" and others
	Percent float64 // of this stage, 0 to 100
	Text    string  // for people
}

// A File is put into the guest's file system.
type File struct {
	Path string // in the guest, absolute
	// Source is a file of the host's to copy. If it is empty, Data is the contents.
	Source string
	Data   []byte
	// Mode is the permissions; 0 is those of Source, or 0644.
	Mode fs.FileMode
	// Program says that Source is an executable. It is given the shared libraries
	// that it is linked against.
	Program bool
}

// check returns m with its defaults filled in.
func (m Machine) check() (Machine, error) {
	def := func(v *int64, d int64) {
		if *v == 0 {
			*v = d
		}
	}
	if m.CPUs == 0 {
		m.CPUs = 1
	}
	def(&m.Memory, DefaultMemory)
	def((*int64)(&m.BootTimeout), int64(DefaultBootTimeout))
	if m.Accel == "" {
		m.Accel = "tcg"
	}
	bad := func(format string, args ...any) (Machine, error) {
		return m, fmt.Errorf("lab: Machine."+format, args...)
	}
	switch {
	case runtime.GOARCH != "amd64":
		return m, fmt.Errorf("lab: %w: the guest's programs are this machine's, and it is %s: %w", errors.ErrUnsupported, runtime.GOARCH, ErrArchitecture)
	case m.CPUs < 0 || m.CPUs > MaxCPUs:
		return bad("CPUs is %d: 1 to %d are possible", m.CPUs, MaxCPUs)
	case m.Memory < MinMemory || m.Memory%(1<<20) != 0:
		return bad("Memory is %d: it is a multiple of 1 MiB, %d MiB at least", m.Memory, MinMemory>>20)
	case m.BootTimeout < 0:
		return bad("BootTimeout is %v", m.BootTimeout)
	case !slices.Contains([]string{"tcg", "kvm", "auto"}, m.Accel):
		return bad("Accel is %q: there are tcg, kvm and auto", m.Accel)
	case m.Deterministic && (m.CPUs != 1 || m.Accel != "tcg"):
		return bad("Deterministic needs one CPU and accel tcg")
	case len(m.Devices) > maxDevices:
		return bad("Devices are %d: %d are possible", len(m.Devices), maxDevices)
	case slices.Contains(m.Devices, nil):
		return bad("Devices has a nil in it")
	}
	for _, f := range m.Files {
		switch {
		case !path.IsAbs(f.Path) || path.Clean(f.Path) != f.Path || f.Path == "/":
			return bad("Files: %q is not an absolute path", f.Path)
		case covered(f.Path):
			return bad("Files: %s would be covered: the guest mounts a file system there", f.Path)
		case f.Program && f.Source == "":
			return bad("Files: %s is a program without a source", f.Path)
		case f.Source != "" && f.Data != nil:
			return bad("Files: %s has a source and data", f.Path)
		case f.Mode&^fs.ModePerm != 0:
			return bad("Files: %s has the mode %v: only permissions are possible", f.Path, f.Mode)
		}
	}
	for _, p := range m.Cmdline {
		if strings.ContainsFunc(p, func(r rune) bool { return r < ' ' || r > '~' }) {
			return bad("Cmdline: %q has characters that the kernel does not take", p)
		}
	}
	return m, nil
}

// covered reports whether a path of the initramfs is out of sight later.
func covered(file string) bool {
	top, _, _ := strings.Cut(file[1:], "/")
	return slices.Contains([]string{"proc", "sys", "dev", "run", "tmp"}, top)
}
