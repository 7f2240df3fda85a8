package user

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/zctap/zctap/internal/buf"
	"github.com/zctap/zctap/internal/driver"
	"github.com/zctap/zctap/internal/engine"
	"github.com/zctap/zctap/internal/mono"
	"github.com/zctap/zctap/internal/park"
	"github.com/zctap/zctap/internal/sockq"
	"github.com/zctap/zctap/internal/stack"
	"github.com/zctap/zctap/internal/stack/tcp"
)

// Options are what this engine needs beyond what all engines do.
type Options struct {
	// Driver is the wire. It belongs to the engine from New's success on, and is
	// closed by it.
	Driver driver.Driver
	// Prefixes are the addresses that the engine answers to, with the networks
	// that they are in.
	Prefixes []netip.Prefix
	// TimeWait is how long a closed connection's ends are kept (2 MSL); 0: 60 s.
	TimeWait time.Duration
	// Host is who shares the addresses with the engine; nil: nobody.
	Host Host
	// Confirm, if not nil, is told on the engine's goroutine of peers that what is
	// sent to them arrives, about once a second for each TCP connection that makes
	// progress. It must not block.
	Confirm func(peer netip.Addr)
	// Stats, if not nil, adds what the driver can tell beyond driver.Stats. It is
	// called on the engine's goroutine, or when that has ended with the engine's
	// lock held; after the driver's Close, too.
	Stats func(*engine.Stats)
}

// Engine is an engine.Engine over a driver.
type Engine struct {
	config engine.Config
	driver driver.Driver
	host   Host
	pool   *buf.Pool
	more   func(*engine.Stats) // Options.Stats

	thread sockq.Thread // the loop's

	// The loop's, and after its end of whoever holds after.
	stack       *stack.Stack
	batch       *driver.Batch
	wakes       sockq.Wakes        // of those who block on a connection
	wakeSince   mono.Time          // when the first of them came in; 0: not known
	conns       map[*Conn]struct{} // not yet given up by the application
	listeners   map[*Listener]struct{}
	packets     map[*PacketConn]struct{}
	cause       error        // why it does not run: net.ErrClosed, or what went wrong
	driverStats driver.Stats // taken when the driver was closed
	rounds      rounds
	overrun     bool // a socket was full in this round
	gathering   gathering
	streaming   streaming
	epochAt     mono.Time // when the stack was last told the time on the wall

	commands commandQueue
	nothing  command     // to go round once more
	doze     park.Doze   // the loop's sleep, and who wakes it
	returned atomic.Bool // buffers came back: set by who returns, taken back by the loop

	ended atomic.Bool   // the loop runs no commands any more; the loop sets it
	after sync.Mutex    // who runs commands when the loop has ended
	done  chan struct{} // closed when the loop's goroutine is as good as gone

	closeErr error // the driver's, of its Close; read after done

	// failure is what went wrong, until Close; for other goroutines.
	failure atomic.Pointer[error]
}

var _ engine.Engine = (*Engine)(nil)

// New starts an engine: its goroutine runs until Close. Errors: EADDRNOTAVAIL
// for addresses that no interface can have, EINVAL without a pool or a driver.
func New(c engine.Config, o Options) (*Engine, error) {
	if c.Pool == nil || o.Driver == nil {
		return nil, fmt.Errorf("user: no pool or no driver: %w", syscall.EINVAL)
	}
	e := &Engine{
		config:    c,
		driver:    o.Driver,
		host:      o.Host,
		more:      o.Stats,
		pool:      c.Pool,
		batch:     driver.NewBatch(batchFrames, batchFrags),
		conns:     map[*Conn]struct{}{},
		listeners: map[*Listener]struct{}{},
		packets:   map[*PacketConn]struct{}{},
		done:      make(chan struct{}),
	}
	e.nothing.run = func(mono.Time, uint32) {}
	e.batch.MaxBytes = batchBytes
	e.gathering.init(o.Driver)
	congestion, err := tcp.ParseCongestion(c.Congestion)
	if err != nil {
		return nil, fmt.Errorf("user: %w", err)
	}
	sc := stack.Config{
		Pool: c.Pool, CQ: c.CQ, Driver: o.Driver, Wakes: &e.wakes,
		Prefixes: o.Prefixes, MaxHeld: c.MaxHeld, SendMemory: c.SendMemory, TimeWait: o.TimeWait, ECN: c.ECN, HopLimit: c.HopLimit, Gone: gone,
		Congestion: congestion, Confirm: o.Confirm,
	}
	e.streaming.init(o.Driver)
	if o.Driver.Caps().RxPosted > 0 {
		sc.MaxRecvWindow = postedWindow
	}
	rand.Read(sc.Seed[:]) // never fails: see its documentation
	if e.stack, err = stack.New(sc); err != nil {
		return nil, fmt.Errorf("user: %w", err)
	}
	if c.CQ != nil {
		c.CQ.OnKick(e.wake)
	}
	c.Pool.OnReturn(func() {
		e.returned.Store(true)
		e.wake()
	})
	go e.loop()
	return e, nil
}

// Name is "user".
func (e *Engine) Name() string { return "user" }

// explain is err, as a call that failed with it has to report it: what was closed
// by the engine because it failed, not by the application, says so.
func (e *Engine) explain(err error, closed bool) error {
	if f := e.failure.Load(); f != nil && !closed && errors.Is(err, net.ErrClosed) {
		return *f
	}
	return err
}
