//go:build linux

package tun

import (
	"golang.org/x/sys/unix"

	"github.com/zctap/zctap/internal/driver"
	"github.com/zctap/zctap/internal/mono"
	"github.com/zctap/zctap/internal/wire"
)

// Offsets in bytes of fields in the headers of TCP and UDP.
const (
	tcpFlags    = 13
	tcpChecksum = 16
	udpChecksum = 6
)

// A sender is where writes come from: the virtio_net_hdr, then a frame's head
// and its two pieces of payload.
type sender struct {
	vnet  [vnetLen]byte
	iov   [4]unix.Iovec
	short bool // the last Send took fewer than all
}

// Send writes frames to the interface, one system call each: TUN takes no
// batches. The kernel's stack receives each frame within that call, and answers
// it there, too, so that what an ACK costs includes the peer's next segments.
//
// Frames that the kernel refuses are dropped and counted: all while the
// interface is down, and those whose offload request makes no sense.
func (d *Driver) Send(_ mono.Time, frames []driver.TxFrame) (n int, err error) {
	if err := d.usable(); err != nil {
		return 0, err
	}
	t := &d.tx
	t.short = false
	// The bytes are the caller's again when Send returns: nothing may point to
	// them, for it can be memory that Go's collector must not meet again.
	defer clear(t.iov[:])
	for i := range frames {
		f := &frames[i]
		if !t.prepare(f) {
			d.stats.TxDropped++
			continue
		}
		errno := writev(d.fd, t.iov[:])
		for errno == unix.EINTR {
			errno = writev(d.fd, t.iov[:])
		}
		d.stats.TxCalls++
		switch errno {
		case 0:
			d.stats.TxFrames++
			d.stats.TxBytes += uint64(f.Len())
		case unix.EAGAIN:
			t.short = true
			return i, nil
		case unix.EBADFD, unix.EBADF, unix.EPIPE:
			return i, d.failed("write", errno)
		default: // EIO: the interface is down; EINVAL; ENOMEM
			d.stats.TxDropped++
		}
	}
	return len(frames), nil
}

// prepare points iov to f and fills in the virtio_net_hdr; false if f asks for
// what can't be.
func (t *sender) prepare(f *driver.TxFrame) bool {
	if f.Len() == 0 || f.Len() > maxFrame || f.CsumStart|f.CsumOffset|f.GSOSize < 0 ||
		max(f.CsumStart, f.CsumOffset, f.GSOSize) > 0xffff {
		return false
	}
	var v wire.VnetHdr
	if f.CsumStart > 0 {
		v.NeedsCsum, v.CsumStart, v.CsumOffset = true, uint16(f.CsumStart), uint16(f.CsumOffset)
	}
	if f.GSOSize > 0 && f.Len()-len(f.Head) > f.GSOSize {
		if !v.NeedsCsum || f.CsumStart+tcpFlags >= len(f.Head) || f.Len() > maxGSO {
			return false
		}
		v.GSO = wire.GSOTCPv4
		if f.IPv6 {
			v.GSO = wire.GSOTCPv6
		}
		v.GSOSize = uint16(f.GSOSize)
		v.HdrLen = uint16(len(f.Head))
		v.ECN = wire.Flags(f.Head[f.CsumStart+tcpFlags]).Has(wire.CWR)
	}
	if _, err := wire.PutVnetHdr(t.vnet[:], f.Len(), &v); err != nil {
		return false
	}
	setIovec(&t.iov[0], t.vnet[:])
	setIovec(&t.iov[1], f.Head)
	setIovec(&t.iov[2], f.Payload[0])
	setIovec(&t.iov[3], f.Payload[1])
	return true
}
