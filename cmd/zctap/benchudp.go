//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/zctap/zctap"
)

// lastDatagrams is how long after the sender's end datagrams are waited for.
const lastDatagrams = 200 * time.Millisecond

// segmentedTimes is how many more datagrams are sent by GSO than one by one, so that
// either takes seconds: CPU time is counted in ticks.
const segmentedTimes = 10

// A udpBench compares receivers of datagrams.
type udpBench struct {
	env        *environ
	count      int
	size       int
	bufferSize int
	buffers    int
}

// A udpRun is one receiver's run, as --json prints it.
type udpRun struct {
	Receiver string `json:"receiver"`
	Wire     string `json:"wire"`
	// Segmented: the sender gave many datagrams to the kernel at a time (UDP GSO).
	Segmented     bool    `json:"sender_gso"`
	Sent          int     `json:"datagrams_sent"`
	Received      int     `json:"datagrams_received"`
	Dropped       int     `json:"datagrams_dropped"` // on the whole way
	Seconds       float64 `json:"seconds"`
	UserSeconds   float64 `json:"cpu_user_seconds"`
	SystemSeconds float64 `json:"cpu_system_seconds"`
	// SenderSeconds is the CPU time of the sender's process, in which the kernel
	// takes a datagram up to the socket that receives it, or up to the TUN device.
	SenderSeconds float64           `json:"sender_cpu_seconds"`
	Calls         uint64            `json:"recv_calls"`
	Syscalls      uint64            `json:"syscalls,omitempty"` // of the engine, on the data path
	Wakes         uint64            `json:"wakes,omitempty"`    // of the engine
	Leaked        int               `json:"leaked_buffers"`
	Drops         map[string]uint64 `json:"drops,omitempty"`
	Events        map[string]uint64 `json:"events,omitempty"`
}

// perMillion is s for each million of datagrams received.
func (r *udpRun) perMillion(s float64) float64 { return s / (float64(r.Received) / 1e6) }

// cpu is the receiver's CPU time for a million datagrams, not 0: what is less than
// the clock that it is counted with shows counts as one tick of it.
func (r *udpRun) cpu() float64 { return r.perMillion(max(r.UserSeconds+r.SystemSeconds, 1e-6)) }

func (r *udpRun) name() string {
	if r.Segmented {
		return r.Receiver + " over " + r.Wire + ", sent by GSO"
	}
	return r.Receiver + " over " + r.Wire + ", sent one by one"
}

// runBenchUDP compares receivers of datagrams, whose payload they do not look at.
func runBenchUDP(ctx context.Context, env *environ, args []string) error {
	fs := newFlags("bench udp")
	rounds := fs.Int("rounds", 5, "`NUMBER` of rounds; each receiver runs once in each, in turn")
	count := fs.Int("count", 500_000, "`NUMBER` of datagrams of one run; ten times as many where they are sent by GSO, which takes less long")
	size := fs.Int("datagram", 1200, "`BYTES` of payload of a datagram")
	bufferSize := byteSize(4 << 10)
	fs.Var(&bufferSize, "buffer-size", "`BYTES` of a buffer of the region, a power of two from 4KiB")
	region := byteSize(32 << 20)
	fs.Var(&region, "region", "`BYTES` of the region")
	asJSON := fs.Bool("json", false, "print the result as JSON")
	if _, err := parseFlags(env, fs, args); err != nil {
		return err
	}
	switch {
	case *rounds < 1 || *rounds > 100:
		return usagef("--rounds is 1 to 100")
	case *count < 1000:
		return usagef("--count is 1000 or more")
	case *size < 4 || *size > 1472:
		return usagef("--datagram is 4 to 1472, what one packet of 1500 bytes has room for")
	case region < 256<<10 || region < 32*bufferSize:
		return usagef("--region is 256KiB and 32 buffers at least")
	}
	h, err := newHosts(0)
	if err != nil {
		return fmt.Errorf("the benchmark needs network namespaces (root, or unshare --user --map-root-user --net): %w", err)
	}
	defer h.close()
	b := &udpBench{env: env, count: *count, size: *size, bufferSize: int(bufferSize), buffers: int(region / bufferSize)}
	receivers := []func(context.Context, *hosts, bool) (*udpRun, error){b.overTUN, b.overXDP, b.byCopy, b.byNetConn}
	if q, err := b.openXDP(h); err == nil {
		err = q.Close()
		if err != nil {
			return err
		}
	} else {
		fmt.Fprintln(env.stderr, "Without AF_XDP:", err)
		receivers = slices.Delete(receivers, 1, 2)
	}
	res := &udpResult{Rounds: *rounds, Size: *size}
	for range *rounds {
		for _, segmented := range []bool{false, true} {
			for _, receive := range receivers {
				r, err := receive(ctx, h, segmented)
				if err == nil {
					err = r.check()
				}
				if err != nil {
					return err
				}
				res.Runs = append(res.Runs, r)
			}
		}
	}
	res.summarize(len(receivers))
	if *asJSON {
		return writeJSON(env.stdout, res)
	}
	return res.print(env)
}

