//go:build linux

package nic

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// The netdev generic netlink family (linux/netdev.h).
const (
	netdevFamily = "netdev"

	netdevCmdDevGet      = 1
	netdevCmdPagePoolGet = 5
	netdevCmdQueueGet    = 10
	netdevCmdQStatsGet   = 12

	netdevADevIfindex     = 1
	netdevADevXDPFeatures = 3
	netdevADevXDPZCSegs   = 4
	netdevXDPActZeroCopy  = 8

	netdevAPagePoolID          = 1
	netdevAPagePoolIfindex     = 2
	netdevAPagePoolNAPI        = 3
	netdevAPagePoolInflight    = 4
	netdevAPagePoolInflightMem = 5
	netdevAPagePoolDetachTime  = 6
	netdevAPagePoolDMABuf      = 7
	netdevAPagePoolIOUring     = 8

	netdevAQueueID      = 1
	netdevAQueueIfindex = 2
	netdevAQueueType    = 3
	netdevAQueueNAPI    = 4
	netdevAQueueDMABuf  = 5
	netdevAQueueIOUring = 6
	netdevAQueueXSK     = 7
	netdevAQueueLease   = 8
	netdevQueueTypeRX   = 0

	netdevALeaseIfindex = 1
	netdevALeaseQueue   = 2
	netdevALeaseNetNS   = 3

	netdevAQStatsIfindex    = 1
	netdevAQStatsQueueType  = 2
	netdevAQStatsQueueID    = 3
	netdevAQStatsScope      = 4
	netdevAQStatsRXPackets  = 8
	netdevAQStatsRXBytes    = 9
	netdevAQStatsAllocFail  = 12
	netdevAQStatsHWDrops    = 13
	netdevAQStatsOverruns   = 14
	netdevQStatsScopeQueues = 1
)

// netdev carries out a command of the netdev family.
func (d *kernelDevice) netdev(what string, cmd uint8, flags uint16, fill func(*attrs)) ([][]attr, error) {
	id, err := d.genl.family(netdevFamily)
	if err != nil {
		return nil, err
	}
	var a attrs
	if fill != nil {
		fill(&a)
	}
	answers, err := d.genl.genl(id, cmd, flags, a)
	if err != nil {
		return nil, fmt.Errorf("netdev %s: %w", what, err)
	}
	return answers, nil
}

// queue asks for one receive queue. One that is not there is ENOENT.
func (d *kernelDevice) queue(id int) (QueueState, error) {
	answers, err := d.netdev("queue-get", netdevCmdQueueGet, 0, func(a *attrs) {
		a.u32(netdevAQueueID, uint32(id))
		a.u32(netdevAQueueIfindex, uint32(d.index))
		a.u32(netdevAQueueType, netdevQueueTypeRX)
	})
	switch {
	case errors.Is(err, unix.EINVAL), err == nil && len(answers) == 0:
		// EINVAL is an index out of range. An interface that is down has no
		// queues: the answer to that is empty in some kernels.
		err = fmt.Errorf("netdev queue-get: %w", unix.ENOENT)
	case err == nil && len(answers) > 1:
		err = fmt.Errorf("netdev queue-get: %d answers: %w", len(answers), unix.EBADMSG)
	}
	if err != nil {
		return QueueState{Queue: id}, err
	}
	q, _ := parseQueue(answers[0])
	return q, nil
}

func (d *kernelDevice) queues() ([]QueueState, error) {
	answers, err := d.netdev("queue-get", netdevCmdQueueGet, unix.NLM_F_DUMP, func(a *attrs) {
		a.u32(netdevAQueueIfindex, uint32(d.index))
	})
	var list []QueueState
	for _, answer := range answers {
		if q, rx := parseQueue(answer); rx {
			list = append(list, q)
		}
	}
	return list, err
}

func parseQueue(list []attr) (q QueueState, rx bool) {
	for _, a := range list {
		switch a.typ {
		case netdevAQueueID:
			q.Queue = int(a.u32())
		case netdevAQueueType:
			rx = a.num() == netdevQueueTypeRX
		case netdevAQueueNAPI:
			q.NAPI = a.u32()
		case netdevAQueueDMABuf:
			q.DMABuf = a.u32()
		case netdevAQueueIOUring:
			q.IOUring = true
		case netdevAQueueXSK:
			q.XSK = true
		case netdevAQueueLease:
			q.Lease = parseLease(a.nested())
		}
	}
	return q, rx
}

func parseLease(list []attr) *QueuePeer {
	p := new(QueuePeer)
	for _, a := range list {
		switch a.typ {
		case netdevALeaseIfindex:
			p.Index = int(a.u32())
		case netdevALeaseQueue:
			for _, a := range a.nested() {
				if a.typ == netdevAQueueID {
					p.Queue = a.u32()
				}
			}
		case netdevALeaseNetNS:
			id := int32(a.u32())
			p.NetNS = &id
		}
	}
	return p
}

func (d *kernelDevice) xdpFeatures() (x XDPFeatures, err error) {
	answers, err := d.netdev("dev-get", netdevCmdDevGet, 0, func(a *attrs) {
		a.u32(netdevADevIfindex, uint32(d.index))
	})
	for _, answer := range answers {
		for _, a := range answer {
			switch a.typ {
			case netdevADevXDPFeatures:
				x.Features = a.num()
				x.ZeroCopy = x.Features&netdevXDPActZeroCopy != 0
			case netdevADevXDPZCSegs:
				x.ZCMaxSegs = a.u32()
			}
		}
	}
	return x, err
}

