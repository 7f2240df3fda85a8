//go:build linux

package main

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/zctap/zctap/internal/testenv"
)

// processes are those that run this binary as a verb with size among their
// arguments.
func processes(t *testing.T, verb, size string) (pids []int) {
	t.Helper()
	procs, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range procs {
		b, err := os.ReadFile(p) // gone meanwhile: none of them
		if args := strings.Split(string(b), "\x00"); err == nil && len(args) > 2 && args[1] == verb && slices.Contains(args[2:], size) {
			pid, err := strconv.Atoi(strings.Split(p, "/")[2])
			if err != nil {
				t.Fatal(err)
			}
			pids = append(pids, pid)
		}
	}
	return pids
}

// senders counts the processes that send size bytes.
func senders(t *testing.T, size string) int {
	t.Helper()
	return len(processes(t, "send", size))
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
			size := fmt.Sprint(int64(1<<50) + int64(i)) // no transfer ends by itself, and each is known by its size
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

// The same of the demo of an ordinary user, who has no TUN device but in a user
// namespace: it runs itself again there, so that there are three processes. Whichever
// of the first two is killed, all end.
func TestUserDemoLeavesNothing(t *testing.T) {
	command := []string{os.Args[0]}
	if os.Geteuid() == 0 {
		command = []string{"../../.ci/as-user", os.Args[0]}
	} else {
		testenv.NeedTUN(t)
		testenv.NeedUserNS(t)
	}
	for i, name := range []string{"outer", "inner"} {
		t.Run(name, func(t *testing.T) {
			size := fmt.Sprint(int64(1<<50) + 100 + int64(i))
			cmd := exec.Command(command[0], append(command[1:], "demo", "--wire", "tun", "--size", size)...)
			var errs bytes.Buffer
			cmd.Stderr = &errs
			cmd.WaitDelay = 10 * time.Second // for who is left, and has the other end of Stderr
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			ended := make(chan error, 1)
			go func() { ended <- cmd.Wait() }()
			var demos []int
			defer func() {
				for _, pid := range append(processes(t, "demo", size), processes(t, "send", size)...) { // if it failed
					_ = syscall.Kill(pid, syscall.SIGKILL)
				}
			}()
			await(t, "the demo runs in two processes and has a sender", func() bool {
				demos = processes(t, "demo", size)
				return len(demos) == 2 && senders(t, size) == 1 || len(ended) > 0
			})
			if len(demos) != 2 {
				t.Fatalf("it has ended: %v: %s", <-ended, &errs)
			}
			victim := demos[0]
			if outer := parent(t, demos[1]) == demos[0]; outer != (name == "outer") {
				victim = demos[1]
			}
			if err := syscall.Kill(victim, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			if err := <-ended; err == nil {
				t.Error("a demo that was killed succeeded")
			}
			await(t, "all are gone", func() bool {
				return len(processes(t, "demo", size)) == 0 && senders(t, size) == 0
			})
		})
	}
}

// parent is the process that started pid.
func parent(t *testing.T, pid int) (ppid int) {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, line, _ := strings.Cut(string(b), "\nPPid:")
	if _, err := fmt.Sscan(line, &ppid); err != nil {
		t.Fatal(err)
	}
	return ppid
}
