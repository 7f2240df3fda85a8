package stack

import (
	"math/rand/v2"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/zctap/zctap/internal/buf"
	"github.com/zctap/zctap/internal/driver"
	"github.com/zctap/zctap/internal/mono"
	"github.com/zctap/zctap/internal/sockq"
	"github.com/zctap/zctap/internal/stack/ip"
	"github.com/zctap/zctap/internal/stack/tcp"
	"github.com/zctap/zctap/internal/stack/udp"
	"github.com/zctap/zctap/internal/wire"
)

// How many answers a second, and in one go, strangers can draw from us: about
// what Linux allows (icmp_msgs_per_sec, icmp_msgs_burst).
const (
	answersPerSecond = 1000
	answersBurst     = 50
)

// Config is what a Stack is made with.
type Config struct {
	Pool   *buf.Pool
	CQ     *sockq.CQ // flushed once a round; may be nil
	Driver driver.Driver
	Wakes  *sockq.Wakes // who is to be woken, by the caller; nil: all at once

	// Prefixes are the interface's own addresses, with the networks they are in.
	Prefixes []netip.Prefix

	// Gone, if not nil, is given the Tag of each TCP connection when nothing is left
	// of it, after TIME-WAIT.
	Gone func(tag any)

	// Confirm, if not nil, is tcp.Config's.
	Confirm func(peer netip.Addr)

	// MaxHeld is the most buffers that one connection or socket may keep from
	// the others. 0: what is free sets the bound.
	MaxHeld int

	// Seed is for everything random: hashes, initial sequence numbers, ports. It
	// has to be secret and fresh where peers may be hostile, and makes a test
	// come out always alike.
	Seed [32]byte

	// MaxPending is the most connections of a listener in SYN-RECEIVED, as
	// tcp.Listener has it.
	MaxPending int

	// ECN asks for ECN (RFC 3168) when dialing. Who asks us gets it in any case.
	ECN bool

	// HopLimit is the hop limit, TTL in IPv4, of what is sent, but to groups; 0:
	// ip.DefaultHopLimit.
	HopLimit uint8

	// TimeWait, MaxRecvWindow, SendSpace, SendMemory, UserTimeout and Congestion are
	// tcp.Config's.
	TimeWait, UserTimeout                time.Duration
	MaxRecvWindow, SendSpace, SendMemory int
	Congestion                           tcp.Congestion
}

// A Stack is the flows of one interface queue.
type Stack struct {
	pool  *buf.Pool
	cq    *sockq.CQ
	caps  driver.Caps
	tx    *ip.Tx
	addrs addrs // outlook is for others than the engine

	outlook     atomic.Pointer[outlook]
	pathChanges uint64 // tcp.Shared's, when it was made

	gone func(tag any) // may be nil
	rand *rand.Rand

	maxPending int // of listeners

	tcp       *tcp.Shared
	udp       udp.Shared
	conns     table[tcp.Conn]
	waits     waits
	listeners table[Listener]
	sockets   table[udp.Socket]
	recent    recentSocket
	joined    map[netip.Addr]int // groups: how many sockets have joined
	timers    timers
	delayed   delayed

	// Of this round: sockets that received something, and that have something
	// to send. Connections that wait for the wire to have room.
	received []*udp.Socket
	sending  []*udp.Socket
	waiting  []*tcp.Conn

	fragments *ip.Reassembler

	echoes, unreachables, resets limiter

	rest  []driver.Frame // of the batch, behind the frame that is looked at
	frags []buf.Frag     // of the batch, if it has as many as frames
	order flowSort
	ahead lookahead
	at    int // index of the frame that is looked at, in the batch

	followed int // how many frames merge put behind another one last

	// Scratch, for one frame.
	rx      headers
	segment tcp.Segment
	views   [][]byte
	copies  []buf.Frag
	merged  []buf.Frag
	heads   [maxLook][]byte
	places  [maxLook]int

	stats Stats
	drops [causes]uint64
}

