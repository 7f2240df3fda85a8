package zctap

import (
	"errors"
	"net"
	"net/netip"
	"syscall"
	"time"

	"github.com/zctap/zctap/internal/buf"
	"github.com/zctap/zctap/internal/sockq"
)

// A Datagram is what comes with the iovs of one datagram.
type Datagram struct {
	// Src is who sent it, Dst where to: an address of ours, or a group that was
	// joined.
	Src, Dst netip.AddrPort
	// UnixNano is when it arrived, in nanoseconds since 1970 by the machine's
	// clock: the kernel's time stamp, as of SO_TIMESTAMPNS (Copy, ZCRX), or when
	// the driver was asked for what it came with (User).
	UnixNano int64
	// Iovs is the number of iovs that it took; 0 for an empty datagram.
	Iovs int
	// Len is its length in bytes as sent, also of what did not fit.
	Len int
	// TrafficClass is the octet of the IP header that has the differentiated
	// services codepoint (RFC 2474) in its upper six bits, and ECN in the others.
	TrafficClass uint8
	// Truncated: its tail was lost, because it had more pieces than the iovs
	// given or than the engine could hold. No other datagram is concerned.
	Truncated bool
}

// A Datagram is what sockq says of one: the conversion holds only while the
// fields are the same, which messages relies on.
var _ = Datagram(sockq.Message{})

// ECN is the congestion notification codepoint (RFC 3168 section 5): 0 not ECT,
// 1 ECT(1), 2 ECT(0), 3 congestion experienced.
func (d *Datagram) ECN() uint8 { return d.TrafficClass & 3 }

// Time is UnixNano as a time.
func (d *Datagram) Time() time.Time { return time.Unix(0, d.UnixNano) }

// RecvFromZC receives whole datagrams without a copy. It blocks until there is
// one, then takes as many as are there and fit: n datagrams, described by
// dgrams[:n], whose iovs stand in iovs one datagram after the other. A datagram
// that alone has more pieces than iovs is cut and marked Truncated. Release the
// iovs as those of RecvZC.
//
// Datagrams that the sender's or our device has put together to one (UDP GSO and
// GRO) come apart: each is its own, and several may share a buffer. Each Iov is
// released for itself, as always.
//
// On a dialed socket an error may be what an ICMP message said of something that
// was sent, such as ECONNREFUSED; it is told once, by whichever call comes next, and
// the socket goes on. Other errors as of RecvZC: EINVAL without room for a
// datagram or an iov, EBUSY while armed, os.ErrDeadlineExceeded, net.ErrClosed.
func (c *PacketConn) RecvFromZC(iovs []Iov, dgrams []Datagram) (n int, err error) {
	if err = c.q.mayWait(); err == nil {
		n, _, err = c.rx.Recv(inner(iovs), messages(dgrams))
	}
	if err != nil {
		return 0, c.q.opError("recv", noRoom(err, len(iovs) == 0 || len(dgrams) == 0))
	}
	c.q.recvCalls.Add(1)
	return n, nil
}

// ReadFromAddrPort receives one datagram with a copy into p; what does not fit
// is lost, as for net.UDPConn.
func (c *PacketConn) ReadFromAddrPort(p []byte) (n int, src netip.AddrPort, err error) {
	var iovs [maxDatagramIovs]Iov
	var msg [1]sockq.Message
	if err := c.q.mayWait(); err != nil {
		return 0, src, c.q.opError("read", err)
	}
	_, k, err := c.rx.Recv(inner(iovs[:]), msg[:])
	if err != nil {
		return 0, src, c.q.opError("read", err)
	}
	for i := range iovs[:k] {
		n += copy(p[n:], iovs[i].Bytes())
	}
	c.q.readBytes.Add(uint64(n))
	_, err = c.q.Release(iovs[:k])
	return n, msg[0].Src, err
}

// maxDatagramIovs is the pieces of the largest datagram, 64 KiB, if it came in
// fragments that fill an Ethernet: in pages of 4 KiB it has 18 at most.
const maxDatagramIovs = 64

// ReadFrom is part of net.PacketConn; see ReadFromAddrPort.
func (c *PacketConn) ReadFrom(p []byte) (int, net.Addr, error) {
	n, src, err := c.ReadFromAddrPort(p)
	if err != nil {
		return 0, nil, err
	}
	return n, net.UDPAddrFromAddrPort(src), nil
}

// Read is ReadFrom without the address.
func (c *PacketConn) Read(p []byte) (int, error) {
	n, _, err := c.ReadFromAddrPort(p)
	return n, err
}

// Arm makes each datagram complete in Queue.Wait, with userData. A completion with
// More whose Res is a negative errno is what RecvFromZC says of ICMP messages; one
// without More is the last, and says why the engine has failed. Close ends it as of a
// Conn. Errors: EBUSY if it is armed already, net.ErrClosed after Close.
func (c *PacketConn) Arm(userData uint64) error {
	err := c.q.arm(&c.rx.Source, userData, c.rx.Closed())
	if err == nil && c.rx.Ready() {
		err = c.q.raise(&c.rx.Source)
	}
	return c.q.opError("arm", err)
}

// Disarm takes Arm back, so that RecvFromZC and the reads can be used again, for the
// datagrams that wait, too. A Wait that runs at the same time may still return one.
func (c *PacketConn) Disarm() { c.rx.Disarm() }

func (c *PacketConn) complete(cqe *Completion, iovs []buf.Iov) (done, again bool) {
	var msg [1]sockq.Message
	ended := c.rx.Ended()
	n, k, more, err := c.rx.Poll(iovs, msg[:])
	var errno syscall.Errno
	switch {
	case ended && err != nil:
		return cqe.last(&c.rx.Source, err), false
	case errors.As(err, &errno):
		cqe.Res = -int(errno)
		return true, more
	case err != nil || n == 0:
		return false, false
	}
	m := &msg[0]
	cqe.Iovs, cqe.Res, cqe.Src, cqe.Dst = cqe.Iovs[:k], m.Len, m.Src, m.Dst
	cqe.UnixNano, cqe.TrafficClass = m.UnixNano, m.TrafficClass
	if m.Truncated {
		cqe.Flags |= Truncated
	}
	return true, more
}
