package zctap

import (
	"encoding/json"
	"net"
	"sync"
	"sync/atomic"

	"github.com/zctap/zctap/internal/buf"
	"github.com/zctap/zctap/internal/engine"
	"github.com/zctap/zctap/internal/ifq"
	"github.com/zctap/zctap/internal/sockq"
)

// A Queue is an interface queue, the RFC's ifq: a region of the application's
// memory, a fill ring by which the application gives buffers back, and the
// engine that receives into the region. Its methods may be called from several
// goroutines.
type Queue struct {
	iface   string
	rxQueue int
	why     []Reason

	ifq    *ifq.Queue
	pool   *buf.Pool
	engine engine.Engine
	cq     *sockq.CQ

	notices   sockq.Source // the fill ring's notices
	recvCalls atomic.Uint64
	readBytes atomic.Uint64

	closed    atomic.Bool
	closeOnce sync.Once
}

// A Reason says why an engine was passed over.
type Reason struct {
	Engine string // its name, such as ZCRX
	Err    error  // the obstacle
}

// String is "engine: reason".
func (r Reason) String() string { return r.Engine + ": " + r.Err.Error() }

// MarshalJSON is {"engine": ..., "reason": ...}, for logs: an error by itself has no
// fields to encode.
func (r Reason) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Engine string `json:"engine"`
		Reason string `json:"reason"`
	}{r.Engine, r.Err.Error()})
}

// Engine is the name of the engine that was chosen: "zcrx", "user" or "copy".
func (q *Queue) Engine() string { return q.engine.Name() }

// Why lists the engines that Auto passed over, in its order, and the reasons.
// Empty when the first one works, or the engine was asked for by name.
func (q *Queue) Why() []Reason { return append([]Reason(nil), q.why...) }

// XDPMode says how frames get into the region if the queue receives by AF_XDP:
// XDPZeroCopy, XDPCopy or XDPGeneric, as it is, not as it was asked for; "" if it
// does not receive so, or is closed. why is the reason why it is not one that comes
// earlier in this list, if XDPConfig.Mode left the choice, or nil. Over veth the mode
// may change with the first UDP socket; see XDPConfig.
func (q *Queue) XDPMode() (mode string, why error) {
	if e, ok := q.engine.(interface{ XDPMode() (string, error) }); ok {
		return e.XDPMode()
	}
	return "", nil
}

// CopyMode says how engine Copy receives: "uring" is by io_uring, "readv" by plain system
// calls, of which it makes more, and which don't let datagrams gather; "" is another
// engine. why is the reason why it is not io_uring, such as a container's seccomp filter,
// or nil.
func (q *Queue) CopyMode() (mode string, why error) {
	if e, ok := q.engine.(interface{ CopyMode() (string, error) }); ok {
		return e.CopyMode()
	}
	return "", nil
}

// Region is the memory that payload lands in, all buffers of it. What may be
// read of it is what Iovs name.
func (q *Queue) Region() []byte { return q.pool.Region().Memory() }

// Release gives iovs back: each drops the reference that it held, and a buffer
// that nobody refers to any more goes into the fill ring, to be received into
// again. Released Iovs are zeroed. Iovs of several connections of the queue may
// be mixed, in any order and from any goroutine, also after Close.
//
// An Iov that was released before, is of another queue, or is the zero Iov is
// refused and left as it is: it changes nothing, and the others are released.
// n counts those; err is of the first refused one, EINVAL to errors.Is. Builds
// with the tag invariants panic instead, showing both releases.
func (q *Queue) Release(iovs []Iov) (n int, err error) {
	if q.cq.Handling() {
		n, err = q.pool.ReturnHere(inner(iovs))
	} else {
		n, err = q.pool.Return(inner(iovs))
	}
	return n, q.opError("release", err)
}

// Close resets the queue's connections, closes its sockets and the engine, and
// waits (Config.CloseTimeout) until the driver and the stack hold no buffer.
// Every blocked call returns net.ErrClosed. Iovs that are out stay valid and
// are to be released still; the region is unmapped with the last one. To let
// connections finish, close the listeners and wait for their readers before.
//
// Errors are of the closing itself: EBUSY if buffers are missing after Config.CloseTimeout,
// net.ErrClosed for every call but the first, EDEADLK in a handler (Queue.Handle), and what
// putting the interface back as it was has failed with. A failure that had ended the engine
// before, such as that of an interface that is gone, is not told once more: Close of a
// queue is as Close of a connection that was reset. Wait and all other calls tell it.
func (q *Queue) Close() error {
	if err := q.mayWait(); err != nil {
		return q.opError("close", err)
	}
	err := error(net.ErrClosed)
	q.closeOnce.Do(func() {
		q.closed.Store(true)
		q.cq.Close()
		err = q.ifq.Close()
	})
	return q.opError("close", err)
}

// Leaked is the number of buffers that somebody still holds. After Close, and
// after everything was released, a number other than 0 is a leak. While the queue is
// open the driver holds some, too.
func (q *Queue) Leaked() int { return q.pool.Region().Count() - q.free() }

// free is the number of buffers that nobody holds; those with the NIC count.
func (q *Queue) free() int { return q.pool.Free() + q.pool.FreeLent() }
