package testenv

import (
	"fmt"
	"os"
	"testing"
)

// recorder is a testing.TB that notes how a test was ended instead of ending
// it.
type recorder struct {
	testing.TB
	skipped, failed string
}

func (r *recorder) Helper()                           {}
func (r *recorder) Skipf(format string, args ...any)  { r.skipped = fmt.Sprintf(format, args...) }
func (r *recorder) Fatalf(format string, args ...any) { r.failed = fmt.Sprintf(format, args...) }

func TestSkipOrFail(t *testing.T) {
	cases := []struct {
		env             string
		ci              bool
		skipped, failed string
	}{
		{env: "", skipped: "needs a moon"},
		{env: "0", skipped: "needs a moon"},
		{env: "1", ci: true, failed: "in CI this must run: needs a moon"},
	}
	for _, c := range cases {
		t.Run("env="+c.env, func(t *testing.T) {
			t.Setenv(Env, c.env)
			if CI() != c.ci {
				t.Errorf("CI() = %v", CI())
			}
			r := &recorder{TB: t}
			SkipOrFail(r, "needs a %s", "moon")
			if r.skipped != c.skipped || r.failed != c.failed {
				t.Errorf("skipped %q failed %q, want %q and %q", r.skipped, r.failed, c.skipped, c.failed)
			}
		})
	}
}

func TestNeedRoot(t *testing.T) {
	t.Setenv(Env, "")
	r := &recorder{TB: t}
	NeedRoot(r)
	if root := os.Geteuid() == 0; (r.skipped == "") != root {
		t.Errorf("uid %d: skipped %q", os.Geteuid(), r.skipped)
	}
}

func TestNeedCommand(t *testing.T) {
	t.Setenv(Env, "")
	dir := t.TempDir()
	t.Setenv("PATH", dir)
	if err := os.WriteFile(dir+"/present", []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	r := &recorder{TB: t}
	if path := NeedCommand(r, "present"); path != dir+"/present" || r.skipped != "" {
		t.Errorf("NeedCommand(present) = %q, skipped %q", path, r.skipped)
	}
	NeedCommand(r, "absent")
	if r.skipped == "" {
		t.Error("NeedCommand(absent) did not skip")
	}
}
