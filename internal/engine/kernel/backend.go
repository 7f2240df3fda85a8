//go:build linux

package kernel

import (
	"fmt"
	"syscall"
	"time"
)

// A backend is how the loop waits for the kernel and receives from it. All
// methods but wake are called on the loop's thread.
type backend interface {
	// attach begins to watch s: a listener's connections are accepted from now
	// on; streams and datagrams wait for receive.
	attach(s *socket) error

	// receive makes payload of s come in: after it was attached, and when it was
	// paused. It goes on until the end of the stream, loop.pause or detach.
	receive(s *socket)

	// armWrite has s.notifyWritable called once s is writable, or has failed.
	armWrite(s *socket)

	// detach ends all that goes on in the kernel for s, and then calls
	// loop.detached, at once or in a later round.
	detach(s *socket)

	// credit is how many more buffers s may take, or has to do without if it is
	// not positive; a connection that is paused goes on when it has some.
	credit(s *socket) int

	// ready is how many buffers there are for paused sockets that go on. Each may take
	// several, and the backend's credit may bound them besides.
	ready() int

	// collect takes in what the application has given back, as far as it
	// concerns the backend.
	collect()

	// hungry reports whether the kernel may lack buffers that the application
	// has: then the loop has to be told when some come back.
	hungry() bool

	// round waits until something happens, for timeout at most (0: does not
	// wait; negative: no limit), and handles it. Its error is final.
	round(timeout time.Duration) error

	// busy reports whether there is work for a round that need not wait.
	busy() bool

	// wake makes a round that waits, or the next one, return. Any goroutine.
	wake()

	// close gives back all that the backend holds. No socket is attached.
	close() error
}

// candidate is a backend to try.
type candidate struct {
	name   string
	reason string // why it runs, if nothing before it was tried
	open   func(*loop) (backend, error)
	more   []func(*loop) (backend, error) // what further loops run beside it, opened one after the other
}

var (
	uringCandidate = candidate{name: BackendURing, reason: "io_uring can do all that it needs", open: openURing}
	readvCandidate = candidate{name: BackendReadv, reason: "asked for", open: openReadv}
)

// choose lists the backends that o allows, best first.
func choose(o Options) ([]candidate, error) {
	switch o.Backend {
	case "":
		return []candidate{uringCandidate, readvCandidate}, nil
	case BackendURing:
		c := uringCandidate
		c.reason = "asked for"
		return []candidate{c}, nil
	case BackendReadv:
		return []candidate{readvCandidate}, nil
	case BackendZCRX:
		c, err := zcrxCandidates(o.ZCRX)
		return []candidate{c}, err
	}
	return nil, fmt.Errorf("kernel: no backend %q, there are %q, %q and %q: %w", o.Backend, BackendURing, BackendReadv, BackendZCRX, syscall.EINVAL)
}
