//go:build linux

package packet

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/zctap/zctap/internal/netns"
)

// The kernel's slack: its timers tick 250 times a second or more and may be a tick
// early by our clock; what it sends is seen when this process gets the CPU.
const (
	linuxEarly = 10 * time.Millisecond
	linuxLate  = 20 * time.Millisecond
)

// sysctls are what differs on machines and would show in scripts.
var sysctls = []Setting{
	{"net/ipv4/tcp_congestion_control", "reno"},
	{"net/ipv4/tcp_no_metrics_save", "1"},
	{"net/ipv4/tcp_ecn", "2"},
	{"net/ipv4/tcp_timestamps", "1"},
	{"net/ipv4/tcp_sack", "1"},
	{"net/ipv4/tcp_window_scaling", "1"},
	{"net/ipv4/tcp_rmem", "4096 131072 6291456"},
	{"net/ipv4/tcp_wmem", "4096 262144 4194304"},
	{"net/ipv4/tcp_syncookies", "1"},
}

// tunName is the TUN interface's, in its namespace.
const tunName = "pkt0"

// linuxTarget is the kernel's stack in a namespace of its own, and a TUN interface
// whose other end is the runner.
type linuxTarget struct {
	mailbox
	ns    *netns.NS
	tun   int
	world world
	fds   []int          // sockets that are open
	late  sync.WaitGroup // calls of close that wait for the peer
	buf   [1 << 16]byte  // of a packet that is read
}

// NewLinux makes a target of the kernel. It needs CAP_NET_ADMIN and
// CAP_SYS_ADMIN. The caller closes it; the namespace goes with it.
func NewLinux(c Config, family int) (Target, error) {
	ns, err := netns.New()
	if err != nil {
		return nil, err
	}
	l := &linuxTarget{ns: ns, tun: -1, world: worlds[family]}
	if err := l.setUp(c); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	l.receive = l.read
	l.start = time.Now()
	return l, nil
}

func (l *linuxTarget) setUp(c Config) error {
	for _, s := range append(sysctls[:len(sysctls):len(sysctls)], c.Sysctls...) {
		if err := l.ns.SetSysctl(s.Name, s.Value); err != nil {
			return err
		}
	}
	err := l.ns.Do(func() (err error) { l.tun, err = openTUN(tunName); return err })
	if err != nil {
		return err
	}
	addrs := []netip.Prefix{netip.PrefixFrom(l.world.stack, l.world.bits)}
	if err := l.ns.ConfigureLink(tunName, addrs, c.MTU); err != nil {
		return err
	}
	if err := l.ns.WaitRunning(tunName, 10*time.Second); err != nil {
		return err
	}
	return l.ns.Do(func() error {
		if err := noSuperSegments(tunName); err != nil {
			return err
		}
		return netns.WaitAddresses(addrs, 10*time.Second)
	})
}

// noSuperSegments has the kernel's TCP decide about one segment at a time. Otherwise
// it defers some in the hope of a larger super-segment (tcp_tso_should_defer), and
// bounds them by its guess of the path's rate.
func noSuperSegments(name string) error {
	link, err := netlink.LinkByName(name)
	if err == nil {
		err = netlink.LinkSetGSOMaxSegs(link, 1)
	}
	if err != nil {
		return fmt.Errorf("packet: no super-segments on %s: %w", name, err)
	}
	return nil
}

// openTUN makes a TUN interface in the thread's namespace. It offers no offloads, so
// that the kernel completes checksums and segments by itself.
func openTUN(name string) (int, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return -1, fmt.Errorf("packet: open /dev/net/tun: %w", err)
	}
	ifr, err := unix.NewIfreq(name)
	if err == nil {
		ifr.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, ifr)
	}
	if err != nil {
		return -1, errors.Join(fmt.Errorf("packet: make the interface %s: %w", name, err), unix.Close(fd))
	}
	return fd, nil
}

func (l *linuxTarget) Name() string { return Linux }

func (l *linuxTarget) Slack() (early, late time.Duration) { return linuxEarly, linuxLate }

// read waits until then for packets, and takes those that are there.
func (l *linuxTarget) read(until time.Duration) error {
	err := l.wait(until, func(left time.Duration) error {
		ts := unix.NsecToTimespec(int64(left))
		_, err := unix.Ppoll([]unix.PollFd{{Fd: int32(l.tun), Events: unix.POLLIN}}, &ts, nil)
		return err
	})
	if err != nil && err != unix.EINTR {
		return fmt.Errorf("packet: ppoll: %w", err)
	}
	for {
		n, err := unix.Read(l.tun, l.buf[:])
		if err == unix.EAGAIN || err == unix.EINTR {
			return nil
		}
		if err != nil {
			return fmt.Errorf("packet: read from the TUN interface: %w", err)
		}
		if raw := l.buf[:n]; l.ours(raw) {
			l.add(bytes.Clone(raw))
		}
	}
}

// ours reports whether a packet goes from the stack's address to the peer's, or all hosts': all
// else is what the kernel does by itself, such as multicast reports.
func (l *linuxTarget) ours(b []byte) bool {
	var src, dst netip.Addr
	switch {
	case len(b) >= 20 && b[0]>>4 == 4:
		src, dst = netip.AddrFrom4([4]byte(b[12:16])), netip.AddrFrom4([4]byte(b[16:20]))
	case len(b) >= 40 && b[0]>>4 == 6:
		src, dst = netip.AddrFrom16([16]byte(b[8:24])), netip.AddrFrom16([16]byte(b[24:40]))
	}
	return src == l.world.stack && (dst == l.world.peer || dst == unusuals["subnet"].v4)
}

// Inject writes a packet, which the kernel processes before write returns.
func (l *linuxTarget) Inject(packet []byte) error {
	if _, err := unix.Write(l.tun, packet); err != nil {
		return fmt.Errorf("packet: write to the TUN interface: %w", err)
	}
	return nil
}

// closeMeanwhile closes a socket whose close may wait for the peer, which is the script: that is
// what lingering means, also with a socket that does not block. It has begun when something was
// sent, or a moment later.
func (l *linuxTarget) closeMeanwhile(fd int) error {
	l.late.Go(func() { unix.Close(fd) })
	return l.read(l.Now() + moment)
}

// Close closes what is open, and with it the namespace.
func (l *linuxTarget) Close() error {
	var err error
	for _, fd := range l.fds {
		// Without a word to the peer, who is gone: no state stays behind.
		err = errors.Join(err, setLinger(fd, 0), unix.Close(fd))
	}
	l.fds = nil
	l.late.Wait()
	if l.tun >= 0 {
		err = errors.Join(err, unix.Close(l.tun))
		l.tun = -1
	}
	return errors.Join(err, l.ns.Close())
}
