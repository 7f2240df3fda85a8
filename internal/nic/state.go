//go:build linux

package nic

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// State is what can be read of an interface, without privilege. A nil part is
// not offered by the driver or the kernel; Missing says why.
type State struct {
	Link
	Driver   string             `json:"driver"`
	Channels *Channels          `json:"channels,omitempty"`
	Rings    *Rings             `json:"rings,omitempty"`
	Features map[string]Feature `json:"features,omitempty"` // by the kernel's names, such as FeatureRules
	RSS      *RSS               `json:"rss,omitempty"`
	Contexts []RSS              `json:"rss_contexts,omitempty"`
	Rules    *RuleTable         `json:"rules,omitempty"`
	Queues   []QueueState       `json:"queues,omitempty"` // the receive queues
	XDP      *XDPFeatures       `json:"xdp_features,omitempty"`
	// Missing maps a part's name in JSON to the reason why it is not there.
	Missing map[string]string `json:"missing,omitempty"`

	errs map[string]error // Missing's errors
}

// Link is an interface as rtnetlink has it (struct ifinfomsg, IFLA_*).
type Link struct {
	Interface string `json:"interface"`
	Index     int    `json:"index"`
	Up        bool   `json:"up"`      // IFF_UP: set up by the administrator
	Running   bool   `json:"running"` // IFF_RUNNING: has a carrier, too
	MAC       string `json:"mac,omitempty"`
	// XDPProgram is the id of the XDP program that is attached, in any mode, or 0.
	XDPProgram  uint32 `json:"xdp_program,omitempty"`
	XDPAttached bool   `json:"xdp_attached"`
}

// Channels are an interface's queues (ETHTOOL_MSG_CHANNELS_GET). A combined
// channel has a receive and a transmit queue.
type Channels struct {
	RX          uint32 `json:"rx"`
	TX          uint32 `json:"tx"`
	Combined    uint32 `json:"combined"`
	RXMax       uint32 `json:"rx_max"`
	TXMax       uint32 `json:"tx_max"`
	CombinedMax uint32 `json:"combined_max"`
}

// RXQueues returns the number of receive queues.
func (c Channels) RXQueues() int { return int(c.RX + c.Combined) }

// String returns the receive queues as the arguments of `ethtool -L`.
func (c Channels) String() string {
	switch {
	case c.RX == 0:
		return fmt.Sprintf("combined %d", c.Combined)
	case c.Combined == 0:
		return fmt.Sprintf("rx %d", c.RX)
	}
	return fmt.Sprintf("rx %d combined %d", c.RX, c.Combined)
}

// A DataSplit is whether the NIC puts headers and payload into buffers of their
// own: ETHTOOL_TCP_DATA_SPLIT_*.
type DataSplit uint8

// What a driver says of its header/data split.
const (
	SplitUnknown DataSplit = 0 // ETHTOOL_TCP_DATA_SPLIT_UNKNOWN
	SplitOff     DataSplit = 1 // ETHTOOL_TCP_DATA_SPLIT_DISABLED
	SplitOn      DataSplit = 2 // ETHTOOL_TCP_DATA_SPLIT_ENABLED
)

func (s DataSplit) String() string {
	switch s {
	case SplitOff:
		return "off"
	case SplitOn:
		return "on"
	}
	return "unknown"
}

// MarshalText is String, for JSON.
func (s DataSplit) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText is the inverse of MarshalText.
func (s *DataSplit) UnmarshalText(b []byte) error {
	switch string(b) {
	case "on":
		*s = SplitOn
	case "off":
		*s = SplitOff
	case "unknown":
		*s = SplitUnknown
	default:
		return fmt.Errorf("nic: %q is no state of a data split: %w", b, unix.EINVAL)
	}
	return nil
}

// Rings are the settings of an interface's rings that matter here
// (ETHTOOL_MSG_RINGS_GET).
type Rings struct {
	RX        uint32    `json:"rx"` // descriptors in a receive ring
	RXBufLen  uint32    `json:"rx_buf_len,omitempty"`
	DataSplit DataSplit `json:"tcp_data_split"` // SplitUnknown: the driver has none
	// HDSThresh is the number of bytes up to which a packet is not split. Nil:
	// the driver has no such threshold and splits every packet.
	HDSThresh    *uint32 `json:"hds_thresh,omitempty"`
	HDSThreshMax uint32  `json:"hds_thresh_max,omitempty"`
}

