package ip

import (
	"encoding/binary"
	"net/netip"

	"github.com/zctap/zctap/internal/driver"
	"github.com/zctap/zctap/internal/mono"
	"github.com/zctap/zctap/internal/wire"
)

// Sizes of a Tx.
const (
	// A Tx goes to the driver by itself when so many frames wait for Flush, or
	// so many bytes of payload in their owners' memory: small enough to stay in
	// the cache between the layers, large enough for a few super-segments a Send.
	flushFrames = 256
	maxBorrowed = 256 << 10

	// While the wire is full, so many frames are kept, and so many bytes of
	// payload. That is more than one connection puts out at a time, so that
	// whoever looks at Stalled before it begins loses nothing.
	maxFrames = 2048
	maxStored = 2 << 20

	// maxCopied bounds what is copied at once rather than borrowed, bytes: ICMP
	// messages.
	maxCopied = 64 << 10

	// slotSize is room for the longest headers: Ethernet, IPv6, TCP with 40
	// bytes of options. A multiple of a cache line.
	slotSize = 128

	// minMTU is the least of IPv4 (RFC 791 section 3.2), and of Linux's interfaces.
	minMTU = 68

	// DefaultHopLimit is RFC 1700's recommended default, and Linux's.
	DefaultHopLimit = 64
)

// A slot is the space for a frame's headers.
type slot [slotSize]byte

// Tx collects frames for one driver. It belongs to the engine's goroutine.
type Tx struct {
	driver driver.Driver
	caps   driver.Caps
	now    mono.Time
	err    error // of the driver, final

	hopLimit uint8 // TTL in IPv4

	frames []driver.TxFrame // what waits, in order
	slots  []*slot          // slots[i] is the header space of frames[i]
	ours   []bool           // ours[i]: the payload of frames[i] lies in store

	// borrowed is the payload in frames that is not ours, bytes.
	borrowed int

	// store holds payload that is ours: ICMP messages, and everything that waits
	// while the wire is full, for which it is made larger once. stored is how
	// much of it is used; it is emptied when no frame waits.
	store  []byte
	stored int

	stalled bool
	stats   Stats
}

// Stats are a Tx's counters.
type Stats struct {
	Frames uint64 // handed to the driver
	Stalls uint64 // times the wire filled up
	// Dropped counts frames that were given up because too much was waiting.
	Dropped uint64
	// Unsendable counts frames that could not be built: addresses of two
	// families, or lengths that no header can express.
	Unsendable uint64
}

// NewTx makes a Tx for d.
func NewTx(d driver.Driver) *Tx {
	t := &Tx{
		driver: d,

		hopLimit: DefaultHopLimit,
		caps:     d.Caps(),
		frames:   make([]driver.TxFrame, 0, maxFrames),
		slots:    make([]*slot, maxFrames),
		ours:     make([]bool, maxFrames),
		store:    make([]byte, maxCopied),
	}
	arena := make([]slot, maxFrames)
	for i := range t.slots {
		t.slots[i] = &arena[i]
	}
	return t
}

// MTU is the largest IP packet that the wire carries, in bytes.
func (t *Tx) MTU() int { return t.caps.MTU }

// SetMTU lowers what MTU says to mtu, or raises it to what the driver had at first.
// The driver takes frames of its own MTU all the same: what is sent already, or
// being cut up, is sent.
func (t *Tx) SetMTU(mtu int) { t.caps.MTU = min(max(mtu, minMTU), t.driver.Caps().MTU) }

// SetHopLimit sets the hop limit, TTL in IPv4, of what is sent from now on, but to groups
// (RFC 9293 section 3.9.2, MUST-49).
func (t *Tx) SetHopLimit(n uint8) { t.hopLimit = n }

// MSS is the largest TCP segment that the wire carries, in bytes of payload and
// TCP options together: the value of the MSS option (RFC 6691).
func (t *Tx) MSS(ipv6 bool) int {
	if ipv6 {
		return t.caps.MTU - wire.IPv6HeaderLen - wire.TCPHeaderLen
	}
	return t.caps.MTU - wire.IPv4HeaderLen - wire.TCPHeaderLen
}

// SetNow says what time it is for frames that do not wait for Flush. The stack
// calls it at the beginning of each of its rounds.
func (t *Tx) SetNow(now mono.Time) { t.now = now }

// Stalled reports whether frames wait because the wire is full. Whoever has
// payload to send then holds on to it until Flush has made room: it would have
// to be copied, and may be dropped. Headers alone (ACKs, resets) may still come.
func (t *Tx) Stalled() bool { return t.stalled }

// Sent is the number of frames handed to the driver.
func (t *Tx) Sent() uint64 { return t.stats.Frames }

// Stats are the counters so far.
func (t *Tx) Stats() Stats { return t.stats }

// Flush hands all frames to the driver. When it returns no frame refers to
// callers' memory: what the wire had no room for was copied, waits, and goes
// first next time. The error is the driver's, and final.
func (t *Tx) Flush(now mono.Time) error {
	t.now = now
	t.flush()
	return t.err
}

