//go:build linux

package lab

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/zctap/zctap/internal/testenv"
)

// fetchPatience bounds the time that a test waits for the bundle.
const fetchPatience = 10 * time.Minute

// Need ends the test unless this machine can run a lab, and fetches the bundle if
// it is not in the cache. What the machine lacks (its architecture, apt-get, a
// Debian mirror that it reaches) is a reason to skip, but in continuous
// integration a failure; anything else that goes wrong is one everywhere.
func Need(t testing.TB) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), fetchPatience)
	defer cancel()
	stage := ""
	_, _, err := Fetch(ctx, Machine{Progress: func(p Progress) {
		if p.Stage != stage {
			stage = p.Stage
			t.Logf("lab: %s %s", p.Stage, p.Text)
		}
	}})
	for _, lacks := range []error{ErrArchitecture, ErrProgram, ErrNoMirror, ErrNetwork} {
		if errors.Is(err, lacks) {
			testenv.SkipOrFail(t, "needs a lab machine: %v", err)
			return
		}
	}
	if err != nil {
		t.Fatal(err)
	}
}
