//go:build linux

package xdp

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
)

// TestAwaitUnbound: all queues together are waited for no longer than the timeout, and
// those that are late are named.
func TestAwaitUnbound(t *testing.T) {
	const timeout = 3 * time.Second
	for _, tt := range []struct {
		name  string
		after [3]time.Duration // when the kernel lets go of each queue
		late  []string
	}{
		{"at once", [3]time.Duration{}, nil},
		{"slowly", [3]time.Duration{time.Second, 2 * time.Second, 2900 * time.Millisecond}, nil},
		{"the first does not", [3]time.Duration{time.Hour, time.Second, 0}, []string{"queue 4 "}},
		{"two do not", [3]time.Duration{time.Hour, 0, time.Hour}, []string{"queue 4 ", "queue 6 "}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				bound := func(queue int) bool { return time.Since(began) < tt.after[queue-4] }
				err := awaitUnbound(bound, []*queue{{id: 4}, {id: 5}, {id: 6}}, timeout)
				if (err != nil) != (tt.late != nil) || err != nil && !errors.Is(err, unix.ETIMEDOUT) {
					t.Fatalf("%v; want late %q", err, tt.late)
				}
				for _, name := range []string{"queue 4 ", "queue 5 ", "queue 6 "} {
					if err != nil && strings.Contains(err.Error(), name) != slices.Contains(tt.late, name) {
						t.Errorf("%v; want late %q", err, tt.late)
					}
				}
				want := timeout
				if tt.late == nil {
					want = slices.Max(tt.after[:])
				}
				if took := time.Since(began); took < want || took > want+10*time.Millisecond || took > timeout {
					t.Errorf("waited for %v, want %v", took, want)
				}
			})
		})
	}
}
