package zctap_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"

	"github.com/zctap/zctap"
	"github.com/zctap/zctap/internal/netns"
	"github.com/zctap/zctap/internal/testenv"
)

// patience bounds waits that end much sooner, unless something is broken.
const patience = 30 * time.Second

// A world is two namespaces joined by veth0 in ours and veth1 in theirs.
type world struct {
	testing.TB
	ours, theirs *netns.NS
	journals     string // a directory for them
}

func newWorld(t testing.TB, o netns.VethOptions) *world {
	ours, theirs := newVethOf(t, o)
	w := &world{t, ours, theirs, filepath.Join(t.TempDir(), "journals")}
	w.in(ours, func() error { return netns.WaitAddresses([]netip.Prefix{vethOurs4, vethOurs6}, patience) })
	w.in(theirs, func() error { return netns.WaitAddresses([]netip.Prefix{vethPeer4, vethPeer6}, patience) })
	return w
}

// in runs f in a namespace.
func (w *world) in(ns *netns.NS, f func() error) {
	w.Helper()
	if err := ns.Do(f); err != nil {
		w.Fatal(err)
	}
}

// link changes an interface.
func (w *world) link(ns *netns.NS, name string, change func(netlink.Link) error) {
	w.Helper()
	w.in(ns, func() error {
		l, err := netlink.LinkByName(name)
		if err != nil {
			return err
		}
		return change(l)
	})
}

// open opens a queue on veth0, closed at the test's end at the latest.
func (w *world) open(x zctap.XDPConfig, buffers int) *zctap.Queue {
	w.Helper()
	q, err := w.tryOpen("veth0", x, buffers)
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() { q.Close() })
	return q
}

func (w *world) tryOpen(name string, x zctap.XDPConfig, buffers int) (q *zctap.Queue, err error) {
	x.JournalDir = w.journals
	err = w.ours.Do(func() error {
		q, err = zctap.Open(zctap.Config{Engine: zctap.User, Interface: name, XDP: &x, Buffers: buffers})
		return err
	})
	return q, err
}

// close closes a queue of which all buffers have to be back.
func (w *world) close(q *zctap.Queue) {
	w.Helper()
	closeWhole(w, q)
}

func (w *world) eventually(what string, cond func() bool) {
	w.Helper()
	for end := time.Now().Add(patience); !cond(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			w.Fatalf("still not: %s", what)
		}
	}
}

// volatile is what a snapshot leaves out: names that the kernel gives to a peer in
// another namespace, lifetimes, and states of neighbors, which change by themselves.
var volatile = regexp.MustCompile(`valid_lft \S+ preferred_lft \S+|\b(REACHABLE|STALE|DELAY|PROBE)\b|\bref \d+|\bused \S+|\bprobes \d+`)

// shown are the tables of ip(8) that a snapshot has.
const shown = `link show
address show
neighbor show
route show table all
rule show
`

// snapshot is all that could be left changed of an interface, as the tools of the
// system show it, but for lines that match one of but.
func (w *world) snapshot(but ...*regexp.Regexp) string {
	w.Helper()
	ip, ethtool := testenv.NeedCommand(w, "ip"), testenv.NeedCommand(w, "ethtool")
	var all strings.Builder
	for _, end := range []struct {
		ns   *netns.NS
		name string
	}{{w.ours, "veth0"}, {w.theirs, "veth1"}} {
		for _, args := range [][]string{{ip, "-d", "-batch", "-"}, {ethtool, "-k", end.name}} {
			cmd := exec.Command(args[0], args[1:]...)
			cmd.Stdin = strings.NewReader(shown)
			var out bytes.Buffer
			cmd.Stdout, cmd.Stderr = &out, &out
			if err := end.ns.Run(cmd); err != nil {
				w.Fatalf("%v: %v: %s", args, err, out.Bytes())
			}
			lines := strings.Split(string(volatile.ReplaceAll(out.Bytes(), nil)), "\n")
			slices.Sort(lines) // neighbors come in no order
			lines = slices.DeleteFunc(lines, func(l string) bool {
				return slices.ContainsFunc(but, func(r *regexp.Regexp) bool { return r.MatchString(l) })
			})
			fmt.Fprintf(&all, "%v\n%s\n", args, strings.Join(lines, "\n"))
		}
	}
	return all.String()
}

// unchanged waits until a snapshot is as it was: what a process has left behind
// the kernel cleans up a moment after its end.
func (w *world) unchanged(was string, but ...*regexp.Regexp) {
	w.Helper()
	now := ""
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if now = w.snapshot(but...); now == was {
			return
		}
	}
	w.Fatalf("not as it was:\n%s", diff(was, now))
}

// diff lists the lines that are in one of two texts only.
func diff(was, now string) string {
	a, b := strings.Split(was, "\n"), strings.Split(now, "\n")
	var out strings.Builder
	for _, l := range a {
		if !slices.Contains(b, l) {
			fmt.Fprintf(&out, "- %s\n", l)
		}
	}
	for _, l := range b {
		if !slices.Contains(a, l) {
			fmt.Fprintf(&out, "+ %s\n", l)
		}
	}
	return out.String()
}