func (r *udpRun) check() error {
	switch {
	case r.Received > r.Sent:
		return fmt.Errorf("%s received %d datagrams of %d", r.name(), r.Received, r.Sent)
	case r.Leaked != 0:
		return fmt.Errorf("%s: %d buffers leaked", r.name(), r.Leaked)
	}
	return nil
}

// measure starts the sender and runs receive, which calls begin when it has received
// something, and returns how many datagrams it has received when its deadline comes:
// expire sets it.
func (b *udpBench) measure(ctx context.Context, h *hosts, to string, segmented bool, r *udpRun, receive func(begin func()) (int, error), expire func(time.Time) error) error {
	count := b.count
	if segmented {
		count *= segmentedTimes
	}
	args := []string{"send", to, "--udp", strconv.Itoa(count), "--datagram", strconv.Itoa(b.size)}
	if segmented {
		args = append(args, "--gso")
	}
	wait, err := startSend(ctx, h.sender.Start, args, &r.SenderSeconds)
	if err != nil {
		return err
	}
	sent := make(chan error, 1)
	go func() { sent <- errors.Join(wait(), expire(time.Now().Add(lastDatagrams))) }()
	var m meter // from the first datagram on: the start of the sender is not receiving
	r.Received, err = receive(func() { m = startMeter() })
	c := m.stop()
	if err := errors.Join(err, <-sent); err != nil {
		return err
	}
	if r.Received == 0 {
		return fmt.Errorf("%s over %s received nothing", r.Receiver, r.Wire)
	}
	r.Segmented, r.Sent, r.Dropped = segmented, count, count-r.Received
	// A sender may be done before the first of few datagrams is received.
	r.Seconds = max(c.wall-lastDatagrams, time.Millisecond).Seconds()
	r.UserSeconds, r.SystemSeconds = c.user.Seconds(), c.sys.Seconds()
	return nil
}

// byQueue receives by RecvFromZC on c, and closes q.
func (b *udpBench) byQueue(ctx context.Context, h *hosts, q *zctap.Queue, c *zctap.PacketConn, to string, segmented bool, r *udpRun) error {
	err := b.measure(ctx, h, to, segmented, r, func(begin func()) (n int, err error) {
		iovs, dgrams := make([]zctap.Iov, 512), make([]zctap.Datagram, 256)
		for {
			k, err := c.RecvFromZC(iovs, dgrams)
			if errors.Is(err, os.ErrDeadlineExceeded) {
				return n, nil
			}
			if err != nil {
				return n, err
			}
			used := 0
			for i := range dgrams[:k] {
				used += dgrams[i].Iovs
			}
			if _, err := q.Release(iovs[:used]); err != nil {
				return n, err
			}
			if n == 0 {
				begin()
			}
			n += k
		}
	}, c.SetReadDeadline)
	s := q.Stats()
	r.Calls, r.Drops, r.Events = s.RecvCalls, s.Drops, s.Events
	r.Syscalls, r.Wakes = s.Syscalls, s.Wakes
	err = errors.Join(err, c.Close(), q.Close())
	r.Leaked = q.Leaked()
	return err
}

// overTUN receives with engine user from a TUN device in the sender's namespace.
func (b *udpBench) overTUN(ctx context.Context, h *hosts, segmented bool) (*udpRun, error) {
	r := &udpRun{Receiver: "zctap user", Wire: "tun"}
	q, err := h.openTUN(b.bufferSize, b.buffers)
	if err != nil {
		return nil, err
	}
	c, err := q.ListenPacket("udp4", ":0")
	if err != nil {
		return nil, errors.Join(err, q.Close())
	}
	return r, b.byQueue(ctx, h, q, c, atPort(tunOurs.Addr(), c.LocalAddr()), segmented, r)
}

// openXDP opens engine user by AF_XDP on the receiver's end of the veth pair.
func (b *udpBench) openXDP(h *hosts) (q *zctap.Queue, err error) {
	err = h.receiver.Do(func() (err error) {
		q, err = zctap.Open(zctap.Config{
			Engine: zctap.User, Interface: vethName, BufferSize: b.bufferSize, Buffers: b.buffers, XDP: &zctap.XDPConfig{},
		})
		return err
	})
	return q, err
}

// overXDP receives with engine user by AF_XDP over veth: there the kernel's part, and
// its copy into the region, is in the sender's time, as up to net.UDPConn's socket.
func (b *udpBench) overXDP(ctx context.Context, h *hosts, segmented bool) (*udpRun, error) {
	r := &udpRun{Receiver: "zctap user", Wire: "veth, AF_XDP"}
	q, err := b.openXDP(h)
	if err != nil {
		return nil, err
	}
	c, err := q.ListenPacket("udp4", ":0")
	if err != nil {
		return nil, errors.Join(err, q.Close())
	}
	return r, b.byQueue(ctx, h, q, c, atPort(h.addr, c.LocalAddr()), segmented, r)
}

