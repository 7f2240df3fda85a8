package sim

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/zctap/zctap/internal/buf"
	"github.com/zctap/zctap/internal/driver"
)

// calm is a scenario of datagrams only, with nothing wrong.
func calm() *Scenario {
	s := Settings{Buffers: 256, MTU: 1500}
	return &Scenario{Hosts: [2]Settings{s, s}, Datagrams: []DatagramPlan{
		{Count: 500, Longest: 1400, Burst: 20, Interval: time.Millisecond, Keep: 0.5},
		{From: 1, Count: 500, Longest: 1400, Burst: 30, Interval: time.Millisecond, Connected: true},
	}}
}

// TestDatagrams: over a path that loses nothing all arrive; over one that is too narrow
// for half of them, a router that says so makes a connected sender know, whose calls fail from
// then on, and nobody else.
func TestDatagrams(t *testing.T) {
	sc := calm()
	r, err := Run(sc, MakeLocal)
	if err != nil || r.Sent != 1000 || r.Received != 1000 || r.Refused != 0 {
		t.Errorf("%d of %d datagrams received, %d refused, want 1000: %v", r.Received, r.Sent, r.Refused, err)
	}
	for _, silent := range []bool{false, true} {
		sc := calm()
		for i := range sc.Path {
			sc.Path[i].Narrow = []Narrowing{{MTU: 700, Silent: silent}}
		}
		r, err := Run(sc, MakeLocal)
		lost := uint64(r.Sent - r.Received)
		least := uint64(300)
		if !silent {
			least = 200 // of the one that does not know
		}
		if err != nil || r.Received < 300 || lost < least || lost+uint64(r.Refused) < 300 || lost != r.Lost {
			t.Errorf("silent %v: %d of %d datagrams received, %d lost on the path: %v", silent, r.Received, r.Sent, r.Lost, err)
		}
		if silent && r.Refused != 0 || !silent && r.Refused < 200 {
			t.Errorf("silent %v: %d datagrams refused", silent, r.Refused)
		}
	}
}

// TestFullSocket: a sender that could send at once what a path takes a second for is asked so
// often only that the run comes to its end.
func TestFullSocket(t *testing.T) {
	sc := calm()
	sc.Datagrams = sc.Datagrams[:1]
	sc.Datagrams[0].Interval, sc.Datagrams[0].Count, sc.Queue, sc.Path[0].Rate = 0, 100, 4, 100_000
	r, err := Run(sc, MakeLocal)
	if err != nil || r.Elapsed < settling+250*time.Millisecond || r.Steps > 20_000 {
		t.Errorf("%d of %d datagrams received after %v and %d steps: %v", r.Received, r.Sent, r.Elapsed, r.Steps, err)
	}
}

// TestDatagramFaults has the receiving host do something wrong.
func TestDatagramFaults(t *testing.T) {
	for _, tt := range []struct {
		name, want string
		fault      func(got func(*Arrival) error, a *Arrival) error
	}{
		{"nothing", "", func(got func(*Arrival) error, a *Arrival) error { return got(a) }},
		{"a byte is changed", "wrong: the bytes of", func(got func(*Arrival) error, a *Arrival) error {
			if n := len(a.Payload); n > datagramHead {
				a.Payload[n-1]++
			}
			return got(a)
		}},
		{"the end is missing", "was not sent", func(got func(*Arrival) error, a *Arrival) error {
			if n := len(a.Payload); n > datagramHead {
				a.Payload = a.Payload[:n-1]
			}
			return got(a)
		}},
		{"one is told twice", "for the 2th time", func(got func(*Arrival) error, a *Arrival) error {
			if len(a.Payload) >= datagramHead {
				if err := got(a); err != nil {
					return err
				}
			}
			return got(a)
		}},
		{"another sender", "wrong: a datagram from", func(got func(*Arrival) error, a *Arrival) error {
			a.From = netip.AddrPortFrom(a.From.Addr(), 1)
			return got(a)
		}},
		{"truncated", "truncated", func(got func(*Arrival) error, a *Arrival) error {
			a.Truncated = true
			return got(a)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			sc := calm()
			sc.Datagrams = sc.Datagrams[:1]
			_, err := Run(sc, func(i int, s Settings, p *buf.Pool, d driver.Driver) (Host, error) {
				h, err := NewLocal(s, p, d)
				return &tamperer{h, tt.fault}, err
			})
			switch {
			case tt.want == "" && err != nil:
				t.Error(err)
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
				t.Errorf("error %v, want one with %q", err, tt.want)
			}
		})
	}
}

// tamperer is a host whose sockets do something with what they receive.
type tamperer struct {
	*Local
	fault func(got func(*Arrival) error, a *Arrival) error
}

func (h *tamperer) OpenUDP(port uint16, remote netip.AddrPort) (Socket, error) {
	s, err := h.Local.OpenUDP(port, remote)
	return &tampered{s, h.fault}, err
}

type tampered struct {
	Socket
	fault func(got func(*Arrival) error, a *Arrival) error
}

func (s *tampered) Recv(limit int, keep bool, got func(*Arrival) error) (int, error) {
	return s.Socket.Recv(limit, keep, func(a *Arrival) error { return s.fault(got, a) })
}