func (r Rings) String() string {
	s := "tcp-data-split " + r.DataSplit.String()
	if r.HDSThresh != nil {
		s += fmt.Sprintf(", hds-thresh %d", *r.HDSThresh)
	}
	return s
}

// splitsAll reports whether every packet is split.
func (r Rings) splitsAll() bool {
	return r.DataSplit == SplitOn && (r.HDSThresh == nil || *r.HDSThresh == 0)
}

// The features that matter here, as the kernel calls them.
const (
	FeatureRules = "rx-ntuple-filter" // flow rules; ethtool calls it ntuple
	FeatureHWGRO = "rx-gro-hw"        // hardware GRO, which mlx5's data split needs
	FeatureLRO   = "rx-lro"           // large receive offload
)

// Feature is the state of a feature (ETHTOOL_MSG_FEATURES_GET).
type Feature struct {
	Active     bool `json:"active"`
	Wanted     bool `json:"wanted"`
	Changeable bool `json:"changeable"`
}

// RSS is an RSS context: how packets that no rule matches, or that a rule sends
// to the context, are spread over queues (struct ethtool_rxfh).
type RSS struct {
	Context uint32   `json:"context"` // 0 is the interface's own
	Indir   []uint32 `json:"indir"`   // the queue of each hash value modulo its length
	Key     []byte   `json:"key,omitempty"`
}

// Uses reports whether the context sends packets to a queue.
func (r RSS) Uses(queue int) bool { return slices.Contains(r.Indir, uint32(queue)) }

// QueueState is what is bound to a receive queue (netdev's queue-get).
type QueueState struct {
	Queue   int        `json:"queue"`
	NAPI    uint32     `json:"napi,omitempty"`
	IOUring bool       `json:"io_uring,omitempty"` // an io_uring zcrx instance
	XSK     bool       `json:"xsk,omitempty"`      // an AF_XDP socket, in any mode
	DMABuf  uint32     `json:"dmabuf,omitempty"`   // the id of a dmabuf binding
	Lease   *QueuePeer `json:"lease,omitempty"`
}

// QueuePeer is the queue of another interface that a queue is leased to.
type QueuePeer struct {
	Index int    `json:"index"` // the interface's
	Queue uint32 `json:"queue"`
	NetNS *int32 `json:"netns,omitempty"` // the id of its namespace, if it is another
}

// Busy returns what the queue is bound to, or "".
func (q QueueState) Busy() string {
	var by []string
	if q.IOUring {
		by = append(by, "an io_uring zcrx instance")
	}
	if q.XSK {
		by = append(by, "an AF_XDP socket")
	}
	if q.DMABuf != 0 {
		by = append(by, fmt.Sprintf("dmabuf binding %d", q.DMABuf))
	}
	if q.Lease != nil {
		s := fmt.Sprintf("a lease to queue %d of the interface with index %d", q.Lease.Queue, q.Lease.Index)
		if q.Lease.NetNS != nil {
			s += fmt.Sprintf(" in network namespace %d", *q.Lease.NetNS)
		}
		by = append(by, s)
	}
	return strings.Join(by, " and ")
}

// XDPFeatures are those of an interface (netdev's dev-get).
type XDPFeatures struct {
	Features  uint64 `json:"features"`  // NETDEV_XDP_ACT_*
	ZCMaxSegs uint32 `json:"zc_segs"`   // fragments of a packet in AF_XDP zero-copy mode
	ZeroCopy  bool   `json:"zero_copy"` // AF_XDP zero-copy mode: NETDEV_XDP_ACT_XSK_ZEROCOPY
}

