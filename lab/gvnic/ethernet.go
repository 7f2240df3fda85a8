//go:build linux

package gvnic

import (
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/zctap/zctap/internal/buf"
	"github.com/zctap/zctap/internal/driver"
	"github.com/zctap/zctap/internal/wire"
)

// IPConfig describes an end that is a driver of IP packets.
type IPConfig struct {
	// Driver is the wire of IP packets, such as one end of mem.Pipe whose other
	// end a stack has. Its Caps' LinkHeader is 0, and it belongs to the end.
	Driver driver.Driver
	// Pool is what Driver receives into. It stays the caller's, and is closed
	// after the end.
	Pool *buf.Pool
	// MAC is the address that the stack has on the Ethernet side. Zero:
	// 02:1a:e0:00:00:ff.
	MAC [6]byte
	// Addrs are the stack's addresses: requests for them (ARP, neighbor
	// discovery) are answered. Empty: those for all addresses are.
	Addrs []netip.Addr
}

// IPStats are the counters of an IP end.
type IPStats struct {
	ToDriver   uint64 `json:"to_driver"`   // packets sent with the driver
	FromDriver uint64 `json:"from_driver"` // packets received with it
	Answers    uint64 `json:"answers"`     // to ARP and neighbor discovery
	NotIP      uint64 `json:"not_ip"`      // frames that have no place on a wire of IP packets
	Dropped    uint64 `json:"dropped"`     // malformed, or refused by the driver
	Waits      uint64 `json:"waits"`       // times that peer or driver had no room
}

// An IP is an end that is a wire of IP packets: it puts Ethernet headers on what
// comes from the driver, takes them off what goes there, and answers for the
// stack's addresses. One goroutine has the driver; it ends when that fails.
type IP struct {
	config IPConfig
	caps   driver.Caps
	in     mailbox
	room   atomic.Bool // the peer is ready
	stop   atomic.Bool
	done   chan struct{}
	once   sync.Once
	err    error // of the driver; valid once done is closed

	peerMAC [6]byte // of the last frame; the goroutine's

	mu   sync.Mutex
	peer End

	toDriver, fromDriver, answers, notIP, dropped, waits atomic.Uint64
}

var _ End = (*IP)(nil)

// NewIP makes the end; EINVAL says what is wrong with c.
func NewIP(c IPConfig) (*IP, error) {
	switch {
	case c.Driver == nil || c.Pool == nil:
		return nil, invalid("an IP end needs a driver and its pool")
	case c.Driver.Caps().LinkHeader != 0:
		return nil, invalid("driver %s has frames with a link header", c.Driver.Caps().Name)
	}
	if c.MAC == [6]byte{} {
		c.MAC = [6]byte{0x02, 0x1a, 0xe0, 0, 0, 0xff}
	}
	e := &IP{
		config:  c,
		caps:    c.Driver.Caps(),
		in:      mailbox{maxFrames: 512, maxBytes: 4 << 20},
		done:    make(chan struct{}),
		peerMAC: broadcast,
	}
	e.room.Store(true)
	go e.run()
	return e, nil
}

// Stats returns the counters as they are now.
func (e *IP) Stats() IPStats {
	return IPStats{
		ToDriver: e.toDriver.Load(), FromDriver: e.fromDriver.Load(), Answers: e.answers.Load(),
		NotIP: e.notIP.Load(), Dropped: e.dropped.Load(), Waits: e.waits.Load(),
	}
}

// Connect sets whom the stack's packets go to.
func (e *IP) Connect(peer End) {
	e.mu.Lock()
	e.peer = peer
	e.mu.Unlock()
	e.Ready()
}

func (e *IP) connected() End {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.peer
}

// Deliver hands a frame to the stack.
func (e *IP) Deliver(f Frame) bool {
	if !e.in.put(f) {
		return false
	}
	e.config.Driver.Wake()
	return true
}

// Ready lets the stack's packets go on.
func (e *IP) Ready() {
	e.room.Store(true)
	e.config.Driver.Wake()
}

// Close closes the driver. It returns the error that ended the wire earlier, if
// any. Idempotent.
func (e *IP) Close() error {
	e.once.Do(func() {
		e.stop.Store(true)
		e.config.Driver.Wake()
		<-e.done
		e.err = errors.Join(e.err, e.config.Driver.Close())
		if e.in.close() {
			if p := e.connected(); p != nil {
				p.Ready()
			}
		}
	})
	return e.err
}

// run is the goroutine that has the driver.
func (e *IP) run() {
	defer close(e.done)
	batch := driver.NewBatch(64, 2048)
	var out []Frame           // for the peer
	var send []driver.TxFrame // for the driver
	var frames []Frame
	for !e.stop.Load() {
		if len(out) == 0 && e.connected() != nil {
			if err := e.config.Driver.Poll(0, batch); err != nil {
				e.end(err)
				return
			}
			for i := range batch.Frames {
				out = append(out, e.fromIP(&batch.Frames[i]))
			}
		}
		if len(send) == 0 {
			var refused bool
			frames, refused = e.in.take(frames[:0])
			if refused {
				if p := e.connected(); p != nil {
					p.Ready()
				}
			}
			for _, f := range frames {
				send, out = e.toIP(f, send, out)
			}
			clear(frames)
		}
		before := len(out) + len(send)
		out = e.deliver(out)
		n, err := e.config.Driver.Send(0, send)
		if err != nil {
			e.end(err)
			return
		}
		e.toDriver.Add(uint64(n))
		send = slices.Delete(send, 0, n)
		if len(out)+len(send) == before {
			if before > 0 {
				e.waits.Add(1)
			}
			if err := e.config.Driver.Wait(0); err != nil {
				e.end(err)
				return
			}
		}
	}
}

