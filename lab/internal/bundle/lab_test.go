//go:build linux

package bundle

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/zctap/zctap/internal/testenv"
)

// openLab opens the user's own cache, and fills it from the machine's mirror if
// need be.
func openLab(t *testing.T, kernel string) *Bundle {
	t.Helper()
	testenv.NeedVM(t)
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	var last Stage
	b, err := Open(ctx, Options{Kernel: kernel, Progress: func(e Event) {
		if e.Stage != last {
			last = e.Stage
			t.Logf("%s %s", e.Stage, e.Text)
		}
	}})
	if errors.Is(err, ErrArchitecture) || errors.Is(err, ErrProgram) || errors.Is(err, ErrNoMirror) || errors.Is(err, ErrNetwork) {
		testenv.SkipOrFail(t, "needs the lab's kernel and QEMU: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestLabFetch(t *testing.T) {
	b := openLab(t, "")
	for _, p := range []string{"qemu-system-x86", "libc6", "linux-libc-dev", "linux-image-" + b.KernelRelease()} {
		if b.Versions[p] == "" {
			t.Errorf("no version of package %s", p)
		}
	}
	t.Logf("kernel %s, QEMU %s, %d packages", b.KernelRelease(), b.Versions["qemu-system-x86"], len(b.Versions))
	config, err := os.ReadFile(b.KernelConfig())
	if err != nil {
		t.Fatal(err)
	}
	for _, option := range []string{"CONFIG_IO_URING_ZCRX=y", "CONFIG_GVE=m", "CONFIG_VIRTIO_CONSOLE="} {
		if !strings.Contains(string(config), "\n"+option) {
			t.Errorf("the kernel's configuration lacks %s", option)
		}
	}
	for _, program := range programs {
		if _, err := b.Tool(program); err != nil {
			t.Error(err)
		}
	}
	if _, err := b.Tool("sh"); !errors.Is(err, ErrNoTool) {
		t.Errorf("a tool that it doesn't have: %v", err)
	}

	// Warm, it takes neither programs nor a network.
	t.Setenv("PATH", "")
	again, err := Open(context.Background(), Options{Progress: func(e Event) { t.Errorf("event %+v", e) }})
	if err != nil || again.KernelRelease() != b.KernelRelease() {
		t.Errorf("opened again: %+v, %v", again, err)
	}
}

// BenchmarkOpen is how long a warm cache takes.
func BenchmarkOpen(b *testing.B) {
	for b.Loop() {
		if _, err := Open(context.Background(), Options{}); err != nil {
			b.Fatal(err)
		}
	}
}

// TestLabFetchUser fetches everything as somebody who is not root and has no
// home, in two processes at once, after one was killed in the middle.
func TestLabFetchUser(t *testing.T) {
	openLab(t, "") // or there is nothing to fetch from
	dir, uid := openDir(t)
	t.Setenv("HOME", "/nonexistent")
	killed := startFetching(t, dir, uid)
	killed.waitFor("stage download")
	killed.kill()
	if _, err := (&cache{dir: dir}).load(""); !errors.Is(err, errAbsent) {
		t.Errorf("after it was killed, the cache has something: %v", err)
	}

	two := []*fetching{startFetching(t, dir, uid), startFetching(t, dir, uid)}
	fetched := 0
	for _, f := range two {
		f.waitFor("kernel ")
		if f.has("stage download") {
			fetched++
		}
	}
	if fetched != 1 {
		t.Errorf("%d processes have fetched, want 1", fetched)
	}
	expectOnly(t, &cache{dir: dir}, "kernels", "lock", "tools")
}

// TestLabUntrusted has the real mirror, and keys that are not Debian's: none.
func TestLabUntrusted(t *testing.T) {
	openLab(t, "")
	keyring := filepath.Join(writeFiles(t, map[string]string{"keyring.gpg": ""}), "keyring.gpg")
	dir := t.TempDir()
	_, err := Open(context.Background(), Options{CacheDir: dir, Keyring: keyring})
	if !errors.Is(err, ErrUntrusted) {
		t.Errorf("error %v, want %v", err, ErrUntrusted)
	}
	expectOnly(t, &cache{dir: dir}, "lock")
}

// TestLabUnsigned has an archive without a signature, which apt would take if
// the machine's configuration said so; the lab doesn't.
func TestLabUnsigned(t *testing.T) {
	for _, program := range []string{"apt-get", "apt-cache", "dpkg-deb"} {
		testenv.NeedCommand(t, program)
	}
	archive := writeFiles(t, map[string]string{
		"dists/trixie/Release":                              "Suite: stable\nCodename: trixie\nComponents: main\nArchitectures: amd64\n",
		"dists/trixie/main/binary-amd64/Packages":           "",
		"dists/trixie-backports/Release":                    "Suite: stable-backports\nCodename: trixie-backports\nComponents: main\nArchitectures: amd64\n",
		"dists/trixie-backports/main/binary-amd64/Packages": "",
		"apt.conf": "Acquire::AllowInsecureRepositories \"true\";\nAPT::Get::AllowUnauthenticated \"true\";\n",
	})
	t.Setenv("APT_CONFIG", filepath.Join(archive, "apt.conf"))
	t.Setenv(KeyringEnv, "")
	_, err := Open(context.Background(), Options{CacheDir: t.TempDir(), Mirror: "copy:" + archive})
	if !errors.Is(err, ErrUntrusted) {
		t.Errorf("error %v, want %v", err, ErrUntrusted)
	}
}

// TestLabOtherKernel has a kernel whose packages are cut in another way.
func TestLabOtherKernel(t *testing.T) {
	b := openLab(t, "6.16")
	if !strings.HasPrefix(b.KernelRelease(), "6.16.") {
		t.Errorf("kernel %s", b.KernelRelease())
	}
	for _, file := range []string{b.Kernel(), b.KernelConfig()} {
		if _, err := os.Stat(file); err != nil {
			t.Error(err)
		}
	}
	if modules, err := b.Modules(context.Background(), "gve"); err != nil || len(modules) != 1 {
		t.Errorf("modules %+v, %v", modules, err)
	}
	if newest := openLab(t, ""); newest.KernelRelease() == b.KernelRelease() {
		t.Errorf("now %s is the newest", b.KernelRelease())
	}
}

func TestLabModules(t *testing.T) {
	b := openLab(t, "")
	modules, err := b.Modules(context.Background(), "virtio_net", "gve", "virtio_pci")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, m := range modules {
		names = append(names, m.Name)
		if !strings.Contains(string(m.Data), "\x00vermagic="+b.KernelRelease()+" ") {
			t.Errorf("module %s is not of kernel %s", m.Name, b.KernelRelease())
		}
	}
	if !slices.Contains(names, "gve") || slices.Index(names, "net_failover") > slices.Index(names, "virtio_net") {
		t.Errorf("modules %q", names)
	}
	if _, err := b.Modules(context.Background(), "gve", "no_such_module"); !errors.Is(err, ErrNoModule) {
		t.Errorf("error %v, want %v", err, ErrNoModule)
	}
}

// TestLabQEMU runs QEMU, and sees that of this machine it loads nothing.
func TestLabQEMU(t *testing.T) {
	b := openLab(t, "")
	t.Setenv("LD_PRELOAD", "/nowhere.so")
	t.Setenv("QEMU_MODULE_DIR", "/nowhere")
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	said, err := b.QEMU(ctx, "-version").CombinedOutput()
	if err != nil || !strings.HasPrefix(string(said), "QEMU emulator version ") {
		t.Errorf("QEMU says %q, %v", said, err)
	}
	tool, err := b.Tool("qemu-system-x86_64")
	if err != nil {
		t.Fatal(err)
	}
	list := b.load(ctx, tool)
	list.Args = slices.Insert(list.Args, 1, "--list")
	libraries, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(libraries)) {
		if _, file, ok := strings.Cut(line, " => "); ok && !strings.HasPrefix(file, b.Root()) {
			t.Errorf("loads %s", file)
		}
	}
	// A module and firmware of its own: there is no machine without.
	qemu := b.QEMU(ctx, "-accel", "qtest", "-display", "none", "-nodefaults", "-machine", "q35", "-monitor", "stdio")
	qemu.Stdin = strings.NewReader("quit\n")
	said, err = qemu.CombinedOutput()
	if err != nil {
		t.Errorf("QEMU says %q, %v", said, err)
	}
}

func TestLabCommand(t *testing.T) {
	b := openLab(t, "")
	for _, c := range []struct {
		tool, argument, want string
	}{
		{"ethtool", "--version", "ethtool version"},
		{"ip", "-V", "ip utility"},
		{"busybox", "true", ""}, // static
	} {
		cmd, err := b.Command(context.Background(), c.tool, c.argument)
		if err != nil {
			t.Fatal(err)
		}
		if said, err := cmd.CombinedOutput(); err != nil || !strings.HasPrefix(string(said), c.want) {
			t.Errorf("%s says %q, %v", c.tool, said, err)
		}
	}
	if _, err := b.Command(context.Background(), "sh"); !errors.Is(err, ErrNoTool) {
		t.Errorf("a tool that it doesn't have: %v", err)
	}
}

func TestLabCompileC(t *testing.T) {
	b := openLab(t, "")
	testenv.NeedCommand(t, "cc")
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	dir := writeFiles(t, map[string]string{
		"ring.c": `#include <linux/io_uring.h>
#include <linux/io_uring/zcrx.h>
#include <liburing.h>
#include <stdio.h>
int main(void) {
	struct io_uring ring;
	struct io_uring_zcrx_ifq_reg reg = { .flags = ZCRX_REG_NODEV };
	printf("%d %zu\n", ANSWER, sizeof reg);
	return io_uring_queue_init(8, &ring, 0) > 0 || reg.flags != 2;
}
`,
		"bad.c": "int main(void) { return zctap; }\n",
	})
	out := filepath.Join(dir, "ring")
	if err := b.CompileC(ctx, out, "-DANSWER=42", filepath.Join(dir, "ring.c")); err != nil {
		t.Fatal(err)
	}
	if static, err := isStatic(out); !static || err != nil {
		t.Errorf("static: %v, %v", static, err)
	}
	if said, err := exec.Command(out).Output(); string(said) != "42 96\n" {
		t.Errorf("the program says %q, %v", said, err)
	}
	if err := b.CompileC(ctx, out, filepath.Join(dir, "bad.c")); err == nil || !strings.Contains(err.Error(), "zctap") {
		t.Errorf("a program with a mistake: %v", err)
	}
	t.Setenv("CC", "no-such-compiler -m64")
	if err := b.CompileC(ctx, out, filepath.Join(dir, "ring.c")); !errors.Is(err, ErrProgram) || !strings.Contains(err.Error(), "no-such-compiler") {
		t.Errorf("without a compiler: %v", err)
	}
}
