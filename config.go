package zctap

import (
	"net/netip"
	"os"
	"time"

	"github.com/zctap/zctap/internal/buf"
	"github.com/zctap/zctap/internal/driver"
)

// Names of the engines, for Config.Engine.
const (
	Auto = "auto" // the first that works, in the order of the list
	ZCRX = "zcrx" // the kernel's zero-copy receive (io_uring)
	User = "user" // zctap's own TCP and UDP over a driver
	Copy = "copy" // the kernel's sockets, copying
)

// Names of congestion control algorithms, for Config.Congestion.
const (
	CongestionCubic = "cubic" // RFC 9438, with HyStart++ (RFC 9406)
	CongestionReno  = "reno"  // RFC 5681
)

// Config says what to open. The zero value is valid: it opens the best engine
// that needs no interface, which is Copy.
type Config struct {
	// Engine is one of the names above; empty means Auto, which tries them in
	// their order and keeps the reason for each that it passed over
	// (Queue.Why). An engine that is named here is opened or Open fails: there
	// is no falling back.
	Engine string

	// Interface is the network device to receive from, for engines ZCRX and User (by
	// AF_XDP). It does not bound what Copy and ZCRX listen to: their listeners are the
	// kernel's, and ":9000" is every address of the machine. Name an address to be
	// reached by one network only.
	Interface string

	// RxQueue is the receive queue of Interface that engine ZCRX takes. It can't have
	// queue 0, so that 0 stands for the last one. For AF_XDP see XDPConfig.Queues.
	RxQueue int

	// ZCRX is what concerns engine ZCRX only, XDP engine User on an Interface;
	// nil is the zero value.
	ZCRX *ZCRXConfig
	XDP  *XDPConfig

	// TUN makes engine User receive from a TUN device.
	TUN *TUN

	// Buffers is the size of the region in buffers: 1 to 65,536, by default as
	// many as 32 MiB hold. With Memory it is what fits there. AF_XDP needs some hundred,
	// since they lie with the interface's queues; Open says how many.
	Buffers int

	// BufferSize is the size of a buffer in bytes: a power of two, by default
	// and at least a page (4 KiB). Larger ones make fewer pieces of the same
	// stream, and waste more on small payloads. They suit wires that carry
	// super-segments: a TUN device's are up to 64 KiB. AF_XDP takes a page only.
	BufferSize int

	// Memory, if not nil, is the region: page-aligned memory of the
	// application's own, such as a mapping, a whole number of buffers long. It
	// has to stay mapped until the queue is closed and every Iov released.
	Memory []byte

	// NoHugePages keeps a region that zctap maps on ordinary pages.
	NoHugePages bool

	// MaxHeld is the most buffers that one connection may keep from the
	// others: those that wait to be received, and those in the application's hands. 0
	// adapts: as many as are free at the moment, so that one slow reader keeps at most
	// half of the region.
	MaxHeld int

	// SendMemory bounds how many bytes all TCP connections of engine User together keep
	// because their peers have not acknowledged them yet; 0 is 256 MiB. The first 4 KiB of
	// each connection do not count, and none has more than 1 MiB. Beyond the bound writers
	// wait in line. The other engines send from the kernel's memory, which it bounds
	// itself (tcp_mem).
	SendMemory int

	// Congestion is the congestion control of TCP connections, CongestionCubic or
	// CongestionReno; empty is CUBIC in engine User and the system's in the others.
	Congestion string

	// ECN asks for explicit congestion notification (RFC 3168) when dialing TCP:
	// routers mark packets instead of dropping them. Where a path drops such requests,
	// dialing goes on without after a second. Peers that ask for it get it in any case.
	// Of engine User; for the kernel's connections net.ipv4.tcp_ecn decides.
	ECN bool

	// HopLimit is the hop limit (TTL in IPv4) of what is sent; 0 is 64. What goes to
	// multicast groups has 1 always. Of engine User; for the kernel's sockets
	// net.ipv4.ip_default_ttl decides.
	HopLimit uint8

	// CloseTimeout bounds how long Close waits for the driver and the stack to
	// give their buffers back; 0 is 10 s, as in the RFC. When it is over
	// Close returns EBUSY, says what is missing, and keeps the memory. It does not wait
	// for Iovs that the application holds.
	CloseTimeout time.Duration

	// wire is OpenPair's.
	wire *wireEnd
}