// end notes why the driver is of no more use.
func (e *IP) end(err error) {
	if !errors.Is(err, net.ErrClosed) {
		e.err = err
	}
	if e.in.close() {
		if p := e.connected(); p != nil {
			p.Ready()
		}
	}
}

// deliver hands frames to the peer, and returns those for which it had no room.
func (e *IP) deliver(out []Frame) []Frame {
	peer := e.connected()
	if len(out) == 0 || peer == nil || !e.room.Swap(false) {
		return out
	}
	n := 0
	for n < len(out) && peer.Deliver(out[n]) {
		n++
	}
	if n == len(out) {
		e.room.Store(true) // else Ready does
	}
	return slices.Delete(out, 0, n)
}

// fromIP makes an Ethernet frame of a packet, and gives its buffers back.
func (e *IP) fromIP(p *driver.Frame) Frame {
	defer e.config.Pool.PutFrags(p.Frags)
	e.fromDriver.Add(1)
	b := make([]byte, wire.EthernetHeaderLen, wire.EthernetHeaderLen+p.Len)
	b = append(b, p.Head...)
	for _, g := range p.Frags {
		b = append(b, e.config.Pool.Region().View(g)...)
	}
	h := wire.Ethernet{Dst: e.peerMAC, Src: e.config.MAC, EtherType: wire.EtherTypeIPv4}
	if len(b) > wire.EthernetHeaderLen && b[wire.EthernetHeaderLen]>>4 == 6 {
		h.EtherType = wire.EtherTypeIPv6
	}
	if _, err := wire.PutEthernet(b, &h); err != nil {
		e.dropped.Add(1) // not reached: there is room, and no tags
	}
	f := Frame{Data: b, SegmentSize: int(p.GSOSize)}
	if p.Checksum == driver.Vouched {
		f.Checksum = Partial // it may be there or not: the driver does not tell
		if !f.settle() {
			f.Checksum = Vouched
		}
	}
	return f
}

// toIP takes a frame from the peer apart: packets for the driver are appended to
// send, answers to out.
func (e *IP) toIP(f Frame, send []driver.TxFrame, out []Frame) ([]driver.TxFrame, []Frame) {
	var h wire.Ethernet
	if wire.ParseEthernet(f.Data, len(f.Data), &h) != wire.OK || h.Tags > 0 {
		e.notIP.Add(1)
		return send, out
	}
	e.peerMAC = h.Src
	switch h.EtherType {
	case wire.EtherTypeARP:
		if a, ok := arpReply(f.Data, e.config.MAC, e.answersFor); ok {
			e.answers.Add(1)
			return send, append(out, Frame{Data: a})
		}
		return send, out
	case wire.EtherTypeIPv4:
	case wire.EtherTypeIPv6:
		if a, ok := ndReply(f.Data, e.config.MAC, e.answersFor); ok {
			e.answers.Add(1)
			return send, append(out, Frame{Data: a})
		}
	default:
		e.notIP.Add(1)
		return send, out
	}
	if h.Dst != e.config.MAC { // groups' are of no use to a stack without groups
		e.notIP.Add(1)
		return send, out
	}
	return e.packets(f, send), out
}

// answersFor reports whether an address is the stack's.
func (e *IP) answersFor(a netip.Addr) bool {
	return len(e.config.Addrs) == 0 || slices.Contains(e.config.Addrs, a)
}

// packets appends the packets of a frame to send: cut up and with checksums, if
// the driver does not do that.
func (e *IP) packets(f Frame, send []driver.TxFrame) []driver.TxFrame {
	const eth = wire.EthernetHeaderLen
	if f.SegmentSize > 0 && e.caps.TxChecksum && len(f.Data)-eth <= e.caps.MaxGSO {
		s, ok := newSuper(f)
		var v wire.VnetHdr
		if ok && s.ip.Proto == wire.ProtoTCP && s.offload(&v) {
			return append(send, driver.TxFrame{
				Head:      s.Data[eth:s.payload],
				Payload:   [2][]byte{s.Data[s.payload:s.end]},
				CsumStart: s.l4 - eth, CsumOffset: int(v.CsumOffset),
				GSOSize: s.SegmentSize, IPv6: s.ip.Version == 6,
			})
		}
	}
	frames, ok := f.segment()
	if !ok {
		e.dropped.Add(1)
		return send
	}
	for _, p := range frames {
		if !p.settle() {
			e.dropped.Add(1)
			continue
		}
		q := parse(p.Data, wire.Vouched)
		send = append(send, driver.TxFrame{Head: p.Data[eth:q.end], IPv6: q.l3 > 0 && q.ip.Version == 6})
	}
	return send
}
