//go:build linux

package lab

import (
	"debug/elf"
	"path/filepath"
	"strings"
	"testing"
)

func TestBuild(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles")
	}
	dir := t.TempDir()
	program, err := BuildTest(t.Context(), dir, "./internal/guest/")
	if err != nil || program != filepath.Join(dir, "guest.test") {
		t.Fatalf("%q, %v", program, err)
	}
	f, err := elf.Open(program)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if libraries, err := f.ImportedLibraries(); err != nil || len(libraries) > 0 {
		t.Errorf("linked against %v, %v", libraries, err)
	}
	if files, err := closure(program, nil); err != nil || len(files) > 0 {
		t.Errorf("a static program needs %v, %v", files, err)
	}
	if _, err := BuildTest(t.Context(), dir, "./no/such"); err == nil || !strings.Contains(err.Error(), "no/such") {
		t.Errorf("a package that is not there: %v", err)
	}
	for pkg, want := range map[string]string{".": "package", "..": "package", "./": "package", "./a": "a", "x.org/y/z": "z", "/": "package"} {
		if got := programName(pkg); got != want {
			t.Errorf("%s: %s, want %s", pkg, got, want)
		}
	}
}
