package user

import (
	"fmt"
	"net/netip"
	"syscall"

	"github.com/zctap/zctap/internal/mono"
	"github.com/zctap/zctap/internal/stack/tcp"
)

// A Host is the kernel, where it has the interface's addresses too: ports are
// taken from it before the engine uses them, so that nobody else does, and what
// is for them has to come to the engine's driver instead.
type Host interface {
	// Listen takes a port for protocol proto (wire.ProtoTCP or ProtoUDP), that of
	// local or, if it is 0, a free one, on local's address; an invalid or
	// unspecified one means all of the versions that network allows. undo gives it
	// back; it does not block. Any goroutine.
	Listen(proto uint8, network string, local netip.AddrPort) (port uint16, undo func(), err error)
	// Dial takes a port for one flow to remote; local may leave out its address
	// or port.
	Dial(proto uint8, local, remote netip.AddrPort) (from netip.AddrPort, undo func(), err error)
	// Join has what is sent to a multicast group, at a UDP port that Listen has taken on
	// all addresses or on the group's, come to the driver, until Leave or the port's
	// undo. Any goroutine, but not the engine's: it may block.
	Join(group netip.AddrPort) error
	// Leave takes Join back. Likewise.
	Leave(group netip.AddrPort) error
}

// A claim is a port that the engine has from the host: until the listener is
// closed, and nothing is left of the connections that it has accepted. A nil
// claim is what an engine without a host has. Engine.
type claim struct {
	undo func()
	refs int
}

func newClaim(undo func()) *claim {
	if undo == nil {
		return nil
	}
	return &claim{undo: undo, refs: 1}
}

func (c *claim) keep() *claim {
	if c != nil {
		c.refs++
	}
	return c
}

func (c *claim) drop() {
	if c == nil {
		return
	}
	if c.refs--; c.refs == 0 {
		c.undo()
	}
}

// takePort takes a port to receive at from the host, if there is one.
func (e *Engine) takePort(proto uint8, network string, local netip.AddrPort) (netip.AddrPort, *claim, error) {
	if e.host == nil {
		return local, nil, nil
	}
	if f := e.failure.Load(); f != nil {
		return local, nil, *f // which says more than what the host would
	}
	port, undo, err := e.host.Listen(proto, network, local)
	if err != nil {
		return local, nil, err
	}
	return netip.AddrPortFrom(local.Addr(), port), newClaim(undo), nil
}

// takeFlow takes a port for a flow to remote from the host, if there is one.
func (e *Engine) takeFlow(proto uint8, local, remote netip.AddrPort) (netip.AddrPort, *claim, error) {
	if e.host == nil {
		return local, nil, nil
	}
	if !remote.IsValid() || remote.Port() == 0 {
		return local, nil, fmt.Errorf("remote address %v: %w", remote, syscall.EADDRNOTAVAIL)
	}
	if f := e.failure.Load(); f != nil {
		return local, nil, *f
	}
	from, undo, err := e.host.Dial(proto, local, remote)
	if err != nil {
		return local, nil, err
	}
	return from, newClaim(undo), nil
}

// hold keeps a claim for as long as the stack has state for t. Engine.
func (c *claim) hold(t *tcp.Conn) {
	if c != nil {
		t.Tag = c
	}
}

// gone is called by the stack when it has forgotten a connection. Engine.
func gone(tag any) {
	if c, ok := tag.(*claim); ok {
		c.drop()
	}
}

// SetPrefixes changes the addresses that the engine answers to. Connections
// from and to one that is taken away stay, and hear nothing any more. Errors as
// of New.
func (e *Engine) SetPrefixes(prefixes []netip.Prefix) (err error) {
	e.do(func(mono.Time) { err = e.stack.SetPrefixes(prefixes) })
	return err
}

// SetMTU changes the MTU of connections and datagrams to come. It can be lowered,
// and raised again to what the driver had at first.
func (e *Engine) SetMTU(mtu int) { e.do(func(mono.Time) { e.stack.SetMTU(mtu) }) }

// Fail ends the engine as an error of its driver does, for something that the
// driver does not see. After a failure or Close it does nothing.
func (e *Engine) Fail(err error) {
	e.do(func(mono.Time) {
		if e.cause == nil {
			e.cause = err
		}
	})
}
