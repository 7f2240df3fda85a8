package sim

import (
	"fmt"

	"github.com/zctap/zctap/internal/buf"
	"github.com/zctap/zctap/internal/mono"
	"github.com/zctap/zctap/internal/stack/tcp"
)

// localConn is a connection of our stack.
type localConn struct {
	host   *Local
	tcp    *tcp.Conn
	failed error // why it could not be established

	off  int64 // bytes read
	kept []kept
	iovs [64]buf.Iov
}

// kept is a view that the application has not given back.
type kept struct {
	off int64
	iov buf.Iov
}

func (c *localConn) Write(p []byte) (int, error) {
	if c.tcp.Send == nil {
		return 0, c.failed
	}
	if c.tcp.Send.Notify == nil {
		c.tcp.Send.Notify = c.tcp.Kick
	}
	return c.tcp.Send.TryWrite(p)
}

func (c *localConn) CloseWrite(now mono.Time) { c.tcp.CloseWrite(now) }

func (c *localConn) Read(limit int, keep bool, verify Verify) (int, error) {
	if c.tcp.Recv == nil {
		return 0, c.failed
	}
	n, bytes, _, err := c.tcp.Recv.Poll(c.iovs[:], limit)
	c.host.lent += n
	for i := range c.iovs[:n] {
		k := kept{off: c.off, iov: c.iovs[i]}
		c.iovs[i] = buf.Iov{}
		c.kept = append(c.kept, k)
		c.off += int64(len(k.iov.Bytes()))
		if e := verify(k.off, k.iov.Bytes()); e != nil {
			return bytes, e
		}
	}
	if !keep || err != nil {
		if e := c.Release(verify); e != nil {
			return bytes, e
		}
	}
	return bytes, err
}

func (c *localConn) Release(verify Verify) error {
	for i := range c.kept {
		k := &c.kept[i]
		if err := verify(k.off, k.iov.Bytes()); err != nil {
			return fmt.Errorf("in a view that was not given back: %w", err)
		}
		one := []buf.Iov{k.iov}
		if n, err := c.host.Pool.Return(one); n != 1 || err != nil {
			return fmt.Errorf("giving back a view: %d, %w", n, err)
		}
		c.host.lent--
	}
	c.kept = c.kept[:0]
	return nil
}

func (c *localConn) Close(now mono.Time) error {
	err := c.Release(ignore)
	c.shut()
	c.tcp.Close(now)
	return err
}

func (c *localConn) Abort(now mono.Time) error {
	err := c.Release(ignore)
	c.shut()
	c.tcp.Abort(now)
	if c.tcp.Recv != nil {
		c.tcp.Recv.Drain()
	}
	return err
}

// shut makes every later call of the application fail.
func (c *localConn) shut() {
	if c.tcp.Recv != nil {
		c.tcp.Send.Close()
		c.tcp.Recv.Close()
	}
}

func ignore(int64, []byte) error { return nil }
