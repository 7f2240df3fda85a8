//go:build linux

package bundle

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/zctap/zctap/internal/testenv"
)

// everything is a place for all files of a package.
func everything(name string) (string, bool) { return name, true }

func archive(t testing.TB, headers ...tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range headers {
		content := ""
		if h.Typeflag == tar.TypeReg {
			content = "content of " + h.Name
			h.Size = int64(len(content))
		}
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(content)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func regular(name string, mode int64) tar.Header {
	return tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: mode}
}

func symlink(name, target string) tar.Header {
	return tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: target, Mode: 0o777}
}

// openRoot opens a folder for the time of a test.
func openRoot(t testing.TB, dir string) *os.Root {
	t.Helper()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	return root
}

func TestExtract(t *testing.T) {
	dir := t.TempDir()
	data := archive(t,
		tar.Header{Typeflag: tar.TypeDir, Name: "./", Mode: 0o755},
		tar.Header{Typeflag: tar.TypeDir, Name: "./usr/empty/", Mode: 0o700},
		regular("./usr/bin/program", 0o4755),
		regular("./lib/library", 0o600),
		symlink("./usr/lib/relative", "../lib/library"),
		symlink("./usr/lib/absolute", "/etc/passwd"),
		tar.Header{Typeflag: tar.TypeLink, Name: "./usr/lib/hard", Linkname: "./usr/lib/library"},
		tar.Header{Typeflag: tar.TypeChar, Name: "./dev/null", Devmajor: 1, Devminor: 3},
		regular("./left/out", 0o644),
	)
	place := func(name string) (string, bool) { return name, !strings.HasPrefix(name, "left/") }
	if err := extract(bytes.NewReader(data), openRoot(t, dir), place); err != nil {
		t.Fatal(err)
	}
	if have, err := measure(dir); err != nil || have.Files != 4 {
		t.Errorf("unpacked %+v, %v", have, err)
	}
	for name, want := range map[string]os.FileMode{"usr/bin/program": 0o755, "usr/lib/library": 0o644, "usr/lib/hard": 0o644} {
		info, err := os.Lstat(filepath.Join(dir, name))
		if err != nil || info.Mode() != want {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
	if target, err := os.Readlink(filepath.Join(dir, "usr/lib/relative")); target != "../lib/library" {
		t.Errorf("link to %q, %v", target, err)
	}
	if text, err := os.ReadFile(filepath.Join(dir, "usr/lib/hard")); string(text) != "content of ./lib/library" {
		t.Errorf("content %q, %v", text, err)
	}
}

// TestExtractStaysInside has archives that want to write elsewhere.
func TestExtractStaysInside(t *testing.T) {
	outside := filepath.Join(t.TempDir(), "outside")
	if err := os.Mkdir(outside, 0o755); err != nil {
		t.Fatal(err)
	}
	tests := map[string][]tar.Header{
		"by its name":        {regular("../../../../../../../.."+outside+"/file", 0o644)},
		"by an absolute one": {regular(outside+"/file", 0o644)},
		"by a link":          {symlink("out", strings.Repeat("../", 30)+outside[1:]), regular("out/file", 0o644)},
		"over a link":        {symlink("file", strings.Repeat("../", 30)+outside[1:]+"/file"), regular("file", 0o644)},
		"by a hard link":     {symlink("out", strings.Repeat("../", 30)+outside[1:]), {Typeflag: tar.TypeLink, Name: "x", Linkname: "out/file"}},
	}
	for name, headers := range tests {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			err := extract(bytes.NewReader(archive(t, headers...)), openRoot(t, dir), everything)
			if entries, _ := os.ReadDir(outside); len(entries) > 0 {
				t.Fatalf("%s was written, error %v", entries[0], err)
			}
			if err == nil && !strings.HasSuffix(name, "name") && !strings.HasSuffix(name, "one") {
				t.Error("no error")
			}
		})
	}
}

func TestExtractFails(t *testing.T) {
	good := archive(t, regular("a", 0o644))
	tests := map[string]struct {
		data []byte
		want error
	}{
		"cut short in content": {good[:520], errTar},
		"cut short in header":  {good[:100], errTar},
		"no archive":           {[]byte(strings.Repeat("x", 1024)), errTar},
		"the same file twice":  {archive(t, regular("a", 0o644), regular("a", 0o644)), os.ErrExist},
		"link to what is out":  {archive(t, tar.Header{Typeflag: tar.TypeLink, Name: "a", Linkname: "out"}), errTar},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			place := func(name string) (string, bool) { return name, name != "out" }
			if err := extract(bytes.NewReader(test.data), openRoot(t, t.TempDir()), place); !errors.Is(err, test.want) {
				t.Errorf("error %v, want %v", err, test.want)
			}
		})
	}
}

