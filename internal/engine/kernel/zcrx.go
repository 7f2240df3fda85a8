//go:build linux

package kernel

import (
	"errors"
	"fmt"
	"math"
	"math/bits"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/zctap/zctap/internal/buf"
	"github.com/zctap/zctap/internal/uring"
)

// zcrx is the backend of the engine of that name: payload that the NIC put into
// the area stays there, and each completion says where. The area is the first
// buffers of the region, which are lent to the kernel; the others are the
// reserve. A buffer's way round:
//
//	NIC ──▶ socket's queue in the kernel ──RECV_ZC──▶ deliver: Land, record, push
//	 ▲                                                                     │
//	 └── refill ring ◀── giveBack ◀── dues ◀── collect: TakeBack ◀── application
type zcrx struct {
	requests
	o    ZCRXOptions
	ifq  *uring.IFQ
	rq   *uring.RQ
	ours []byte // the refill ring's memory, if it is not the kernel's

	shift uint // log2 of the region's buffers' size
	unit  int  // bytes of a buffer of the kernel's
	per   int  // of them in one of the region's
	total int  // of them in the area

	areaBytes int // if there are several

	records records
	dues    dues
	ids     [256]uint16
	frags   [256]buf.Frag // land

	canFlush bool             // the kernel looks into the refill ring when told
	flush    bool             // and is to be told in the next round
	rearm    uring.ZCRXEvents // events that were told, and shall be told again
	pollers  pollers
	batch    zcrxBatch // what this round brought
	rounds   uint64    // with this one
	promises promises
	reserved int       // buffers of the reserve that requests may need
	stalls   bool      // the kernel may stop a request in the middle; see doubt
	sleeps   bool      // the kernel may leave a request asleep; see stallWatch
	doubts   []*socket // see doubt
	last     *socket   // whose payload came last
	largest  int       // bytes that the kernel lets a receive buffer grow to
	windows  int       // buffers that the kernel may fill for connections without our asking
	cutAt    int       // slot of the table that was cut last
	dropping zcrxWatch
	stalled  stallWatch
	stats    zcrxCounters

	sharing // with other rings; empty if there are none
}

// zcrxRing is what interface queues need of a ring.
const zcrxRing = uring.SetupSingleIssuer | uring.SetupDeferTaskrun | uring.SetupSubmitAll | uring.SetupRDisabled

// cqScale is how much larger the completion queue is than a ring's that brings
// whole bundles: here each fragment is a completion.
const cqScale = 4

// zcrxRingBytes is what the kernel allocates for a ring, by whole pages: requests of 64 bytes,
// completions of 32, and a few words.
const zcrxRingBytes = sqEntries*64 + cqScale*cqEntries*32 + 2<<12

// openZCRX opens the backend on one loop; g is nil if it is the only one.
func openZCRX(l *loop, o ZCRXOptions, g *zcrxGroup) (backend, error) {
	p, err := o.plan(l.pool.Region())
	if err != nil {
		return nil, err
	}
	z := &zcrx{o: o}
	z.l, z.recv = l, z
	z.unit, z.per = p.unit, l.pool.Region().BufferSize()/p.unit
	z.total = p.lent * z.per
	z.areaBytes = p.lent / p.areas * l.pool.Region().BufferSize()
	z.shift = uint(bits.TrailingZeros(uint(l.pool.Region().BufferSize())))
	z.largest = largestWindow()
	can, err := o.probe()
	if err != nil {
		return nil, err
	}
	z.canFlush, z.stalls, z.sleeps = can.flush, can.stalls, can.sleeps
	if g != nil {
		z.join(g, p.lent)
	}
	if err := z.open(p, can); err != nil {
		return nil, errors.Join(err, z.shut())
	}
	z.records.init(p.lent, uint(bits.TrailingZeros(uint(z.unit))))
	if z.first() {
		l.pool.Lend(p.lent)
		if g == nil {
			l.pool.OneThread(z.settle)
		}
	} else {
		g.importers.Add(1)
	}
	l.stats.zcrx.Store(&z.stats)
	return z, nil
}

// abilities are what not every kernel with interface queues can do.
type abilities struct {
	flush   bool
	notices bool // events and statistics
	stalls  bool // it stops requests in the middle, and says nothing
	sleeps  bool // it may leave requests asleep; see stallWatch
}

// probe asks the kernel for what is needed, and for the rest. A ring of the
// caller's can do everything, or says so itself.
func (o *ZCRXOptions) probe() (can abilities, err error) {
	if o.Ring != nil {
		return abilities{flush: true, notices: true, stalls: true, sleeps: true}, nil
	}
	need := []uring.Feature{uring.Basic, uring.RecvZeroCopy, uring.ZCRX}
	if o.NoDevice {
		need = append(need, uring.ZCRXNoDevice, uring.ZCRXFlush)
	}
	if o.BufferSize > os.Getpagesize() {
		need = append(need, uring.ZCRXBufferSize)
	}
	if o.Mixed {
		need = append(need, uring.MixedCQEs)
	}
	if o.Areas > 1 {
		need = append(need, uring.ZCRXAddArea)
	}
	if o.Rings > 1 {
		need = append(need, uring.ZCRXExport)
	}
	for _, f := range need {
		if err := uring.Have(f); err != nil {
			return can, err
		}
	}
	stalls := uring.Have(uring.ZCRXNoStall) != nil // also if that can't be tried
	return abilities{
		flush: uring.Have(uring.ZCRXFlush) == nil, notices: uring.Have(uring.ZCRXNotices) == nil, stalls: stalls,
		// It happens too seldom to be tried: kernels that can add areas have not been seen to.
		sleeps: stalls || uring.Have(uring.ZCRXAddArea) != nil,
	}, nil
}

