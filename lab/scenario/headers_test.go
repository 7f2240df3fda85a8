//go:build linux

package scenario

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/zctap/zctap/internal/testenv"
	"github.com/zctap/zctap/lab"
	"github.com/zctap/zctap/lab/internal/bundle"
)

// TestLabKernelHeaders runs the tests that compare structures and numbers of the
// kernel's with its headers, on this machine, with the newest headers that the mirror
// has: the machine's own lack most of what zero-copy receive needs, and those tests
// leave out what is not there.
func TestLabKernelHeaders(t *testing.T) {
	inTurn(t, 3)
	testenv.NeedVM(t)
	testenv.NeedCommand(t, "cc")
	lab.Need(t)
	b, err := bundle.Open(t.Context(), bundle.Options{})
	if err != nil {
		t.Fatal(err)
	}
	version := b.Versions["linux-libc-dev"]
	newer := testenv.KernelInclude + "=" + strings.Join(b.IncludeDirs(), string(os.PathListSeparator))
	for _, pkg := range []string{"internal/uring", "internal/nic"} {
		program, err := lab.BuildTest(t.Context(), t.TempDir(), module+pkg)
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.CommandContext(t.Context(), program, "-test.v", "-test.timeout", "2m", "-test.run", "^TestAgainstKernelHeaders?$")
		cmd.Env = append(os.Environ(), newer)
		out, err := cmd.CombinedOutput()
		switch said := string(out); {
		case err != nil:
			t.Errorf("%s with the headers of %s: %v\n%s", pkg, version, err, said)
		case !strings.Contains(said, "--- PASS") || strings.Contains(said, "--- SKIP"):
			t.Errorf("%s compared nothing:\n%s", pkg, said)
		default:
			t.Logf("%s with the headers of %s:\n%s", pkg, version, said)
		}
	}
}
