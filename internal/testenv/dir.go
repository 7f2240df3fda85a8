package testenv

import (
	"os"
	"testing"
)

// PublicDir is a directory of the test's that every user may go through, as t.TempDir
// is not; for processes of other users.
func PublicDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "zctap-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}
