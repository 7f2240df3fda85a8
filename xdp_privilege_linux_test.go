package zctap_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/zctap/zctap"
	"github.com/zctap/zctap/internal/netns"
)

// neighborLines are what the kernel knows more of when a new neighbor was found.
var neighborLines = regexp.MustCompile(`^\S+ dev veth\d lladdr .*$`)

// nobody is a user without any rights.
const nobody = 65534

// openCaps are the capabilities that Open needs.
var openCaps = map[string]uintptr{
	"CAP_NET_ADMIN": unix.CAP_NET_ADMIN, "CAP_NET_RAW": unix.CAP_NET_RAW, "CAP_BPF": unix.CAP_BPF, "CAP_IPC_LOCK": unix.CAP_IPC_LOCK,
}

// asNobody has a child run as an ordinary user with the capabilities that Open
// needs, but for one.
func (c *child) asNobody(but string) {
	c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	for name, bit := range openCaps {
		if name != but {
			c.SysProcAttr.AmbientCaps = append(c.SysProcAttr.AmbientCaps, bit)
		}
	}
}

func init() {
	roles["unprivileged"] = unprivileged
	roles["powerless"] = powerless
	roles["drop"] = drop
}

// TestNSXDPUnprivileged: an ordinary user with three or four capabilities has the
// whole of zctap, and root can become an ordinary user without any after Open.
func TestNSXDPUnprivileged(t *testing.T) {
	for _, mode := range []string{zctap.XDPCopy, zctap.XDPGeneric} {
		for _, from := range []string{"nobody", "root"} {
			t.Run(mode+", from "+from, func(t *testing.T) {
				w := newWorld(t, netns.VethOptions{})
				// A neighbor that is only looked for when nothing may be asked for any more.
				at := w.kernelServer(w.theirs, "10.89.0.1:0", func(c net.Conn) { io.Copy(c, c) })
				was := w.snapshot(neighborLines)
				c := w.child("unprivileged", "ZCTAP_TEST_MODE="+mode, "ZCTAP_TEST_PEER="+at.String())
				if from == "nobody" {
					c.asNobody("")
				}
				c.start(w.ours)
				c.want("ready")
				conn := w.dial(w.theirs, fmt.Sprint("10.89.0.2:", receiverPort))
				if _, err := conn.Write([]byte("hello")); err != nil {
					t.Fatal(err)
				}
				if got, err := io.ReadAll(conn); err != nil || string(got) != "hello" {
					t.Fatalf("%q, %v; %s", got, err, c.errs)
				}
				c.want("done")
				c.finish()
				w.unchanged(was, neighborLines)
			})
		}
	}
}

// unprivileged opens a queue, gives up what it can if it is root, and does all that
// is done with a queue.
func unprivileged() error {
	q, err := zctap.Open(zctap.Config{
		Engine: zctap.User, Interface: "veth0", Buffers: 1024,
		XDP: &zctap.XDPConfig{Mode: os.Getenv("ZCTAP_TEST_MODE")},
	})
	if err != nil {
		return err
	}
	if os.Geteuid() == 0 {
		if err := errors.Join(syscall.Setgid(nobody), syscall.Setuid(nobody)); err != nil {
			return err
		}
		if err := noCapabilities(); err != nil {
			return err
		}
	}
	// Out, over a neighbor that is not known.
	out, err := q.Dial("tcp", os.Getenv("ZCTAP_TEST_PEER"))
	if err != nil {
		return err
	}
	if err := echoed(out); err != nil {
		return err
	}
	udp, err := q.ListenPacket("udp4", ":0")
	if err != nil {
		return err
	}
	ln, err := q.Listen("tcp4", fmt.Sprint(":", receiverPort))
	if err != nil {
		return err
	}
	fmt.Println("ready")
	c, err := ln.AcceptZC()
	if err != nil {
		return err
	}
	if err := echo(q, c, 5); err != nil {
		return err
	}
	if err := errors.Join(c.Close(), out.Close(), udp.Close(), ln.Close(), q.Close()); err != nil {
		return err
	}
	if n := q.Leaked(); n != 0 {
		return fmt.Errorf("%d buffers leaked", n)
	}
	fmt.Println("done")
	return nil
}

// echoed has a peer that sends everything back do so.
func echoed(c net.Conn) error {
	got := make([]byte, 5)
	_, err := c.Write([]byte("hello"))
	if err == nil {
		_, err = io.ReadFull(c, got)
	}
	if err == nil && string(got) != "hello" {
		err = fmt.Errorf("received %q", got)
	}
	return err
}

// echo sends n received bytes back.
func echo(q *zctap.Queue, c *zctap.Conn, n int) error {
	iovs := make([]zctap.Iov, 8)
	for n > 0 {
		k, err := c.RecvZC(iovs)
		if err != nil {
			return err
		}
		for i := range iovs[:k] {
			b := iovs[i].Bytes()
			if _, err := c.Write(b); err != nil {
				return err
			}
			n -= len(b)
		}
		if _, err := q.Release(iovs[:k]); err != nil {
			return err
		}
	}
	return nil
}

