// Package testenv tells tests what the machine can do, and checks that they
// leave nothing behind. It is imported by tests only.
//
// A test may skip only for what the machine truly lacks, and the reason is
// part of the skip. Continuous integration runs on machines that are known to
// have all of it, so there the same lack is a failure: a tier that silently
// stopped running would look exactly like one that passes.
package testenv

import (
	"os"
	"os/exec"
	"testing"
)

// Env is the environment variable that says that the tests run in continuous
// integration: set to "1" by .ci/run.
const Env = "ZCTAP_CI"

// CI reports whether the tests run in continuous integration.
func CI() bool { return os.Getenv(Env) == "1" }

// SkipOrFail ends the test for something the machine lacks: it skips on a
// developer's machine, and fails in continuous integration. The format and
// args say what is missing and how to get it.
func SkipOrFail(t testing.TB, format string, args ...any) {
	t.Helper()
	if CI() {
		t.Fatalf("in CI this must run: "+format, args...)
		return
	}
	t.Skipf(format, args...)
}

// NeedRoot ends the test unless it runs as the superuser.
func NeedRoot(t testing.TB) {
	t.Helper()
	if uid := os.Geteuid(); uid != 0 {
		SkipOrFail(t, "needs root, runs as uid %d: use `sudo go test`", uid)
	}
}

// NeedCommand returns the path of the program name, or ends the test when it
// is not installed.
func NeedCommand(t testing.TB, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		SkipOrFail(t, "needs the program %s: %v", name, err)
	}
	return path
}
