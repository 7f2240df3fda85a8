package sim

import (
	"net/netip"

	"github.com/zctap/zctap/internal/mono"
)

// A Host is a stack at one end of the path. Nothing in it runs but what is called.
type Host interface {
	// Round is one round of an engine's loop: it receives, runs the timers that
	// are due, and sends. busy says that frames came, or went.
	Round(now mono.Time) (busy bool, err error)

	// Next is when a timer is due, 0 if none runs. Call it after Round.
	Next() mono.Time

	// Listen has accept be told of connections to port, of either IP version.
	Listen(port uint16, accept func(Conn)) error

	// Dial begins to connect.
	Dial(now mono.Time, remote netip.AddrPort) (Conn, error)

	// Conns is the connections that there is state for.
	Conns() int

	// Check says what is wrong between two rounds: with the account of the
	// buffers, above all.
	Check() error

	// Close ends the host. Its error says what was left behind.
	Close() error
}

// A Conn is an application's end of a connection. No method waits.
type Conn interface {
	// Write takes as much of p as there is room for; none before the connection
	// is established. The error is the connection's end.
	Write(p []byte) (int, error)

	// CloseWrite says that nothing follows.
	CloseWrite(now mono.Time)

	// Read passes up to limit bytes to verify, each piece with its place in the
	// stream, and returns how many there were. With keep the memory of the
	// pieces is not given back before Release, if the host is one that lends
	// memory. Without any bytes, the error is the connection's end: io.EOF if it
	// is an orderly one.
	Read(limit int, keep bool, verify Verify) (n int, err error)

	// Release gives back what Read kept, after verify has seen it again.
	Release(verify Verify) error

	// Close gives up both directions, in an orderly way if nothing is left to
	// read; Abort resets the connection. Both release what Read kept.
	Close(now mono.Time) error
	Abort(now mono.Time) error
}

// Verify compares received bytes with what they should be at off.
type Verify func(off int64, b []byte) error
