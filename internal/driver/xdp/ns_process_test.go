//go:build linux

package xdp

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/zctap/zctap/internal/buf"
	"github.com/zctap/zctap/internal/netns"
	"github.com/zctap/zctap/internal/testenv"
)

// roleEnv makes this program one of the processes that the tests start.
const roleEnv = "ZCTAP_XDP_TEST_ROLE"

func TestMain(m *testing.M) {
	roles := map[string]func() error{"holder": holder, "user": asUser, "root": asRootOfNamespace}
	role, ok := roles[os.Getenv(roleEnv)]
	if !ok {
		testenv.Main(m)
	}
	if err := role(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// process is this program in another role.
func process(role string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), roleEnv+"="+role, "GORACE=atexit_sleep_ms=0")
	cmd.Dir = "/"
	cmd.Stderr = os.Stderr
	return cmd
}

// poolFor is a pool of a process that ends with its use.
func poolFor(buffers int) (*buf.Pool, error) {
	r, err := buf.NewRegion(buf.RegionConfig{Buffers: buffers})
	if err != nil {
		return nil, err
	}
	return buf.NewPool(r), nil
}

// holder binds to a queue, says so, and keeps it until its input ends.
func holder() error {
	p, err := poolFor(256)
	if err != nil {
		return err
	}
	d, err := Open(Config{Interface: ourEnd, Pool: p})
	if err != nil {
		return err
	}
	fmt.Println("ready")
	io.Copy(io.Discard, os.Stdin)
	return d.Close()
}

// TestNSHolder: the process that has the queue is named, and when it is killed
// the queue is free.
func TestNSHolder(t *testing.T) {
	w := newWorld(t, worldOptions{only4: true})
	c := w.config(256)
	for range 5 {
		cmd := process("holder")
		in, err := cmd.StdinPipe()
		fatal(t, err)
		out, err := cmd.StdoutPipe()
		fatal(t, err)
		fatal(t, w.ours.Start(cmd))
		if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
			t.Fatalf("the holder says %q, %v", line, err)
		}
		comm, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", cmd.Process.Pid))
		fatal(t, err)
		w.fails("in use", c, unix.EBUSY, "queue 0", fmt.Sprintf("held by %d (%s)", cmd.Process.Pid, strings.TrimSpace(string(comm))))
		fatal(t, cmd.Process.Kill())
		_ = cmd.Wait() // says that it was killed
		in.Close()
		d := w.open(c) // at once
		fatal(t, d.Close())
	}
}

// TestNSUnprivileged: an ordinary user is refused, and root of a namespace that
// has no right to lock memory is bound by RLIMIT_MEMLOCK; both learn what to do.
func TestNSUnprivileged(t *testing.T) {
	testenv.NeedRoot(t)
	testenv.NeedUserNS(t)
	cmd := process("user")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	if out, err := cmd.Output(); err != nil || string(out) != "bound\n" {
		t.Errorf("the unprivileged process: %q, %v", out, err)
	}
}

// asUser is what an ordinary user sees, who then starts this program as root of
// a user namespace.
func asUser() error {
	// An interface that is an Ethernet one; it is not touched.
	name, err := ethernetInterface()
	if err != nil {
		return err
	}
	p, err := poolFor(256)
	if err != nil {
		return err
	}
	if name != "" {
		_, err = Open(Config{Interface: name, Pool: p})
		if !errors.Is(err, unix.EPERM) || !strings.Contains(err.Error(), "CAP_NET_RAW") {
			return fmt.Errorf("Open as an ordinary user: %w; want EPERM that says CAP_NET_RAW", err)
		}
	}
	cmd := netns.ReexecUser()
	cmd.Env = append(os.Environ(), roleEnv+"=root")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := netns.Start(cmd); err != nil {
		return err
	}
	return cmd.Wait()
}

// ethernetInterface is the name of one in this namespace, if there is one.
func ethernetInterface() (string, error) {
	types, err := filepath.Glob("/sys/class/net/*/type")
	for _, file := range types {
		if b, err := os.ReadFile(file); err == nil && string(b) == "1\n" { // ARPHRD_ETHER
			return filepath.Base(filepath.Dir(file)), nil
		}
	}
	return "", err
}

// asRootOfNamespace binds within a limit of locked memory.
func asRootOfNamespace() error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name = ourEnd
	if err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: kernelEnd, PeerTxQLen: -1}); err != nil {
		return err
	}
	if err := unix.Setrlimit(unix.RLIMIT_MEMLOCK, &unix.Rlimit{Cur: 1 << 20, Max: 1 << 20}); err != nil {
		return err
	}
	large, err := poolFor(512)
	if err != nil {
		return err
	}
	_, err = Open(Config{Interface: ourEnd, Pool: large})
	if !errors.Is(err, unix.ENOBUFS) || !strings.Contains(err.Error(), "RLIMIT_MEMLOCK, now 1024 KiB, by 2048 KiB") {
		return fmt.Errorf("a region beyond RLIMIT_MEMLOCK: %w; want ENOBUFS that says so", err)
	}
	small, err := poolFor(160)
	if err != nil {
		return err
	}
	d, err := Open(Config{Interface: ourEnd, Pool: small})
	if err != nil {
		return err
	}
	fmt.Println("bound")
	return d.Close()
}
