package sim

import (
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"time"
)

// A Scenario is all that makes a run.
type Scenario struct {
	Seed  uint64
	IPv6  bool
	Path  [2]Quality // from host 0, from host 1
	Queue int        // frames that wait before a device, at most; 0: mem's default
	Hosts [2]Settings
	Flows []Plan

	// Datagrams are for hosts that are DatagramHosts.
	Datagrams []DatagramPlan

	// CheckEvery is after how many steps the hosts are asked for their books. 0: 1.
	CheckEvery int
	// Arrived, if not nil, is told when a side has received the last byte that
	// there is for it.
	Arrived func(at time.Duration)
}

// String is all of it, for a failure's message.
func (sc *Scenario) String() string {
	s := fmt.Sprintf("seed %d, IPv6 %v, queue %d", sc.Seed, sc.IPv6, sc.Queue)
	for i := range sc.Hosts {
		s += fmt.Sprintf("\npath from host %d: %+v\nhost %d: %+v", i, sc.Path[i], i, sc.Hosts[i])
	}
	for i := range sc.Flows {
		s += fmt.Sprintf("\nplan %d: %+v", i, sc.Flows[i])
	}
	for i := range sc.Datagrams {
		s += fmt.Sprintf("\ndatagrams %d: %+v", i, sc.Datagrams[i])
	}
	return s
}

// addr is the address of host i in this scenario.
func (sc *Scenario) addr(i int) netip.Addr {
	p := prefixes(i)
	if sc.IPv6 {
		return p[1].Addr()
	}
	return p[0].Addr()
}

// prefixes are the addresses of host i.
func prefixes(i int) []netip.Prefix {
	return []netip.Prefix{
		netip.PrefixFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(1 + i)}), 24),
		netip.PrefixFrom(netip.AddrFrom16([16]byte{0x20, 0x01, 0x0d, 0xb8, 15: byte(1 + i)}), 64),
	}
}

// Draw makes the scenario of a seed.
func Draw(seed uint64) *Scenario {
	r := rand.New(rand.NewPCG(seed, 0x73696d))
	sc := &Scenario{Seed: seed, IPv6: r.IntN(3) == 0, Queue: pick(r, 0, 0, 0, 4, 64)}
	ethernet := r.IntN(4) == 0
	for i := range sc.Path {
		sc.Path[i] = drawQuality(r)
		sc.Hosts[i] = drawSettings(r)
		sc.Hosts[i].Ethernet, sc.Hosts[i].Seed = ethernet, 2*seed+uint64(i)
	}
	for i := range sc.Hosts {
		if sc.IPv6 {
			sc.Hosts[i].MTU = max(sc.Hosts[i].MTU, 1280) // RFC 8200 section 5
		}
		// A device without segmentation offload does not receive super-segments
		// that it has no room for.
		if far := &sc.Hosts[1-i]; far.GSO {
			sc.Hosts[i].Buffers = max(sc.Hosts[i].Buffers, 40)
		}
	}
	for range 1 + r.IntN(pick(r, 1, 2, 6)) {
		sc.Flows = append(sc.Flows, drawPlan(r, &sc.Hosts))
	}
	// From a source of its own: what was drawn before stays as it is for a seed.
	r = rand.New(rand.NewPCG(seed, 0x726f757465))
	for i := range sc.Path {
		if r.IntN(3) == 0 {
			sc.Path[i].Narrow = drawNarrow(r, sc.IPv6)
		}
	}
	if r.IntN(3) == 0 {
		for range 1 + r.IntN(3) {
			sc.Datagrams = append(sc.Datagrams, drawDatagrams(r, sc))
		}
	}
	return sc
}

func drawDatagrams(r *rand.Rand, sc *Scenario) DatagramPlan {
	p := DatagramPlan{
		From: r.IntN(2), Start: time.Duration(r.IntN(int(50 * time.Millisecond))),
		Count: 1 + r.IntN(pick(r, 10, 500)), Burst: 1 + r.IntN(40),
		Interval: pick(r, 0, time.Millisecond, 100*time.Millisecond, time.Second),
		PauseBy:  pick(r, time.Millisecond, 200*time.Millisecond, 5*time.Second),
	}
	p.Connected = r.IntN(2) == 0
	const headers = 40 + 8 // IPv6's and UDP's
	p.Longest = pick(r, datagramHead, 200, sc.Hosts[p.From].MTU-headers, sc.Hosts[p.From].MTU)
	if rate := sc.Path[p.From].Rate; rate > 0 {
		// Nothing holds datagrams back. With the path full of them for longer than a
		// SYN-ACK is repeated, connections rightly fail.
		p.Count = min(p.Count, 1+5*rate/(p.Longest+headers))
	}
	if r.IntN(3) == 0 {
		p.Pause = pick(r, 0.003, 0.3)
	}
	if r.IntN(3) == 0 {
		p.Keep = pick(r, 0.1, 0.9)
	}
	return p
}

