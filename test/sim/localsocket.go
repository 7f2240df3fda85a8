package sim

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/zctap/zctap/internal/buf"
	"github.com/zctap/zctap/internal/sockq"
	"github.com/zctap/zctap/internal/stack/udp"
)

// localSocket is a UDP socket of our stack, used as the engine uses it.
type localSocket struct {
	host    *Local
	udp     *udp.Socket
	waiting int // datagrams that may wait to be sent
	kept    []keptDatagram
	iovs    [256]buf.Iov
	msgs    [16]sockq.Message
}

// maxWaiting is how many datagrams are written before the stack has sent them: with
// twice as many Write would wait.
const maxWaiting = 32

// keptDatagram is one whose views the application has not given back.
type keptDatagram struct {
	msg  sockq.Message
	iovs []buf.Iov
}

// OpenUDP is a DatagramHost's.
func (h *Local) OpenUDP(port uint16, remote netip.AddrPort) (Socket, error) {
	u, err := h.Stack.ListenPacket("udp", netip.AddrPortFrom(netip.Addr{}, port), remote)
	if err != nil {
		return nil, err
	}
	return &localSocket{host: h, udp: u}, nil
}

func (s *localSocket) Send(p []byte, remote netip.AddrPort) (bool, error) {
	if !s.udp.Sending {
		s.waiting = 0
	}
	if s.waiting == maxWaiting {
		return false, nil
	}
	if err := s.host.Stack.CheckDatagram(s.host.clock, s.udp, remote, len(p)); err != nil {
		return false, err
	}
	s.waiting++
	err := s.udp.Send.Write(p, remote)
	s.host.Stack.SendDatagrams(s.udp)
	return err == nil, err
}

func (s *localSocket) Recv(limit int, keep bool, got func(*Arrival) error) (total int, err error) {
	for total < limit {
		n, iovs, _, err := s.udp.Queue.Poll(s.iovs[:], s.msgs[:min(limit-total, len(s.msgs))])
		if n == 0 || err != nil {
			return total, err
		}
		total += n
		s.host.lent += iovs
		rest := s.iovs[:iovs]
		for i := range s.msgs[:n] {
			k := keptDatagram{msg: s.msgs[i], iovs: slices.Clone(rest[:s.msgs[i].Iovs])}
			rest = rest[s.msgs[i].Iovs:]
			s.kept = append(s.kept, k)
			if err := got(k.arrival()); err != nil {
				return total, err
			}
		}
		if !keep {
			if err := s.Release(anything); err != nil {
				return total, err
			}
		}
	}
	return total, nil
}

func (k *keptDatagram) arrival() *Arrival {
	a := &Arrival{From: k.msg.Src, Truncated: k.msg.Truncated, Len: k.msg.Len}
	for i := range k.iovs {
		a.Payload = append(a.Payload, k.iovs[i].Bytes()...)
	}
	return a
}

func (s *localSocket) Release(got func(*Arrival) error) error {
	for i := range s.kept {
		k := &s.kept[i]
		if err := got(k.arrival()); err != nil {
			return fmt.Errorf("in views that were not given back: %w", err)
		}
		if n, err := s.host.Pool.Return(k.iovs); n != len(k.iovs) || err != nil {
			return fmt.Errorf("giving back views: %d of %d, %w", n, len(k.iovs), err)
		}
		s.host.lent -= len(k.iovs)
	}
	s.kept = s.kept[:0]
	return nil
}

func anything(*Arrival) error { return nil }

func (s *localSocket) Close() error {
	err := s.Release(anything)
	s.udp.Queue.Close()
	s.udp.Send.Close()
	s.host.Stack.CloseSocket(s.udp)
	s.udp.Queue.Drain()
	if n := s.udp.Held(); n != 0 {
		err = errors.Join(err, fmt.Errorf("a closed socket keeps %d buffers", n))
	}
	return err
}
