//go:build linux

package tun

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/zctap/zctap/internal/buf"
	"github.com/zctap/zctap/internal/driver"
	"github.com/zctap/zctap/internal/mono"
	"github.com/zctap/zctap/internal/netns"
	"github.com/zctap/zctap/internal/pattern"
	"github.com/zctap/zctap/internal/wire"
)

// A responder is just enough of a TCP for these tests: it accepts one
// connection over a wire that loses nothing, acknowledges what comes in order,
// and sends segments as it is told.
type responder struct {
	t        *testing.T
	d        *Driver
	port     uint16
	back     flow // towards the kernel; valid from the SYN on
	next     wire.Seq
	seq      wire.Seq
	acked    wire.Seq // what of ours the kernel has acknowledged
	window   int      // and how much more it takes, in bytes
	scale    uint8    // of its window field
	stamp    uint32   // the kernel's last timestamp
	stamps   bool
	fin      bool // the kernel has sent FIN
	segments func(p *packet)
}

// handle answers one packet; segments, if set, sees each with payload.
func (r *responder) handle(p *packet) {
	if p.ip.Proto != wire.ProtoTCP || p.tcp.DstPort != r.port {
		return
	}
	h := &p.tcp
	if h.Flags.Has(wire.RST) {
		r.t.Fatal("the kernel has reset the connection")
	}
	if h.Options.HasTimestamps {
		r.stamps, r.stamp = true, h.Options.TSVal
	}
	if h.Flags.Has(wire.SYN) {
		r.back = flow{netip.AddrPortFrom(p.ip.Dst, h.DstPort), netip.AddrPortFrom(p.ip.Src, h.SrcPort)}
		r.seq, r.next, r.scale = 1000, h.Seq+1, h.Options.WindowScale
		r.send(wire.SYN|wire.ACK, nil, 0)
		r.seq++
		return
	}
	if h.Flags.Has(wire.ACK) {
		r.acked, r.window = h.Ack, int(h.Window)<<r.scale
	}
	n := wire.Seq(h.PayloadLen)
	if h.Flags.Has(wire.FIN) {
		n++
	}
	if n == 0 {
		return
	}
	if h.Seq == r.next {
		if r.segments != nil && h.PayloadLen > 0 {
			r.segments(p)
		}
		r.next += n
		r.fin = r.fin || h.Flags.Has(wire.FIN)
	}
	r.send(wire.ACK, nil, 0)
}

// send sends one segment, a super-segment if payload is longer than mss.
func (r *responder) send(flags wire.Flags, payload []byte, mss int) {
	h := wire.TCP{Seq: r.seq, Ack: r.next, Flags: flags, Window: 65535}
	if flags.Has(wire.SYN) {
		h.Options = wire.TCPOptions{MSS: 1400, HasWindowScale: true, WindowScale: 7, SACKPermitted: true}
	}
	if r.stamps {
		h.Options.HasTimestamps, h.Options.TSVal, h.Options.TSEcr = true, 1, r.stamp
	}
	f := r.back.tcp(r.t, h, payload)
	f.GSOSize = mss
	transmit(r.t, r.d, f)
	r.seq += wire.Seq(len(payload))
	if flags.Has(wire.FIN) {
		r.seq++
	}
}

// dial runs talk over a connection from the kernel's TCP to ours, on a
// goroutine of its own; done gives its error.
func dial(ns *netns.NS, to netip.AddrPort, talk func(c *net.TCPConn) error) (done chan error) {
	done = make(chan error, 1)
	go func() {
		done <- ns.Do(func() error {
			c, err := net.DialTCP("tcp", nil, net.TCPAddrFromAddrPort(to))
			if err != nil {
				return err
			}
			defer c.Close()
			if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
				return err
			}
			return talk(c)
		})
	}()
	return done
}

// finish is the end of what dial started.
func finish(t *testing.T, done chan error) {
	t.Helper()
	select {
	case err := <-done:
		if err != nil {
			t.Errorf("the kernel's side: %v", err)
		}
	case <-time.After(patience):
		t.Fatal("the kernel's side does not finish")
	}
}