// program is the id of the XDP program on veth0, 0 if there is none.
func (w *world) program() (id uint32) {
	w.Helper()
	w.link(w.ours, "veth0", func(l netlink.Link) error {
		if x := l.Attrs().Xdp; x != nil {
			id = x.ProgId
		}
		return nil
	})
	return id
}

// programGone waits until a program is unloaded: then no link holds it either.
func (w *world) programGone(id uint32) {
	w.Helper()
	w.eventually("the program is unloaded", func() bool {
		p, err := ebpf.NewProgramFromID(ebpf.ProgramID(id))
		if err == nil {
			p.Close()
		}
		return errors.Is(err, os.ErrNotExist)
	})
}

// kernelServer accepts connections with the kernel's TCP in a namespace, and serves
// each by a goroutine, until the test's end.
func (w *world) kernelServer(ns *netns.NS, addr string, serve func(net.Conn)) netip.AddrPort {
	w.Helper()
	var ln net.Listener
	w.in(ns, func() (err error) { ln, err = net.Listen("tcp", addr); return err })
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				serve(c)
			}()
		}
	}()
	w.Cleanup(func() { ln.Close(); <-done })
	return netip.MustParseAddrPort(ln.Addr().String())
}

// dial connects by the kernel's TCP.
func (w *world) dial(ns *netns.NS, to string) *net.TCPConn {
	w.Helper()
	var c net.Conn
	w.in(ns, func() (err error) {
		c, err = net.DialTimeout("tcp", to, patience)
		return err
	})
	w.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(2 * patience)); err != nil {
		w.Fatal(err)
	}
	return c.(*net.TCPConn)
}

// exchange has a kernel socket at the other end and an accepted connection of
// zctap's tell each other something.
func (w *world) exchange(c *net.TCPConn, z *zctap.Conn) {
	w.Helper()
	for _, d := range []struct{ from, to net.Conn }{{c, z}, {z, c}} {
		want := []byte("from " + d.from.LocalAddr().String())
		if _, err := d.from.Write(want); err != nil {
			w.Fatal(err)
		}
		if err := d.to.SetReadDeadline(time.Now().Add(patience)); err != nil {
			w.Fatal(err)
		}
		got := make([]byte, len(want))
		if _, err := io.ReadFull(d.to, got); err != nil || !bytes.Equal(got, want) {
			w.Fatalf("received %q, %v; want %q", got, err, want)
		}
	}
}

// roleEnv makes this program one of the processes that tests start.
const roleEnv = "ZCTAP_TEST_ROLE"

var roles = map[string]func() error{}

func TestMain(m *testing.M) {
	role := os.Getenv(roleEnv)
	if role == "" {
		testenv.Main(m)
	}
	if err := roles[role](); err != nil {
		fmt.Fprintf(os.Stderr, "role %s: %v\n", role, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// A child is this program as another process.
type child struct {
	*exec.Cmd
	w     *world
	in    io.WriteCloser // the process may end when that ends
	lines *bufio.Reader
	errs  *bytes.Buffer
	ended bool
}

// child prepares this program in a role, with more environment.
func (w *world) child(role string, env ...string) *child {
	w.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), roleEnv+"="+role, "GORACE=atexit_sleep_ms=0", "ZCTAP_TEST_JOURNALS="+w.journals)
	cmd.Env = append(cmd.Env, env...)
	cmd.Dir = "/"
	return w.process(cmd)
}

// process prepares a command.
func (w *world) process(cmd *exec.Cmd) *child {
	w.Helper()
	c := &child{Cmd: cmd, w: w, errs: new(bytes.Buffer)}
	in, err := cmd.StdinPipe()
	if err != nil {
		w.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		w.Fatal(err)
	}
	c.in, c.lines, cmd.Stderr = in, bufio.NewReader(out), c.errs
	return c
}

// start starts the process in a namespace. It does not outlive the test.
func (c *child) start(ns *netns.NS) {
	c.w.Helper()
	if err := ns.Start(c.Cmd); err != nil {
		c.w.Fatal(err)
	}
	c.w.Cleanup(c.kill)
}

// line is the next line of what the process says; "" when it has ended.
func (c *child) line() string {
	s, _ := c.lines.ReadString('\n')
	return strings.TrimSuffix(s, "\n")
}

// want fails the test unless the process says so next.
func (c *child) want(line string) {
	c.w.Helper()
	if got := c.line(); got != line {
		c.kill()
		c.w.Fatalf("the process says %q, want %q; %s", got, line, c.errs)
	}
}

// kill kills the process and waits for its end.
func (c *child) kill() {
	if c.ended {
		return
	}
	c.ended = true
	_ = c.Process.Kill() // it may have ended
	_ = c.Wait()         // says that it was killed
	c.in.Close()
}

// finish waits for the end of the process, which succeeds.
func (c *child) finish() {
	c.w.Helper()
	c.in.Close()
	c.ended = true
	if err := c.Wait(); err != nil {
		c.w.Errorf("the process: %v: %s", err, c.errs)
	}
}
