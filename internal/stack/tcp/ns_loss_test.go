//go:build linux

package tcp

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/zctap/zctap/internal/buf"
	"github.com/zctap/zctap/internal/mono"
	"github.com/zctap/zctap/internal/netns"
	"github.com/zctap/zctap/internal/testenv"
	"github.com/zctap/zctap/internal/wire"
)

// patience bounds what a test with the kernel waits for: each step by itself, on the wall, and all of a
// connection by its own clock.
const patience = 30 * time.Second

// A kernelPeer is one connection between us and the kernel's TCP over a TUN
// interface, a few milliseconds long, that loses packets.
type kernelPeer struct {
	t     *testing.T
	fd    int
	sh    *Shared
	pool  *buf.Pool
	l     *Listener
	c     *Conn
	rng   *rand.Rand
	now   mono.Time
	delay time.Duration

	toUs, toKernel float64 // probabilities of loss, of payload sent the first time
	queue          []delayed
	highUs         wire.Seq
	highKernel     wire.Seq
	lost           int

	sent, received int
}

type delayed struct {
	at     mono.Time
	packet []byte
}

func newKernelPeer(t *testing.T, algorithm Congestion) (*kernelPeer, *netns.NS) {
	testenv.NeedRoot(t)
	testenv.NeedTUN(t)
	ns, err := netns.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ns.Close() })
	k := &kernelPeer{t: t, rng: rand.New(rand.NewPCG(1, 2)), pool: newPool(t, 4096), delay: 5 * time.Millisecond}
	err = ns.Do(func() (err error) {
		if k.fd, err = unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0); err != nil {
			return err
		}
		ifr, err := unix.NewIfreq("tcp0")
		if err != nil {
			return err
		}
		ifr.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
		return unix.IoctlIfreq(k.fd, unix.TUNSETIFF, ifr)
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(k.fd) })
	if err := ns.ConfigureLink("tcp0", []netip.Prefix{netip.MustParsePrefix("10.9.0.1/24")}, 0); err != nil {
		t.Fatal(err)
	}
	if err := ns.WaitRunning("tcp0", patience); err != nil {
		t.Fatal(err)
	}
	k.sh = NewShared(Config{Pool: k.pool, Hasher: wire.KeyedHasher([16]byte{7}), Transmit: k.transmit, Congestion: algorithm, TimeWait: time.Millisecond})
	k.l = &Listener{
		Shared: k.sh, MSS: func(*wire.Tuple) int { return testMSS }, Full: func() bool { return false },
		OnAccept: func(*Conn) {},
	}
	t.Cleanup(func() {
		if k.c != nil {
			k.c.Abort(k.now)
			if k.c.Recv != nil {
				k.c.Recv.Close()
				k.c.Recv.Drain()
			}
		}
	})
	return k, ns
}

// transmit cuts a super-segment up, and loses some of it.
func (k *kernelPeer) transmit(src, dst netip.Addr, h *wire.TCP, p [2][]byte, mss int) {
	payload := bytes.Join(p[:], nil)
	for first := true; first || len(payload) > 0; first = false {
		n := len(payload)
		seg := *h
		if mss > 0 && n > mss {
			n = mss
			seg.Flags &^= wire.FIN | wire.PSH
		}
		b := make([]byte, 20+seg.HeaderLen()+n)
		if _, err := wire.PutIP(b, &wire.IPHeader{Src: src, Dst: dst, Proto: wire.ProtoTCP, HopLimit: 64, PayloadLen: len(b) - 20}); err != nil {
			k.t.Fatal(err)
		}
		m, err := wire.PutTCP(b[20:], &seg)
		if err != nil {
			k.t.Fatal(err)
		}
		copy(b[20+m:], payload[:n])
		if err := wire.FillChecksum(b[20:], wire.ProtoTCP, wire.PseudoSum(src, dst, wire.ProtoTCP, len(b)-20)); err != nil {
			k.t.Fatal(err)
		}
		if !k.loses(k.toKernel, &k.highKernel, seg.Seq, n) {
			k.queue = append(k.queue, delayed{k.now.Add(k.delay), b})
		}
		payload = payload[n:]
		h.Seq = h.Seq.Add(uint32(n))
	}
}

// loses decides over n bytes at seq.
func (k *kernelPeer) loses(p float64, high *wire.Seq, seq wire.Seq, n int) bool {
	end := seq.Add(uint32(n))
	if n == 0 || *high != 0 && end.LessEq(*high) {
		return false
	}
	*high = end
	if k.rng.Float64() >= p {
		return false
	}
	k.lost++
	return true
}

// longestRound is the most time that a round takes, as the connection's clock has it: while the machine
// has this loop wait for longer it reads no ACKs and runs no timers, so that for the connection it is no
// time. What it does about losses does not depend on the machine's pauses then.
const longestRound = 10 * time.Millisecond

// A milestone is how far a connection has come. While it changes, a machine may take as long as it needs:
// 4 MB that lose 3 % are about 750 sleeps of 5 ms, and each of them ends when there is a processor for us.
type milestone struct {
	state    State
	acked    wire.Seq
	received int
}

