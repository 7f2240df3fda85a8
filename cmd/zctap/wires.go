//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/zctap/zctap"
	"github.com/zctap/zctap/internal/netns"
	"github.com/zctap/zctap/internal/pattern"
)

// Addresses inside the namespaces of demo and bench.
var (
	tunOurs   = netip.MustParsePrefix("10.88.0.2/24") // zctap's end of the TUN device
	tunKernel = netip.MustParsePrefix("10.88.0.1/24")
	vethRecv  = netip.MustParsePrefix("10.89.0.2/24")
	vethSend  = netip.MustParsePrefix("10.89.0.1/24")
)

// vethName is the veth interface of either namespace.
const vethName = "veth0"

// senderControl is the sender's congestion control, in front of every receiver
// alike. Where BBR is the system's default it paces the sender by a model of a
// path of 5 us, to a third or a half of what the receivers can take; and of what
// does not pace, Reno is what every namespace is allowed to use.
const senderControl = "reno"

// These bound the wait for the sender's connection.
const (
	acceptTimeout = 30 * time.Second
	manualTimeout = 10 * time.Minute // when a person starts it
)

// A transfer is one stream to receive and measure.
type transfer struct {
	env        *environ
	size       int64
	seed       uint64 // 0: the sender repeats one block, and nothing is verified
	bufferSize *bufferSize
	handler    bool // receive so, not by RecvZC
	touch      bool // read all payload: take its CRC-32C
}

func (t *transfer) sink(r *report) sink {
	switch {
	case t.touch:
		r.CRC32C = new(uint32)
		return toucher(r.CRC32C)
	case t.seed == 0:
		return nil
	}
	return verifier(pattern.New(t.seed), &r.Mismatches)
}

// hosts are where a stream comes from and where it goes to: two network
// namespaces joined by veth, as two machines would be by a cable, of which the
// first can have a TUN device; or this one, and whatever its interface leads to.
type hosts struct {
	sender   *netns.NS  // nil: a machine of its own, where a person starts the sender
	receiver *netns.NS  // nil: this process's
	addr     netip.Addr // the receiver's
	wire     string
}

// newHosts makes namespaces, and veth between them of that MTU; 0: 1,500.
func newHosts(mtu int) (*hosts, error) {
	s, err := netns.New()
	if err != nil {
		return nil, err
	}
	r, err := netns.New()
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	h := &hosts{sender: s, receiver: r, addr: vethRecv.Addr(), wire: "veth"}
	err = netns.Veth(s, r, netns.VethOptions{
		NameA: vethName, NameB: vethName, AddrA: []netip.Prefix{vethSend}, AddrB: []netip.Prefix{vethRecv}, MTU: mtu,
	})
	if err == nil {
		err = s.SetSysctl("net/ipv4/tcp_congestion_control", senderControl)
	}
	if err == nil {
		// As a NIC has. A kernel without it (CONFIG_NET_SCHED) does without.
		err = s.SetQueue(vethName)
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.EOPNOTSUPP) {
			err = nil
		}
	}
	if err != nil {
		return nil, errors.Join(err, h.close())
	}
	return h, nil
}

// close lets go of the namespaces; those that newHosts made vanish.
func (h *hosts) close() (err error) {
	for _, ns := range []*netns.NS{h.sender, h.receiver} {
		if ns != nil {
			err = errors.Join(err, ns.Close())
		}
	}
	return err
}

// startSender starts `zctap send` as a process of its own, at the sender of h
// (nil: here), or asks for it. wait waits for its end, and adds what it took to r;
// the context's end kills it.
func (t *transfer) startSender(ctx context.Context, h *hosts, to string, r *report) (wait func() error, err error) {
	if h != nil && h.sender == nil {
		fmt.Fprintf(t.env.stderr, "Start the sender, on a machine at the other end: zctap %s\n", strings.Join(t.sendArgs(to), " "))
		return func() error { return nil }, nil
	}
	start := netns.Start
	if h != nil {
		start = h.sender.Start
	}
	return startSend(ctx, start, t.sendArgs(to), &r.SenderSeconds)
}

