package zctap

import (
	"fmt"
	"math"
	"net"
	"net/netip"
	"syscall"
	"time"

	"github.com/zctap/zctap/internal/buf"
	"github.com/zctap/zctap/internal/sockq"
)

// CompletionFlags say more about a Completion.
type CompletionFlags uint8

// The flags of a completion.
const (
	// More: the source stays armed, further completions follow
	// (IORING_CQE_F_MORE). Without it this was the source's last.
	More CompletionFlags = 1 << iota
	// NonEmpty: the source has more to give now; Wait brings it
	// (IORING_CQE_F_SOCK_NONEMPTY).
	NonEmpty
	// Notif: not data but a notice of the queue's fill ring: Res is the number
	// of entries that were drained from it (RFC v3, IORING_CQE_F_NOTIF).
	Notif
	// Empty, with Notif: an allocation found no free buffer. Once for each
	// episode.
	Empty
	// Truncated: a datagram was longer than what Iovs or the engine could hold.
	Truncated
)

// A Completion is one result of something armed.
type Completion struct {
	// UserData is what Arm was given.
	UserData uint64
	// Res is the number of payload bytes, of a datagram as many as were sent, also of
	// one that is cut; 0 for the end of a stream; a negative errno for a failure (EIO for
	// one that has none). For an accept it is 0, and for a notice the number of fill ring
	// entries drained.
	Res   int
	Flags CompletionFlags
	// Iovs is the payload, the application's until Release. Wait fills the
	// memory that is there, up to its capacity: pass the same Completions again
	// and nothing is allocated. Without any it allocates 16. Who keeps the payload beyond
	// the next Wait copies the Iovs, or sets Iovs to nil before it.
	Iovs []Iov
	// Conn is an accepted connection, the application's to close.
	Conn *Conn
	// Src, Dst, UnixNano and TrafficClass are a datagram's; see Datagram.
	Src, Dst     netip.AddrPort
	UnixNano     int64
	TrafficClass uint8
}

// Err is the failure that Res stands for, or nil.
func (c *Completion) Err() error {
	if c.Res >= 0 {
		return nil
	}
	return syscall.Errno(-c.Res)
}

// defaultIovs is the number of iovs of a completion that came with none.
const defaultIovs = 16

// Arm submits a multishot receive: from now on what arrives completes in
// Queue.Wait, with userData, until a completion without More. That one is the
// last: Res 0 at the peer's end, else an error. Close ends it without such a completion,
// unless a Wait that runs at the same time returns one (EBADF): what belongs to userData
// can be given up with Close, if no Wait is under way. Errors: EBUSY if it is armed
// already, net.ErrClosed after Close.
func (c *Conn) Arm(userData uint64) error {
	err := c.q.arm(&c.rx.Source, userData, c.rx.Closed())
	if err == nil && (c.rx.Frags() > 0 || c.rx.Ended()) {
		err = c.q.raise(&c.rx.Source)
	}
	return c.q.opError("arm", err)
}

// Disarm takes Arm back, without a last completion, so that RecvZC and Read can
// be used again. A Wait that runs at the same time may still return one.
func (c *Conn) Disarm() { c.rx.Disarm() }

func (q *Queue) arm(s *sockq.Source, userData uint64, closed bool) error {
	switch {
	case closed:
		return net.ErrClosed
	case s.Armed():
		return fmt.Errorf("it is armed already: %w", syscall.EBUSY)
	}
	s.Arm(q.cq, userData)
	return nil
}

// raise is for what was there before it was armed. Its error is why the engine has failed,
// if there is a handler, which nobody calls then.
func (q *Queue) raise(s *sockq.Source) error {
	s.Raise()
	q.cq.Nudge()
	if why := q.cq.Failure(); why != nil && q.cq.Handled() && s.Disarm() {
		return why
	}
	return nil
}

// ArmNotices makes Wait also return notices of the fill ring, with userData:
// one at a time, while counts accumulate. They tell of what happens from now on. Errors:
// EBUSY if they are armed already, net.ErrClosed after Close.
func (q *Queue) ArmNotices(userData uint64) error {
	if err := q.arm(&q.notices, userData, q.closed.Load()); err != nil {
		return q.opError("arm", err)
	}
	// What was not taken before DisarmNotices would keep the next one from being told.
	q.pool.TakeNotice()
	q.pool.OnNotice(func() {
		q.notices.Raise()
		q.cq.Nudge()
	})
	return nil
}

// DisarmNotices takes ArmNotices back. A Wait that runs at the same time may still return
// a notice.
func (q *Queue) DisarmNotices() {
	// In this order: who arms them at the same time gets EBUSY, or all of it.
	q.pool.OnNotice(nil)
	q.notices.Disarm()
}

// Wait fills cqes with completions of everything that is armed on the queue,
// and returns how many; it blocks until there is one. Meant for one goroutine;
// several take turns. An empty cqes is EINVAL. net.ErrClosed after Close,
// os.ErrDeadlineExceeded from the wait deadline on, EBUSY while there is a handler
// (Handle). If the engine fails what is armed gets its last completion, and then Wait fails
// with the reason.
func (q *Queue) Wait(cqes []Completion) (n int, err error) {
	if len(cqes) == 0 {
		return 0, q.opError("wait", errNoRoom)
	}
	if err := q.mayWait(); err != nil {
		return 0, q.opError("wait", err)
	}
	for n == 0 {
		err := q.cq.Next(func(s *sockq.Source) (again, more bool) {
			done, again := q.complete(s, &cqes[n])
			if done {
				n++
			}
			return again, n < len(cqes)
		})
		if err == syscall.EBUSY {
			err = errHandled
		}
		if err != nil {
			return 0, q.opError("wait", err)
		}
	}
	q.recvCalls.Add(1)
	return n, nil
}

// SetWaitDeadline makes Wait fail with os.ErrDeadlineExceeded from t on; the
// zero time means never.
func (q *Queue) SetWaitDeadline(t time.Time) { q.cq.SetDeadline(t) }

// complete fills c with one result of s, if s has one (done); again says that s
// has more.
func (q *Queue) complete(s *sockq.Source, c *Completion) (done, again bool) {
	if !s.Armed() {
		return false, false
	}
	iovs := c.Iovs[:cap(c.Iovs)]
	if len(iovs) == 0 {
		iovs = make([]Iov, defaultIovs)
	}
	*c = Completion{UserData: s.UserData(), Iovs: iovs[:0], Flags: More}
	switch o := s.Owner.(type) {
	case *Conn:
		done, again = o.complete(c, inner(iovs))
	case *Listener:
		done, again = o.complete(c)
	case *PacketConn:
		done, again = o.complete(c, inner(iovs))
	case *Queue:
		var n buf.Notice
		n, done = q.pool.TakeNotice()
		c.Res, c.Flags = int(n.Drained), More|Notif
		if n.Empty {
			c.Flags |= Empty
		}
	}
	if again {
		c.Flags |= NonEmpty
	}
	return done, again
}

func (c *Conn) complete(cqe *Completion, iovs []buf.Iov) (done, again bool) {
	n, bytes, more, err := c.rx.Poll(iovs, math.MaxInt)
	switch {
	case n > 0:
		cqe.Iovs, cqe.Res = cqe.Iovs[:n], bytes
		return true, more
	case err != nil:
		return cqe.last(&c.rx.Source, err), false
	}
	return false, more
}

// last fills in the completion of an end, and disarms s: exactly one says so.
func (c *Completion) last(s *sockq.Source, err error) bool {
	if !s.Disarm() {
		return false
	}
	c.Res, c.Flags = errnoOf(err), 0
	return true
}
