package user

import (
	"errors"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"

	"github.com/zctap/zctap/internal/buf"
	"github.com/zctap/zctap/internal/driver"
	"github.com/zctap/zctap/internal/mono"
)

var errUnplugged = errors.New("the interface is gone")

// A pluggable is a driver whose wire can go away.
type pluggable struct {
	driver.Driver
	gone atomic.Bool
}

func (p *pluggable) Poll(now mono.Time, b *driver.Batch) error {
	if p.gone.Load() {
		b.Reset()
		return errUnplugged
	}
	return p.Driver.Poll(now, b)
}

func (p *pluggable) Send(now mono.Time, f []driver.TxFrame) (int, error) {
	if p.gone.Load() {
		return 0, errUnplugged
	}
	return p.Driver.Send(now, f)
}

func (p *pluggable) unplug() {
	p.gone.Store(true)
	p.Wake()
}

func plug(d driver.Driver, _ *buf.Pool) driver.Driver { return &pluggable{Driver: d} }

// TestDriverFailure: when the driver fails everything ends with its error,
// nothing hangs, and Close still gives all back.
func TestDriverFailure(t *testing.T) {
	a, b := newHosts(t, options{maxHeld: 100, wrap: plug})
	conn, packet, accept, dial, views := blocked(t, a, b)
	unread, server := connect(t, a, b)
	if _, err := server.Write([]byte("unread")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is there", func() bool { return unread.Queue().Buffered() == 6 })
	a.wire.(*pluggable).unplug()
	wantError(t, "Recv or Write", conn, errUnplugged)
	wantError(t, "Recv or Write", conn, errUnplugged)
	wantError(t, "Recv of datagrams", packet, errUnplugged)
	wantError(t, "Accept", accept, errUnplugged)
	wantError(t, "Dial", dial, errUnplugged)
	wantLater(t, a, errUnplugged)

	// What was received before can still be read.
	if got, err := readAll(unread); string(got) != "unread" || !errors.Is(err, errUnplugged) {
		t.Errorf("%q, %v", got, err)
	}
	closeConn(t, unread)
	closeConn(t, server)
	if _, err := a.pool.Return(views()); err != nil {
		t.Error(err)
	}
	if err := a.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	wantLater(t, a, net.ErrClosed)
}

// TestFailureWithUnreadData: Close of an engine that failed takes back what the
// application did not take.
func TestFailureWithUnreadData(t *testing.T) {
	a, b := newHosts(t, options{wrap: plug})
	client, server := connect(t, a, b)
	p, err := a.ListenPacket("udp", netip.AddrPortFrom(a.addr, 7), netip.AddrPort{})
	if err != nil {
		t.Fatal(err)
	}
	q, err := b.ListenPacket("udp", netip.AddrPort{}, p.LocalAddr())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := q.WriteTo([]byte("datagram"), netip.AddrPort{}); err != nil {
		t.Fatal(err)
	}
	if _, err := server.Write(make([]byte, 100<<10)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is there", func() bool { return client.Queue().Buffered() == 100<<10 && p.Queue().Len() == 1 })
	a.wire.(*pluggable).unplug()
	eventually(t, "the engine has failed", func() bool { return a.Err() != nil })
	if _, err := p.WriteTo([]byte("x"), netip.AddrPortFrom(b.addr, 9)); !errors.Is(err, errUnplugged) {
		t.Errorf("WriteTo: %v", err)
	}
	if err := a.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	if c, err := a.pool.Census(); err != nil || c.Out() != 0 {
		t.Errorf("census %+v, %v", c, err)
	}
	closeConn(t, server)
	if err := q.Close(); err != nil {
		t.Error(err)
	}
}
