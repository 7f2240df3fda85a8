package testenv

import (
	"bytes"
	"os"
	"strings"
	"testing"
	"time"
)

func TestMain(m *testing.M) { Main(m) }

func TestLeakFree(t *testing.T) {
	// Each case leaves something behind until undo is called.
	cases := []struct {
		name string
		leak func(t *testing.T) (undo func())
		want string
	}{
		{
			name: "nothing",
			leak: func(*testing.T) func() { return func() {} },
		},
		{
			name: "descriptor",
			leak: func(t *testing.T) func() {
				r, w, err := os.Pipe()
				if err != nil {
					t.Fatal(err)
				}
				return func() { r.Close(); w.Close() }
			},
			want: ": pipe:[",
		},
		{
			name: "goroutine",
			leak: func(*testing.T) func() {
				stop := make(chan struct{})
				go parkedOnPurpose(stop)
				return func() { close(stop) }
			},
			want: "TestLeakFree",
		},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if _, err := os.Stat("/proc/self/fd"); err != nil && c.name == "descriptor" {
				t.Skipf("descriptors are compared on Linux only: %v", err)
			}
			before := takeCensus()
			undo := c.leak(t)
			var out bytes.Buffer
			free := leakFree(&out, before, 0)
			undo()
			if free != (c.want == "") {
				t.Errorf("leakFree = %v, output:\n%s", free, &out)
			}
			if !strings.Contains(out.String(), c.want) {
				t.Errorf("the report lacks %q:\n%s", c.want, &out)
			}
			out.Reset()
			if !leakFree(&out, before, 5*time.Second) {
				t.Errorf("still reported after it was undone:\n%s", &out)
			}
		})
	}
}

// parkedOnPurpose runs until stop is closed.
func parkedOnPurpose(stop chan struct{}) { <-stop }

func TestLeakFreeWaitsForWhatIsEnding(t *testing.T) {
	before := takeCensus()
	stop := make(chan struct{})
	go parkedOnPurpose(stop)
	time.AfterFunc(10*leakPoll, func() { close(stop) })
	var out bytes.Buffer
	if !leakFree(&out, before, time.Minute) {
		t.Errorf("reported a goroutine that ended within the grace:\n%s", &out)
	}
}
