package user

import (
	"net/netip"
	"sync/atomic"

	"github.com/zctap/zctap/internal/engine"
	"github.com/zctap/zctap/internal/mono"
	"github.com/zctap/zctap/internal/sockq"
	"github.com/zctap/zctap/internal/stack"
	"github.com/zctap/zctap/internal/stack/tcp"
	"github.com/zctap/zctap/internal/wire"
)

// defaultBacklog is Linux's net.core.somaxconn.
const defaultBacklog = 4096

// A Listener is a listening socket.
type Listener struct {
	engine   *Engine
	listener *stack.Listener // the engine's, but for Addr
	backlog  *sockq.Backlog[engine.Conn]
	claim    *claim      // of the port; the engine's
	closed   atomic.Bool // by the application
}

var _ engine.Listener = (*Listener)(nil)

// Listen listens; see engine.Engine. backlog is how many complete connections
// may wait to be accepted; below 1: 4,096.
func (e *Engine) Listen(network string, addr netip.AddrPort, backlog int) (engine.Listener, error) {
	if backlog < 1 {
		backlog = defaultBacklog
	}
	addr, claim, err := e.takePort(wire.ProtoTCP, network, addr)
	if err != nil {
		return nil, err
	}
	l := &Listener{engine: e, claim: claim, backlog: sockq.NewBacklog[engine.Conn]()}
	full := func() bool { return l.backlog.Len() >= backlog }
	e.do(func(mono.Time) {
		if err = e.cause; err == nil {
			l.listener, err = e.stack.Listen(network, addr, full, l.accept)
		}
		if err != nil {
			claim.drop()
			return
		}
		e.listeners[l] = struct{}{}
	})
	if err != nil {
		return nil, err
	}
	return l, nil
}

// accept takes a connection whose handshake is complete. Engine.
func (l *Listener) accept(t *tcp.Conn) {
	l.claim.keep().hold(t)
	l.backlog.Push(l.engine.newConn(t))
}

// Backlog is where complete connections are.
func (l *Listener) Backlog() *sockq.Backlog[engine.Conn] { return l.backlog }

// Addr is where the listener listens.
func (l *Listener) Addr() netip.AddrPort { return l.listener.Addr() }

// Close stops listening and resets what was not accepted. When it returns the
// address is free again.
func (l *Listener) Close() error {
	if l.closed.Swap(true) {
		return nil
	}
	l.engine.do(l.stop)
	return nil
}

// stop is Close's part for the engine, which needs it for itself, too.
func (l *Listener) stop(now mono.Time) {
	if _, open := l.engine.listeners[l]; !open {
		return
	}
	delete(l.engine.listeners, l)
	l.listener.Close()
	l.claim.drop()
	l.backlog.Close()
	l.backlog.Drain(func(c engine.Conn) {
		u := c.(*Conn)
		u.shut()
		u.abort(now)
	})
}
