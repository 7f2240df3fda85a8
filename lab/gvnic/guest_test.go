//go:build linux

package gvnic

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/zctap/zctap/lab/vfiouser/vfiousertest"
)

// waitTime bounds every wait for the device.
const waitTime = 30 * time.Second

// A guest does with a device what the gve driver does: registers, admin
// commands, rings with generation bits, doorbells, interrupts.
type guest struct {
	t     testing.TB
	c     *vfiousertest.Client
	dev   *Device
	mem   *vfiousertest.Memory
	free  int // offset in mem of what has not been given out
	adm   uint64
	prod  uint32
	inner uint64 // a page for what commands point to
	irqDB []int  // doorbells of the notification blocks

	tx []*guestTx
	rx []*guestRx
}

const (
	guestBase = 1 << 32 // beyond 32 bits, as much of a guest's memory is
	guestSize = 32 << 20
)

// newDevice makes a device that the test's end closes.
func newDevice(t testing.TB, c Config) *Device {
	t.Helper()
	d, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

// newGuest attaches a guest with memory and interrupts to the device.
func newGuest(t testing.TB, d *Device) *guest {
	t.Helper()
	g := &guest{t: t, dev: d, c: vfiousertest.Start(t, d)}
	var err error
	if g.mem, err = g.c.Map(guestBase, guestSize); err != nil {
		t.Fatal(err)
	}
	g.try(g.c.EnableVectors(d.Info().Vectors))
	return g
}

func (g *guest) try(err error) {
	g.t.Helper()
	if err != nil {
		g.t.Fatal(err)
	}
}

// alloc gives out n bytes from a page's start on.
func (g *guest) alloc(n int) uint64 {
	g.t.Helper()
	at := g.free
	g.free += (n + 4095) &^ 4095
	if g.free > guestSize {
		g.t.Fatal("the guest is out of memory")
	}
	return guestBase + uint64(at)
}

// at is n bytes of guest memory.
func (g *guest) at(addr uint64, n int) []byte {
	off := addr - guestBase
	return g.mem.Bytes[off : off+uint64(n)]
}

func (g *guest) load(addr uint64) uint32 { return g.mem.Load32(int(addr - guestBase)) }

func (g *guest) readReg(off uint64) uint32 {
	g.t.Helper()
	var b [4]byte
	g.try(g.c.ReadRegion(barRegisters, off, b[:]))
	return be.Uint32(b[:])
}

func (g *guest) writeReg(off uint64, v uint32) {
	g.t.Helper()
	g.try(g.c.WriteRegion(barRegisters, off, be.AppendUint32(nil, v)))
}

func (g *guest) ring(doorbell int, v uint32) {
	g.t.Helper()
	g.try(g.c.WriteRegion(barDoorbells, uint64(4*doorbell), le.AppendUint32(nil, v)))
}

// startAdmin sets the admin queue up, as gve_adminq_alloc.
func (g *guest) startAdmin() {
	g.t.Helper()
	if g.adm == 0 {
		g.adm, g.inner = g.alloc(4096), g.alloc(4096)
	}
	g.prod = 0
	g.try(g.c.WriteRegion(barRegisters, regAdminLength, []byte{0x10, 0}))
	g.writeReg(regAdminBaseHigh, uint32(g.adm>>32))
	g.writeReg(regAdminBaseLow, uint32(g.adm))
	g.writeReg(regDriverStatus, driverRun)
}

// command executes one admin command and returns its status.
func (g *guest) command(op uint32, fields ...any) status {
	g.t.Helper()
	b := g.at(g.adm+uint64(g.prod%64)*64, 64)
	clear(b)
	c := be.AppendUint32(b[:0], op)
	c = be.AppendUint32(c, 0)
	pack(c, fields...) // in place: a command has 64 bytes
	g.prod++
	g.writeReg(regAdminDoorbell, g.prod)
	if n := g.readReg(regAdminCounter); n != g.prod {
		g.t.Fatalf("admin command %#x: event counter %d, want %d", op, n, g.prod)
	}
	return status(be.Uint32(b[4:]))
}

// pack appends fields in network byte order.
func pack(b []byte, fields ...any) []byte {
	for _, f := range fields {
		switch v := f.(type) {
		case uint8:
			b = append(b, v)
		case uint16:
			b = be.AppendUint16(b, v)
		case uint32:
			b = be.AppendUint32(b, v)
		case uint64:
			b = be.AppendUint64(b, v)
		case int: // an id or a count
			b = be.AppendUint32(b, uint32(v))
		case []byte:
			b = append(b, v...)
		default:
			panic(fmt.Sprintf("%T", f))
		}
	}
	return b
}

// must is command for one that has to pass.
func (g *guest) must(op uint32, fields ...any) {
	g.t.Helper()
	if s := g.command(op, fields...); s != passed {
		g.t.Fatalf("admin command %#x: status %#x", op, uint32(s))
	}
}

// setup is what the driver's options are.
type setup struct {
	queues  int // 0: the device's
	ring    int // 0: 256
	buffer  int // 0: 4096
	noSplit bool
	rsc     bool
	noPost  bool // the receive buffers are not posted
}

// configure sets up resources, as gve_setup_device_resources.
func (g *guest) configure() {
	g.t.Helper()
	blocks := 2 * g.dev.config.Queues
	counters, dbs := g.alloc(4*eventCounters), g.alloc(64*blocks)
	g.must(opConfigure, counters, dbs, eventCounters, blocks, 64, 0, uint8(formatDQORDA))
	g.irqDB = nil
	for i := range blocks {
		g.irqDB = append(g.irqDB, int(be.Uint32(g.at(dbs+uint64(64*i), 4))))
	}
}

// up brings the device up with queues, as gve_probe and gve_open.
func (g *guest) up(s setup) {
	g.t.Helper()
	if s.queues == 0 {
		s.queues = g.dev.config.Queues
	}
	if s.ring == 0 {
		s.ring = 256
	}
	if s.buffer == 0 {
		s.buffer = 4096
	}
	g.startAdmin()
	g.configure()
	g.tx, g.rx = nil, nil
	for i := range s.queues {
		g.tx = append(g.tx, g.createTx(i, s.ring))
	}
	for i := range s.queues {
		g.rx = append(g.rx, g.createRx(i, s))
	}
	for i := range g.irqDB {
		g.ring(g.irqDB[i], itrEnable)
	}
	if !s.noPost {
		for _, q := range g.rx {
			q.post(s.ring)
		}
	}
}

// A guestTx is the driver's side of a transmit queue.
type guestTx struct {
	g           *guest
	id, size    int
	ring, compl uint64
	buf         uint64 // where frames are put, a place for each descriptor
	db          int
	tail        int
	head        int // of the completions
	gen         uint32
	tag         uint16
}

const guestTxBuffer = 1 << 16

func (g *guest) createTx(id, size int) *guestTx {
	g.t.Helper()
	q := &guestTx{g: g, id: id, size: size}
	q.ring, q.compl = g.alloc(size*txDescSize), g.alloc(size*txComplSize)
	clear(g.at(q.compl, size*txComplSize))
	q.buf = g.alloc(16 * guestTxBuffer)
	res := g.alloc(64)
	g.must(opCreateTx, id, 0, res, q.ring, uint32(rawAddressing), id, q.compl, uint16(size), uint16(size))
	q.db = int(be.Uint32(g.at(res, 4)))
	return q
}

// A sending says how a frame is sent.
type sending struct {
	mss    int   // TSO with that segment size
	header int   // TSO: header length
	csum   bool  // checksum offload
	pieces []int // lengths of all buffers but the last
	event  bool  // report the descriptor
	hold   bool  // the doorbell is not rung
}

// put puts a descriptor into the ring.
func (q *guestTx) put(desc [txDescSize]byte) {
	copy(q.g.at(q.ring+uint64(q.tail)*txDescSize, txDescSize), desc[:])
	q.tail = (q.tail + 1) % q.size
}

// packetDesc is a packet descriptor.
func packetDesc(addr uint64, n int, tag uint16, flags byte) (d [txDescSize]byte) {
	le.PutUint64(d[0:], addr)
	d[8] = txPacket | flags
	le.PutUint16(d[12:], tag)
	le.PutUint16(d[14:], uint16(n))
	return d
}

// tsoDesc is a TSO context.
func tsoDesc(total, mss, header int) (d [txDescSize]byte) {
	le.PutUint32(d[0:], uint32(total))
	le.PutUint16(d[4:], uint16(mss))
	d[6] = byte(header)
	d[8] = txTSO | 1<<5
	return d
}

// send puts a frame into the ring: the contexts, then the buffers. It returns
// the completion tag.
func (q *guestTx) send(frame []byte, s sending) uint16 {
	q.g.t.Helper()
	q.tag++
	if s.mss > 0 {
		q.put(tsoDesc(len(frame)-s.header, s.mss, s.header))
	}
	q.put([txDescSize]byte{8: txGeneral})
	addr := q.buf + uint64(int(q.tag)%16*guestTxBuffer)
	copy(q.g.at(addr, len(frame)), frame)
	for len(frame) > 0 {
		n := min(len(frame), 1<<14-1)
		if len(s.pieces) > 0 {
			n, s.pieces = s.pieces[0], s.pieces[1:]
		}
		var flags byte
		if s.csum || s.mss > 0 {
			flags |= 1 << 6
		}
		if n == len(frame) {
			flags |= 1 << 5
			if s.event {
				flags |= 1 << 7
			}
		}
		q.put(packetDesc(addr, n, q.tag, flags))
		frame, addr = frame[n:], addr+uint64(n)
	}
	if !s.hold {
		q.kick()
	}
	return q.tag
}

func (q *guestTx) kick() { q.g.t.Helper(); q.g.ring(q.db, uint32(q.tail)) }

// A txCompletion is what a completion says.
type txCompletion struct {
	kind  uint32
	queue int
	tag   uint16
}

// poll takes the next completion, if there is one.
func (q *guestTx) poll() (txCompletion, bool) {
	w := q.g.load(q.compl + uint64(q.head)*txComplSize)
	if w>>15&1 == q.gen {
		return txCompletion{}, false
	}
	if q.head = (q.head + 1) % q.size; q.head == 0 {
		q.gen ^= 1
	}
	return txCompletion{kind: w >> 11 & 7, queue: int(w & 0x7ff), tag: uint16(w >> 16)}, true
}

// wait waits for the next completion.
func (q *guestTx) wait() txCompletion {
	q.g.t.Helper()
	var c txCompletion
	q.g.eventually("TX completion", func() (ok bool) { c, ok = q.poll(); return ok })
	return c
}

// done waits until the packet with the tag is completed.
func (q *guestTx) done(tag uint16) {
	q.g.t.Helper()
	for {
		c := q.wait()
		if c.queue != q.id {
			q.g.t.Fatalf("completion of queue %d in the ring of queue %d", c.queue, q.id)
		}
		if c.kind == complPacket && c.tag == tag {
			return
		}
	}
}

// eventually waits until f is true.
func (g *guest) eventually(what string, f func() bool) {
	g.t.Helper()
	for end := time.Now().Add(waitTime); !f(); time.Sleep(50 * time.Microsecond) {
		if time.Now().After(end) {
			g.t.Fatalf("%s: nothing for %v; %+v", what, waitTime, g.dev.Stats())
		}
	}
}

// A guestRx is the driver's side of a receive queue. The buffer with id i is
// the i-th of bufs; the header buffer belongs to the slot of the ring.
type guestRx struct {
	g           *guest
	id, size    int
	ring, compl uint64
	bufSize     int
	bufs, hdrs  uint64
	hdrSize     int
	db, block   int
	tail        int // of the buffers
	head        int // of the completions
	gen         uint32
	free        []uint16 // buffer ids
	part        received // of a packet, as far as it has been polled
}

// createRx makes a receive queue and its buffers.
func (g *guest) createRx(id int, s setup) *guestRx {
	g.t.Helper()
	q := &guestRx{g: g, id: id, size: s.ring, bufSize: s.buffer}
	q.ring, q.compl = g.alloc(s.ring*rxDescSize), g.alloc(s.ring*rxComplSize)
	clear(g.at(q.compl, s.ring*rxComplSize))
	q.bufs = g.alloc(s.ring * s.buffer)
	if !s.noSplit {
		q.hdrSize = headerBuffer
		q.hdrs = g.alloc(s.ring * headerBuffer)
	}
	for i := range s.ring {
		q.free = append(q.free, uint16(i))
	}
	rsc := uint8(0)
	if s.rsc {
		rsc = 1
	}
	res := g.alloc(64)
	q.block = g.dev.config.Queues + id
	g.must(opCreateRx, id, 0, 0, q.block, res, q.compl, q.ring, uint32(rawAddressing),
		uint16(s.ring), uint16(s.buffer), uint16(s.ring), rsc, uint8(0), uint16(q.hdrSize))
	q.db = int(be.Uint32(g.at(res, 4)))
	return q
}

// post posts up to n buffers, and one less than the ring has at most; the
// doorbell is rung once.
func (q *guestRx) post(n int) {
	q.g.t.Helper()
	for posted := q.size - len(q.free); n > 0 && posted < q.size-1; n, posted = n-1, posted+1 {
		id := q.free[0]
		q.free = q.free[1:]
		d := q.g.at(q.ring+uint64(q.tail)*rxDescSize, rxDescSize)
		clear(d)
		le.PutUint16(d, id)
		le.PutUint64(d[8:], q.bufs+uint64(id)*uint64(q.bufSize))
		if q.hdrSize > 0 {
			le.PutUint64(d[16:], q.hdrs+uint64(q.tail*q.hdrSize))
		}
		q.tail = (q.tail + 1) % q.size
	}
	q.g.ring(q.db, uint32(q.tail))
}

// A received is one packet as the driver gets it.
type received struct {
	header, payload []byte // header is nil if it was not split
	buffers         int
	ptype           uint16
	segment         int // of RSC; 0: not coalesced
	hash            uint32
	rxError         bool
	overflow        bool
	processed       bool
	badIP, badL4    bool
	ipv6Ext         bool
}

func (r received) frame() []byte { return append(bytes.Clone(r.header), r.payload...) }

// poll takes the next packet, if all of it is there. Its buffers are free
// again, and not posted.
func (q *guestRx) poll() (r received, ok bool) {
	q.g.t.Helper()
	r, q.part = q.part, received{}
	for {
		at := q.compl + uint64(q.head)*rxComplSize
		w4 := q.g.load(at + 4)
		if w4>>rxGeneration&1 == q.gen {
			q.part = r // the device is just about to write the rest
			return received{}, false
		}
		c := q.g.at(at, rxComplSize)
		id := le.Uint16(c[12:])
		if c[0] != 1 || int(id) >= q.size {
			q.g.t.Fatalf("queue %d: completion %x", q.id, c)
		}
		h := w4 >> 16
		n := int(w4 & 0x3fff)
		if r.buffers++; r.buffers == 1 {
			r.ptype = le.Uint16(c[2:]) & 0x3ff
			r.overflow = c[8]&rxOverflow != 0
			if h&rxSplit != 0 && !r.overflow {
				r.header = bytes.Clone(q.g.at(q.hdrs+uint64(q.head*q.hdrSize), int(h&0x3ff)))
			}
		}
		r.payload = append(r.payload, q.g.at(q.bufs+uint64(id)*uint64(q.bufSize), n)...)
		r.rxError = r.rxError || c[1]&rxErrorFlag != 0
		q.free = append(q.free, id)
		if q.head = (q.head + 1) % q.size; q.head == 0 {
			q.gen ^= 1
		}
		if c[8]&rxEnd != 0 {
			// The driver takes these from the last completion.
			if h&rxCoalesced != 0 {
				r.segment = int(le.Uint16(c[14:]))
			}
			r.hash = le.Uint32(c[16:])
			r.processed, r.badIP, r.badL4 = c[8]&rxL3L4 != 0, c[8]&rxBadIP != 0, c[8]&rxBadL4 != 0
			r.ipv6Ext = c[1]&rxIPv6Ext != 0
			return r, true
		}
	}
}

// wait waits for the next packet, as NAPI does: the interrupt, then the ring,
// then the interrupt is armed again.
func (q *guestRx) wait() received {
	q.g.t.Helper()
	for end := time.Now().Add(waitTime); ; {
		if r, ok := q.poll(); ok {
			return r
		}
		q.g.ring(q.g.irqDB[q.block], itrEnable|3<<3)
		if r, ok := q.poll(); ok {
			return r
		}
		err := q.g.c.WaitInterrupt(q.block, time.Until(end))
		if errors.Is(err, os.ErrDeadlineExceeded) {
			q.g.t.Fatalf("queue %d: no packet for %v; %+v", q.id, waitTime, q.g.dev.Stats())
		}
		q.g.try(err)
	}
}

// idle checks that no packet comes for a moment.
func (q *guestRx) idle(d time.Duration) {
	q.g.t.Helper()
	time.Sleep(d)
	if r, ok := q.poll(); ok {
		q.g.t.Fatalf("queue %d: a packet of %d+%d bytes that should not be", q.id, len(r.header), len(r.payload))
	}
}

// pair is two devices on a wire, each with a guest.
func pair(t testing.TB, a, b Config) (x, y *guest) {
	t.Helper()
	b.Index = 1
	x, y = newGuest(t, newDevice(t, a)), newGuest(t, newDevice(t, b))
	Join(x.dev, y.dev)
	return x, y
}
