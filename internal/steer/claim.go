//go:build linux

package steer

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"
)

// A Port is a local port that belongs to this process: a kernel socket holds it.
type Port struct {
	proto Proto
	addr  netip.AddrPort

	mu sync.Mutex
	fd int // -1 after Close
}

// Claim takes a local address and port for this process, in the calling thread's
// network namespace, until Close or the end of the process. Port 0 takes one of the
// ephemeral ports, for a connection to be dialed. The unspecified address claims the
// port on all addresses of its family: 0.0.0.0 those of IPv4, :: those of IPv6 and
// not of IPv4. A link-local address needs its zone.
//
// Nobody else can bind the port then (EADDRINUSE), and the kernel does not answer
// on it: the socket refuses, by a filter, whatever is delivered to it. For TCP it
// listens, which with this filter says nothing to anybody, and is needed for that
// silence: to a segment for a port that is bound but not listened on the kernel
// answers with RST. It would never see one if every frame were steered. But it does
// see fragments, frames of a queue that has no socket yet (after the number of
// queues was changed), and what a local process sends over the loopback interface;
// and one RST for one such segment would end a connection that is in order. In
// silence the peer repeats itself, and is heard. (A datagram in fragments is lost.)
//
// As for any server, SO_REUSEADDR lets a given TCP port be claimed while connections
// that a kernel server had on it are still in TIME_WAIT.
//
// Errors: EADDRINUSE; EADDRNOTAVAIL if the address is not the machine's; EACCES for
// a privileged port; EINVAL, EPROTONOSUPPORT.
func Claim(proto Proto, local netip.AddrPort) (*Port, error) { return claimBy(refuseAll, proto, local) }

// Claim is the function of that name, and needs no capability for other ports than
// privileged ones: a kernel may allow a socket's filter to be made by processes with
// CAP_BPF only, and this one was made by Load.
func (p *Program) Claim(proto Proto, local netip.AddrPort) (*Port, error) {
	if err := p.use(); err != nil {
		return nil, fmt.Errorf("steer: claiming %v port %v: %w", proto, local, err)
	}
	defer p.mu.RUnlock()
	return claimBy(func(fd int) error {
		return os.NewSyscallError("setsockopt SO_ATTACH_BPF", unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ATTACH_BPF, p.refuse.FD()))
	}, proto, local)
}

// claimBy claims a port with a socket that silence makes deaf.
func claimBy(silence func(fd int) error, proto Proto, local netip.AddrPort) (*Port, error) {
	p, err := claim(silence, proto, local)
	if err != nil {
		return nil, fmt.Errorf("steer: claiming %v port %v: %w%s", proto, local, err, claimHint(err, proto, local.Port()))
	}
	return p, nil
}

func claim(silence func(fd int) error, proto Proto, local netip.AddrPort) (*Port, error) {
	if err := proto.check(); err != nil {
		return nil, err
	}
	if !local.IsValid() || local.Addr().IsMulticast() && proto != UDP {
		return nil, fmt.Errorf("not an address of this machine: %w", unix.EINVAL)
	}
	local = netip.AddrPortFrom(local.Addr().Unmap(), local.Port())
	sa, family, err := sockaddr(local)
	if err != nil {
		return nil, err
	}
	return hold(silence, proto, sa, family, local)
}

// hold binds a socket of its own to an address, and keeps it silent.
func hold(silence func(fd int) error, proto Proto, sa unix.Sockaddr, family int, local netip.AddrPort) (_ *Port, err error) {
	kind := unix.SOCK_DGRAM
	if proto == TCP {
		kind = unix.SOCK_STREAM
	}
	fd, err := unix.Socket(family, kind|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	defer func() {
		if err != nil {
			unix.Close(fd)
		}
	}()
	// Deaf before it can hear anything.
	if err := silence(fd); err != nil {
		return nil, err
	}
	if family == unix.AF_INET6 {
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1); err != nil {
			return nil, os.NewSyscallError("setsockopt IPV6_V6ONLY", err)
		}
	}
	if proto == TCP && local.Port() != 0 {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
			return nil, os.NewSyscallError("setsockopt SO_REUSEADDR", err)
		}
	}
	if err := unix.Bind(fd, sa); err != nil {
		return nil, os.NewSyscallError("bind", err)
	}
	if proto == TCP {
		if err := unix.Listen(fd, 0); err != nil {
			return nil, os.NewSyscallError("listen", err)
		}
	}
	if local.Port() == 0 {
		bound, err := unix.Getsockname(fd)
		if err != nil {
			return nil, os.NewSyscallError("getsockname", err)
		}
		local = netip.AddrPortFrom(local.Addr(), boundPort(bound))
	}
	return &Port{proto: proto, addr: local, fd: fd}, nil
}

// refuseAll has the kernel drop every packet for a socket before it is looked at
// further. The filter is one instruction of classic BPF: accept 0 bytes.
func refuseAll(fd int) error {
	none := unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K}
	prog := unix.SockFprog{Len: 1, Filter: &none}
	if err := unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &prog); err != nil {
		return os.NewSyscallError("setsockopt SO_ATTACH_FILTER", err)
	}
	return nil
}

func sockaddr(a netip.AddrPort) (unix.Sockaddr, int, error) {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Addr: a.Addr().As4(), Port: int(a.Port())}, unix.AF_INET, nil
	}
	sa := &unix.SockaddrInet6{Addr: a.Addr().As16(), Port: int(a.Port())}
	if zone := a.Addr().Zone(); zone != "" {
		id, err := strconv.ParseUint(zone, 10, 32)
		if err != nil {
			ifi, err := net.InterfaceByName(zone)
			if err != nil {
				return nil, 0, fmt.Errorf("zone %q: %w", zone, unix.ENODEV)
			}
			id = uint64(ifi.Index)
		}
		sa.ZoneId = uint32(id)
	}
	return sa, unix.AF_INET6, nil
}

func boundPort(sa unix.Sockaddr) uint16 {
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return uint16(sa.Port)
	case *unix.SockaddrInet6:
		return uint16(sa.Port)
	}
	return 0
}

// claimHint says what to do about a port that can't be claimed.
func claimHint(err error, proto Proto, port uint16) string {
	switch {
	case errors.Is(err, unix.EADDRINUSE) && port == 0:
		return " (all ephemeral ports are in use: widen the sysctl net.ipv4.ip_local_port_range)"
	case errors.Is(err, unix.EADDRINUSE):
		return fmt.Sprintf(" (another program has it: see `ss -an%cp sport = :%d`)", proto.String()[0], port)
	case errors.Is(err, unix.EADDRNOTAVAIL):
		return " (no interface has this address: see `ip addr`)"
	case errors.Is(err, unix.EACCES):
		return " (a privileged port: needs CAP_NET_BIND_SERVICE, or a lower sysctl net.ipv4.ip_unprivileged_port_start)"
	}
	return ""
}

// Proto is the protocol that the port is of.
func (p *Port) Proto() Proto { return p.proto }

// Addr is the address and port, with the port that the kernel chose for 0.
func (p *Port) Addr() netip.AddrPort { return p.addr }

// Close gives the port back: the kernel answers on it again, a SYN with RST for
// example. Stop steering it before. Idempotent, and may be called from any goroutine.
func (p *Port) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.fd < 0 {
		return nil
	}
	err := unix.Close(p.fd)
	p.fd = -1
	if err != nil {
		return fmt.Errorf("steer: closing the claim of %v port %v: %w", p.proto, p.addr, err)
	}
	return nil
}