// noCapabilities fails if a thread of this process has one.
func noCapabilities() error {
	caps, err := capabilities(os.Getpid())
	for thread, set := range caps {
		if set != 0 {
			return fmt.Errorf("thread %s has the capabilities %x", thread, set)
		}
	}
	return err
}

// capabilities are those that the threads of a process have, or could raise.
func capabilities(pid int) (map[string]uint64, error) {
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
	if err != nil || len(files) == 0 {
		return nil, fmt.Errorf("no threads of process %d: %w", pid, err)
	}
	all := map[string]uint64{}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			continue // it has ended
		}
		for line := range strings.Lines(string(b)) {
			var set uint64
			for _, name := range []string{"CapPrm:", "CapEff:", "CapInh:", "CapAmb:"} {
				if n, _ := fmt.Sscanf(line, name+"\t%x", &set); n == 1 {
					all[filepath.Base(filepath.Dir(file))] |= set
				}
			}
		}
	}
	return all, nil
}

// TestNSXDPPowerless: the capability or the limit that Open lacks is named, with what
// to do, and nothing is left behind.
func TestNSXDPPowerless(t *testing.T) {
	w := newWorld(t, netns.VethOptions{})
	was := w.snapshot()
	for _, tt := range []struct {
		lacks, memlock string
		says           []string
	}{
		{"CAP_NET_ADMIN", "", []string{"operation not permitted", "CAP_NET_ADMIN", "setcap"}},
		{"CAP_BPF", "", []string{"operation not permitted", "CAP_BPF", "setcap"}},
		{"CAP_NET_RAW", "", []string{"operation not permitted", "CAP_NET_RAW"}},
		{"CAP_IPC_LOCK", "1048576", []string{"RLIMIT_MEMLOCK, now 1024 KiB", "is ENOBUFS"}},
		{"CAP_IPC_LOCK", "8388608", nil},
	} {
		c := w.child("powerless", "ZCTAP_TEST_MEMLOCK="+tt.memlock)
		c.asNobody(tt.lacks)
		c.start(w.ours)
		got := c.line()
		c.finish()
		for _, text := range tt.says {
			if !strings.Contains(got, text) {
				t.Errorf("without %s: %s; does not say %q", tt.lacks, got, text)
			}
		}
		if opened := got == "opened"; opened != (tt.says == nil) {
			t.Errorf("without %s, %s bytes to lock: %s", tt.lacks, tt.memlock, got)
		}
		w.unchanged(was)
	}
}

// powerless says what comes of Open.
func powerless() error {
	if s := os.Getenv("ZCTAP_TEST_MEMLOCK"); s != "" {
		var n uint64
		if _, err := fmt.Sscan(s, &n); err != nil {
			return err
		}
		if err := unix.Setrlimit(unix.RLIMIT_MEMLOCK, &unix.Rlimit{Cur: n, Max: n}); err != nil {
			return fmt.Errorf("setting RLIMIT_MEMLOCK: %w", err)
		}
	}
	q, err := zctap.Open(zctap.Config{Engine: zctap.User, Interface: "veth0", Buffers: 1024, XDP: &zctap.XDPConfig{}})
	if err != nil {
		fmt.Print(err)
		if errors.Is(err, unix.ENOBUFS) {
			fmt.Print(": is ENOBUFS")
		}
		fmt.Println()
		return nil
	}
	fmt.Println("opened")
	return q.Close()
}

// TestNSDropCapabilities: what Open needs is gone from all threads, and the rest is
// there; or the program is linked with C, and is told so.
func TestNSDropCapabilities(t *testing.T) {
	w := newWorld(t, netns.VethOptions{})
	c := w.child("drop")
	c.start(w.ours)
	switch got := c.line(); got {
	case "dropped":
	case "linked with C":
		t.Log("this test is linked with C; cmd/zctap has one of a program that is not")
	default:
		t.Errorf("%s; %s", got, c.errs)
	}
	c.finish()
}

func drop() error {
	q, err := zctap.Open(zctap.Config{Engine: zctap.Copy, Buffers: 64})
	if err != nil {
		return err
	}
	before, err := capabilities(os.Getpid())
	if err != nil {
		return err
	}
	err = q.DropCapabilities()
	after, failed := capabilities(os.Getpid())
	if failed != nil {
		return failed
	}
	var gone uint64
	for _, bit := range openCaps {
		gone |= 1 << bit
	}
	if errors.Is(err, zctap.ErrNotSupported) && strings.Contains(err.Error(), "CGO_ENABLED=0") {
		gone, err = 0, nil
		fmt.Println("linked with C")
	} else if err == nil {
		fmt.Println("dropped")
	}
	for thread, set := range after {
		if was, old := before[thread]; old && set != was&^gone {
			return fmt.Errorf("thread %s had %x and has %x", thread, was, set)
		}
	}
	return errors.Join(err, q.Close())
}
