//go:build linux

package lab

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/zctap/zctap/internal/testenv"
)

// roleVar makes this program play a part in the guest instead of testing.
const roleVar = "LAB_TEST_ROLE"

func TestMain(m *testing.M) {
	Main()
	if role := os.Getenv(roleVar); role != "" {
		os.Exit(play(role, os.Args[1:]))
	}
	testenv.Main(m)
}

// countRounds is how often the role "count" goes round.
const countRounds = 5_000_000

// as returns a step in which this program plays a part.
func as(role string, args ...string) Step {
	return Step{Name: role, Args: append([]string{"/init"}, args...), Env: []string{roleVar + "=" + role}}
}

// play is a process in the guest.
func play(role string, args []string) int {
	check := func(err error) {
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(99)
		}
	}
	switch role {
	case "exit":
		code, err := strconv.Atoi(args[0])
		check(err)
		return code
	case "echo":
		fmt.Fprint(os.Stdout, args[0])
		fmt.Fprint(os.Stderr, args[1])
	case "cat":
		_, err := io.Copy(os.Stdout, os.Stdin)
		check(err)
	case "flood":
		n, err := strconv.Atoi(args[0])
		check(err)
		for line := bytes.Repeat([]byte("x"), 1<<16); n > 0; n -= len(line) {
			_, err := os.Stdout.Write(line[:min(n, len(line))])
			check(err)
		}
	case "file":
		n, err := strconv.Atoi(args[1])
		check(err)
		check(os.WriteFile(args[0], pattern(n), 0o640))
	case "kmsg":
		check(os.WriteFile("/dev/kmsg", []byte(args[0]+"\n"), 0))
	case "panic":
		check(os.WriteFile("/proc/sys/kernel/sysrq", []byte("1"), 0))
		check(os.WriteFile("/proc/sysrq-trigger", []byte("c"), 0))
		time.Sleep(time.Minute)
	case "poweroff":
		check(syscall.Reboot(syscall.LINUX_REBOOT_CMD_POWER_OFF))
	case "stop the agent":
		check(syscall.Kill(os.Getppid(), syscall.SIGSTOP))
		check(os.WriteFile("/dev/kmsg", []byte(agentStopped+"\n"), 0)) // nobody else would tell
		select {}
	case "hang":
		signal.Ignore(syscall.SIGTERM)
		fmt.Println("hanging")
		select {}
	case "serve": // until SIGTERM
		term := make(chan os.Signal, 1)
		signal.Notify(term, syscall.SIGTERM)
		_, err := Signal(context.Background(), "serving", nil)
		check(err)
		<-term
		fmt.Print("served")
		return 3
	case "signal":
		answer, err := Signal(context.Background(), args[0], []byte(args[1]))
		fmt.Printf("%s %v", answer, err)
	case "count":
		sum := uint32(1)
		for i := range countRounds {
			sum = sum*1664525 + uint32(i)
		}
		fmt.Print(sum)
	case "host": // boots, on the host, and waits to be killed
		vm, err := Boot(context.Background(), Machine{})
		check(err)
		fmt.Println(vm.qemu.pid)
		select {}
	case "inside":
		fmt.Print(InGuest())
	default:
		fmt.Fprintf(os.Stderr, "no role %s\n", role)
		return 98
	}
	return 0
}

// pattern returns n bytes, each of which depends on where it is.
func pattern(n int) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(i) ^ byte(i>>8) ^ byte(i>>16)
	}
	return p
}

// bootTest boots a machine that the test ends with. Its log is that of a test that fails.
func bootTest(t *testing.T, m Machine) *VM {
	t.Helper()
	testenv.NeedVM(t)
	Need(t)
	vm, err := Boot(t.Context(), m)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(vm.Kill)
	t.Logf("booted in %v, up %v", vm.boot, vm.hello.Uptime)
	return vm
}
