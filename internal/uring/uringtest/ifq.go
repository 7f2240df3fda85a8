//go:build linux

package uringtest

import (
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/zctap/zctap/internal/shring"
	"github.com/zctap/zctap/internal/uring"
)

const areaShift = 48 // IORING_ZCRX_AREA_SHIFT

// poison is what is in a buffer that is free.
const poison = 0xdb

// buffer is the kernel's account of one.
type buffer struct {
	user int  // references that the application has to give back: one for each completion
	nic  bool // the NIC still fills it
}

type area struct {
	mem  []byte
	bufs []buffer
}

// ifq is an interface queue. With a device two goroutines work on it: the ring's, and the one that takes buffers back.
type ifq struct {
	k       *Kernel
	size    int // of a buffer
	events  uring.ZCRXEvents
	evData  uint64
	words   shring.Words
	entries []uring.RefillEntry

	copies, copiedBytes *uint64

	mu       sync.Mutex
	areas    []area
	free     []uint64         // tokens of free buffers
	refill   *shring.Consumer // of entries
	told     uring.ZCRXEvents // and not armed since
	cur      uint64           // the buffer that the NIC fills, if curRoom is not 0
	curRoom  int
	users    int // rings and exported descriptors
	exported []int
	stop     chan struct{} // ends the goroutine
	stopped  chan struct{}
}

// RegisterZCRX makes an interface queue. The area need not be mapped memory, which is what this package is for.
func (k *Kernel) RegisterZCRX(c uring.ZCRXConfig) (*uring.IFQ, error) {
	if err := k.checkRegister(); err != nil {
		return nil, err
	}
	if k.o.RegisterErr != nil {
		return nil, k.o.RegisterErr
	}
	q := &ifq{k: k, size: c.BufferSize, events: c.Events, evData: c.EventUserData, users: 1}
	if q.size == 0 {
		q.size = pageSize
	}
	if c.RefillEntries == 0 || c.RefillEntries > uring.MaxRefill || c.RefillEntries&(c.RefillEntries-1) != 0 || len(c.Area.Memory) == 0 || len(c.Area.Memory)%q.size != 0 {
		return nil, fmt.Errorf("uringtest: register an area of %d, a refill ring of %d: %w", len(c.Area.Memory), c.RefillEntries, unix.EINVAL)
	}
	q.words = shring.Words{Producer: new(uint32), Consumer: new(uint32), Size: c.RefillEntries}
	q.entries = make([]uring.RefillEntry, c.RefillEntries)
	var err error
	if q.refill, err = shring.NewConsumer(q.words); err != nil {
		return nil, err
	}
	q.addArea(c.Area.Memory)
	if c.Stats {
		q.copies, q.copiedBytes = new(uint64), new(uint64)
	}
	if k.o.Device {
		q.stop, q.stopped = make(chan struct{}), make(chan struct{})
		go q.recycle()
	}
	k.ifqs = append(k.ifqs, q)
	return uring.NewIFQ(uring.IFQParts{
		Ops: ops{k, q}, ID: uint32(len(k.ifqs) - 1), Areas: []int{len(c.Area.Memory)}, BufferSize: q.size, Mixed: k.o.Mixed,
		Words: q.words, Refill: q.entries, Copies: q.copies, CopiedBytes: q.copiedBytes,
	})
}

// checkRegister is what the kernel looks at before it registers something. The ring may be disabled.
func (k *Kernel) checkRegister() error {
	if k.closed {
		return uring.ErrClosed
	}
	if k.tid != 0 && k.tid != unix.Gettid() {
		return fmt.Errorf("uringtest: register: %w", unix.EEXIST)
	}
	return nil
}

// addArea gives the queue memory.
func (q *ifq) addArea(mem []byte) (token uint64) {
	token = uint64(len(q.areas)) << areaShift
	q.areas = append(q.areas, area{mem: mem, bufs: make([]buffer, len(mem)/q.size)})
	for i := len(mem)/q.size - 1; i >= 0; i-- {
		q.free = append(q.free, token+uint64(i*q.size))
	}
	return token
}

// at finds a buffer.
func (q *ifq) at(token uint64) (*area, *buffer, int) {
	a, off := token>>areaShift, token&(1<<areaShift-1)
	if a >= uint64(len(q.areas)) || off >= uint64(len(q.areas[a].mem)) {
		return nil, nil, 0
	}
	return &q.areas[a], &q.areas[a].bufs[off/uint64(q.size)], int(off)
}

// recycle plays the NIC's page pool: it takes entries from the refill ring at any time.
func (q *ifq) recycle() {
	defer close(q.stopped)
	tick := time.NewTicker(200 * time.Microsecond)
	defer tick.Stop()
	for {
		select {
		case <-q.stop:
			return
		case <-tick.C:
			q.mu.Lock()
			q.consume()
			q.mu.Unlock()
		}
	}
}

// consume takes all entries of the refill ring. q.mu is held.
func (q *ifq) consume() {
	for {
		start, n := q.refill.Peek(q.refill.Size())
		if n == 0 {
			return
		}
		for i := range n {
			q.giveBack(q.entries[(start+i)&q.refill.Mask()])
		}
		q.refill.Release(n)
	}
}

func (q *ifq) giveBack(e uring.RefillEntry) {
	a, b, off := q.at(e.Token)
	if b == nil || e.Pad != 0 || b.user == 0 {
		q.k.bogus.Add(1)
		return
	}
	q.k.returned.Add(1)
	b.user--
	q.release(a, b, uint64(off)|e.Token>>areaShift<<areaShift)
}

