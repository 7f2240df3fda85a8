//go:build linux

package gvnic

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/zctap/zctap/internal/wire"
)

const (
	tapDevice = "/dev/net/tun"
	tapFlags  = unix.IFF_TAP | unix.IFF_NO_PI | unix.IFF_VNET_HDR
	// tapOffloads is what the kernel may leave to us of the frames that it
	// sends, as a NIC with such offloads.
	tapOffloads = unix.TUN_F_CSUM | unix.TUN_F_TSO4 | unix.TUN_F_TSO6 | unix.TUN_F_TSO_ECN
	tapHdrLen   = wire.VnetHdrMergeableLen
)

// TAPStats are the counters of a TAP end.
type TAPStats struct {
	ToKernel   uint64 `json:"to_kernel"`   // frames that the kernel received
	FromKernel uint64 `json:"from_kernel"` // frames that the kernel sent
	Dropped    uint64 `json:"dropped"`     // that neither side took: the interface is down, or malformed
	Waits      uint64 `json:"waits"`       // times that the peer had no room
}

// A TAP is an end that is a network interface of this machine: what the device
// sends is what the interface receives. Super-frames and checksums that are left
// to the device pass as such, in both directions.
type TAP struct {
	name string
	file *os.File
	in   mailbox
	wake chan struct{} // there is something in the mailbox
	room chan struct{} // the peer is ready
	stop chan struct{}
	done sync.WaitGroup
	once sync.Once
	err  error // of Close

	mu   sync.Mutex
	peer End

	toKernel, fromKernel, dropped, waits atomic.Uint64
}

var _ End = (*TAP)(nil)

// OpenTAP attaches to the TAP interface of that name ("%d" stands for a number)
// in the calling thread's network namespace, and makes it if there is none. It
// needs CAP_NET_ADMIN over the namespace, or an interface that belongs to the
// user. State, addresses and MTU are not its business; an interface that it made
// goes with Close.
func OpenTAP(name string) (*TAP, error) {
	fd, err := unix.Open(tapDevice, unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("gvnic: open %s (load the kernel's tun module, or give the container the device): %w", tapDevice, err)
	}
	real, err := attachTAP(fd, name)
	if err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	t := &TAP{
		name: real,
		file: os.NewFile(uintptr(fd), tapDevice),
		in:   mailbox{maxFrames: 512, maxBytes: 4 << 20},
		wake: make(chan struct{}, 1),
		room: make(chan struct{}, 1),
		stop: make(chan struct{}),
	}
	t.done.Add(2)
	go t.receive()
	go t.transmit()
	return t, nil
}

// attachTAP makes fd the interface's, and returns the interface's name.
func attachTAP(fd int, name string) (string, error) {
	ifr, err := unix.NewIfreq(name)
	if err != nil {
		return "", fmt.Errorf("gvnic: TAP interface name %q: %w", name, err)
	}
	ifr.SetUint16(tapFlags)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, ifr); err != nil {
		return "", fmt.Errorf("gvnic: TAP interface %q (needs CAP_NET_ADMIN, or `ip tuntap add mode tap user $USER name NAME`): %w", name, err)
	}
	if err := unix.IoctlSetPointerInt(fd, unix.TUNSETVNETHDRSZ, tapHdrLen); err != nil {
		return "", fmt.Errorf("gvnic: TAP %s: set the length of the offload header: %w", ifr.Name(), err)
	}
	if err := unix.IoctlSetInt(fd, unix.TUNSETOFFLOAD, tapOffloads); err != nil {
		return "", fmt.Errorf("gvnic: TAP %s: ask for offloads: %w", ifr.Name(), err)
	}
	return ifr.Name(), nil
}

// Name is the interface's name.
func (t *TAP) Name() string { return t.name }

// Stats returns the counters as they are now.
func (t *TAP) Stats() TAPStats {
	return TAPStats{
		ToKernel: t.toKernel.Load(), FromKernel: t.fromKernel.Load(),
		Dropped: t.dropped.Load(), Waits: t.waits.Load(),
	}
}

// Connect sets whom the interface's frames go to.
func (t *TAP) Connect(peer End) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.peer = peer
}

func (t *TAP) connected() End {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.peer
}

// Deliver has the interface receive a frame.
func (t *TAP) Deliver(f Frame) bool {
	if !t.in.put(f) {
		return false
	}
	nudge(t.wake)
	return true
}

// Ready lets the interface's frames go on.
func (t *TAP) Ready() { nudge(t.room) }

