//go:build linux

package initramfs

import (
	"bytes"
	"debug/elf"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/zctap/zctap/internal/testenv"
)

// A toolchain builds programs and libraries in C for a test.
type toolchain struct {
	t   testing.TB
	dir string
	cc  string
}

func newToolchain(t testing.TB) *toolchain {
	t.Helper()
	// Names without links, as messages and images have them.
	dir, err := filepath.EvalSymlinks(t.TempDir())
	must(t, err)
	return &toolchain{t: t, dir: dir, cc: testenv.NeedCommand(t, "cc")}
}

// path returns the name of a file of the test's own folder, and makes the
// folders that it is in.
func (c *toolchain) path(name string) string {
	file := filepath.Join(c.dir, name)
	must(c.t, os.MkdirAll(filepath.Dir(file), 0o755))
	return file
}

// build compiles a source text.
func (c *toolchain) build(out, source string, args ...string) string {
	c.t.Helper()
	out = c.path(out)
	cmd := exec.Command(c.cc, append([]string{"-x", "c", "-", "-x", "none", "-o", out}, args...)...)
	cmd.Stdin = strings.NewReader(source)
	if said, err := cmd.CombinedOutput(); err != nil {
		c.t.Fatalf("%v: %v\n%s", cmd.Args, err, said)
	}
	return out
}

// library builds a library with one function, which returns what the other one
// returns, and one more.
func (c *toolchain) library(out, function, other string, args ...string) string {
	c.t.Helper()
	source := "int " + function + "(void) { return 1; }"
	if other != "" {
		source = "int " + other + "(void); int " + function + "(void) { return 1 + " + other + "(); }"
	}
	return c.build(out, source, slices.Concat([]string{"-shared", "-fPIC", "-Wl,-soname," + filepath.Base(out)}, args)...)
}

// program builds a program whose exit status is what function returns.
func (c *toolchain) program(out, function string, args ...string) string {
	c.t.Helper()
	return c.build(out, "int "+function+"(void); int main(void) { return "+function+"(); }", args...)
}

// unpack makes the files of an image in a folder of the test's.
func unpack(t testing.TB, im *Image) string {
	t.Helper()
	var b bytes.Buffer
	_, err := im.WriteTo(&b)
	must(t, err)
	records, err := readArchive(b.Bytes())
	must(t, err)
	dir := t.TempDir()
	root, err := os.OpenRoot(dir)
	must(t, err)
	defer root.Close()
	for _, r := range records {
		switch r.Mode & ModeType {
		case ModeDir:
			must(t, root.Mkdir(r.Name, fs.FileMode(r.Mode&0o777)))
		case ModeSymlink:
			must(t, root.Symlink(r.Content, r.Name))
		case ModeRegular:
			must(t, root.WriteFile(r.Name, []byte(r.Content), fs.FileMode(r.Mode&0o777)))
		default:
			t.Fatalf("mode %o of %s", r.Mode, r.Name)
		}
	}
	return dir
}

// runIn runs a program with a folder as its root: chroot(2), which takes root, or
// a user namespace.
func runIn(t testing.TB, root, program string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.Command(program, args...)
	cmd.Dir, cmd.Env = "/", []string{}
	cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: root}
	if uid := os.Geteuid(); uid != 0 {
		testenv.NeedUserNS(t)
		cmd.SysProcAttr.Cloneflags = syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: uid, Size: 1}}
	}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// exitStatus is the status of a program that ended by itself.
func exitStatus(t testing.TB, err error) int {
	t.Helper()
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		t.Fatalf("the program did not run: %v", err)
	}
	return exit.ExitCode()
}

// TestNSProgram runs a program of this machine that is linked with libraries in
// a root that has nothing but what was added for it.
func TestNSProgram(t *testing.T) {
	program := testenv.NeedCommand(t, "ls")
	if o, err := readObject(program); err != nil || o.loader == "" {
		t.Fatalf("%s is not linked dynamically: %+v, %v", program, o, err)
	}
	var im Image
	must(t, im.AddProgram("/opt/dir", program, Libraries{}))
	must(t, im.AddProgram("/opt/again", program, Libraries{})) // with libraries that are there
	out, err := runIn(t, unpack(t, &im), "/opt/dir", "/opt")
	if err != nil || out != "again\ndir\n" {
		t.Errorf("in the image, ls says %q, %v", out, err)
	}
}

