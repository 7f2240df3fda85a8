package zctap_test

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/zctap/zctap"
	"github.com/zctap/zctap/internal/netns"
	"github.com/zctap/zctap/internal/nic"
)

// killsEnv is how often TestNSXDPKilled kills; 12 times if it is not set.
const killsEnv = "ZCTAP_KILLS"

// receiverPort is where the receiver that is killed listens.
const receiverPort = 9000

func init() { roles["receiver"] = receiver }

// receiver receives whatever comes to receiverPort of veth0, or the interface in
// ZCTAP_TEST_INTERFACE, by the XDP mode in ZCTAP_TEST_MODE, until it is killed.
func receiver() error {
	q, err := zctap.Open(zctap.Config{
		Engine: zctap.User, Interface: cmp.Or(os.Getenv("ZCTAP_TEST_INTERFACE"), "veth0"), Buffers: 1024,
		XDP: &zctap.XDPConfig{Mode: os.Getenv("ZCTAP_TEST_MODE"), JournalDir: os.Getenv("ZCTAP_TEST_JOURNALS")},
	})
	if err != nil {
		return err
	}
	ln, err := q.Listen("tcp", fmt.Sprint(":", receiverPort))
	if err != nil {
		return err
	}
	fmt.Println("ready")
	for {
		c, err := ln.AcceptZC()
		if err != nil {
			return err
		}
		go func() {
			iovs := make([]zctap.Iov, 64)
			for first := true; ; first = false {
				n, err := c.RecvZC(iovs)
				if err != nil {
					return
				}
				if first {
					fmt.Println("received")
				}
				_, _ = q.Release(iovs[:n]) // of its own
			}
		}()
	}
}

// TestNSXDPKilled kills a receiver at random moments, while the kernel's own
// connections and pings on the same interface go on. Each time nothing is left of
// it, and the next one works. While it lives the kernel resets nothing.
func TestNSXDPKilled(t *testing.T) {
	kills := 12
	if s := os.Getenv(killsEnv); s != "" {
		var err error
		if kills, err = strconv.Atoi(s); err != nil {
			t.Fatalf("%s=%s: %v", killsEnv, s, err)
		}
	}
	for _, mode := range []string{zctap.XDPCopy, zctap.XDPGeneric} {
		t.Run(mode, func(t *testing.T) { killed(t, mode, (kills+1)/2) })
	}
}

func killed(t *testing.T, mode string, kills int) {
	w := newWorld(t, netns.VethOptions{})
	stream := w.kernelStream()
	pings := w.startPings()
	w.eventually("the kernel's traffic flows", func() bool { return stream.rounds.Load() > 0 && pings.answered.Load() > 0 })
	was := w.snapshot()
	resets := w.watchResets()
	to := netip.AddrPortFrom(vethOurs4.Addr(), receiverPort).String()
	var phases []phase
	for i := range kills {
		c := w.child("receiver", "ZCTAP_TEST_MODE="+mode)
		c.start(w.ours)
		var id uint32
		if i%3 == 2 && i != kills-1 {
			// Anywhere in the way from its start on.
			time.Sleep(time.Duration(rand.IntN(150)) * time.Millisecond)
			id = w.program()
			c.kill()
		} else {
			c.want("ready")
			id = w.program()
			if id == 0 {
				t.Fatal("the receiver is ready, and no program attached")
			}
			alive := phase{from: time.Now()}
			client := w.flood(to)
			c.want("received")
			rounds, answered := stream.rounds.Load(), pings.answered.Load()
			time.Sleep(time.Duration(rand.IntN(40)) * time.Millisecond)
			w.eventually("the kernel's traffic goes on", func() bool {
				return stream.rounds.Load() > rounds+1 && pings.answered.Load() > answered
			})
			alive.to = time.Now()
			c.kill()
			client.stop()
			phases = append(phases, alive)
		}
		w.unchanged(was)
		if id != 0 {
			w.programGone(id)
		}
		if t.Failed() {
			t.Fatalf("in round %d", i)
		}
	}
	rounds, answered := stream.rounds.Load(), pings.answered.Load()
	w.eventually("the kernel's traffic goes on", func() bool { return stream.rounds.Load() > rounds && pings.answered.Load() > answered })
	stream.stop()
	pings.stop()
	if reports, err := nic.Restore(nic.RestoreOptions{JournalDir: w.journals}); err != nil || len(reports) != 0 {
		t.Errorf("something had to be restored: %v, %v", reports, err)
	}
	seen := resets.stop()
	for _, at := range seen {
		for _, p := range phases {
			if at.After(p.from) && at.Before(p.to) {
				t.Errorf("a RST from the receiver's port %v after it was ready, %v before it was killed", at.Sub(p.from), p.to.Sub(at))
			}
		}
	}
	t.Logf("%d kills; %d exchanges of the kernel's connection and %d pings, %d of them lost; %d RSTs, none while a receiver lived",
		kills, stream.rounds.Load(), pings.answered.Load(), pings.lost.Load(), len(seen))
}

// A phase is when a receiver lived.
type phase struct{ from, to time.Time }

// A stoppable is a goroutine of a test.
type stoppable struct {
	done chan struct{}
	wg   sync.WaitGroup
	once sync.Once
}

