package packet

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"syscall"
)

// A socket is a target's socket, and what it has sent and received.
type socket struct {
	listener       Listener
	conn           Conn
	udp            Datagrams
	sent, received int64
}

// common is what all kinds of sockets have.
func (s *socket) common() Socket {
	switch {
	case s.listener != nil:
		return s.listener
	case s.conn != nil:
		return s.conn
	}
	return s.udp
}

// call makes a call, and compares what it returns.
func (r *Runner) call(e *Event) error {
	c := e.Call
	result, err := r.invoke(c)
	detail := ""
	if err != nil {
		var broken *brokenError
		if errors.As(err, &broken) {
			return err
		}
		result, detail = word(err), fmt.Sprintf(" (%v)", err)
	}
	r.note(r.last, "%s%s -> %s", e.When, strings.SplitN(c.String(), " ->", 2)[0], result)
	if result != c.Result {
		return fmt.Errorf("%v: returned %s%s", c, result, detail)
	}
	return nil
}

// brokenError is of the script or the runner, not of the stack.
type brokenError struct{ error }

func broken(format string, args ...any) error {
	return &brokenError{fmt.Errorf(format, args...)}
}

// invoke makes the call on the target.
func (r *Runner) invoke(c *Call) (result string, err error) {
	switch c.Verb {
	case "listen", "connect", "udp":
		return r.open(c)
	}
	s := r.sockets[c.Socket]
	if s == nil {
		return "", broken("there is no socket %s", c.Socket)
	}
	switch c.Verb {
	case "set":
		name, value, _ := strings.Cut(c.Option, " ")
		return "ok", s.common().Set(name, value)
	case "close":
		return "ok", s.common().Close()
	case "accept":
		return r.accept(s, c)
	case "send":
		return r.send(s, c)
	case "recv":
		return r.recv(s, c)
	}
	if s.udp != nil {
		return r.invokeUDP(s.udp, c)
	}
	if s.conn == nil {
		return "", broken("%s is no connection", c.Socket)
	}
	switch c.Verb {
	case "connected":
		return "ok", s.conn.Connected()
	case "shutdown":
		return "ok", s.conn.Shutdown()
	case "abort":
		return "ok", s.conn.Abort()
	}
	if st, ok := s.conn.(stater); ok {
		return st.State()
	}
	return c.Result, nil // not to be had on this target: the others look at it
}

// invokeUDP makes the calls that only a UDP socket has.
func (r *Runner) invokeUDP(u Datagrams, c *Call) (string, error) {
	switch c.Verb {
	case "ecn":
		return strconv.Itoa(int(u.ECN())), nil
	case "join", "leave":
		group, err := unusualAddr(c.Option, r.world)
		if err != nil {
			return "", broken("%v", err)
		}
		if c.Verb == "join" {
			return "ok", u.Join(group)
		}
		return "ok", u.Leave(group)
	}
	return "", broken("%s is no connection", c.Socket)
}

func anyAddr(a netip.Addr) netip.Addr {
	if a.Is6() {
		return netip.IPv6Unspecified()
	}
	return netip.IPv4Unspecified()
}

// open makes a socket.
func (r *Runner) open(c *Call) (string, error) {
	s := &socket{}
	local := netip.AddrPortFrom(r.world.stack, stackPort)
	remote := netip.AddrPortFrom(r.world.peer, r.flow.peer)
	var err error
	switch c.Verb {
	case "listen":
		s.listener, err = r.target.Listen(local)
	case "udp":
		if c.Option != "connected" {
			remote = netip.AddrPort{}
		}
		if c.Option == "any" {
			local = netip.AddrPortFrom(anyAddr(local.Addr()), stackPort)
		}
		s.udp, err = r.target.OpenUDP(local, remote)
	default:
		r.flow.stack = activePorts + r.flow.peer - peerPorts
		s.conn, err = r.target.Connect(netip.AddrPortFrom(r.world.stack, r.flow.stack), remote)
	}
	if err == nil {
		r.sockets[c.Socket] = s
	}
	return "ok", err
}

func (r *Runner) accept(s *socket, c *Call) (string, error) {
	if s.listener == nil {
		return "", broken("%s does not listen", c.Socket)
	}
	conn, err := s.listener.Accept()
	if err == nil {
		if c.Made == "" {
			return "", broken("accept: say what to call the connection")
		}
		r.sockets[c.Made] = &socket{conn: conn}
	}
	return "ok", err
}

func (r *Runner) send(s *socket, c *Call) (string, error) {
	want, err := r.resolve(c.N)
	if err != nil || want < 0 || want > maxBytes {
		return "", broken("send %v: %w", c.N, errors.Join(err, syscall.EINVAL))
	}
	var n int
	switch {
	case s.conn != nil:
		n, err = s.conn.Send(fillStream(stackStream, s.sent, int(want)))
		s.sent += int64(n)
	case s.udp != nil:
		to := r.world.peer
		if c.To != "" {
			if to, err = unusualAddr(c.To, r.world); err != nil {
				return "", broken("send: %w", err)
			}
		}
		n, err = s.udp.Send(fillStream(stackStream, 0, int(want)), netip.AddrPortFrom(to, r.flow.peer))
	default:
		return "", broken("%s does not send", c.Socket)
	}
	return strconv.Itoa(n), err
}

func (r *Runner) recv(s *socket, c *Call) (string, error) {
	room, err := r.resolve(c.N)
	if err != nil || room < 0 || room > maxBytes {
		return "", broken("recv %v: %w", c.N, errors.Join(err, syscall.EINVAL))
	}
	b := make([]byte, room)
	var n int
	switch {
	case s.conn != nil:
		n, err = s.conn.Recv(b)
		if err == nil && !matches(peerStream, b[:n], s.received) {
			return "", fmt.Errorf("received %d bytes that are not what the peer's stream has from %d on: %w", n, s.received, syscall.EBADMSG)
		}
		s.received += int64(n)
	case s.udp != nil:
		var from netip.AddrPort
		n, from, err = s.udp.Recv(b)
		if err == nil && (!matches(peerStream, b[:n], 0) || from != netip.AddrPortFrom(r.world.peer, r.flow.peer)) {
			return "", fmt.Errorf("received %d bytes from %v that are not what was injected: %w", n, from, syscall.EBADMSG)
		}
	default:
		return "", broken("%s does not receive", c.Socket)
	}
	return strconv.Itoa(n), err
}