// byCopy receives with engine copy over veth.
func (b *udpBench) byCopy(ctx context.Context, h *hosts, segmented bool) (*udpRun, error) {
	r := &udpRun{Receiver: "zctap copy", Wire: "veth"}
	q, err := zctap.Open(zctap.Config{Engine: zctap.Copy, BufferSize: b.bufferSize, Buffers: b.buffers})
	if err != nil {
		return nil, err
	}
	var c *zctap.PacketConn
	err = h.receiver.Do(func() (err error) {
		c, err = q.ListenPacket("udp4", atPort(h.addr, nil))
		return err
	})
	if err != nil {
		return nil, errors.Join(err, q.Close())
	}
	return r, b.byQueue(ctx, h, q, c, c.LocalAddr().String(), segmented, r)
}

// byNetConn receives with net.UDPConn.ReadFromUDPAddrPort over veth.
func (b *udpBench) byNetConn(ctx context.Context, h *hosts, segmented bool) (*udpRun, error) {
	r := &udpRun{Receiver: "net.UDPConn", Wire: "veth"}
	var c *net.UDPConn
	err := h.receiver.Do(func() (err error) {
		c, err = net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(h.addr, 0)))
		return err
	})
	if err != nil {
		return nil, err
	}
	defer c.Close()
	return r, b.measure(ctx, h, c.LocalAddr().String(), segmented, r, func(begin func()) (n int, err error) {
		p := make([]byte, 2048)
		for {
			_, _, err := c.ReadFromUDPAddrPort(p)
			if errors.Is(err, os.ErrDeadlineExceeded) {
				r.Calls = uint64(n)
				return n, nil
			}
			if err != nil {
				return n, err
			}
			if n == 0 {
				begin()
			}
			n++
		}
	}, c.SetReadDeadline)
}

// A udpResult is what bench udp prints.
type udpResult struct {
	Rounds  int          `json:"rounds"`
	Size    int          `json:"datagram_bytes"`
	Summary []*udpSpread `json:"summary"`
	Runs    []*udpRun    `json:"runs"`
}

// A udpSpread is the runs of one receiver from one kind of sender.
type udpSpread struct {
	Name string `json:"name"`
	// Each is minimum, median and maximum; CPU is of a million datagrams received.
	PerSecond [3]float64 `json:"datagrams_per_second"`
	User      [3]float64 `json:"cpu_user_seconds_per_million"`
	System    [3]float64 `json:"cpu_system_seconds_per_million"`
	Sender    [3]float64 `json:"sender_cpu_seconds_per_million_sent"`
	Dropped   float64    `json:"dropped_share"` // median
	// PerCPU is datagrams per CPU second, as a multiple of net.UDPConn's with the
	// same sender: the median of the rounds' own ratios.
	PerCPU float64 `json:"datagrams_per_cpu_second_ratio"`
}

// udpSenders is the kinds of senders: one by one, and by GSO.
const udpSenders = 2

// summarize compares the runs of so many receivers, the last of which is net.UDPConn.
func (b *udpResult) summarize(receivers int) {
	kinds := receivers * udpSenders // the runs of one round
	for kind := range min(kinds, len(b.Runs)) {
		of := func(f func(r, net *udpRun) float64) [3]float64 {
			var v []float64
			for i := kind; i < len(b.Runs); i += kinds {
				plain := i/receivers*receivers + receivers - 1
				v = append(v, f(b.Runs[i], b.Runs[plain]))
			}
			return minMedMax(v)
		}
		b.Summary = append(b.Summary, &udpSpread{
			Name:      b.Runs[kind].name(),
			PerSecond: of(func(r, _ *udpRun) float64 { return float64(r.Received) / r.Seconds }),
			User:      of(func(r, _ *udpRun) float64 { return r.perMillion(r.UserSeconds) }),
			System:    of(func(r, _ *udpRun) float64 { return r.perMillion(r.SystemSeconds) }),
			Sender:    of(func(r, _ *udpRun) float64 { return r.SenderSeconds / (float64(r.Sent) / 1e6) }),
			Dropped:   of(func(r, _ *udpRun) float64 { return float64(r.Dropped) / float64(r.Sent) })[1],
			PerCPU:    of(func(r, net *udpRun) float64 { return net.cpu() / r.cpu() })[1],
		})
	}
}

func (b *udpResult) print(env *environ) error {
	t := tabwriter.NewWriter(env.stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(t, "rounds in turn: %d, datagrams of %d bytes\tmillion/s\tuser s/million\tsystem s/million\tdropped\tsender s/million\tper CPU s, to net.UDPConn\t\n", b.Rounds, b.Size)
	cell := func(v [3]float64) string { return fmt.Sprintf("%.3f (%.3f to %.3f)", v[1], v[0], v[2]) }
	for _, s := range b.Summary {
		rate := s.PerSecond
		for i := range rate {
			rate[i] /= 1e6
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%.1f %%\t%.3f\t%.2f\t\n", s.Name, cell(rate), cell(s.User), cell(s.System), s.Dropped*100, s.Sender[1], s.PerCPU)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprint(env.stdout, "\nCPU is of the receiver's process; what the kernel does for a datagram before it is in a socket, AF_XDP's too,\nruns in the sender's time, and what zctap's own stack does in the receiver's.\n")
	return err
}