// New makes a Stack over c.Driver. Errors: EADDRNOTAVAIL for addresses that no
// interface can have.
func New(c Config) (*Stack, error) {
	a, err := newAddrs(c.Prefixes)
	if err != nil {
		return nil, err
	}
	s := &Stack{
		pool:  c.Pool,
		cq:    c.CQ,
		caps:  c.Driver.Caps(),
		tx:    ip.NewTx(c.Driver),
		addrs: a,
		gone:  c.Gone,
		rand:  rand.New(rand.NewChaCha8(c.Seed)),
		udp:   udp.Shared{Pool: c.Pool, MaxHeld: c.MaxHeld, Wakes: c.Wakes},

		maxPending: c.MaxPending,
		fragments:  ip.NewReassembler(c.Pool),
		joined:     make(map[netip.Addr]int),

		echoes:       newLimiter(answersPerSecond, answersBurst),
		unreachables: newLimiter(answersPerSecond, answersBurst),
		resets:       newLimiter(answersPerSecond, answersBurst),
	}
	if c.HopLimit != 0 {
		s.tx.SetHopLimit(c.HopLimit)
	}
	for _, l := range []*limiter{&s.echoes, &s.unreachables, &s.resets} {
		*l = l.random(s.rand.Uint32)
	}
	// Two keys: who learned one of them by watching the tables' timing would
	// know nothing of sequence numbers.
	tables := s.newHasher()
	s.conns = newTable[tcp.Conn](tables)
	s.waits.table = newTable[tcp.Wait](tables)
	s.listeners = newTable[Listener](tables)
	s.sockets = newTable[udp.Socket](tables)
	s.tcp = tcp.NewShared(tcp.Config{
		Pool:          c.Pool,
		Transmit:      s.tx.TCP,
		TransmitECT:   s.tx.TCPECT,
		TransmitClass: s.tx.TCPClass,
		Acks:          s.tx,
		ECN:           c.ECN,
		Confirm:       c.Confirm,
		Wakes:         c.Wakes,
		Hasher:        s.newHasher(),
		MaxHeld:       c.MaxHeld,
		FrameRoom:     max(s.caps.RxRoom-s.caps.LinkHeader, 0),
		Posted:        s.caps.RxPosted,
		MaxRecvWindow: c.MaxRecvWindow,
		SendSpace:     c.SendSpace,
		SendMemory:    c.SendMemory,
		TimeWait:      c.TimeWait,
		UserTimeout:   c.UserTimeout,
		Congestion:    c.Congestion,
	})
	s.announce()
	return s, nil
}

func (s *Stack) newHasher() wire.Hasher {
	var key [16]byte
	for i := range key {
		key[i] = byte(s.rand.Uint32())
	}
	return wire.KeyedHasher(key)
}

// Advance runs the timers that are due.
func (s *Stack) Advance(now mono.Time) {
	s.tx.SetNow(now)
	s.endWaits(now)
	s.expireFragments(now)
	for {
		c := s.delayed.due(now)
		if c == nil {
			c = s.timers.due(now)
		}
		if c == nil {
			return
		}
		c.Advance(now)
		// If it has something to put out, Flush looks at it again.
		s.settle(now, c)
	}
}

// Next is when Advance has something to do, 0 if never. Call it after Flush.
func (s *Stack) Next() mono.Time {
	next := s.timers.next()
	if d := s.delayed.next(); d != 0 && (next == 0 || d.Before(next)) {
		next = d
	}
	if w := s.waits.first; w != nil && (next == 0 || w.Due.Before(next)) {
		next = w.Due
	}
	if f := s.fragments.Next(); f != 0 && (next == 0 || f.Before(next)) {
		next = f
	}
	return next
}

// Flush sends what there is to send and shows the applications what has come.
// The error is the driver's, and final.
func (s *Stack) Flush(now mono.Time) error {
	s.tx.SetNow(now)
	if s.tx.Stalled() {
		if err := s.tx.Flush(now); err != nil {
			return err
		}
	}
	s.flushTCP(now)
	s.flushUDP()
	if s.tcp.PathChanges() != s.pathChanges {
		s.announce()
	}
	err := s.tx.Flush(now)
	s.freeUDP()
	if s.cq != nil {
		s.cq.Flush()
	}
	return err
}

// Stalled reports whether the wire is full, so that Flush has left something
// for when the driver has room.
func (s *Stack) Stalled() bool { return s.tx.Stalled() }

// Constrained reports whether a window is narrower than it might be, for want of
// buffers: if so the engine asks the pool to be told of those that come back.
func (s *Stack) Constrained() bool { return s.tcp.Constrained() > 0 }

// WindowCheck opens the windows that there are buffers for again: with many, in turns.
// Before Flush.
func (s *Stack) WindowCheck() { s.tcp.WindowCheck() }

// WindowCheckAll opens all of them, for who is about to sleep. Before Flush.
func (s *Stack) WindowCheckAll() { s.tcp.WindowCheckAll() }
