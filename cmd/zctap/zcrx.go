//go:build linux

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/netip"

	"github.com/zctap/zctap"
	"github.com/zctap/zctap/internal/netns"
)

// nicFlags say which interface to receive from, by engine zcrx or by AF_XDP.
type nicFlags struct {
	iface    string
	queue    int
	queues   int
	rings    int
	noDevice bool
	mode     choice
}

func (f *nicFlags) add(fs *flag.FlagSet) {
	fs.StringVar(&f.iface, "interface", "", "receive from the network `INTERFACE`: with engine zcrx, or engine user by AF_XDP")
	fs.IntVar(&f.queue, "queue", 0, "`NUMBER` of the interface's receive queue for engine zcrx, not 0 (default the last)")
	fs.IntVar(&f.rings, "rings", 1, "`NUMBER` of rings, each with a thread, that share the queue, for engine zcrx (Linux 6.19)")
	fs.IntVar(&f.queues, "queues", 0, "`NUMBER` of the interface's receive queues for AF_XDP, the first so many (default all)")
	f.mode = choice{"auto", []string{"auto", zctap.XDPZeroCopy, zctap.XDPCopy, zctap.XDPGeneric}}
	fs.Var(&f.mode, "xdp-mode", "`MODE` of AF_XDP: auto, zerocopy, copy or generic")
	fs.BoolVar(&f.noDevice, "nodev", false, "engine zcrx without an interface: the kernel copies every byte (Linux 7.1, for tests)")
}

// check says what is wrong with the flags of a command with that engine. veth says
// that it makes an interface of its own for AF_XDP.
func (f *nicFlags) check(fs *flag.FlagSet, engine string, veth bool) error {
	if f.iface == "" && !veth {
		if err := idle(fs, "is of AF_XDP, on an --interface", "xdp-mode"); err != nil {
			return err
		}
	}
	if f.wanted() {
		if err := idle(fs, "is of what the command makes; there is an --interface, or --nodev", "wire", "mtu"); err != nil {
			return err
		}
	}
	switch {
	case f.iface != "" && f.noDevice:
		return usagef("--interface and --nodev exclude each other")
	case f.iface == "" && f.queue != 0:
		return usagef("--queue is a queue of an --interface")
	case f.queue < 0:
		return usagef("--queue is from 1")
	case f.rings < 1:
		return usagef("--rings is from 1")
	case f.rings > 1 && !f.wanted():
		return usagef("--rings share a queue of an --interface, or --nodev")
	case f.rings > 1 && engine != zctap.Auto && engine != zctap.ZCRX:
		return usagef("--rings is for engine zcrx")
	case f.queues < 0:
		return usagef("--queues is from 1")
	case f.queues > 0 && f.iface == "":
		return usagef("--queues are queues of an --interface")
	case f.queues > 0 && engine == zctap.ZCRX:
		return usagef("--queues is for engine user, which receives by AF_XDP; engine zcrx has one --queue")
	case f.noDevice && engine != zctap.Auto && engine != zctap.ZCRX:
		return usagef("--nodev is for engine zcrx")
	case f.iface != "" && engine == zctap.Copy:
		return usagef("--interface is for engines zcrx and user")
	}
	return nil
}

func (f *nicFlags) wanted() bool { return f.iface != "" || f.noDevice }

// apply adds to c what the flags say.
func (f *nicFlags) apply(c *zctap.Config) {
	c.Interface, c.RxQueue = f.iface, f.queue
	c.ZCRX = &zctap.ZCRXConfig{NoDevice: f.noDevice, Rings: f.rings}
	if f.noDevice {
		c.Engine = zctap.ZCRX
	}
	if f.iface == "" {
		return
	}
	c.XDP = &zctap.XDPConfig{}
	if f.mode.value != "" && f.mode.value != "auto" {
		c.XDP.Mode = f.mode.value
	}
	for queue := range f.queues {
		c.XDP.Queues = append(c.XDP.Queues, queue)
	}
}

// hosts are what demo and bench receive over with these flags: the interface,
// from a sender in the network namespace of that name or (empty) somewhere
// else; or veth, without a device.
func (f *nicFlags) hosts(sender string) (*hosts, error) {
	if f.noDevice {
		return newHosts(0)
	}
	addr, err := addressOfInterface(f.iface)
	if err != nil {
		return nil, err
	}
	h := &hosts{addr: addr, wire: f.iface}
	if sender != "" {
		if h.sender, err = netns.Open(sender); err != nil {
			return nil, err
		}
	}
	return h, nil
}

// addressOfInterface is an address by which a peer reaches the interface.
func addressOfInterface(name string) (netip.Addr, error) {
	i, err := net.InterfaceByName(name)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("interface %s: %w", name, err)
	}
	addrs, err := i.Addrs()
	if err != nil {
		return netip.Addr{}, fmt.Errorf("interface %s: %w", name, err)
	}
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil && !p.Addr().IsLinkLocalUnicast() {
			return p.Addr().Unmap(), nil
		}
	}
	return netip.Addr{}, fmt.Errorf("interface %s has no address that a sender could reach", name)
}

// byInterface receives from a network interface, or with --nodev.
func (t *transfer) byInterface(ctx context.Context, h *hosts, f *nicFlags, engine string) (*report, error) {
	r := &report{Receiver: "zctap", Wire: h.wire}
	c := zctap.Config{Engine: engine, BufferSize: int(t.bufferSize.byteSize)}
	f.apply(&c)
	var q *zctap.Queue
	var ln *zctap.Listener
	err := h.inReceiver(func() (err error) {
		if q, err = zctap.Open(c); err != nil {
			return err
		}
		if ln, err = q.Listen("tcp", atPort(h.receiverAddr(), nil)); err != nil {
			return errors.Join(err, q.Close())
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return r, t.queue(ctx, q, ln, h, ln.Addr().String(), r)
}

// overVeth receives with engine user by AF_XDP from the receiver's end of veth, in
// a mode of --xdp-mode.
func (t *transfer) overVeth(ctx context.Context, h *hosts, mode string) (*report, error) {
	r, err := t.byInterface(ctx, h, &nicFlags{iface: vethName, mode: choice{value: mode}}, zctap.User)
	if r != nil {
		r.Wire = "veth by AF_XDP"
		if r.XDPMode == zctap.XDPGeneric {
			r.Wire += ", generic"
		}
	}
	return r, err
}
