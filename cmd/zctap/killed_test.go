//go:build linux

package main

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/zctap/zctap/internal/testenv"
)

// senders counts the processes that run this binary as `send` of size bytes.
func senders(t *testing.T, size string) (n int) {
	t.Helper()
	procs, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range procs {
		b, err := os.ReadFile(p) // gone meanwhile: not a sender
		if args := strings.Split(string(b), "\x00"); err == nil && len(args) > 4 && args[1] == "send" && args[4] == size {
			n++
		}
	}
	return n
}

func await(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !cond(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("still not: %s", what)
		}
	}
}

// However the demo ends, no process, namespace or device of it is left: the
// sender dies with it, and with both the namespaces and what is in them.
func TestNSDemoLeavesNothing(t *testing.T) {
	testenv.NeedRoot(t)
	testenv.NeedTUN(t)
	for i, sig := range []syscall.Signal{syscall.SIGKILL, syscall.SIGINT, syscall.SIGTERM} {
		t.Run(sig.String(), func(t *testing.T) {
			size := fmt.Sprint(1<<50 + i) // no transfer ends by itself, and each is known by its size
			cmd := exec.Command(os.Args[0], "demo", "--size", size)
			stderr, err := cmd.StderrPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			await(t, "the demo has a sender", func() bool { return senders(t, size) == 1 })
			if err := cmd.Process.Signal(sig); err != nil {
				t.Fatal(err)
			}
			var lines []string
			for s := bufio.NewScanner(stderr); s.Scan(); {
				lines = append(lines, s.Text())
			}
			if err := cmd.Wait(); err == nil {
				t.Error("an interrupted demo succeeded")
			}
			if sig != syscall.SIGKILL && (len(lines) != 1 || !strings.Contains(lines[0], "interrupted")) {
				t.Errorf("stderr: %q", lines)
			}
			await(t, "the sender is gone", func() bool { return senders(t, size) == 0 })
			if _, err := net.InterfaceByName("zctap0"); err == nil {
				t.Error("an interface is left")
			}
		})
	}
}