// TestNSProgramOwnLibraries has libraries in folders that only search paths in
// programs and in other libraries, and Dirs, lead to; and adds the program under a
// name that $ORIGIN is of no use from.
func TestNSProgramOwnLibraries(t *testing.T) {
	for _, test := range []struct{ name, tags string }{
		{"DT_RUNPATH", "-Wl,--enable-new-dtags"},
		{"DT_RPATH", "-Wl,--disable-new-dtags"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := newToolchain(t)
			inner := c.library("libs/deep/libinner.so", "inner", "")
			outer := c.library("libs/libouter.so.1", "outer", "inner", inner, "-Wl,-rpath,$ORIGIN/deep", test.tags)
			asked := c.library("asked/libasked.so", "asked", "outer", outer, "-Wl,-rpath,"+filepath.Dir(outer), test.tags)
			program := c.program("bin/program", "asked", asked, "-Wl,--allow-shlib-undefined")
			var im Image
			must(t, im.AddProgram("/program", program, Libraries{Dirs: []string{filepath.Dir(asked)}}))
			out, err := runIn(t, unpack(t, &im), "/program")
			if got := exitStatus(t, err); got != 3 {
				t.Errorf("status %d, want that three libraries were loaded; it says %q", got, out)
			}
		})
	}
}

// TestNSProgramOfRoot has program, loader and libraries below another root, as
// packages leave them that were unpacked.
func TestNSProgramOfRoot(t *testing.T) {
	c := newToolchain(t)
	library := c.library("root/usr/local/odd/libodd.so", "odd", "")
	program := c.program("root/usr/bin/program", "odd", library)
	o, err := readObject(program)
	must(t, err)
	for _, name := range append(o.needed, o.loader) {
		if strings.HasPrefix(name, "libodd") {
			continue
		}
		s, err := newSearch(Libraries{})
		must(t, err)
		loader, err := s.inRoot(o.loader)
		must(t, err, s.setLoader(loader))
		file := loader
		if name != o.loader {
			file, _, err = s.find(needed{name: name, by: []*object{o}})
			must(t, err)
		}
		belowUsr := func(name string) string { return c.path("root/usr" + strings.TrimPrefix(name, "/usr")) }
		content, err := os.ReadFile(file)
		must(t, err)
		must(t, os.WriteFile(belowUsr(file), content, 0o755))
		if name == o.loader && belowUsr(o.loader) != belowUsr(loader) {
			target, err := filepath.Rel(filepath.Dir(belowUsr(o.loader)), belowUsr(loader))
			must(t, err)
			must(t, os.Symlink(target, belowUsr(o.loader)))
		}
	}
	must(t, os.WriteFile(c.path("root/etc/ld.so.conf"), []byte("include ld.so.conf.d/*.conf\n"), 0o644))
	must(t, os.WriteFile(c.path("root/etc/ld.so.conf.d/odd.conf"), []byte("# odd\n/usr/local/odd\n"), 0o644))

	var im Image
	must(t, im.AddProgram("/bin/program", program, Libraries{Root: filepath.Join(c.dir, "root")}))
	for _, line := range list(t, &im) {
		if strings.HasPrefix("/"+line, c.dir) {
			t.Errorf("a name of this machine in the image: %.60q", line)
		}
	}
	_, err = runIn(t, unpack(t, &im), "/bin/program")
	if got := exitStatus(t, err); got != 1 {
		t.Errorf("status %d, want 1", got)
	}
}

func TestAddProgramStatic(t *testing.T) {
	c := newToolchain(t)
	program := c.build("static", "int main(void) { return 0; }", "-static")
	must(t, os.Chmod(program, 0o600))
	var im Image
	must(t, im.AddProgram("init", program, Libraries{}))
	if got := list(t, &im); len(got) != 1 || !strings.HasPrefix(got[0], "init 100755 ") {
		t.Errorf("the image has %.60q", got)
	}
}

func TestAddProgramScript(t *testing.T) {
	file := filepath.Join(t.TempDir(), "script")
	must(t, os.WriteFile(file, []byte("#!/bin/sh\n"), 0o700))
	var im Image
	must(t, im.AddProgram("init", file, Libraries{}))
	expect(t, &im, `init 100755 0:0 "#!/bin/sh\n"`)
}

