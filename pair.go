package zctap

import (
	"errors"
	"fmt"
	"net/netip"
	"sync/atomic"

	"github.com/zctap/zctap/internal/driver/mem"
	"github.com/zctap/zctap/internal/engine"
)

// Addresses of the ends of OpenPair's wire: networks that documentation uses
// (RFC 5737, RFC 3849) and nothing routes.
var (
	pairA = []netip.Prefix{netip.MustParsePrefix("192.0.2.1/24"), netip.MustParsePrefix("2001:db8::1/64")}
	pairB = []netip.Prefix{netip.MustParsePrefix("192.0.2.2/24"), netip.MustParsePrefix("2001:db8::2/64")}
)

// The wire carries what a TUN device does: packets of 1,500 bytes, and TCP
// super-segments of up to 64 KiB.
const (
	pairMTU = 1500
	pairGSO = 65535
)

// OpenPair opens two queues of engine User that are joined by a wire in this
// process's memory: a has the addresses 192.0.2.1 and 2001:db8::1, b 192.0.2.2
// and 2001:db8::2. For tests of programs without privileges or devices. The
// wire itself copies, as a stand-in for a NIC; from there on payload stays
// where it is. Engine, Interface and TUN of the configs are not used. Both queues are
// the caller's to close. Errors are those of Open.
func OpenPair(a, b Config) (qa, qb *Queue, err error) {
	first := &wireEnd{addrs: pairA}
	second := &wireEnd{addrs: pairB, first: first}
	a.wire, b.wire = first, second
	a.Engine, b.Engine = User, User
	if qa, err = Open(a); err != nil {
		return nil, nil, err
	}
	if qb, err = Open(b); err != nil {
		return nil, nil, errors.Join(err, qa.Close())
	}
	qa.engine = first.dev.engine
	return qa, qb, nil
}

// A wireEnd is one end of a wire in memory. There is a wire only when both ends
// have a region; so the end that is opened first waits for the second, which
// starts the engines of both.
type wireEnd struct {
	addrs []netip.Prefix
	first *wireEnd // nil in the first itself
	dev   *device
	conf  engine.Config
}

// wires numbers the ends for the table of queues in use.
var wires atomic.Uint64

func (w *wireEnd) device() *device {
	w.dev = &device{name: fmt.Sprintf("wire %d", wires.Add(1)), start: w.start}
	return w.dev
}

func (w *wireEnd) start(conf engine.Config) (engine.Engine, error) {
	w.conf = conf
	if w.first == nil {
		return nil, nil
	}
	f := w.first
	da, db, err := mem.Pipe(
		mem.Config{Pool: f.conf.Pool, MTU: pairMTU, MaxGSO: pairGSO},
		mem.Config{Pool: conf.Pool, MTU: pairMTU, MaxGSO: pairGSO})
	if err != nil {
		return nil, err
	}
	if f.dev.engine, err = startUser(f.conf, da, f.addrs); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return startUser(conf, db, w.addrs)
}
