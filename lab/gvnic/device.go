//go:build linux

package gvnic

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/zctap/zctap/lab/vfiouser"
)

// A Device is one gVNIC. It is a vfiouser.Device towards its guest, and an End
// towards the wire. Its exported methods may be called by any goroutine, those
// of vfiouser.Device by a vfiouser server only.
type Device struct {
	config Config
	in     mailbox // frames from the wire
	wake   chan struct{}
	stop   chan struct{} // closed by Close
	done   chan struct{} // closed when the worker has ended
	once   sync.Once
	ready  atomic.Bool // the peer has room again; the worker takes it back
	batch  []Frame     // the worker's

	mu    sync.Mutex    // guards the rest; taken inside the Bus's lock
	bus   *vfiouser.Bus // nil without a guest
	peer  End
	stats Stats

	inject     injector
	linkSeen   bool // the state of the link that the driver was told last
	wantReset  bool // the driver is to reset the device,
	askedReset bool // and has been told so

	// What a reset clears.
	isReset  bool // the driver has reset the device, and not started it
	admin    adminQueue
	res      resources
	irqs     []irq
	rss      rssConfig
	flows    flowTable
	report   report
	rx       []*rxQueue // nil: not there
	tx       []*txQueue
	payloads []payloadPages // of each receive queue, since it was made last
}

var (
	_ vfiouser.Device = (*Device)(nil)
	_ End             = (*Device)(nil)
)

// New makes a device that is powered on and has neither guest nor wire. EINVAL
// says what is wrong with c. Close ends it.
func New(c Config) (*Device, error) {
	c, err := c.withDefaults()
	if err != nil {
		return nil, err
	}
	d := &Device{
		config:   c,
		in:       mailbox{maxFrames: c.WireFrames, maxBytes: c.WireBytes},
		wake:     make(chan struct{}, 1),
		stop:     make(chan struct{}),
		done:     make(chan struct{}),
		stats:    Stats{Rx: make([]RxStats, c.Queues), Tx: make([]TxStats, c.Queues)},
		irqs:     make([]irq, vectors(c.Queues)),
		rx:       make([]*rxQueue, c.Queues),
		tx:       make([]*txQueue, c.Queues),
		payloads: make([]payloadPages, c.Queues),
	}
	d.reset()
	d.inject.set(c.Faults, time.Now())
	d.linkSeen = d.linkUp(time.Now())
	d.wantReset = c.Faults.Reset
	go d.work()
	return d, nil
}

// Close takes the device off the wire and ends its goroutine. A guest that is
// still attached sees a device on which nothing happens any more. Idempotent.
func (d *Device) Close() error {
	d.once.Do(func() {
		close(d.stop)
		<-d.done
		if d.in.close() {
			d.peerReady()
		}
	})
	return nil
}

// MAC is the device's address.
func (d *Device) MAC() [6]byte { return d.config.MAC }

// vectors is how many interrupts a device has: one for each queue, and one for
// management.
func vectors(queues int) int { return 2*queues + 1 }

// Sizes in bytes of the base address regions, and what is where in the second.
const (
	registersSize = 4096
	msixSize      = 4096
	doorbellsSize = 16384
	msixPBA       = 2048
)

// Info describes the device to the PCI bus. Revision 1 has the registers for
// the admin queue's address (gve_adminq.c, gve_adminq_alloc).
func (d *Device) Info() vfiouser.Info {
	return vfiouser.Info{
		Vendor: 0x1ae0, Device: 0x0042,
		SubsystemVendor: 0x1ae0, SubsystemDevice: 0x0058,
		Revision: 1,
		Class:    0x020000, // network controller, Ethernet
		BARs:     [6]uint64{registersSize, msixSize, doorbellsSize},
		Vectors:  vectors(d.config.Queues),
		TableBAR: 1, PBABAR: 1, TableOffset: 0, PBAOff: msixPBA,
	}
}

// Attach is called when a guest's virtual machine is there.
func (d *Device) Attach(bus *vfiouser.Bus) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.reset()
	d.bus = bus
}

// Detach is called when it is gone.
func (d *Device) Detach() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.reset()
	d.bus = nil
}

// Reset is a reset by the PCI bus.
func (d *Device) Reset() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.stats.BusResets++
	d.reset()
}

// reset puts the device in the state after power on. What the wire has
// delivered, counters and faults stay.
func (d *Device) reset() {
	for i := range d.rx {
		d.destroyRx(i)
		d.destroyTx(i)
	}
	d.isReset = false
	d.admin = adminQueue{}
	d.res = resources{}
	d.report = report{}
	d.flows = nil
	d.rss = defaultRSS(d.config.Queues)
	d.linkSeen = d.linkUp(time.Now())
}

// memory is n bytes of guest memory at addr: see vfiouser.Bus.Memory.
func (d *Device) memory(addr uint64, n int) ([]byte, error) {
	if d.bus == nil {
		return nil, vfiouser.ErrDetached
	}
	return d.bus.Memory(addr, n)
}

// Stats returns the counters as they are now.
func (d *Device) Stats() Stats {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := d.stats
	s.Rx = append([]RxStats(nil), s.Rx...)
	s.Tx = append([]TxStats(nil), s.Tx...)
	return s
}

// PayloadFrames returns the guest page frame numbers (physical address >> 12) of
// all pages of receive buffers that the queue wrote packets to, in ascending
// order: since the driver made the queue last or, until something was written
// since then, of the queue before. Headers that went to header buffers do not
// count. Nil for a queue that the device can't have.
func (d *Device) PayloadFrames(queue int) []uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	if queue < 0 || queue >= len(d.payloads) {
		return nil
	}
	return d.payloads[queue].sorted()
}

// Faults returns the faults that were set last.
func (d *Device) Faults() Faults {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.inject.faults
}

// SetFaults replaces the device's faults; EINVAL says what is wrong with f, and
// nothing changes. It does not wait for the guest to notice.
func (d *Device) SetFaults(f Faults) error {
	if err := f.check(); err != nil {
		return err
	}
	d.mu.Lock()
	d.inject.set(f, time.Now())
	d.wantReset = d.wantReset || f.Reset
	d.mu.Unlock()
	nudge(d.wake) // for the interrupt that tells the driver
	return nil
}

// warn logs what a hostile guest could have happen all the time: the n-th
// occurrence only if n is a power of two.
func (d *Device) warn(n uint64, msg string, args ...any) {
	if n&(n-1) == 0 {
		d.config.Log.Warn(msg, append(args, "times", n)...)
	}
}