// drawNarrow draws how the MTU of a path changes: never below what a host has to be
// able to send (IPv6), or is willing to (IPv4, Linux's min_pmtu).
func drawNarrow(r *rand.Rand, ipv6 bool) (list []Narrowing) {
	var at time.Duration
	for range 1 + r.IntN(3) {
		n := Narrowing{At: at, MTU: pick(r, 0, 552, 600, 1000, 1280, 1400), Silent: r.IntN(3) == 0}
		if ipv6 && n.MTU > 0 {
			n.MTU = pick(r, 1280, 1300, 1400, 1480)
		}
		list = append(list, n)
		at += time.Duration(r.Int64N(int64(pick(r, 50*time.Millisecond, time.Second, time.Minute, time.Hour))))
	}
	return list
}

// drawQuality draws a direction of the path: of each kind of trouble none most
// often, for all at once hide each other.
func drawQuality(r *rand.Rand) (q Quality) {
	if r.IntN(3) > 0 {
		q.Drop = pick(r, 0.001, 0.01, 0.05, 0.1, 0.2, 0.3)
	}
	if r.IntN(3) == 0 {
		q.Duplicate = pick(r, 0.01, 0.1, 0.5)
	}
	if r.IntN(3) == 0 {
		q.Corrupt = pick(r, 0.001, 0.01, 0.1)
	}
	if r.IntN(3) == 0 {
		q.Reorder, q.ReorderBy = pick(r, 0.01, 0.1, 0.4), 1+r.IntN(20)
	}
	if r.IntN(2) == 0 {
		q.Latency = pick(r, 100*time.Microsecond, time.Millisecond, 20*time.Millisecond, 300*time.Millisecond)
		q.Jitter = q.Latency * time.Duration(r.IntN(4)) / 3
	}
	if r.IntN(4) == 0 {
		q.Rate = pick(r, 10_000, 1_000_000, 100_000_000)
	}
	return q
}

func drawSettings(r *rand.Rand) Settings {
	s := Settings{
		Buffers: pick(r, 20, 32, 64, 128, 512),
		MTU:     pick(r, 1500, 1500, 1500, 9000, 576, 1280),
		Nagle:   r.IntN(4) == 0,
	}
	if r.IntN(4) == 0 {
		s.GSO = true
		s.Buffers = max(s.Buffers, 40)
	}
	if r.IntN(4) == 0 {
		s.MaxHeld = 2 + r.IntN(20)
	}
	if r.IntN(3) == 0 {
		s.Window = pick(r, 1, 100, 536, 1448, 5000, 20000)
	}
	if r.IntN(3) == 0 {
		s.SendSpace = pick(r, 1, 1000, 10_000, 100_000)
	}
	return s
}

func drawPlan(r *rand.Rand, hosts *[2]Settings) Plan {
	p := Plan{
		Kind: Kind(r.IntN(kinds)), From: r.IntN(2), Breaker: r.IntN(2),
		Start:   time.Duration(r.IntN(int(50 * time.Millisecond))),
		PauseBy: pick(r, time.Millisecond, 200*time.Millisecond, 30*time.Second),
	}
	for i := range p.Bytes {
		p.Bytes[i] = r.Int64N(pick(r, int64(1), 10, 3000, 50_000, 200_000))
		p.Write[i] = pick(r, 1, 50, 2000, 100_000)
		p.Read[i] = pick(r, 10, 1000, 20_000, 1<<20)
		if r.IntN(3) == 0 {
			p.Pause[i] = pick(r, 0.003, 0.03)
		}
		if r.IntN(3) == 0 {
			p.Keep[i] = pick(r, 0.1, 0.5, 0.9)
		}
	}
	if p.Kind == Echo {
		p.Message = 1 + r.Int64N(pick(r, int64(1), 200, 5000))
		p.Bytes[0] = p.Message * (1 + r.Int64N(20))
		p.Bytes[1] = p.Bytes[0]
	}
	for i := range p.Bytes {
		// A byte that travels alone is as much work as a full segment.
		step := min(p.Write[i], p.Read[1-i], orMax(hosts[i].SendSpace), orMax(hosts[1-i].Window))
		p.Bytes[i] = min(p.Bytes[i], 300*int64(step))
	}
	if p.Kind == Echo {
		n := min(p.Bytes[0], p.Bytes[1])
		p.Message = min(p.Message, max(n, 1))
		n -= n % p.Message
		p.Bytes = [2]int64{n, n}
	}
	p.After = r.Int64N(p.Bytes[0] + p.Bytes[1] + 1)
	return p
}

// orMax is n, or without bound if n is 0.
func orMax(n int) int {
	if n == 0 {
		return math.MaxInt
	}
	return n
}

// pick is one of the values.
func pick[T any](r *rand.Rand, values ...T) T { return values[r.IntN(len(values))] }
