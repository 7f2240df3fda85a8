package tcp

import (
	"time"

	"github.com/zctap/zctap/internal/buf"
	"github.com/zctap/zctap/internal/mono"
	"github.com/zctap/zctap/internal/sockq"
	"github.com/zctap/zctap/internal/wire"
)

// A Conn is one connection: the transmission control block of RFC 9293 section
// 3.3.1. Engine goroutine only, but for what Recv and Send leave to others.
//
// What a segment in order needs, and its ACK, comes first, in six cache lines: with
// thousands of connections that is what the segment costs.
type Conn struct {
	tuple wire.Tuple
	sh    *Shared
	// Recv is where payload is put for the application. Nil until the
	// handshake is complete.
	Recv    *sockq.Queue
	account *buf.Account // buffers that c keeps from the queue; apart, since buffers remember it for long
	wait    *Wait        // since TIME-WAIT

	nextDirty *Conn
	// TimerIndex is the engine's: where its timer heap has c.
	TimerIndex int32
	doubted    wire.Seq // SND.UNA when cwnd was last reduced; see undo.go. Here it fills a gap

	state      State
	dirty      bool
	calm       bool      // nothing has touched it since it was found at rest; see predict.go
	accepted   bool      // the handshake was completed: failures are no failed opens
	orphan     bool      // the application has closed: nobody will read
	closing    bool      // a FIN is to be sent behind what is written
	finSet     bool      // snd.fin is known: the application writes no more
	resetDue   bool      // RST to be sent, though the state is CLOSED already
	synDue     bool      // SYN or SYN-ACK to be sent (again)
	publishDue bool      // Recv has something that the application was not shown
	admission  admission // of payload in this batch
	confirmed  uint8     // when the peer's reachability was last confirmed; see confirm
	ackTold    bool      // Deadlines has told of the delayed ACK

	// Nagle delays small segments while data is in flight (RFC 9293 section
	// 3.7.4): the opposite of TCP_NODELAY, and off as Go has it.
	Nagle bool

	ecn    ecnState
	acks   ackPolicy
	opt    options
	snd    sendState
	rcv    recvState
	timers timers
	keep   keepAlive

	// What follows is of senders, of repair, and of the beginning and the end.

	// Send is where the application puts what to send. Nil until the handshake
	// is complete.
	Send *SendBuffer
	// Tag is the engine's; this package does not look at it. The connection's Wait
	// has it too.
	Tag any
	// OnConnect, if set, is told once how an active open ended, within Input,
	// InputICMP, Advance or Abort: nil, ECONNREFUSED, ETIMEDOUT, net.ErrClosed, or
	// what an ICMP error said (EHOSTUNREACH, ENETUNREACH, EACCES and others).
	OnConnect func(err error)

	listener    *Listener     // until the handshake is complete; nil if we opened
	closedAt    mono.Time     // when it became an orphan
	userTimeout time.Duration // 0: the stack's

	rtt    rttEstimator
	cc     congestion
	loss   recovery
	board  scoreboard
	peeked sendCursor
	rack   rackState
	path   pathState
	tlp    tailProbe // these two have no hole between them
	prr    prr
	ooo    reassembly
	report sackReport
	pack   compactor
}

// sendState is the send sequence space (RFC 9293 figure 3). una <= nxt <= max
// but after a probe, when max may be one byte ahead of what nxt has counted.
type sendState struct {
	iss wire.Seq
	una wire.Seq // oldest unacknowledged
	nxt wire.Seq // next to send; goes back to una on a timeout
	max wire.Seq // highest ever sent, exclusive
	fin wire.Seq // sequence number of our FIN, if Conn.finSet
	wl1 wire.Seq // segment sequence number of the last window update
	wl2 wire.Seq // its acknowledgment number

	wnd    uint32 // the peer's window, in bytes from una
	maxWnd uint32 // the largest it ever was
	mss    uint32 // payload bytes of a full segment, options already taken off

	lastData mono.Time // when data was last sent: idle restart
}