// TestUnpack unpacks a package that dpkg-deb has made.
func TestUnpack(t *testing.T) {
	testenv.NeedCommand(t, "dpkg-deb")
	ctx := context.Background()
	tree := writeFiles(t, map[string]string{
		"DEBIAN/control": "Package: x\nVersion: 1\nArchitecture: all\nMaintainer: x <x@x>\nDescription: x\n",
		"usr/bin/x":      "program",
		"usr/share/doc":  strings.Repeat("more than fits into a pipe\n", 1<<16),
	})
	deb := filepath.Join(t.TempDir(), "x_1_all.deb")
	if said, err := exec.Command("dpkg-deb", "--build", tree, deb).CombinedOutput(); err != nil {
		t.Fatalf("dpkg-deb: %v: %s", err, said)
	}
	content, err := os.ReadFile(deb)
	if err != nil {
		t.Fatal(err)
	}

	dir := t.TempDir()
	sum, err := unpack(ctx, deb, openRoot(t, dir), everything)
	if err != nil {
		t.Fatal(err)
	}
	if want := sha256.Sum256(content); sum != hex.EncodeToString(want[:]) {
		t.Errorf("SHA-256 %s, want %x", sum, want)
	}
	if text, err := os.ReadFile(filepath.Join(dir, "usr/bin/x")); string(text) != "program" {
		t.Errorf("content %q, %v", text, err)
	}

	t.Run("broken", func(t *testing.T) {
		broken := filepath.Join(t.TempDir(), "broken.deb")
		if err := os.WriteFile(broken, content[:len(content)-100], 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := unpack(ctx, broken, openRoot(t, t.TempDir()), everything); !errors.Is(err, ErrApt) || !strings.Contains(err.Error(), "broken.deb") {
			t.Errorf("error %v, want %v", err, ErrApt)
		}
	})
	t.Run("gone", func(t *testing.T) {
		if _, err := unpack(ctx, deb+"x", openRoot(t, t.TempDir()), everything); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("error %v", err)
		}
	})
	t.Run("nobody reads on", func(t *testing.T) {
		place := func(string) (string, bool) { return "usr/bin/x", true } // the second is a file that is there
		if _, err := unpack(ctx, deb, openRoot(t, t.TempDir()), place); !errors.Is(err, os.ErrExist) {
			t.Errorf("error %v", err)
		}
	})
	t.Run("canceled", func(t *testing.T) {
		ctx, cancel := context.WithCancel(ctx)
		cancel()
		if _, err := unpack(ctx, deb, openRoot(t, t.TempDir()), everything); !errors.Is(err, context.Canceled) {
			t.Errorf("error %v", err)
		}
	})
}

func TestPlaces(t *testing.T) {
	kernel := placeKernel("7.3.4-c")
	tests := []struct {
		place      func(string) (string, bool)
		name, want string // "" for what is left out
	}{
		{placeTool, "./usr/bin/busybox", "usr/bin/busybox"},
		{placeTool, "./bin/busybox", "usr/bin/busybox"},
		{placeTool, "./usr/bin/qemu-system-i386", ""},
		{placeTool, "./usr/lib/x86_64-linux-gnu/libc.so.6", "usr/lib/x86_64-linux-gnu/libc.so.6"},
		{placeTool, "./lib64/ld-linux-x86-64.so.2", "usr/lib64/ld-linux-x86-64.so.2"},
		{placeTool, "./usr/lib/x86_64-linux-gnu/gconv/UTF-7.so", ""},
		{placeTool, "./usr/lib/x86_64-linux-gnu/liburing.a", "usr/lib/x86_64-linux-gnu/liburing.a"},
		{placeTool, "./usr/include/linux/io_uring.h", "usr/include/linux/io_uring.h"},
		{placeTool, "./usr/include/x86_64-linux-gnu/asm/a.h", "usr/include/x86_64-linux-gnu/asm/a.h"},
		{placeTool, "./usr/include/s390x-linux-gnu/asm/a.h", ""},
		{placeTool, "./usr/share/qemu/pvh.bin", "usr/share/qemu/pvh.bin"},
		{placeTool, "./usr/share/doc/ethtool/copyright", ""},
		{placeTool, "./etc/passwd", ""},
		{kernel, "./boot/vmlinuz-7.3.4-c", "vmlinuz"},
		{kernel, "./usr/lib/modules/7.3.4-c/vmlinuz", "vmlinuz"},
		{kernel, "./boot/config-7.3.4-c", "config"},
		{kernel, "./lib/modules/7.3.4-c/kernel/gve.ko.xz", "modules/kernel/gve.ko.xz"},
		{kernel, "./usr/lib/modules/7.3.4-c/modules.builtin", "modules/modules.builtin"},
		{kernel, "./usr/lib/modules/7.3.4-c/System.map", ""},
		{kernel, "./usr/lib/modules/7.3.4-d/vmlinuz", ""},
		{kernel, "./usr/share/doc/x", ""},
	}
	for _, test := range tests {
		got, ok := test.place(packagePath(test.name))
		if !ok {
			got = ""
		}
		if got != test.want {
			t.Errorf("%s goes to %q, want %q", test.name, got, test.want)
		}
	}
}
