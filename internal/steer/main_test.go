//go:build linux

package steer

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"testing"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/zctap/zctap/internal/testenv"
)

// roleEnv names what this program does when a test starts it again as a process of
// its own: a key of roles.
const roleEnv = "ZCTAP_STEER_TEST_ROLE"

var roles map[string]func() error

func init() {
	roles = map[string]func() error{
		"attach":       roleAttach,
		"claim":        roleClaim,
		"unprivileged": roleUnprivileged,
		"powerless":    rolePowerless,
	}
}

func TestMain(m *testing.M) {
	name := os.Getenv(roleEnv)
	if name == "" {
		testenv.Main(m)
	}
	if err := roles[name](); err != nil {
		fmt.Fprintf(os.Stderr, "role %s: %v\n", name, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// role is this program in a role, not yet started.
func role(name string, env ...string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), roleEnv+"="+name, "GORACE=atexit_sleep_ms=0")
	cmd.Env = append(cmd.Env, env...)
	cmd.Dir = "/"
	return cmd
}

// needBPF ends the test unless this process may load XDP programs and make AF_XDP
// sockets.
func needBPF(t testing.TB) {
	t.Helper()
	testenv.NeedRoot(t)
	p, err := Load(Options{Queues: 1, Listeners: 1, Flows: 1})
	switch {
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.ENOSYS), errors.Is(err, ebpf.ErrNotSupported):
		testenv.SkipOrFail(t, "needs BPF: %v", err)
	case err != nil:
		t.Fatal(err)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	fd, err := unix.Socket(unix.AF_XDP, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		testenv.SkipOrFail(t, "needs AF_XDP sockets: %v", err)
	}
	unix.Close(fd)
}

// loaded is a program that is closed at the test's end.
func loaded(t testing.TB, o Options) *Program {
	t.Helper()
	p, err := Load(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

func must(t testing.TB, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

func countersOf(t testing.TB, p *Program) Counters {
	t.Helper()
	c, err := p.Counters()
	must(t, err)
	return c
}
