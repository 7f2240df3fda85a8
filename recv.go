package zctap

import "math"

// RecvZC receives without a copy: it fills iovs with views of payload where it
// landed, in stream order, and returns how many. It blocks until there is
// some; then it takes what is there. An empty iovs is EINVAL.
//
// The Iovs are the caller's until Queue.Release, which any goroutine may call.
// Keeping them is keeping buffers of the region: when a connection keeps more
// than its share its TCP window closes, and the others go on.
//
// The error comes when no payload is left, and then every time: io.EOF after
// the peer's orderly end, ECONNRESET, os.ErrDeadlineExceeded, net.ErrClosed.
// EBUSY while the connection is armed, EDEADLK in a handler (Queue.Handle).
func (c *Conn) RecvZC(iovs []Iov) (n int, err error) { return c.RecvZCMax(iovs, math.MaxInt) }

// RecvZCMax is RecvZC with a bound on the bytes of all iovs together, the RFC's
// read length: a fragment that does not fit is cut there, and its rest comes
// with the next call, as an Iov of the same buffer. A bound under 1 is EINVAL.
func (c *Conn) RecvZCMax(iovs []Iov, limit int) (n int, err error) {
	if err = c.q.mayWait(); err == nil {
		n, err = c.rx.Recv(inner(iovs), limit)
	}
	if err != nil {
		return 0, c.q.opError("recv", noRoom(err, len(iovs) == 0 || limit < 1))
	}
	c.q.recvCalls.Add(1)
	return n, nil
}

// Read receives with a copy, as every net.Conn. It may be mixed with RecvZC;
// Iovs that are out stay valid.
func (c *Conn) Read(p []byte) (int, error) {
	if err := c.q.mayWait(); err != nil {
		return 0, c.q.opError("read", err)
	}
	n, err := c.rx.Read(p)
	c.q.readBytes.Add(uint64(n))
	return n, c.q.opError("read", err)
}

// Buffered is the number of bytes that wait to be received: what RecvZC and Read would
// return now. If it stays high, this is a connection whose reader does not keep up. Any
// goroutine may ask, whether the connection is armed or not.
func (c *Conn) Buffered() int { return c.rx.Buffered() }