func TestAddProgramRefuses(t *testing.T) {
	c := newToolchain(t)
	library := c.library("libs/libgone.so.2", "gone", "")
	program := c.program("program", "gone", library)
	var im Image
	check := func(t *testing.T, err error, want error, text ...string) {
		t.Helper()
		if !errors.Is(err, want) {
			t.Fatalf("error %v, want %v", err, want)
		}
		for _, s := range text {
			if !strings.Contains(err.Error(), s) {
				t.Errorf("error %q does not name %q", err, s)
			}
		}
	}
	t.Run("no library", func(t *testing.T) {
		check(t, im.AddProgram("p", program, Libraries{}), ErrLibrary, "libgone.so.2", program)
	})
	t.Run("a library of another machine", func(t *testing.T) {
		content, err := os.ReadFile(library)
		must(t, err)
		content[18] = byte(elf.EM_S390) // e_machine
		must(t, os.WriteFile(c.path("foreign/libgone.so.2"), content, 0o755))
		check(t, im.AddProgram("p", program, Libraries{Dirs: []string{filepath.Join(c.dir, "foreign")}}), ErrLibrary, "libgone.so.2")
	})
	t.Run("a broken library", func(t *testing.T) {
		must(t, os.WriteFile(c.path("broken/libgone.so.2"), []byte(elf.ELFMAG+"\x02\x01\x01"), 0o755))
		err := im.AddProgram("p", program, Libraries{Dirs: []string{filepath.Join(c.dir, "broken")}})
		if err == nil || !strings.Contains(err.Error(), "broken/libgone.so.2") {
			t.Errorf("error %v", err)
		}
	})
	t.Run("no loader", func(t *testing.T) {
		check(t, im.AddProgram("p", program, Libraries{Root: c.dir}), ErrLibrary, "loader /", c.dir)
	})
	t.Run("no root", func(t *testing.T) {
		check(t, im.AddProgram("p", program, Libraries{Root: filepath.Join(c.dir, "none")}), fs.ErrNotExist)
	})
	t.Run("no program", func(t *testing.T) {
		check(t, im.AddProgram("p", filepath.Join(c.dir, "none"), Libraries{}), fs.ErrNotExist)
	})
	t.Run("a loader outside its root", func(t *testing.T) {
		o, err := readObject(program)
		must(t, err)
		must(t, os.Symlink(o.loader, c.path("outside"+o.loader)))
		check(t, im.AddProgram("p", program, Libraries{Root: filepath.Join(c.dir, "outside")}), ErrLibrary, "leads out of")
	})
}

func TestReadConf(t *testing.T) {
	root := t.TempDir()
	for name, text := range map[string]string{
		"etc/ld.so.conf":     "/first\t# why\n\ninclude ld.so.conf.d/*.conf /etc/more\n/last:/of, /line=libc6\nrelative\nhwcap 0 nosegneg\ninclude none/*\n",
		"etc/ld.so.conf.d/b": "/not",
		"etc/ld.so.conf.d/b.conf": "/b\ninclude ../more\n" +
			"include b.conf\n", // itself
		"etc/ld.so.conf.d/a.conf": "/a",
		"etc/more":                "/more\r\n",
	} {
		file := filepath.Join(root, name)
		must(t, os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte(text), 0o644))
	}
	s := &search{root: root}
	must(t, s.readConf("/etc/ld.so.conf", make(map[string]bool)))
	var got []string
	for _, dir := range s.configured {
		got = append(got, strings.TrimPrefix(dir, root))
	}
	if want := []string{"/first", "/a", "/b", "/more", "/last", "/of", "/line"}; !slices.Equal(got, want) {
		t.Errorf("folders %q, want %q", got, want)
	}
}

func TestExpand(t *testing.T) {
	o := &object{file: "/r/usr/lib/x/libx.so"}
	for dir, want := range map[string]string{
		"/lib":            "/r/lib",
		"$ORIGIN":         "/r/usr/lib/x",
		"$ORIGIN/../y":    "/r/usr/lib/y",
		"${ORIGIN}/y":     "/r/usr/lib/x/y",
		"$ORIGINAL":       "",
		"/lib/$LIB":       "",
		"relative":        "",
		"":                "",
		"/lib/../../../x": "/r/x",
	} {
		if got := o.expand(dir, "/r"); got != want {
			t.Errorf("%q is %q, want %q", dir, got, want)
		}
	}
}