// startSend starts this program with args, by start. wait waits for its end, and sets
// cpu to what it took; the context's end kills it.
func startSend(ctx context.Context, start func(*exec.Cmd) error, args []string, cpu *float64) (wait func() error, err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, self, args...)
	var complaint bytes.Buffer
	cmd.Stderr = &complaint
	if err := start(cmd); err != nil {
		return nil, fmt.Errorf("start the sender: %w", err)
	}
	return func() error {
		if err := cmd.Wait(); err != nil {
			return fmt.Errorf("sender: %w: %s", err, bytes.TrimSpace(complaint.Bytes()))
		}
		*cpu = (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds()
		return nil
	}, nil
}

// sendArgs is the command line of the sender.
func (t *transfer) sendArgs(to string) []string {
	args := []string{"send", to, "--size", strconv.FormatInt(t.size, 10)}
	if t.seed != 0 {
		args = append(args, "--pattern", strconv.FormatUint(t.seed, 10))
	}
	return args
}

// queue receives the stream of the sender of h by a queue that listens at addr.
// It closes q.
func (t *transfer) queue(ctx context.Context, q *zctap.Queue, ln *zctap.Listener, h *hosts, addr string, r *report) error {
	err := func() error {
		defer ln.Close()
		wait, err := t.startSender(ctx, h, addr, r)
		if err != nil {
			return err
		}
		if err := ln.SetDeadline(time.Now().Add(h.patience())); err != nil {
			return err
		}
		c, err := ln.AcceptZC()
		if err != nil {
			return errors.Join(err, wait())
		}
		defer context.AfterFunc(ctx, func() { c.Close() })()
		p := startProgress(t.env.stderr, "received by "+q.Engine()+" over "+r.Wire, t.size)
		err = receive(ctx, t.handler, q, c, t.sink(r), p, r)
		p.end()
		return errors.Join(err, c.Close(), wait())
	}()
	return errors.Join(err, r.addQueue(q))
}

// openTUN opens engine user on a TUN device in the sender's namespace.
func (h *hosts) openTUN(bufferSize, buffers int) (q *zctap.Queue, err error) {
	err = h.sender.Do(func() (err error) {
		q, err = zctap.Open(zctap.Config{
			Engine: zctap.User, Interface: "zctap0", BufferSize: bufferSize, Buffers: buffers,
			TUN: &zctap.TUN{Name: "zctap0", Addresses: []netip.Prefix{tunOurs}, Host: []netip.Prefix{tunKernel}},
		})
		return err
	})
	return q, err
}

// overTUN receives with engine user from a TUN device in the sender's
// namespace: the sender's kernel hands its segments over to zctap.
func (t *transfer) overTUN(ctx context.Context, h *hosts) (*report, error) {
	r := &report{Receiver: "zctap", Wire: "tun"}
	q, err := h.openTUN(t.bufferSize.on(zctap.User), 0)
	if err != nil {
		return nil, err
	}
	ln, err := q.Listen("tcp", ":0")
	if err != nil {
		return nil, errors.Join(err, q.Close())
	}
	return r, t.queue(ctx, q, ln, h, atPort(tunOurs.Addr(), ln.Addr()), r)
}

// byCopy receives with engine copy, over veth or, without hosts, loopback.
func (t *transfer) byCopy(ctx context.Context, h *hosts) (*report, error) {
	r := &report{Receiver: "zctap", Wire: wireOf(h)}
	q, err := zctap.Open(zctap.Config{Engine: zctap.Copy, BufferSize: t.bufferSize.on(zctap.Copy)})
	if err != nil {
		return nil, err
	}
	var ln *zctap.Listener
	err = h.inReceiver(func() (err error) {
		ln, err = q.Listen("tcp", atPort(h.receiverAddr(), nil))
		return err
	})
	if err != nil {
		return nil, errors.Join(err, q.Close())
	}
	return r, t.queue(ctx, q, ln, h, ln.Addr().String(), r)
}