func (k *kernelPeer) milestone() (m milestone) {
	if c := k.c; c != nil {
		m = milestone{c.state, c.snd.una, k.received}
	}
	return m
}

// run is the engine's loop, until the connection is over, and returns how long that took by the
// connection's clock. Each round is app's, too.
func (k *kernelPeer) run(app func()) (took time.Duration) {
	k.t.Helper()
	before := mono.Now()
	start, since, reached := before, before, k.milestone()
	in := make([]byte, 65536)
	for k.now = before; k.c == nil || !k.c.Done(); {
		t := mono.Now()
		k.now = k.now.Add(min(t.Sub(before), longestRound))
		before = t
		if m := k.milestone(); m != reached {
			since, reached = t, m
		}
		if took = k.now.Sub(start); took > patience || t.Sub(since) > patience {
			k.t.Fatalf("not done after %v, of which the connection had %v, and no progress for %v: %d sent, %d received, %+v, %+v",
				t.Sub(start), took, t.Sub(since), k.sent, k.received, k.sh.Stats, k.sh.Recovery)
		}
		for range 32 { // a batch, as the engine has them
			n, err := unix.Read(k.fd, in)
			if err != nil {
				break
			}
			k.input(in[:n])
		}
		for len(k.queue) > 0 && !k.now.Before(k.queue[0].at) {
			unix.Write(k.fd, k.queue[0].packet) // what the kernel refuses is lost
			k.queue = k.queue[1:]
		}
		if k.c != nil {
			k.c.Advance(k.now)
			if k.c.Recv != nil {
				app()
			}
		}
		k.sh.WindowCheck()
		for c := k.sh.NextDirty(); c != nil; c = k.sh.NextDirty() {
			c.Output(k.now)
			if err := checkConn(c); err != nil {
				k.t.Fatal(err)
			}
		}
		wait := longestRound
		if len(k.queue) > 0 {
			wait = min(wait, max(k.queue[0].at.Sub(k.now), 0))
		}
		if k.c != nil && k.c.Deadline() != 0 {
			wait = min(wait, max(k.c.Deadline().Sub(k.now), 0))
		}
		ts := unix.NsecToTimespec(int64(wait))
		fds := []unix.PollFd{{Fd: int32(k.fd), Events: unix.POLLIN}}
		if _, err := unix.Ppoll(fds, &ts, nil); err != nil && !errors.Is(err, unix.EINTR) {
			k.t.Fatal(err)
		}
	}
	return k.now.Sub(start)
}

func (k *kernelPeer) input(b []byte) {
	var ip wire.Packet
	var h wire.TCP
	if wire.ParseIP(b, len(b), wire.Verify, &ip) != wire.OK || ip.Proto != wire.ProtoTCP {
		return // a router solicitation
	}
	if ip.VerifyL4(b) != wire.OK || wire.ParseTCP(b, &ip, &h) != wire.OK {
		k.t.Fatalf("bad packet %x", b[:min(len(b), 60)])
	}
	payload := b[h.PayloadOffset:][:h.PayloadLen]
	if k.loses(k.toUs, &k.highUs, h.Seq, len(payload)) || len(payload) > k.pool.Free()*4096 {
		return
	}
	s := &Segment{TCP: &h, Frags: frags(k.t, k.pool, payload, 4096), Len: len(payload)}
	switch {
	case k.c != nil:
		k.c.Input(k.now, s)
	default:
		k.c = k.l.Input(k.now, s, ip.Tuple(h.SrcPort, h.DstPort))
	}
}

// send and receive are the application's.
func (k *kernelPeer) send(total int) {
	n, err := k.c.Send.TryWrite(stream(k.sent, min(total-k.sent, 1<<20)))
	if err != nil && k.sent < total {
		k.t.Fatal(err)
	}
	k.sent += n
	k.c.Kick()
	if k.sent == total {
		k.c.CloseWrite(k.now)
	}
}

func (k *kernelPeer) receive() (eof bool) {
	iovs := make([]buf.Iov, 64)
	for {
		n, _, more, err := k.c.Recv.Poll(iovs, 1<<30)
		for i := range iovs[:n] {
			got := iovs[i].Bytes()
			if !bytes.Equal(got, stream(k.received, len(got))) {
				k.t.Fatalf("wrong bytes from %d on", k.received)
			}
			k.received += len(got)
		}
		if _, err := k.pool.Return(iovs[:n]); err != nil {
			k.t.Fatal(err)
		}
		if err != nil || !more {
			return errors.Is(err, io.EOF)
		}
	}
}

// A patientConn is a connection of which each Read and each piece of a Write waits as long as the one before.
type patientConn struct{ *net.TCPConn }

func (c patientConn) Read(b []byte) (int, error) {
	if err := c.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return 0, err
	}
	return c.TCPConn.Read(b)
}