func (t *Tx) flush() {
	if len(t.frames) == 0 {
		return
	}
	n := 0
	if t.err == nil {
		n, t.err = t.driver.Send(t.now, t.frames)
		t.stats.Frames += uint64(n)
	}
	if n == len(t.frames) || t.err != nil {
		// Behind a wire that is gone nothing needs to wait.
		t.reset()
		return
	}
	if !t.stalled {
		t.stalled = true
		t.stats.Stalls++
		if len(t.store) < maxStored {
			// ICMP messages that wait keep what they have of the old one.
			t.store, t.stored = make([]byte, maxStored), 0
		}
	}
	t.keep(n)
}

func (t *Tx) reset() {
	clear(t.frames) // the payload's memory is its owner's again
	t.frames = t.frames[:0]
	t.borrowed, t.stored = 0, 0
	t.stalled = false
}

// keep moves the frames from sent on to the front and makes their payload ours.
func (t *Tx) keep(sent int) {
	left := len(t.frames) - sent
	for i := range left {
		// Swapped, not copied: every slot stays in use once.
		t.slots[i], t.slots[sent+i] = t.slots[sent+i], t.slots[i]
		t.frames[i], t.ours[i] = t.frames[sent+i], t.ours[sent+i]
		if !t.ours[i] {
			t.own(i)
		}
	}
	clear(t.frames[left:])
	t.frames = t.frames[:left]
	t.borrowed = 0
}

// own moves the payload of frames[i] to the store, which has room for it.
func (t *Tx) own(i int) {
	for j, p := range t.frames[i].Payload {
		end := t.stored + len(p)
		k := t.store[t.stored:end:end]
		copy(k, p)
		t.frames[i].Payload[j] = k
		t.stored = end
	}
	t.ours[i] = true
}

// begin starts a frame and returns space for the link, IP and transport headers;
// nil if too much is waiting. The frame counts from its commit on.
func (t *Tx) begin(payload int) *slot {
	if len(t.frames) >= flushFrames || t.borrowed >= maxBorrowed || t.stalled {
		return t.makeRoom(payload)
	}
	return t.slots[len(t.frames)]
}

// makeRoom is begin where so much waits already that it is sent first, or the wire is full.
func (t *Tx) makeRoom(payload int) *slot {
	if !t.stalled {
		t.flush()
	}
	if t.stalled && (len(t.frames) == maxFrames || t.stored+payload > maxStored) {
		t.stats.Dropped++
		return nil
	}
	return t.slots[len(t.frames)]
}

// putIP writes the link and IP headers to b and returns their length.
func (t *Tx) putIP(b *slot, h *wire.IPHeader) (int, error) {
	link := t.putLink(b, h.Src.Is6())
	n, err := wire.PutIP(b[link:], h)
	return link + n, err
}

// putLink writes the link header to b and returns its length.
func (t *Tx) putLink(b *slot, ipv6 bool) int {
	if t.caps.LinkHeader != wire.EthernetHeaderLen {
		return 0
	}
	et := uint16(wire.EtherTypeIPv4)
	if ipv6 {
		et = wire.EtherTypeIPv6
	}
	// The addresses stay zero: who the next hop is, the driver knows.
	clear(b[:12])
	binary.BigEndian.PutUint16(b[12:], et)
	return wire.EthernetHeaderLen
}

// commit ends the frame that begin started. head is all its headers, the
// transport's from l4 on, whose checksum remains to be filled in.
func (t *Tx) commit(head []byte, l4 int, src, dst netip.Addr, proto uint8, payload [2][]byte, gso int) {
	n := len(payload[0]) + len(payload[1])
	pseudo := wire.PseudoSum(src, dst, proto, len(head)-l4+n)
	var err error
	start, offset := 0, 0
	if t.caps.TxChecksum {
		start, offset = l4, checksumOffset(proto)
		err = wire.FillPartialChecksum(head[l4:], proto, pseudo)
	} else {
		err = wire.FillChecksum(head[l4:], proto, pseudo, payload[0], payload[1])
	}
	if err != nil {
		t.stats.Unsendable++
		return
	}
	f := t.add(head, start, offset, src.Is6())
	if n == 0 {
		return
	}
	f.Payload[0], f.Payload[1], f.GSOSize = payload[0], payload[1], gso
	if i := len(t.frames) - 1; t.stalled {
		t.own(i)
	} else {
		t.ours[i] = false
		t.borrowed += n
	}
}

// add adds a frame, for which begin has left room, of nothing but head.
func (t *Tx) add(head []byte, csumStart, csumOffset int, ipv6 bool) *driver.TxFrame {
	i := len(t.frames)
	t.frames = t.frames[:i+1]
	t.ours[i] = true
	f := &t.frames[i] // empty; field by field: a copy of the whole by vectors would wait for the stores of all
	f.Head, f.CsumStart, f.CsumOffset, f.IPv6 = head, csumStart, csumOffset, ipv6
	return f
}

func checksumOffset(proto uint8) int {
	if proto == wire.ProtoUDP {
		return 6
	}
	return 16
}
