//go:build linux

package netns

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/zctap/zctap/internal/testenv"
)

// helperEnv names what this program does when a test starts it again as a
// process of its own: a key of helpers.
const helperEnv = "ZCTAP_NETNS_HELPER"

var helpers map[string]func() error

func init() {
	// Keeps the process's first thread, which cannot end, to the main
	// goroutine: no test's goroutine runs on it.
	runtime.LockOSThread()
	helpers = map[string]func() error{
		"whoami":        whoami,
		"new":           printNewError,
		"wait":          wait,
		"listen":        listen,
		"listen-nobody": func() error { return startAndWait(Start, helper(ReexecUser(), "listen")) },
		"parent":        func() error { return startAndWait(Start, helper(self(), "wait")) },
		"parent-userns": func() error { return startAndWait(Start, helper(ReexecUser(), "wait")) },
		"parent-netns":  parentNetns,
	}
}

func TestMain(m *testing.M) {
	name := os.Getenv(helperEnv)
	if name == "" {
		testenv.Main(m)
	}
	if err := helpers[name](); err != nil {
		fmt.Fprintln(os.Stderr, "helper", name+":", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// self is this program, to be started as it is.
func self() *exec.Cmd { return exec.Command("/proc/self/exe") }

// helper makes cmd, which runs this program, run a helper.
func helper(cmd *exec.Cmd, name string) *exec.Cmd {
	cmd.Env = append(os.Environ(), helperEnv+"="+name, "GORACE=atexit_sleep_ms=0")
	cmd.Stderr = os.Stderr
	return cmd
}

// nobody makes cmd run as an ordinary user, whom nothing belongs to.
func nobody(cmd *exec.Cmd) *exec.Cmd {
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	return cmd
}

// whoami prints the user id and the network namespace.
func whoami() error {
	id, err := os.Readlink(threadNS)
	fmt.Print(os.Geteuid(), " ", id)
	return err
}

// printNewError prints what New says to one who may not.
func printNewError() error {
	n, err := New()
	if err == nil {
		return n.Close()
	}
	fmt.Print(err)
	if !errors.Is(err, fs.ErrPermission) {
		return err
	}
	return nil
}

// wait says that it runs, and does so until its standard input ends.
func wait() error {
	fmt.Println("ready")
	_, err := io.Copy(io.Discard, os.Stdin)
	return err
}

// startAndWait starts a child that takes over standard input and output.
func startAndWait(start func(*exec.Cmd) error, cmd *exec.Cmd) error {
	cmd.Stdin, cmd.Stdout = os.Stdin, os.Stdout
	if err := start(cmd); err != nil {
		return err
	}
	return cmd.Wait()
}

func parentNetns() error {
	n, err := New()
	if err != nil {
		return err
	}
	defer n.Close()
	return startAndWait(n.Start, helper(self(), "wait"))
}

// listen does, in a namespace where it is root, what the demo does: sets up a
// link and moves bytes over TCP. It prints its user id there and the bytes.
func listen() error {
	if err := ConfigureLink("lo", nil, 0); err != nil {
		return err
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer ln.Close()
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		return err
	}
	defer c.Close()
	s, err := ln.Accept()
	if err != nil {
		return err
	}
	defer s.Close()
	if _, err := io.WriteString(c, "hello"); err != nil {
		return err
	}
	var got strings.Builder
	if _, err := io.CopyN(&got, s, 5); err != nil {
		return err
	}
	fmt.Print(os.Geteuid(), " ", got.String())
	return nil
}

// newNS makes a namespace that lasts as long as the test.
func newNS(t *testing.T) *NS {
	t.Helper()
	testenv.NeedRoot(t)
	n, err := New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	return n
}

// id names the namespace that a thread is in.
func id(t *testing.T) string {
	t.Helper()
	s, err := os.Readlink(threadNS)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// idOf names a namespace.
func idOf(t *testing.T, n *NS) (s string) {
	t.Helper()
	n.Do(func() error { s = id(t); return nil })
	return s
}
