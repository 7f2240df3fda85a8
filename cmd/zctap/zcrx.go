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

// nicFlags say which receive queue engine zcrx is to use.
type nicFlags struct {
	iface    string
	queue    int
	noDevice bool
}

func (f *nicFlags) add(fs *flag.FlagSet) {
	fs.StringVar(&f.iface, "interface", "", "receive with engine zcrx from the network `INTERFACE`")
	fs.IntVar(&f.queue, "queue", 0, "`NUMBER` of the interface's receive queue, not 0 (default the last)")
	fs.BoolVar(&f.noDevice, "nodev", false, "engine zcrx without an interface: the kernel copies every byte (Linux 7.1, for tests)")
}

// check says what is wrong with the flags of a command with that engine.
func (f *nicFlags) check(engine string) error {
	switch {
	case f.iface != "" && f.noDevice:
		return usagef("--interface and --nodev exclude each other")
	case f.iface == "" && f.queue != 0:
		return usagef("--queue is a queue of an --interface")
	case f.queue < 0:
		return usagef("--queue is from 1")
	case f.wanted() && engine != zctap.Auto && engine != zctap.ZCRX:
		return usagef("--interface and --nodev are for engine zcrx")
	}
	return nil
}

func (f *nicFlags) wanted() bool { return f.iface != "" || f.noDevice }

// apply adds to c what the flags say.
func (f *nicFlags) apply(c *zctap.Config) {
	c.Interface, c.RxQueue = f.iface, f.queue
	if f.noDevice {
		c.ZCRX = &zctap.ZCRXConfig{NoDevice: true}
	}
}

// hosts are what demo and bench receive over with these flags: the interface,
// from a sender in the network namespace of that name or (empty) somewhere
// else; or veth, without a device.
func (f *nicFlags) hosts(sender string) (*hosts, error) {
	if f.noDevice {
		return newHosts()
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

// byZCRX receives with engine zcrx.
func (t *transfer) byZCRX(ctx context.Context, h *hosts, f *nicFlags) (*report, error) {
	r := &report{Receiver: "zctap", Wire: h.wire}
	c := zctap.Config{Engine: zctap.ZCRX, BufferSize: t.bufferSize.on(zctap.ZCRX)}
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