// Close detaches from the interface. Idempotent.
func (t *TAP) Close() error {
	t.once.Do(func() {
		close(t.stop)
		t.err = t.file.Close() // ends Read and Write
		t.done.Wait()
		if t.in.close() {
			if p := t.connected(); p != nil {
				p.Ready()
			}
		}
	})
	return t.err
}

// receive is the goroutine that takes what the kernel sends.
func (t *TAP) receive() {
	defer t.done.Done()
	buf := make([]byte, tapHdrLen+maxFrame)
	for {
		n, err := t.file.Read(buf)
		if err != nil {
			return // closed, or the interface was deleted
		}
		peer := t.connected()
		f, ok := tapFrame(buf[:n])
		if !ok || peer == nil {
			t.dropped.Add(1)
			continue
		}
		for !peer.Deliver(f) {
			t.waits.Add(1)
			select {
			case <-t.room:
			case <-t.stop:
				return
			}
		}
		t.fromKernel.Add(1)
	}
}

// transmit is the goroutine that has the kernel receive frames.
func (t *TAP) transmit() {
	defer t.done.Done()
	var frames []Frame
	var buf []byte
	for {
		select {
		case <-t.stop:
			return
		case <-t.wake:
		}
		var refused bool
		frames, refused = t.in.take(frames[:0])
		if refused {
			if p := t.connected(); p != nil {
				p.Ready()
			}
		}
		for _, f := range frames {
			var open bool
			if buf, open = t.write(f, buf); !open {
				return
			}
		}
		clear(frames)
	}
}

// write has the kernel receive a frame, and returns the buffer for the next one.
// It is false if the TAP is closed. UDP is cut up here: kernels before 6.2 do not
// take it as a super-frame.
func (t *TAP) write(f Frame, buf []byte) ([]byte, bool) {
	packets := []Frame{f}
	if f.SegmentSize > 0 {
		if s, ok := newSuper(f); ok && s.ip.Proto == wire.ProtoUDP {
			packets, _ = f.segment()
		}
	}
	for _, p := range packets {
		var ok bool
		if buf, ok = appendTAP(buf[:0], p); !ok {
			t.dropped.Add(1)
			continue
		}
		switch _, err := t.file.Write(buf); {
		case errors.Is(err, os.ErrClosed):
			return buf, false
		case err != nil: // EIO: the interface is down
			t.dropped.Add(1)
		default:
			t.toKernel.Add(1)
		}
	}
	return buf, true
}

// tapFrame turns what was read into a frame.
func tapFrame(b []byte) (f Frame, ok bool) {
	var v wire.VnetHdr
	if len(b) < tapHdrLen || wire.ParseVnetHdr(b[:tapHdrLen], len(b)-tapHdrLen, &v) != wire.OK {
		return f, false
	}
	f.Data = append([]byte(nil), b[tapHdrLen:]...)
	switch {
	case v.NeedsCsum:
		f.Checksum = Partial
	case v.DataValid:
		f.Checksum = Vouched
	}
	if v.GSO != wire.GSONone {
		f.SegmentSize = int(v.GSOSize)
	}
	return f, true
}

// appendTAP appends what is to be written for a frame to b.
func appendTAP(b []byte, f Frame) ([]byte, bool) {
	var v wire.VnetHdr
	b = append(b, make([]byte, tapHdrLen)...)
	b = append(b, f.Data...)
	data := b[tapHdrLen:]
	switch {
	case f.SegmentSize > 0:
		s, ok := newSuper(Frame{Data: data, SegmentSize: f.SegmentSize})
		if !ok || s.ip.Proto != wire.ProtoTCP || s.end != len(data) || !s.offload(&v) {
			return b, false
		}
	case f.Checksum == Partial:
		c := Frame{Data: data, Checksum: Partial}
		if !c.settle() {
			return b, false
		}
		v.DataValid = true
	case f.Checksum == Vouched:
		v.DataValid = true
	}
	_, err := wire.PutVnetHdr(b[:tapHdrLen], len(data), &v)
	return b, err == nil
}

// offload leaves the segmentation and the checksums of a super-frame of TCP to
// who reads the header v.
func (s *super) offload(v *wire.VnetHdr) bool {
	v.NeedsCsum = true
	v.CsumStart, v.CsumOffset = uint16(s.l4), 16
	v.HdrLen, v.GSOSize = uint16(s.payload), uint16(s.SegmentSize)
	v.GSO = wire.GSOTCPv6
	v.ECN = s.Data[s.l4+13]&byte(wire.CWR) != 0
	if s.ip.Version == 4 {
		v.GSO = wire.GSOTCPv4
		s.fixIP(s.Data, 0)
	}
	return wire.FillPartialChecksum(s.Data[s.l4:], s.ip.Proto, s.ip.PseudoSum()) == nil
}