func (c patientConn) Write(b []byte) (n int, err error) {
	for n < len(b) && err == nil {
		if err = c.SetWriteDeadline(time.Now().Add(patience)); err != nil {
			break
		}
		var m int
		m, err = c.TCPConn.Write(b[n:min(len(b), n+1<<16)])
		n += m
	}
	return n, err
}

// dialUs runs talk over a connection of the kernel's, and returns its error.
func dialUs(ns *netns.NS, talk func(c patientConn) error) chan error {
	done := make(chan error, 1)
	go func() {
		done <- ns.Do(func() error {
			c, err := net.DialTimeout("tcp", "10.9.0.2:80", patience)
			if err != nil {
				return err
			}
			defer c.Close()
			return talk(patientConn{c.(*net.TCPConn)})
		})
	}()
	return done
}

// TestNSLossyToKernel: what we send reaches the kernel over a wire that loses some
// of it, and its SACKs have it repaired. Timeouts come of the kernel's pauses only;
// TestRepairWithoutTimeouts, whose peer is our own, has none.
func TestNSLossyToKernel(t *testing.T) {
	const total = 4 << 20
	for _, tt := range []struct {
		algorithm Congestion
		loss      float64
	}{{Cubic, 0}, {Cubic, 0.01}, {Cubic, 0.03}, {Reno, 0.01}} {
		t.Run(fmt.Sprintf("%v, %v", tt.algorithm, tt.loss), func(t *testing.T) {
			k, ns := newKernelPeer(t, tt.algorithm)
			k.toKernel = tt.loss
			done := dialUs(ns, func(c patientConn) error {
				got, err := io.ReadAll(c)
				if err == nil && !bytes.Equal(got, stream(0, total)) {
					err = fmt.Errorf("%d bytes, not those sent", len(got))
				}
				return err
			})
			took := k.run(func() { k.send(total); k.receive() })
			if err := <-done; err != nil {
				t.Error(err)
			}
			st := k.sh.Stats
			t.Logf("%v, %d lost, %d sent again, %d timeouts, %+v", took, k.lost, st.Retransmits, st.Timeouts, k.sh.Recovery)
			if !k.c.opt.sack {
				t.Error("SACK was not negotiated")
			}
			if most := uint64(k.lost + k.lost/4 + 40); st.Retransmits > most || st.Timeouts > 3 {
				t.Errorf("%d lost, %d sent again, %d timeouts", k.lost, st.Retransmits, st.Timeouts)
			}
			if tt.loss > 0 && (k.lost == 0 || st.FastRetransmits == 0) {
				t.Errorf("%d lost, %+v", k.lost, st)
			}
			if k.sh.Recovery.BadBlocks > 0 {
				t.Errorf("the kernel sent %d bad blocks", k.sh.Recovery.BadBlocks)
			}
		})
	}
}

// TestNSLossyFromKernel: our SACK blocks have the kernel repair what the wire loses,
// and only that.
func TestNSLossyFromKernel(t *testing.T) {
	const total = 4 << 20
	for _, loss := range []float64{0.01, 0.05} {
		t.Run(fmt.Sprint(loss), func(t *testing.T) {
			k, ns := newKernelPeer(t, Cubic)
			k.toUs = loss
			// What the kernel sends again because nothing has come for its least time-out,
			// 200 ms, says only that this loop did not run.
			slow := exec.Command(testenv.NeedCommand(t, "ip"), strings.Fields("route change 10.9.0.0/24 dev tcp0 src 10.9.0.1 scope link proto kernel rto_min 10s")...)
			if err := ns.Run(slow); err != nil {
				t.Fatal(err)
			}
			var info *unix.TCPInfo
			done := dialUs(ns, func(c patientConn) error {
				if _, err := c.Write(stream(0, total)); err != nil {
					return err
				}
				if err := c.CloseWrite(); err != nil {
					return err
				}
				if _, err := io.ReadAll(c); err != nil {
					return err
				}
				raw, err := c.SyscallConn()
				if err != nil {
					return err
				}
				return errors.Join(raw.Control(func(fd uintptr) {
					info, err = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
				}), err)
			})
			took := k.run(func() {
				if k.receive() {
					k.c.CloseWrite(k.now)
				}
			})
			if err := <-done; err != nil {
				t.Fatal(err)
			}
			t.Logf("%v, %d lost, %d sent again, %d of them for nothing", took, k.lost, info.Total_retrans, info.Dsack_dups)
			const sack = 2 // TCPI_OPT_SACK of linux/tcp.h
			if info.Options&sack == 0 {
				t.Errorf("the kernel's options %b", info.Options)
			}
			if k.received != total {
				t.Errorf("received %d bytes", k.received)
			}
			// More may be lost: the interface's queue is short, and this loop may pause.
			// But little is sent again that had arrived.
			if most := k.lost/4 + 20; int(info.Dsack_dups) > most || k.lost == 0 || int(info.Total_retrans) < k.lost {
				t.Errorf("%d lost, %d sent again, %d of them for nothing", k.lost, info.Total_retrans, info.Dsack_dups)
			}
		})
	}
}
