//go:build linux

package netns

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/vishvananda/netlink"
)

// runningTimeout bounds the wait for a link that was brought up. The kernel
// takes microseconds, or up to a second if it batches link events.
const runningTimeout = 10 * time.Second

// VethOptions says how the two ends of a veth pair are to be. The zero value
// is a pair named veth0 on both sides, without addresses, of the kernel's
// default MTU (1500) and with all offloads on.
type VethOptions struct {
	NameA, NameB string         // default: veth0
	AddrA, AddrB []netip.Prefix // as for ConfigureLink
	MTU          int            // of both ends; 0: the kernel's default
	Off          []Offload      // offloads to switch off at both ends
	Queues       int            // receive and transmit queues of both ends; 0: one of each
}

// Veth connects two namespaces with a pair of virtual Ethernet links
// (veth(4)), sets the ends as o says, and returns when both are running. The
// pair goes away with either of the namespaces. A pair that could not be set
// as asked for is removed.
func Veth(a, b *NS, o VethOptions) error {
	if o.NameA == "" {
		o.NameA = "veth0"
	}
	if o.NameB == "" {
		o.NameB = "veth0"
	}
	if err := addVeth(a, b, o); err != nil {
		return fmt.Errorf("netns: making the veth pair %s, %s: %w", o.NameA, o.NameB, err)
	}
	if err := setUpVeth(a, b, o); err != nil {
		return errors.Join(err, a.DeleteLink(o.NameA))
	}
	return nil
}

// addVeth makes the pair, with one end in each namespace from the beginning:
// neither of the names is ever taken in the namespace of the caller.
func addVeth(a, b *NS, o VethOptions) error {
	return a.Do(func() error {
		return withFD(b.f, func(fd int) error {
			attrs := netlink.NewLinkAttrs()
			attrs.Name = o.NameA
			attrs.NumRxQueues, attrs.NumTxQueues = o.Queues, o.Queues
			return netlink.LinkAdd(&netlink.Veth{
				LinkAttrs:       attrs,
				PeerName:        o.NameB,
				PeerNamespace:   netlink.NsFd(fd),
				PeerNumRxQueues: uint32(o.Queues),
				PeerNumTxQueues: uint32(o.Queues),
			})
		})
	})
}

func setUpVeth(a, b *NS, o VethOptions) error {
	type end struct {
		ns    *NS
		name  string
		addrs []netip.Prefix
	}
	ends := []end{{a, o.NameA, o.AddrA}, {b, o.NameB, o.AddrB}}
	for _, e := range ends {
		for _, feature := range o.Off {
			if err := e.ns.SetOffload(e.name, feature, false); err != nil {
				return err
			}
		}
		if err := e.ns.ConfigureLink(e.name, e.addrs, o.MTU); err != nil {
			return err
		}
	}
	// An end has a carrier only once the other is up, too.
	for _, e := range ends {
		if err := e.ns.WaitRunning(e.name, runningTimeout); err != nil {
			return err
		}
	}
	return nil
}

// DeleteLink removes a link of the namespace.
func (n *NS) DeleteLink(name string) error {
	return n.Do(func() error {
		link, err := netlink.LinkByName(name)
		if err != nil {
			return err
		}
		return netlink.LinkDel(link)
	})
}
