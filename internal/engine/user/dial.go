package user

import (
	"context"
	"net/netip"

	"github.com/zctap/zctap/internal/engine"
	"github.com/zctap/zctap/internal/mono"
	"github.com/zctap/zctap/internal/stack/tcp"
	"github.com/zctap/zctap/internal/wire"
)

// dialing is one Dial under way.
type dialing struct {
	engine *Engine
	tcp    *tcp.Conn     // the engine's
	claim  *claim        // of the local port
	conn   *Conn         // set by the engine before done
	err    error         // likewise
	done   chan struct{} // closed by the engine
}

// Dial connects; see engine.Engine.
func (e *Engine) Dial(ctx context.Context, network string, local, remote netip.AddrPort) (engine.Conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	local, claim, err := e.takeFlow(wire.ProtoTCP, local, remote)
	if err != nil {
		return nil, err
	}
	d := &dialing{engine: e, claim: claim, done: make(chan struct{})}
	e.do(func(now mono.Time) { d.begin(now, network, local, remote) })
	select {
	case <-d.done:
	case <-ctx.Done():
		e.do(d.cancel)
		return nil, ctx.Err()
	}
	if d.err != nil {
		return nil, e.explain(d.err, false)
	}
	return d.conn, nil
}

// begin has the stack send a SYN. Engine.
func (d *dialing) begin(now mono.Time, network string, local, remote netip.AddrPort) {
	if d.engine.cause != nil {
		d.claim.drop()
		d.end(d.engine.cause)
		return
	}
	t, err := d.engine.stack.Dial(now, network, local, remote)
	if err != nil {
		d.claim.drop()
		d.end(err)
		return
	}
	d.claim.hold(t)
	d.tcp = t
	t.OnConnect = d.end
}

// end tells Dial how it came out. Engine.
func (d *dialing) end(err error) {
	if err == nil {
		d.conn = d.engine.newConn(d.tcp)
	}
	d.err = err
	close(d.done)
}

// cancel leaves nothing of the connection, as far as it got. Engine.
func (d *dialing) cancel(now mono.Time) {
	switch {
	case d.conn != nil:
		d.conn.shut()
		d.conn.abort(now)
	case d.err == nil:
		d.tcp.Abort(now)
	}
}