// TestNSBulk: a bulk stream of the kernel's TCP arrives in super-segments, their
// payload at the start of buffers, and a stream of super-segments of ours
// reaches it.
func TestNSBulk(t *testing.T) {
	const total = 16 << 20
	for _, tt := range []struct {
		name    string
		ours    netip.Addr
		headers int
	}{{"IPv4", ours4, 52}, {"IPv6", ours6, 72}} {
		t.Run(tt.name, func(t *testing.T) {
			ns, d := newWorld(t, 512)
			out, in := pattern.New(1), pattern.New(2)
			const answer = 1 << 20
			done := dial(ns, netip.AddrPortFrom(tt.ours, 9), func(c *net.TCPConn) error {
				if _, err := io.Copy(c, out.Reader(total)); err != nil {
					return err
				}
				if err := c.CloseWrite(); err != nil {
					return err
				}
				got, err := io.ReadAll(c)
				if len(got) != answer || in.Mismatches(got, 0) != 0 {
					err = errors.Join(err, errors.New("the answer is not what was sent"))
				}
				return err
			})

			var received, largest, super, astray int
			r := &responder{t: t, d: d, port: 9}
			r.segments = func(p *packet) {
				f := p.frame
				payload := p.raw[p.tcp.PayloadOffset:]
				if bad := out.Mismatches(payload, int64(received)); bad != 0 {
					t.Fatalf("%d bytes of %d from %d on are not those sent", bad, len(payload), received)
				}
				received += len(payload)
				largest = max(largest, f.Len)
				if f.GSOSize > 0 {
					super++
					if f.GSOSize != 1400-12 {
						t.Errorf("GSOSize = %d, want 1388, the MSS less timestamps", f.GSOSize)
					}
				}
				if f.Checksum != driver.Vouched {
					t.Error("a segment is not vouched for: CSUM offload is off")
				}
				if len(f.Head) != tt.headers || f.Frags[0].Offset() != 0 {
					astray++
				}
			}
			b := driver.NewBatch(32, 256)
			receive(t, d, b, func(p *packet) bool { r.handle(p); return r.fin })
			if received != total {
				t.Errorf("received %d bytes, want %d", received, total)
			}
			if largest < 60000 || super == 0 {
				t.Errorf("the largest frame has %d bytes, %d are super-segments: TSO is off", largest, super)
			}
			if astray > 1 {
				t.Errorf("the payload of %d frames does not start at the start of a buffer; only the first frame's may not", astray)
			}

			// Stop and wait: a super-segment, its acknowledgment and room for
			// the next.
			payload := make([]byte, 30000)
			for sent := 0; sent < answer; {
				n := min(len(payload), answer-sent)
				in.Fill(payload[:n], int64(sent))
				r.send(wire.ACK|wire.PSH, payload[:n], 1400-12)
				sent += n
				receive(t, d, b, func(p *packet) bool {
					r.handle(p)
					return r.acked == r.seq && r.window >= len(payload)
				})
			}
			r.send(wire.ACK|wire.FIN, nil, 0)
			receive(t, d, b, func(p *packet) bool { r.handle(p); return r.acked == r.seq })
			finish(t, done)
			if s := statsOf(d); s.RxMalformed != 0 || s.TxDropped != 0 {
				t.Errorf("stats %+v", s)
			}
		})
	}
}

// TestNSStall: while the application holds the buffers packets stay with the
// kernel, and when it gives them back everything goes on, nothing lost.
func TestNSStall(t *testing.T) {
	const total = 4 << 20
	ns, d := newWorld(t, 17+8)
	pool := d.rx.pool
	pool.OnReturn(d.Wake)
	out := pattern.New(3)
	done := dial(ns, netip.AddrPortFrom(ours4, 9), func(c *net.TCPConn) error {
		if _, err := io.Copy(c, out.Reader(total)); err != nil {
			return err
		}
		if err := c.CloseWrite(); err != nil {
			return err
		}
		_, err := io.ReadAll(c)
		return err
	})
	received := 0
	r := &responder{t: t, d: d, port: 9}
	r.segments = func(p *packet) {
		payload := p.raw[p.tcp.PayloadOffset:]
		if bad := out.Mismatches(payload, int64(received)); bad != 0 {
			t.Fatalf("%d bytes of %d from %d on are not those sent", bad, len(payload), received)
		}
		received += len(payload)
	}
	// Frames are kept until no more come, which is soon: one of 60 KiB leaves
	// too few buffers for another.
	b := driver.NewBatch(4, 4*17)
	var held []buf.Frag
	limit := mono.Now().Add(patience)
	for !r.fin {
		if err := d.Poll(mono.Now(), b); err != nil {
			t.Fatal(err)
		}
		for i := range b.Frames {
			r.handle(dissect(t, d, &b.Frames[i]))
		}
		held = append(held, b.Frags...)
		if len(b.Frames) > 0 {
			continue
		}
		pool.PutFrags(held)
		held = held[:0]
		if err := d.Wait(limit); err != nil {
			t.Fatal(err)
		}
		if !mono.Now().Before(limit) {
			t.Fatalf("nothing more came in %v; stats %+v", patience, statsOf(d))
		}
	}
	pool.PutFrags(held)
	stalls := statsOf(d).RxStalls
	if received != total || stalls == 0 {
		t.Errorf("received %d bytes of %d, with %d stalls", received, total, stalls)
	}
	r.send(wire.ACK|wire.FIN, nil, 0)
	finish(t, done)
}
