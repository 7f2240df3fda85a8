//go:build linux

package bundle

import (
	"context"
	"debug/elf"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
)

// A Bundle is what the lab runs: one kernel, and the tools. Its files are read
// only, and stay until [Clean]. It may be used by several goroutines.
type Bundle struct {
	// Dir is the cache folder.
	Dir string

	// Versions are the versions of the packages, by name.
	Versions map[string]string

	release string
	tools   string // folder
	kernel  string // folder

	modulesOnce sync.Once
	modules     *moduleIndex
	modulesErr  error
}

// Kernel returns the file name of the kernel: a bzImage, for -kernel of QEMU.
func (b *Bundle) Kernel() string { return filepath.Join(b.kernel, "vmlinuz") }

// KernelRelease returns what `uname -r` says in a guest, such as
// "7.3.4+deb13-cloud-amd64".
func (b *Bundle) KernelRelease() string { return b.release }

// KernelConfig returns the name of the file that the kernel was configured
// with: lines like CONFIG_IO_URING_ZCRX=y.
func (b *Bundle) KernelConfig() string { return filepath.Join(b.kernel, "config") }

// Root returns the folder that the tools' own root would be, with usr/bin and
// so on below it: where programs of the bundle find their loader and libraries.
func (b *Bundle) Root() string { return b.tools }

// LibraryDirs returns the folders of the libraries that the tools are linked
// with.
func (b *Bundle) LibraryDirs() []string { return []string{filepath.Join(b.tools, libraryDir)} }

// IncludeDirs returns the folders of the headers: those of the kernel, the newest of
// the mirror, and of liburing.
func (b *Bundle) IncludeDirs() []string {
	include := filepath.Join(b.tools, includeDir)
	return []string{include, filepath.Join(include, "x86_64-linux-gnu")}
}

// Tool returns the file name of a program: "busybox" (static), "ethtool", "ip",
// "ss", "tc", "bridge", "devlink" or "nstat", to be taken into a guest. To run
// one on this machine, use [Bundle.Command].
func (b *Bundle) Tool(name string) (string, error) {
	if slices.Contains(programs, name) {
		for _, dir := range programDirs {
			file := filepath.Join(b.tools, dir, name)
			if info, err := os.Stat(file); err == nil && info.Mode().IsRegular() {
				return file, nil
			}
		}
	}
	return "", fmt.Errorf("lab: %s: %w: it has %s", name, ErrNoTool, strings.Join(programs, ", "))
}

// Command returns a command that runs a tool of the bundle on this machine, with
// the bundle's libraries: it starts the bundle's loader and has that load the
// tool, so that nothing depends on which C library the machine has. The command
// is killed when ctx ends; otherwise it is the caller's.
func (b *Bundle) Command(ctx context.Context, tool string, args ...string) (*exec.Cmd, error) {
	file, err := b.Tool(tool)
	if err != nil {
		return nil, err
	}
	static, err := isStatic(file)
	if err != nil {
		return nil, fmt.Errorf("lab: %s: %w", tool, err)
	}
	if static {
		return exec.CommandContext(ctx, file, args...), nil
	}
	return b.load(ctx, file, args...), nil
}

// QEMU returns a command that runs qemu-system-x86_64 on this machine, see
// [Bundle.Command], with its own modules and firmware.
func (b *Bundle) QEMU(ctx context.Context, args ...string) *exec.Cmd {
	var all []string
	for _, dir := range firmwareDirs {
		all = append(all, "-L", filepath.Join(b.tools, dir))
	}
	cmd := b.load(ctx, filepath.Join(b.tools, programDirs[0], programs[0]), append(all, args...)...)
	cmd.Env = append(cmd.Env, "QEMU_MODULE_DIR="+filepath.Join(b.tools, qemuDir))
	return cmd
}

// load returns a command that starts a program through the bundle's loader,
// ld.so(8).
func (b *Bundle) load(ctx context.Context, file string, args ...string) *exec.Cmd {
	loading := []string{
		"--inhibit-cache", // of the machine's libraries
		"--library-path", strings.Join(b.LibraryDirs(), ":"),
		file,
	}
	cmd := exec.CommandContext(ctx, filepath.Join(b.tools, loader), append(loading, args...)...)
	// What the environment has for the machine's loader is not for this one.
	cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool {
		return strings.HasPrefix(v, "LD_") || strings.HasPrefix(v, "QEMU_MODULE_DIR=")
	})
	return cmd
}

// isStatic reports whether a program needs no loader.
func isStatic(file string) (bool, error) {
	f, err := elf.Open(file)
	if err != nil {
		return false, err
	}
	defer f.Close()
	return !slices.ContainsFunc(f.Progs, func(p *elf.Prog) bool { return p.Type == elf.PT_INTERP }), nil
}