// QueueStats are a receive queue's counters since it was set up last (netdev's
// qstats-get). Nil: the driver does not count that.
type QueueStats struct {
	Packets   *uint64 `json:"packets,omitempty"`
	Bytes     *uint64 `json:"bytes,omitempty"`
	AllocFail *uint64 `json:"alloc_fail,omitempty"` // buffers that could not be allocated
	HWDrops   *uint64 `json:"hw_drops,omitempty"`
	Overruns  *uint64 `json:"overruns,omitempty"` // of the drops: for want of buffers or descriptors
}

// Dropped is how many packets the driver says that it received none of: the sum
// of what it counts. It has more than one name for some.
func (s *QueueStats) Dropped() (n uint64) {
	for _, c := range []*uint64{s.AllocFail, s.HWDrops, s.Overruns} {
		if c != nil {
			n += *c
		}
	}
	return n
}

// PagePool is a page pool of an interface (netdev's page-pool-get).
type PagePool struct {
	ID          uint64 `json:"id"`
	Index       int    `json:"index"` // of the interface; 0 if that has gone
	NAPI        uint64 `json:"napi,omitempty"`
	Inflight    uint64 `json:"inflight"`       // pages that are out
	InflightMem uint64 `json:"inflight_bytes"` // and their memory
	// DetachTime is when the driver gave the pool up, in seconds of
	// CLOCK_BOOTTIME, or 0. Pages that are out long after are leaked.
	DetachTime uint64 `json:"detach_time,omitempty"`
	DMABuf     uint32 `json:"dmabuf,omitempty"`
	IOUring    bool   `json:"io_uring,omitempty"`
}

// rxQueues returns the number of receive queues.
func (s *State) rxQueues() int {
	if s.Channels != nil {
		return s.Channels.RXQueues()
	}
	return len(s.Queues)
}

// feature returns a feature's state; one that the kernel does not list can be
// neither on nor changed.
func (s *State) feature(name string) Feature { return s.Features[name] }

// queue returns what is bound to a queue, as far as is known.
func (s *State) queue(id int) QueueState {
	for _, q := range s.Queues {
		if q.Queue == id {
			return q
		}
	}
	return QueueState{Queue: id}
}

// inspect reads everything. Its error is that of an interface that is not there.
func inspect(d device) (*State, error) {
	link, err := d.link()
	if err != nil {
		return nil, err
	}
	s := &State{Link: link, errs: make(map[string]error)}
	missing := func(part string, err error) bool {
		if err != nil {
			s.errs[part] = err
		}
		return err != nil
	}
	s.Driver, err = d.driver()
	missing("driver", err)
	if c, err := d.channels(); !missing("channels", err) {
		s.Channels = &c
	}
	if r, err := d.rings(); !missing("rings", err) {
		s.Rings = &r
	}
	if f, err := d.features(); !missing("features", err) {
		s.Features = make(map[string]Feature)
		for _, name := range []string{FeatureRules, FeatureHWGRO, FeatureLRO} {
			if one, ok := f[name]; ok {
				s.Features[name] = one
			}
		}
	}
	if r, err := d.rss(); !missing("rss", err) {
		s.RSS = &r
	}
	s.Contexts, err = d.contexts()
	missing("rss_contexts", err)
	if t, err := d.rules(); !missing("rules", err) {
		s.Rules = &t
	}
	s.Queues, err = d.queues()
	missing("queues", err)
	if x, err := d.xdpFeatures(); !missing("xdp_features", err) {
		s.XDP = &x
	}
	for _, part := range slices.Sorted(maps.Keys(s.errs)) {
		err := s.errs[part]
		if errors.Is(err, unix.ENODEV) {
			return nil, err
		}
		if s.Missing == nil {
			s.Missing = make(map[string]string)
		}
		s.Missing[part] = err.Error()
	}
	return s, nil
}

// Inspect reads everything about an interface of the thread's network
// namespace. The error is an [ObstacleError] with NoInterface if it is not there.
func Inspect(iface string) (*State, error) {
	d, err := openDevice(iface)
	if err != nil {
		return nil, err
	}
	defer d.close()
	s, err := inspect(d)
	if err != nil {
		return nil, fmt.Errorf("nic: %s: %w", iface, err)
	}
	return s, nil
}
