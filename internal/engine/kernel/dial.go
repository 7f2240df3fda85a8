//go:build linux

package kernel

import (
	"context"
	"net/netip"
	"sync/atomic"

	"github.com/zctap/zctap/internal/engine"
	"github.com/zctap/zctap/internal/ksock"
)

// maxSelfConnects bounds how often a connection that met itself is dialed anew.
const maxSelfConnects = 3

// Dial implements engine.Engine. TCP_NODELAY is on.
func (e *Engine) Dial(ctx context.Context, network string, local, remote netip.AddrPort) (engine.Conn, error) {
	for try := 1; ; try++ {
		c, err := e.dial(ctx, network, local, remote)
		if err != nil {
			return nil, err
		}
		// Dialing a free port of this machine that is in the ephemeral range, the
		// kernel may choose just that port for our end, and the handshake then
		// succeeds as a simultaneous open (RFC 9293, 3.5) with itself.
		self := c.LocalAddr() == c.RemoteAddr() && local.Port() == 0
		if !self || try == maxSelfConnects {
			return c, nil
		}
		c.reset()
	}
}

func (e *Engine) dial(ctx context.Context, network string, local, remote netip.AddrPort) (*conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	sock, err := ksock.Dial(network, local, remote)
	if err != nil {
		return nil, err
	}
	if err := sock.SetCongestion(e.congestion); err != nil {
		sock.Close()
		return nil, err
	}
	l := e.loop.place()
	c := newConn(l, sock)
	if err := l.attach(&c.socket); err != nil {
		l.unplace()
		sock.Close()
		return nil, err
	}
	if err := c.awaitConnected(ctx); err != nil {
		c.reset()
		return nil, err
	}
	if e.steerDials {
		// Without a rule of its own the connection works too: the kernel copies.
		if c.flow, err = e.steering.steer(sock.LocalAddr()); err != nil {
			e.loop.stats.unsteered.Add(1)
		}
	}
	l.post(command{op: opReceive, s: &c.socket})
	return c, nil
}

// awaitConnected waits until the handshake is over, or ctx.
func (c *conn) awaitConnected(ctx context.Context) error {
	c.wmu.Lock()
	defer c.wmu.Unlock()
	var cancelled atomic.Bool
	defer context.AfterFunc(ctx, func() {
		cancelled.Store(true)
		c.notifyWritable()
	})()
	for {
		c.writable.Store(false)
		err := c.sock.Connected()
		if !ksock.IsPending(err) {
			c.writable.Store(true)
			return err
		}
		if cancelled.Load() {
			return ctx.Err()
		}
		if !c.l.streamEdges && !c.l.post(command{op: opArmWrite, s: &c.socket}) {
			return c.l.ended()
		}
		if err := c.writer.Park(); err != nil {
			return c.explain(err)
		}
	}
}