func (d *kernelDevice) queueStats(queue int) (QueueStats, error) {
	answers, err := d.netdev("qstats-get", netdevCmdQStatsGet, unix.NLM_F_DUMP, func(a *attrs) {
		a.u32(netdevAQStatsIfindex, uint32(d.index))
		a.u32(netdevAQStatsScope, netdevQStatsScopeQueues)
	})
	if err != nil {
		return QueueStats{}, err
	}
	for _, answer := range answers {
		var s QueueStats
		id, rx := -1, false
		for _, a := range answer {
			n := a.num()
			switch a.typ {
			case netdevAQStatsQueueType:
				rx = n == netdevQueueTypeRX
			case netdevAQStatsQueueID:
				id = int(n)
			case netdevAQStatsRXPackets:
				s.Packets = &n
			case netdevAQStatsRXBytes:
				s.Bytes = &n
			case netdevAQStatsAllocFail:
				s.AllocFail = &n
			case netdevAQStatsHWDrops:
				s.HWDrops = &n
			case netdevAQStatsOverruns:
				s.Overruns = &n
			}
		}
		if rx && id == queue {
			return s, nil
		}
	}
	return QueueStats{}, fmt.Errorf("netdev qstats-get: no counters of receive queue %d: %w", queue, unix.ENOENT)
}

func (d *kernelDevice) pagePools() ([]PagePool, error) {
	answers, err := d.netdev("page-pool-get", netdevCmdPagePoolGet, unix.NLM_F_DUMP, nil)
	var list []PagePool
	for _, answer := range answers {
		var p PagePool
		for _, a := range answer {
			switch a.typ {
			case netdevAPagePoolID:
				p.ID = a.num()
			case netdevAPagePoolIfindex:
				p.Index = int(a.u32())
			case netdevAPagePoolNAPI:
				p.NAPI = a.num()
			case netdevAPagePoolInflight:
				p.Inflight = a.num()
			case netdevAPagePoolInflightMem:
				p.InflightMem = a.num()
			case netdevAPagePoolDetachTime:
				p.DetachTime = a.num()
			case netdevAPagePoolDMABuf:
				p.DMABuf = a.u32()
			case netdevAPagePoolIOUring:
				p.IOUring = true
			}
		}
		if p.Index == d.index {
			list = append(list, p)
		}
	}
	return list, err
}

// ReadQueue returns what is bound to a receive queue. A queue that is not there
// is unix.ENOENT, a kernel that does not tell unix.EOPNOTSUPP.
func ReadQueue(iface string, queue int) (QueueState, error) {
	d, err := openDevice(iface)
	if err != nil {
		return QueueState{}, err
	}
	defer d.close()
	q, err := d.queue(queue)
	if err != nil {
		return q, fmt.Errorf("nic: %s queue %d: %w", iface, queue, err)
	}
	return q, nil
}

// ReadQueueStats returns a receive queue's counters. An interface whose driver
// has none for each queue is unix.EOPNOTSUPP.
func ReadQueueStats(iface string, queue int) (QueueStats, error) {
	d, err := openKernelDevice(iface, 0)
	if err != nil {
		return QueueStats{}, err
	}
	defer d.close()
	s, err := d.queueStats(queue)
	if err != nil {
		return s, fmt.Errorf("nic: %s queue %d: %w", iface, queue, err)
	}
	return s, nil
}

// PagePools returns the page pools of an interface. Those of an interface that
// has gone are not among them.
func PagePools(iface string) ([]PagePool, error) {
	d, err := openKernelDevice(iface, 0)
	if err != nil {
		return nil, err
	}
	defer d.close()
	list, err := d.pagePools()
	if err != nil {
		return nil, fmt.Errorf("nic: %s: %w", iface, err)
	}
	return list, nil
}

// freePoll is how often waitFree looks.
const freePoll = 10 * time.Millisecond

// WaitQueueFree waits until nothing is bound to a receive queue. The kernel
// takes an io_uring instance off its queue some time after the ring was closed.
// An error is an [ObstacleError] with QueueBusy, or that the queue can't be read.
func WaitQueueFree(iface string, queue int, timeout time.Duration) error {
	d, err := openDevice(iface)
	if err != nil {
		return err
	}
	defer d.close()
	return waitFree(d, iface, queue, timeout)
}

// waitFree is WaitQueueFree on a device. A kernel that does not tell has nothing
// to wait for, and neither has a queue that has gone.
func waitFree(d device, iface string, queue int, timeout time.Duration) error {
	deadline := time.Now().Add(timeout)
	for {
		q, err := d.queue(queue)
		switch {
		case errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENODEV):
			return nil
		case err != nil:
			return fmt.Errorf("nic: %s queue %d: %w", iface, queue, err)
		case q.Busy() == "":
			return nil
		case time.Now().After(deadline):
			return busyObstacle(iface, q)
		}
		time.Sleep(freePoll)
	}
}

func busyObstacle(iface string, q QueueState) *ObstacleError {
	e := &ObstacleError{
		Interface: iface, Queue: q.Queue, Obstacle: QueueBusy, Err: unix.EBUSY,
		Detail: "it is bound to " + q.Busy(),
		Remedy: "use another queue, or end what uses this one",
	}
	if e.ring = q.IOUring; e.ring {
		if who := ringHolders(); who != "" {
			e.Detail += "; processes with an io_uring: " + who
		}
	}
	return e
}