func (s *stoppable) stop() {
	s.once.Do(func() { close(s.done) })
	s.wg.Wait()
}

func (s *stoppable) stopped() bool {
	select {
	case <-s.done:
		return true
	default:
		return false
	}
}

func (w *world) run(s *stoppable, f func()) {
	s.done = make(chan struct{})
	s.wg.Go(f)
	w.Cleanup(s.stop)
}

// A kernelStream is one connection of the kernel's at both ends that asks and is
// answered all the time, as a remote shell does.
type kernelStream struct {
	stoppable
	rounds atomic.Uint64
}

func (w *world) kernelStream() *kernelStream {
	at := w.kernelServer(w.ours, netip.AddrPortFrom(vethOurs4.Addr(), 0).String(), func(c net.Conn) { io.Copy(c, c) })
	c := w.dial(w.theirs, at.String())
	s := new(kernelStream)
	w.run(&s.stoppable, func() {
		defer c.Close()
		var out, in [700]byte
		for n := byte(1); !s.stopped(); n++ {
			for i := range out {
				out[i] = n
			}
			c.SetDeadline(time.Now().Add(patience))
			_, err := c.Write(out[:])
			if err == nil {
				_, err = io.ReadFull(c, in[:])
			}
			if err != nil || in != out {
				w.Errorf("the kernel's connection: %v", err)
				return
			}
			s.rounds.Add(1)
			time.Sleep(time.Millisecond)
		}
	})
	return s
}

// pings are ICMP echo requests to the kernel, one after the other.
type pings struct {
	stoppable
	answered, lost atomic.Uint64
}

func (w *world) startPings() *pings {
	var c net.PacketConn
	w.in(w.theirs, func() (err error) { c, err = net.ListenPacket("ip4:icmp", "0.0.0.0"); return err })
	p := new(pings)
	to := &net.IPAddr{IP: vethOurs4.Addr().AsSlice()}
	w.run(&p.stoppable, func() {
		defer c.Close()
		for seq := uint16(0); !p.stopped(); seq++ {
			hi, lo := byte(seq>>8), byte(seq)
			sum := ^(uint32(0x0800) + uint32(seq)) // code 0, id 0
			if _, err := c.WriteTo([]byte{8, 0, byte(sum >> 8), byte(sum), 0, 0, hi, lo}, to); err != nil {
				w.Errorf("ping: %v", err)
				return
			}
			c.SetReadDeadline(time.Now().Add(time.Second))
			for b := make([]byte, 100); ; {
				n, _, err := c.ReadFrom(b)
				if err != nil {
					p.lost.Add(1)
					break
				}
				if n == 8 && b[0] == 0 && b[6] == hi && b[7] == lo {
					p.answered.Add(1)
					break
				}
			}
			time.Sleep(time.Millisecond)
		}
	})
	return p
}

// flood sends to an address until it is stopped, or the connection fails.
func (w *world) flood(to string) *stoppable {
	w.Helper()
	c := w.dial(w.theirs, to)
	s := new(stoppable)
	w.run(s, func() {
		b := make([]byte, 64<<10)
		for !s.stopped() {
			c.SetWriteDeadline(time.Now().Add(20 * time.Millisecond))
			if _, err := c.Write(b); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
				break
			}
		}
		c.SetLinger(0) // or what is not acknowledged would go to the next receiver
		c.Close()
	})
	return s
}

// resets are the RSTs from the receiver's port that arrive at the peer, by the
// kernel's time of each.
type resets struct {
	stoppable
	fd   int
	seen []time.Time
}

func (w *world) watchResets() *resets {
	r := new(resets)
	w.in(w.theirs, func() (err error) {
		// Network byte order.
		r.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, unix.ETH_P_IP>>8|unix.ETH_P_IP&0xff<<8)
		if err != nil {
			return err
		}
		return errors.Join(
			unix.SetsockoptInt(r.fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1),
			unix.SetsockoptTimeval(r.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 20_000}),
			unix.SetsockoptInt(r.fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 64<<20),
		)
	})
	w.run(&r.stoppable, func() {
		defer unix.Close(r.fd)
		var b, oob [256]byte
		for {
			n, k, _, _, err := unix.Recvmsg(r.fd, b[:], oob[:], unix.MSG_TRUNC)
			if err != nil {
				if r.stopped() {
					return // and nothing waits
				}
				continue
			}
			tcp := int(b[0]&15) * 4
			if n < tcp+20 || b[9] != unix.IPPROTO_TCP || int(b[tcp])<<8|int(b[tcp+1]) != receiverPort || b[tcp+13]&4 == 0 {
				continue
			}
			messages, err := unix.ParseSocketControlMessage(oob[:k])
			if err != nil || len(messages) != 1 || len(messages[0].Data) < 16 {
				w.Errorf("a RST without a time: %v", err)
				continue
			}
			r.seen = append(r.seen, timeOf(messages[0].Data))
		}
	})
	return r
}

func (r *resets) stop() []time.Time {
	r.stoppable.stop()
	return r.seen
}

// timeOf reads a struct timespec.
func timeOf(b []byte) time.Time {
	return time.Unix(int64(binary.NativeEndian.Uint64(b)), int64(binary.NativeEndian.Uint64(b[8:])))
}