// recvState is the receive sequence space (RFC 9293 figure 4).
type recvState struct {
	irs wire.Seq
	nxt wire.Seq // next expected
	adv wire.Seq // right edge of the window offered; never moves left
	fin wire.Seq // sequence number of the peer's FIN, if finSeen

	finSeen     bool
	constrained int32  // 1 + index in Shared.constrained; 0: not there
	mss         uint32 // what we told the peer
	full        uint32 // payload of the largest segment seen, at most mss
	maxWnd      uint32 // the largest window ever offered
	limit       uint32 // what unread data and window together may be; grows
	grown       uint64 // bytes that the application had read when it grew last
	total       uint64 // payload bytes passed to the application

	// What a buffer holds, on average: bytes per buffers, of late.
	estBytes, estBuffers uint32
}

// Dial opens a connection (RFC 9293 section 3.10.1, active OPEN). mss is the
// largest payload of a segment that we take and send, in bytes: what the MTU
// leaves without IP and TCP header. The connection is dirty: its SYN goes out
// with Output. The caller puts it into its table first, and sets OnConnect.
func Dial(sh *Shared, now mono.Time, t wire.Tuple, mss int) *Conn {
	c := newConn(sh, now, t, mss)
	c.state = SynSent
	c.opt.timestamps, c.opt.scaling, c.opt.sack = true, true, true // offered
	c.ecn.on = sh.ECN && sh.TransmitECT != nil                     // asked for
	c.synDue = true
	c.touch()
	return c
}

// Tuple is the connection's key.
func (c *Conn) Tuple() *wire.Tuple { return &c.tuple }

// State is the connection's state.
func (c *Conn) State() State {
	if c.wait != nil && !c.wait.ended {
		return TimeWait // also when it has retired
	}
	return c.state
}

// Held is the number of buffers that the connection keeps from the queue.
func (c *Conn) Held() int { return c.account.Held() }

// Done reports that the connection is over and has nothing to put out any more:
// the caller forgets it. Look after Output. A connection in TIME-WAIT is not done,
// but may Retire.
func (c *Conn) Done() bool { return c.state == Closed && !c.resetDue }

// Kick has c look at what the application wrote: for SendBuffer.Notify.
func (c *Conn) Kick() { c.touch() }

// isnClock is after how many nanoseconds initial sequence numbers are one higher, M of RFC
// 6528. With the 4 microseconds of RFC 9293 section 3.4.1 whoever sends more than 250 KB a
// second is ahead of it, so that the next connection of the same ends, after a reset, may begin
// with a number that was used: an old ACK then completes its handshake. This is Linux's, for
// 16 MB a second; it wraps after 275 s, more than twice the MSL.
const isnClock = 64

func newConn(sh *Shared, now mono.Time, t wire.Tuple, mss int) *Conn {
	c := &Conn{sh: sh, tuple: t, account: new(buf.Account), TimerIndex: -1}
	hash := sh.Hasher.Hash(&t)
	// RFC 6528 section 3: ISN = M + F(tuple, secret).
	c.snd.iss = wire.Seq(uint32(hash) + uint32(now/isnClock))
	c.snd.una, c.snd.nxt, c.snd.max = c.snd.iss, c.snd.iss, c.snd.iss
	c.opt.tsOffset = tsOffset(hash)
	c.rcv.mss = uint32(mss)
	c.snd.mss = uint32(mss)
	c.rtt.init()
	c.startWindow()
	sh.conns++
	return c
}

// connect makes the ends that the application uses, when the handshake is
// complete.
func (c *Conn) connect(now mono.Time) {
	c.state = Established
	c.accepted = true
	c.Recv = sockq.NewQueue(c.sh.Pool)
	c.Send = NewSendBuffer(c.sh.SendSpace, c.sh.sendMemory)
	c.synDue = false
	c.timers.stop(timerRetransmit)
	c.loss.stuck = 0 // was the handshake's
	c.acks.start()
	c.recallPath(now)
	c.cc.start(c.sh.Congestion, c.snd.mss)
	if c.rtt.backoff > 1 {
		// The path lost two SYNs or SYN-ACKs (RFC 5681 section 3.1, which RFC 6928 section 2 has
		// be so from the second on: the first may just have been late).
		c.cc.cwnd = c.snd.mss
	}
	c.snd.lastData = now
	c.rack.fack = c.snd.una
	c.rack.minRTT, c.rack.minRTTAt = c.rtt.srtt, now
	c.rtt.afterHandshake()
	if c.orphan {
		c.Recv.Close()
	}
	if c.closing {
		c.Send.Shut()
	}
}