// byNetConn receives with net.Conn.Read, over veth or, without hosts, loopback.
func (t *transfer) byNetConn(ctx context.Context, h *hosts) (*report, error) {
	r := &report{Receiver: "net.Conn", Wire: wireOf(h), Drops: map[string]uint64{}}
	var ln net.Listener
	err := h.inReceiver(func() (err error) {
		ln, err = net.Listen("tcp", atPort(h.receiverAddr(), nil))
		return err
	})
	if err != nil {
		return nil, err
	}
	defer ln.Close()
	wait, err := t.startSender(ctx, h, ln.Addr().String(), r)
	if err != nil {
		return nil, err
	}
	if err := ln.(*net.TCPListener).SetDeadline(time.Now().Add(h.patience())); err != nil {
		return nil, err
	}
	c, err := ln.Accept()
	if err != nil {
		return nil, errors.Join(err, wait())
	}
	defer context.AfterFunc(ctx, func() { c.Close() })()
	p := startProgress(t.env.stderr, "received by net.Conn over "+r.Wire, t.size)
	err = receivePlain(c, t.sink(r), p, r)
	p.end()
	return r, errors.Join(err, c.Close(), wait())
}

// overMemory receives with engine user from a sender in this process, itself
// zctap's: what can be had without any privilege.
func (t *transfer) overMemory(ctx context.Context) (*report, error) {
	r := &report{Receiver: "zctap", Wire: "mem (sender in this process)"}
	q, peer, err := zctap.OpenPair(zctap.Config{BufferSize: t.bufferSize.on(zctap.User)}, zctap.Config{})
	if err != nil {
		return nil, err
	}
	err = func() error {
		ln, err := q.Listen("tcp", ":0")
		if err != nil {
			return err
		}
		defer ln.Close()
		out, err := peer.DialContext(ctx, "tcp", atPort(netip.MustParseAddr("192.0.2.1"), ln.Addr()))
		if err != nil {
			return err
		}
		defer out.Close()
		c, err := ln.AcceptZC()
		if err != nil {
			return err
		}
		defer context.AfterFunc(ctx, func() { c.Close(); out.Close() })()
		src, _, _, err := openSource(t.env, "", t.seed, t.size)
		if err != nil {
			return err
		}
		sent := make(chan error, 1)
		go func() {
			_, err := copyChunks(out, src, &progress{})
			sent <- errors.Join(err, out.CloseWrite())
		}()
		p := startProgress(t.env.stderr, "received by user over mem", t.size)
		err = receiveZC(q, c, t.sink(r), p, r)
		p.end()
		if err != nil {
			out.Close() // or the sender would wait for ever
		}
		return errors.Join(err, <-sent, c.Close())
	}()
	err = errors.Join(err, r.addQueue(q), peer.Close())
	r.Leaked += peer.Leaked()
	return r, err
}

func (h *hosts) inReceiver(f func() error) error {
	if h == nil || h.receiver == nil {
		return f()
	}
	return h.receiver.Do(f)
}

func (h *hosts) receiverAddr() netip.Addr {
	if h == nil {
		return netip.MustParseAddr("127.0.0.1")
	}
	return h.addr
}

func wireOf(h *hosts) string {
	if h == nil {
		return "loopback"
	}
	return h.wire
}

// patience is how long to wait for the sender's connection.
func (h *hosts) patience() time.Duration {
	if h != nil && h.sender == nil {
		return manualTimeout
	}
	return acceptTimeout
}

// atPort is a with the port of a listener's address, or port 0.
func atPort(a netip.Addr, ln net.Addr) string {
	port := "0"
	if ln != nil {
		_, port, _ = net.SplitHostPort(ln.String()) // a net.TCPAddr always splits
	}
	return net.JoinHostPort(a.String(), port)
}
