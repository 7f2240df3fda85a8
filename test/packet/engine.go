package packet

import (
	"errors"
	"net/netip"
	"time"

	"github.com/zctap/zctap/internal/buf"
	"github.com/zctap/zctap/internal/driver"
	"github.com/zctap/zctap/internal/driver/mem"
	"github.com/zctap/zctap/internal/engine"
	"github.com/zctap/zctap/internal/engine/user"
	"github.com/zctap/zctap/internal/mono"
	"github.com/zctap/zctap/internal/sockq"
)

// The engine's slack: its goroutine may be woken late, and so may we, several times for
// one packet. The stack's timing is looked at where its clock stands still; here it is
// enough that things happen, and in order.
const (
	engineEarly = 2 * time.Millisecond
	engineLate  = 500 * time.Millisecond
)

// engineTarget is the whole of the user engine on a wire in memory: our stack, driven
// by the engine's own goroutine and clock, behind the API that the root package uses.
type engineTarget struct {
	mailbox
	engine     *user.Engine
	pool, peer *buf.Pool
	far        *mem.End
	batch      *driver.Batch
	dials      []*engineConn
}

// NewEngine makes a target of the user engine, which has no setting of Setup but
// TimeWait and ECN. The caller closes it.
func NewEngine(c Config, family int) (Target, error) {
	e := &engineTarget{batch: driver.NewBatch(32, 1024)}
	var wire *mem.End
	var err error
	if e.pool, e.peer, wire, e.far, err = newWire(defaultBuffers, c.MTU); err != nil {
		return nil, err
	}
	w := worlds[family]
	e.engine, err = user.New(engine.Config{Pool: e.pool, CQ: sockq.NewCQ(), ECN: c.Zctap.ECN}, user.Options{
		Driver:   wire,
		Prefixes: []netip.Prefix{netip.PrefixFrom(w.stack, w.bits)},
		TimeWait: c.Zctap.TimeWait,
	})
	if err != nil {
		return nil, err
	}
	e.receive = e.poll
	e.start = time.Now()
	return e, nil
}

func (e *engineTarget) Name() string { return Zctap }

func (e *engineTarget) Slack() (early, late time.Duration) { return engineEarly, engineLate }

// poll waits until then for packets, and takes those that are there.
func (e *engineTarget) poll(until time.Duration) error {
	err := e.take()
	if err != nil {
		return err
	}
	err = e.wait(until, func(left time.Duration) error {
		if left == 0 {
			return nil
		}
		return e.far.Wait(mono.Now().Add(left))
	})
	if err != nil {
		return err
	}
	return e.take()
}

// take takes the packets that are there.
func (e *engineTarget) take() error {
	for {
		if err := e.far.Poll(mono.Now(), e.batch); err != nil {
			return err
		}
		if len(e.batch.Frames) == 0 {
			return nil
		}
		for i := range e.batch.Frames {
			e.add(takeFrame(e.peer, &e.batch.Frames[i]))
		}
	}
}

// settle returns when the engine has processed what was injected and asked for, and
// has sent what came of it. Stats waits for the engine's loop: the first may be
// answered in the round that is under way, the second is answered after a Poll that
// began later, the third after that round's end.
func (e *engineTarget) settle() error {
	for range 3 {
		e.engine.Stats(new(engine.Stats))
	}
	return e.take()
}

func (e *engineTarget) Inject(packet []byte) error {
	n, err := e.far.Send(mono.Now(), []driver.TxFrame{{Head: packet}})
	if err != nil {
		return err
	}
	if n != 1 {
		return errors.New("the wire in memory is full")
	}
	return e.settle()
}

// Close ends the engine, and checks that no buffer is out.
func (e *engineTarget) Close() error {
	for _, c := range e.dials {
		c.cancel()
	}
	err := errors.Join(e.engine.Close(), e.far.Close())
	return errors.Join(err, closePools(e.pool, e.peer))
}
