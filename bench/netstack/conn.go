package netstack

import (
	"bytes"
	"errors"
	"io"
	"syscall"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"

	"github.com/zctap/zctap/internal/mono"
	"github.com/zctap/zctap/test/sim"
)

// conn is a sim.Conn of gVisor's stack.
type conn struct {
	host   *Host
	ep     tcpip.Endpoint
	off    int64 // bytes read
	closed bool  // by the application
	shut   bool  // nothing follows, which a connecting socket can't be told yet
}

// Write is a sim.Conn's.
func (c *conn) Write(p []byte) (int, error) {
	n, err := c.ep.Write(bytes.NewReader(p), tcpip.WriteOptions{})
	c.host.settle()
	return int(n), end(err)
}

// CloseWrite is a sim.Conn's.
func (c *conn) CloseWrite(mono.Time) {
	c.shut = true
	c.tellEnd()
}

// tellEnd does what CloseWrite could not do while the socket was connecting.
func (c *conn) tellEnd() {
	if c.shut && !c.connecting() {
		c.shut = false
		c.ep.Shutdown(tcpip.ShutdownWrite)
		c.host.settle()
	}
}

func (c *conn) connecting() bool {
	switch tcp.EndpointState(c.ep.State()) {
	case tcp.StateInitial, tcp.StateConnecting, tcp.StateSynSent, tcp.StateSynRecv:
		return true
	}
	return false
}

// Read is a sim.Conn's. Nothing is lent, so that there is nothing to keep.
func (c *conn) Read(limit int, _ bool, verify sim.Verify) (int, error) {
	if c.connecting() {
		return 0, nil
	}
	var b bytes.Buffer
	n := 0
	for n < limit {
		r, err := c.ep.Read(&tcpip.LimitedWriter{W: &b, N: int64(limit - n)}, tcpip.ReadOptions{})
		n += r.Count
		if err != nil {
			if n > 0 {
				break
			}
			return 0, end(err)
		}
	}
	c.ep.ModerateRecvBuf(n)
	c.host.settle()
	err := verify(c.off, b.Bytes())
	c.off += int64(n)
	return n, err
}

// open reports whether the stack has a state other than CLOSED for the connection.
func (c *conn) open() bool {
	s := tcp.EndpointState(c.ep.State())
	return s != tcp.StateClose && s != tcp.StateError
}

// Release is a sim.Conn's.
func (c *conn) Release(sim.Verify) error { return nil }

// Close is a sim.Conn's.
func (c *conn) Close(mono.Time) error {
	c.closed = true
	c.ep.Close()
	c.host.settle()
	return nil
}

// Abort is a sim.Conn's.
func (c *conn) Abort(mono.Time) error {
	c.closed = true
	c.ep.Abort()
	c.host.settle()
	return nil
}

// end is what an error of gVisor's is to an application; nil if it is only that
// there is nothing now.
func end(err tcpip.Error) error {
	switch err.(type) {
	case nil, *tcpip.ErrWouldBlock, *tcpip.ErrNotConnected:
		return nil
	case *tcpip.ErrClosedForReceive:
		return io.EOF
	case *tcpip.ErrConnectionReset, *tcpip.ErrConnectionAborted:
		return syscall.ECONNRESET
	case *tcpip.ErrTimeout:
		return syscall.ETIMEDOUT
	}
	return errors.New(err.String())
}