// A ZCRXConfig says how engine ZCRX uses its interface. What it changes there,
// header/data split, RSS and steering rules, is written to a journal before and
// undone by Close; after a crash at the next start, or by `zctap nic restore`.
type ZCRXConfig struct {
	// NoDevice does without an interface (Linux 7.1): the kernel does its whole zcrx
	// protocol over any connection, and copies every byte. For tests.
	NoDevice bool

	// ManualSteering leaves it to the administrator which flows the NIC puts
	// into the queue; otherwise each listener gets a rule. A flow that is not
	// steered there still works, by copying.
	ManualSteering bool

	// SteerDials has dialed connections steered too, each by a rule of its own,
	// of which a NIC has some hundreds. Otherwise they receive by copying.
	SteerDials bool

	// Reserve is how many of the region's buffers are kept back from the NIC, for UDP
	// and for small payloads, which are copied there so that the NIC gets its buffers
	// back; 0 is an eighth of them.
	Reserve int

	// DeviceBufferSize is the size in bytes of the buffers that the NIC fills
	// (rx_buf_len, Linux 7.0, few drivers): a power of two that divides
	// Config.BufferSize; 0 is a page. More than a page needs a region of huge pages.
	DeviceBufferSize int

	// Areas is in how many areas the NIC's part of the region is registered (Linux
	// 7.3); 0 is one.
	Areas int

	// Rings is how many rings receive from the queue (Linux 6.19), 1 to 32; 0 is one.
	// Each has a thread of its own, and TCP connections are spread over them, so that
	// one queue can keep several cores busy. They share the way of buffers back to the NIC,
	// by a lock that each takes some times a batch. So use more than one only if the
	// thread of one can't keep up, and not more than there are cores to spare. What the
	// kernel had to copy is counted right in total, but which views say so
	// (Iov.Copied) is less certain. Events "ring-0-frames", "ring-1-frames", ... of
	// Queue.Stats tell what each brought.
	Rings int

	// DMABuf, if not 0, is the descriptor of a DMA buffer (Linux 6.16) that the NIC
	// fills, and Config.Memory a mapping that begins with all of it; what follows is
	// the reserve. The descriptor stays the caller's. Payload that the NIC did not
	// put there itself can't be copied there, and ends its connection with ENOMEM.
	DMABuf int

	// JournalDir has the journal, for one machine's processes together. It has to be writable
	// by its owner only, us or root. Empty is /run/zctap/nic; where that can't be written
	// there is none, and the event "no-journal" of Queue.Stats says so: if the process is
	// killed the interface stays as it was set.
	JournalDir string
}

// An XDPConfig says how engine User receives from an interface by AF_XDP, beside
// the kernel: it has the kernel's addresses, routes and neighbors, and is given the
// flows of its own ports only. To open it takes CAP_NET_ADMIN, CAP_NET_RAW and
// CAP_BPF, and CAP_IPC_LOCK or an RLIMIT_MEMLOCK of the region's size; what comes
// afterwards needs none of them (Queue.DropCapabilities).
//
// Everything it does to the interface ends with the process, but for one thing:
// generic mode turns off the offloads that put packets together (rx-gro-hw, rx-lro).
// They are written to a journal and turned on again by Close; after a crash at the
// next start, or by `zctap nic restore`.
//
// While it runs the interface may go down and come up, and be renamed: connections
// survive. A lower MTU is taken over for new ones; a higher one needs a new queue. If
// the interface is deleted, or gets more receive queues than Queues were when it was
// empty, everything fails with an error that says so (ENODEV, ESTALE).
type XDPConfig struct {
	// Queues are the receive queues to receive from; empty is all of them. Flows that the
	// interface's hash puts into a queue that is not named are not received.
	Queues []int
	// Mode is one of those below; empty is the best that works: XDPZeroCopy, else
	// XDPCopy, else XDPGeneric. A veth of one queue is an exception, unless Queues is set:
	// there it is XDPGeneric as long as there are only TCP sockets, because that is the
	// fastest, and XDPCopy for good from the first UDP socket on, because generic mode
	// may lose datagrams. Queue.XDPMode tells which it is, and why.
	Mode string

	// JournalDir has the journal; empty is /run/zctap/nic. Where that can't be written there
	// is none: see the event "no-journal" in ZCRXConfig.JournalDir.
	JournalDir string
}

// Modes of AF_XDP, for XDPConfig.Mode.
const (
	XDPZeroCopy = "zerocopy" // the NIC writes into the region
	XDPCopy     = "copy"     // the kernel copies frames there, in the driver
	// XDPGeneric: the kernel copies frames there, behind the driver, for any interface.
	// Slow with frames of MTU size. But over veth a sender on this machine may hand over
	// super-segments, up to 64 KiB at once, and generic mode takes them whole, where the
	// other modes have them cut up for everybody on the interface: TCP is several times
	// faster. Datagrams that a sender left to be cut (UDP_SEGMENT) are dropped, and
	// counted as merged-udp; if all together are no longer than the MTU they are taken
	// for one datagram.
	XDPGeneric = "generic"
)

// A TUN is a virtual link to this machine's kernel: what the kernel sends to
// Addresses comes to engine User. The device is made, and gone after Close, if
// it does not exist; making it needs CAP_NET_ADMIN in the network namespace,
// which an ordinary user has in one of his own.
type TUN struct {
	// Name of the device, such as "zctap0".
	Name string
	// Addresses are those that zctap answers for.
	Addresses []netip.Prefix
	// Host are addresses to give to the kernel's side, and if there are any the
	// device is set up. Without, that is left to the administrator.
	Host []netip.Prefix
	// MTU of the device in bytes; by default left as it is (1,500).
	MTU int
	// Device is the character device, by default /dev/net/tun.
	Device string

	// over puts another driver over that of the device: a bad wire, in tests.
	over func(driver.Driver, *buf.Pool) (driver.Driver, error)
}

const (
	defaultRegion       = 32 << 20 // bytes
	defaultCloseTimeout = 10 * time.Second
)

func (c *Config) buffers() int {
	if c.Buffers == 0 && c.Memory == nil {
		return max(1, defaultRegion/max(c.BufferSize, os.Getpagesize()))
	}
	return c.Buffers
}

func (c *Config) closeTimeout() time.Duration {
	if c.CloseTimeout == 0 {
		return defaultCloseTimeout
	}
	return c.CloseTimeout
}
