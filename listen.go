package zctap

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/zctap/zctap/internal/engine"
	"github.com/zctap/zctap/internal/sockq"
)

// defaultBacklog is the number of connections that may wait to be accepted, as
// the kernel's default somaxconn.
const defaultBacklog = 4096

// A Listener accepts TCP connections of a queue. It is a net.Listener, so that
// net/http and others serve over it.
type Listener struct {
	q  *Queue
	l  engine.Listener
	bl *sockq.Backlog[engine.Conn]

	closed atomic.Bool
}

var _ net.Listener = (*Listener)(nil)

// Listen listens on the queue. network is "tcp", "tcp4" or "tcp6"; address is
// as for net.Listen, ":9000" for all addresses: those of the interface with engine User,
// those of the machine with Copy and ZCRX, whatever Config.Interface is. Errors:
// EADDRINUSE, EADDRNOTAVAIL, EACCES for a port that needs a privilege, EAFNOSUPPORT,
// net.ErrClosed, net.UnknownNetworkError.
func (q *Queue) Listen(network, address string) (*Listener, error) {
	l, err := q.listen(network, address)
	return l, q.opError("listen", err)
}

func (q *Queue) listen(network, address string) (*Listener, error) {
	if err := errors.Join(isStream(network), q.mayWait()); err != nil {
		return nil, err
	}
	addrs, err := resolve(context.Background(), network, address)
	if err != nil {
		return nil, err
	}
	l, err := q.engine.Listen(network, addrs[0], defaultBacklog)
	if err != nil {
		return nil, q.bindError(network, addrs[0], err)
	}
	ln := &Listener{q: q, l: l, bl: l.Backlog()}
	ln.bl.Owner = ln
	return ln, nil
}

// AcceptZC waits for a connection. Errors: net.ErrClosed after Close,
// os.ErrDeadlineExceeded, EBUSY while armed, and what the engine failed with.
func (l *Listener) AcceptZC() (*Conn, error) {
	if err := l.q.mayWait(); err != nil {
		return nil, l.q.opError("accept", err)
	}
	c, err := l.bl.Accept()
	if err != nil {
		return nil, l.q.opError("accept", err)
	}
	return newConn(l.q, c), nil
}

// Accept is AcceptZC for those who want a net.Conn; it is a *Conn.
func (l *Listener) Accept() (net.Conn, error) {
	c, err := l.AcceptZC()
	if err != nil {
		return nil, err // not c: a nil *Conn in an interface is not nil
	}
	return c, nil
}

// Arm makes every accepted connection complete in Queue.Wait, with userData, until a
// completion without More: the last, whose Res says why the engine has failed. Close ends
// it as of a Conn. Errors: EBUSY if it is armed already, net.ErrClosed after Close.
func (l *Listener) Arm(userData uint64) error {
	err := l.q.arm(&l.bl.Source, userData, l.bl.Closed())
	if err == nil && l.bl.Ready() {
		err = l.q.raise(&l.bl.Source)
	}
	return l.q.opError("arm", err)
}

// Disarm takes Arm back, so that Accept and AcceptZC can be used again, for the connections
// that wait, too. A Wait that runs at the same time may still return one.
func (l *Listener) Disarm() { l.bl.Disarm() }

func (l *Listener) complete(cqe *Completion) (done, again bool) {
	c, ok, more, err := l.bl.Poll()
	switch {
	case err != nil:
		return cqe.last(&l.bl.Source, err), false
	case !ok:
		return false, false
	}
	cqe.Conn = newConn(l.q, c)
	return true, more
}

// SetDeadline makes Accept fail with os.ErrDeadlineExceeded from t on; the zero
// time means never. net.ErrClosed after Close.
func (l *Listener) SetDeadline(t time.Time) error {
	if l.bl.Closed() {
		return l.q.opError("set", net.ErrClosed)
	}
	l.bl.SetDeadline(t)
	return nil
}

// Addr is a *net.TCPAddr.
func (l *Listener) Addr() net.Addr { return net.TCPAddrFromAddrPort(l.l.Addr()) }

// Close stops listening. Connections that were not accepted are reset.
func (l *Listener) Close() error {
	if l.closed.Swap(true) {
		// Not when the first call is done: that may wait for the engine, on whose
		// thread this may be (Queue.Handle).
		return l.q.opError("close", net.ErrClosed)
	}
	l.bl.Close()
	return l.q.opError("close", l.l.Close())
}

// Dial connects to address on network "tcp", "tcp4" or "tcp6"; see DialContext.
func (q *Queue) Dial(network, address string) (*Conn, error) {
	return q.DialContext(context.Background(), network, address)
}

// DialContext is Dial with a context; when it ends before the connection is
// there the attempt is given up. Of several addresses of a name the first that
// answers is taken, tried in order. The address has to name a host, unlike net.Dial's.
// Errors: ECONNREFUSED, ETIMEDOUT, EHOSTUNREACH and the like, EDESTADDRREQ without a host,
// ctx's, net.ErrClosed.
//
// As the DialContext of an http.Transport, or of gRPC, it needs a function around it that
// returns a net.Conn, and nil with an error: see the example of OpenPair.
func (q *Queue) DialContext(ctx context.Context, network, address string) (*Conn, error) {
	c, err := q.dial(ctx, network, address)
	return c, q.opError("dial", err)
}

func (q *Queue) dial(ctx context.Context, network, address string) (*Conn, error) {
	if err := errors.Join(isStream(network), q.mayWait()); err != nil {
		return nil, err
	}
	addrs, err := resolveRemote(ctx, network, address)
	if err != nil {
		return nil, err
	}
	for _, a := range addrs {
		var c engine.Conn
		if c, err = q.engine.Dial(ctx, network, netip.AddrPort{}, a); err == nil {
			return newConn(q, c), nil
		}
		err = addressError(network, a, err)
		if ctx.Err() != nil {
			break
		}
	}
	return nil, err
}