// release frees a buffer that nobody has any more.
func (q *ifq) release(a *area, b *buffer, token uint64) {
	if b.user > 0 || b.nic {
		return
	}
	token -= token % uint64(q.size)
	off := int(token & (1<<areaShift - 1))
	for i := range a.mem[off:][:q.size] {
		a.mem[off+i] = poison
	}
	q.free = append(q.free, token)
}

// room returns where up to n bytes of payload can go, or false if there is no buffer.
func (q *ifq) room(n int) (token uint64, mem []byte, ok bool) {
	if q.curRoom == 0 {
		if len(q.free) == 0 && q.k.o.Device {
			q.consume()
		}
		if len(q.free) == 0 {
			return 0, nil, false
		}
		q.cur = q.free[len(q.free)-1]
		q.free = q.free[:len(q.free)-1]
		q.curRoom = q.size
		_, b, _ := q.at(q.cur)
		b.nic = true
	}
	token = q.cur + uint64(q.size-q.curRoom)
	a, _, off := q.at(token)
	return token, a.mem[off:][:min(n, q.curRoom)], true
}

// fill notes that n bytes were put where room said, and what the application has to give back.
func (q *ifq) fill(n int) {
	a, b, _ := q.at(q.cur)
	b.user++
	q.curRoom -= n
	// A NIC that does not pack, and a buffer that is nearly full: the next one.
	if q.k.o.Chunk == 0 || q.k.o.Apart || q.curRoom < min(q.k.o.Chunk, q.size) {
		q.curRoom, b.nic = 0, false
		q.release(a, b, q.cur)
	}
}

// tell posts an event on the ring that registered the queue, once until it is armed again.
func (q *ifq) tell(e uring.ZCRXEvents) {
	if q.events&e == 0 || q.told&e != 0 {
		return
	}
	q.told |= e
	res := int32(0)
	for e>>uint(res) != 1 {
		res++
	}
	// ErrClosed: the ring went, and its events with it.
	_ = q.k.remote.post(uring.CQE{UserData: q.evData, Res: res})
}

// leave gives up one use of the queue.
func (q *ifq) leave() {
	q.mu.Lock()
	q.users--
	last := q.users == 0
	if last {
		for _, fd := range q.exported {
			exports.CompareAndDelete(fd, q)
		}
		// What lies in the refill ring was given back, looked at or not.
		q.consume()
	}
	q.mu.Unlock()
	if last && q.stop != nil {
		close(q.stop)
		<-q.stopped
	}
}

// Out returns how many references the application has not given back, over all interface queues.
func (k *Kernel) Out() int {
	n := 0
	for _, q := range k.ifqs {
		q.mu.Lock()
		for _, a := range q.areas {
			for _, b := range a.bufs {
				n += b.user
			}
		}
		q.mu.Unlock()
	}
	return n
}

// exports are the descriptors that name interface queues.
var exports sync.Map // int to *ifq

// ops is IORING_REGISTER_ZCRX_CTRL, on one of the rings that have the queue.
type ops struct {
	k *Kernel
	q *ifq
}

func (o ops) FlushRefill(uint32) error {
	if err := o.k.check(); err != nil {
		return err
	}
	o.k.flushes.Add(1)
	o.q.mu.Lock()
	defer o.q.mu.Unlock()
	o.q.consume()
	return nil
}

// Export makes a descriptor. The queue stays in use until its ring is closed; the descriptor is the caller's.
func (o ops) Export(uint32) (int, error) {
	if err := o.k.check(); err != nil {
		return -1, err
	}
	fd, err := unix.Open(os.DevNull, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	o.q.mu.Lock()
	defer o.q.mu.Unlock()
	o.q.exported = append(o.q.exported, fd)
	exports.Store(fd, o.q)
	return fd, nil
}

func (o ops) ArmEvent(_ uint32, e uring.ZCRXEvents) error {
	if err := o.k.check(); err != nil {
		return err
	}
	o.q.mu.Lock()
	defer o.q.mu.Unlock()
	if o.q.told&e == 0 {
		return fmt.Errorf("uringtest: arm %v, which was not told: %w", e, unix.EINVAL)
	}
	o.q.told &^= e
	return nil
}

func (o ops) AddArea(_ uint32, a uring.Area) (uint64, error) {
	if err := o.k.check(); err != nil {
		return 0, err
	}
	o.q.mu.Lock()
	defer o.q.mu.Unlock()
	return o.q.addArea(a.Memory), nil
}

// ImportZCRX makes a queue of another Kernel available to this one.
func (k *Kernel) ImportZCRX(fd int, of *uring.IFQ) (*uring.IFQ, error) {
	if err := k.checkRegister(); err != nil {
		return nil, err
	}
	v, ok := exports.Load(fd)
	if !ok {
		return nil, fmt.Errorf("uringtest: import: %w", unix.EBADF)
	}
	q := v.(*ifq)
	q.mu.Lock()
	q.users++
	sizes := make([]int, len(q.areas))
	for i := range q.areas {
		sizes[i] = len(q.areas[i].mem)
	}
	q.mu.Unlock()
	k.ifqs = append(k.ifqs, q)
	return uring.NewIFQ(uring.IFQParts{
		Ops: ops{k, q}, ID: uint32(len(k.ifqs) - 1), Areas: sizes, BufferSize: of.BufferSize(), Mixed: k.o.Mixed,
	})
}