// open makes the ring and binds the queue to it.
func (z *zcrx) open(p zcrxPlan, can abilities) error {
	if err := z.makeRing(); err != nil {
		return err
	}
	var err error
	if z.first() {
		err = z.register(p, can)
	} else {
		err = z.openImport()
	}
	if err != nil {
		return err
	}
	_ = z.ring.RegisterRingFD() // saves a look-up of the file in each call
	z.askPoller(time.Now())
	return z.openWaker()
}

func (z *zcrx) makeRing() (err error) {
	make := z.o.Ring
	if make == nil {
		make = func(entries uint32, p uring.Params) (uring.Instance, error) {
			r, err := uring.New(entries, p)
			if err != nil {
				return nil, err // and not an Instance that holds no *Ring
			}
			return r, nil
		}
	}
	flags := zcrxRing | uring.SetupCQE32
	if z.o.Mixed {
		flags = zcrxRing | uring.SetupCQEMixed
	}
	if z.ring, err = make(z.l.sqEntries, uring.Params{Flags: flags, CQEntries: cqScale * z.l.cqEntries}); err != nil {
		z.ring = nil
		return err
	}
	z.capacity = int(cqScale * z.l.cqEntries)
	if z.o.Mixed {
		z.capacity /= 2
	}
	return nil
}

// register binds the queue to the ring, which is the thread's from then on.
func (z *zcrx) register(p zcrxPlan, can abilities) (err error) {
	cfg := uring.ZCRXConfig{
		Interface: z.o.Interface, Queue: z.o.Queue, NoDevice: z.o.NoDevice,
		Area:          z.area(0),
		RefillEntries: p.refill,
	}
	if z.unit > os.Getpagesize() {
		cfg.BufferSize = z.unit
	}
	// Without a device nothing but copies happens, and allocations never fail.
	if can.notices && !z.o.NoDevice {
		cfg.Events, cfg.EventUserData = uring.ZCRXAllocFailed|uring.ZCRXCopied, uint64(reqEvent)<<opShift
		cfg.Stats = true
	}
	if z.o.RefillMemory {
		z.ours, err = unix.Mmap(-1, 0, uring.RefillSize(p.refill), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_ANON)
		if err != nil {
			return os.NewSyscallError("mmap", err)
		}
		cfg.RefillMemory = z.ours
	}
	if z.o.DMABuf != 0 {
		cfg.Area = uring.Area{DMABuf: z.o.DMABuf, Size: z.areaBytes}
	}
	if z.ifq, err = z.ring.RegisterZCRX(cfg); err != nil {
		return err
	}
	z.rq = z.ifq.Refill()
	if err := z.ring.Enable(); err != nil {
		return err
	}
	for i := 1; i < p.areas; i++ {
		if _, err := z.ifq.AddArea(z.area(i)); err != nil {
			return err
		}
	}
	if z.group != nil {
		return z.group.export(z)
	}
	return nil
}

// area is one of the areas that the NIC's part of the region is cut into.
func (z *zcrx) area(i int) uring.Area {
	return uring.Area{Memory: z.l.pool.Region().Memory()[i*z.areaBytes:][:z.areaBytes]}
}

// round implements backend.
func (z *zcrx) round(timeout time.Duration) error {
	z.collect()
	if err := z.giveBack(); err != nil {
		return err
	}
	z.batch.begin(z.free())
	z.rounds++
	z.kickDoubted()
	if err := z.exchange(z.patience(timeout)); err != nil {
		return err
	}
	if z.group != nil {
		z.refresh() // after a long wait, perhaps
		z.batch.free = z.free()
	}
	for {
		cqes, err := z.reap()
		if err != nil {
			return err
		}
		if len(cqes) == 0 {
			break
		}
		z.handle(cqes)
	}
	z.serveReady()
	z.account()
	z.doubtAll()
	z.restrain()
	if err := z.watch(); err != nil {
		return err
	}
	z.findStalled()
	if z.group != nil {
		z.group.endRound(z)
	}
	return z.rearmEvents()
}

// ready implements backend: what those that go on were promised bounds the credit of the
// others.
func (z *zcrx) ready() int { return math.MaxInt }

// hungry implements backend: with half of the area out, the NIC may wait for
// what the application returns, and nothing else would wake the loop.
func (z *zcrx) hungry() bool { return 2*z.free() < z.total }

// serve implements receiver. Streams are never read by the loop itself: payload
// in unreadable buffers can't be.
func (z *zcrx) serve(*socket) {}

// detach implements backend.
func (z *zcrx) detach(s *socket) {
	z.unbound(s)
	z.requests.detach(s)
}

// close implements backend. What the application still holds stays readable; the
// kernel takes those buffers back by itself.
func (z *zcrx) close() error {
	if !z.first() {
		defer z.group.importers.Done()
	} else if z.group != nil {
		z.group.importers.Wait() // what they have given back, and cannot look at any more
	}
	z.collect()
	z.flush = true
	err := z.giveBack()
	if z.l.failure != nil {
		err = nil // a ring that has failed may take nothing back, and nobody receives any more
	}
	return errors.Join(err, z.shut())
}

// shut closes the ring, if there is one, and waits until the queue is free.
func (z *zcrx) shut() error {
	bound := z.ifq != nil && z.first()
	err := z.closeRing()
	if z.group != nil && z.first() {
		err = errors.Join(err, z.group.unexport())
	}
	if bound && z.o.QueueFree != nil {
		if e := z.o.QueueFree(); e != nil {
			err = errors.Join(err, fmt.Errorf("kernel: zcrx: the queue is not free: %w", e))
		}
	}
	if z.ours != nil {
		err = errors.Join(err, os.NewSyscallError("munmap", unix.Munmap(z.ours)))
	}
	return err
}
