//go:build linux

package xdp

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"
)

// A link is what the driver knows of its interface.
type link struct {
	index    int
	name     string
	mac      [6]byte
	mtu      int
	up       bool
	gone     bool // deleted, or moved to another namespace
	ethernet bool
}

// A linkWatch follows the state of one interface by rtnetlink(7). An AF_XDP
// socket alone does not do: when its interface goes away, poll(2) does not say
// so, and a Wait for frames would be one for ever.
type linkWatch struct {
	*nlSocket
	link link
}

// watchLink finds an interface, by its index if name is empty, and begins to
// follow it.
func watchLink(name string, index int) (*linkWatch, error) {
	// Subscribed before the first look, so that no change is missed.
	n, err := openNetlink(unix.NETLINK_ROUTE, unix.RTMGRP_LINK)
	if err != nil {
		return nil, err
	}
	w := &linkWatch{nlSocket: n, link: link{index: index}}
	if err := w.find(name); err != nil {
		return nil, errors.Join(err, n.close())
	}
	return w, nil
}

func (w *linkWatch) find(name string) error {
	label := name
	var attrs []byte
	if name != "" {
		if len(name) >= unix.IFNAMSIZ {
			return invalid("interface name %q is longer than %d bytes", name, unix.IFNAMSIZ-1)
		}
		attrs = appendAttr(nil, unix.IFLA_IFNAME, append([]byte(name), 0))
		w.link.index = 0
	} else {
		if w.link.index <= 0 || w.link.index > 1<<31-1 {
			return invalid("neither the name nor the index of an interface is given")
		}
		label = fmt.Sprintf("with index %d", w.link.index)
	}
	found := false
	err := w.ask(unix.RTM_GETLINK, w.query(attrs), func(m *syscall.NetlinkMessage) {
		if m.Header.Type == unix.RTM_NEWLINK && w.link.parse(m.Data, true) {
			found = true
		}
	})
	if err == nil && !found {
		err = unix.ENODEV
	}
	if errors.Is(err, unix.ENODEV) {
		return fmt.Errorf("there is no interface %s in this network namespace (`ip link` lists them): %w", label, err)
	}
	if err != nil {
		return fmt.Errorf("ask for interface %s: %w", label, err)
	}
	return nil
}

// query is the body of an RTM_GETLINK.
func (w *linkWatch) query(attrs []byte) []byte {
	b := make([]byte, unix.SizeofIfInfomsg, unix.SizeofIfInfomsg+len(attrs))
	binary.NativeEndian.PutUint32(b[4:], uint32(w.link.index))
	return append(b, attrs...)
}

// maxLost is how often messages may be lost in one read.
const maxLost = 10

// read takes in what has changed, without waiting.
func (w *linkWatch) read() error {
	lost := false
	for asked := 0; ; {
		messages, err := w.receive(unix.MSG_DONTWAIT)
		switch {
		case err == unix.EAGAIN && !lost:
			return nil
		case err == unix.EAGAIN && asked < maxLost:
			// Only now is there room for the answer, which comes as one more message.
			lost, asked = false, asked+1
			if err := w.send(unix.RTM_GETLINK, w.query(nil)); err != nil {
				return fmt.Errorf("ask for the interface: %w", err)
			}
		case err == unix.ENOBUFS:
			lost = true
		case err != nil:
			return fmt.Errorf("follow the interface: %w", err)
		}
		for i := range messages {
			w.link.update(&messages[i])
		}
	}
}

// update takes in one message.
func (l *link) update(m *syscall.NetlinkMessage) {
	switch m.Header.Type {
	case unix.RTM_NEWLINK:
		l.parse(m.Data, false)
	case unix.RTM_DELLINK:
		// AF_BRIDGE tells of a port that left its bridge.
		if len(m.Data) >= unix.SizeofIfInfomsg && m.Data[0] == unix.AF_UNSPEC && index(m.Data) == l.index {
			l.gone, l.up = true, false
		}
	case unix.NLMSG_ERROR:
		if errors.Is(acknowledged(m), unix.ENODEV) {
			l.gone, l.up = true, false
		}
	}
}

// parse reads an RTM_NEWLINK of l's interface, or of any if first is set; it
// reports whether it was one.
func (l *link) parse(b []byte, first bool) bool {
	if len(b) < unix.SizeofIfInfomsg || b[0] != unix.AF_UNSPEC || !first && index(b) != l.index {
		return false
	}
	l.index = index(b)
	l.ethernet = binary.NativeEndian.Uint16(b[2:]) == unix.ARPHRD_ETHER
	l.up = binary.NativeEndian.Uint32(b[8:])&unix.IFF_UP != 0
	eachAttr(b[unix.SizeofIfInfomsg:], func(typ uint16, v []byte) {
		switch {
		case typ == unix.IFLA_IFNAME:
			name, _, _ := bytes.Cut(v, []byte{0})
			l.name = string(name)
		case typ == unix.IFLA_ADDRESS && len(v) == len(l.mac):
			l.mac = [6]byte(v)
		case typ == unix.IFLA_MTU && len(v) == 4:
			l.mtu = int(binary.NativeEndian.Uint32(v))
		}
	})
	return true
}

// index is ifi_index of struct ifinfomsg.
func index(b []byte) int { return int(int32(binary.NativeEndian.Uint32(b[4:]))) }

// A device is what an interface's driver says of it once.
type device struct {
	driver string // its name, such as "veth"
	queues int    // receive queues
	// virtual: frames on it can come from a sender on this machine that left
	// their checksum to a device that there is not.
	virtual bool
}

// describe asks an interface's driver.
func describe(l *link) (device, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return device{}, fmt.Errorf("a socket to ask for the interface's queues with: %w", err)
	}
	defer unix.Close(fd)
	d := device{queues: 1, virtual: true}
	c, err := channels(fd, l.name)
	switch {
	case err == nil:
		d.queues = max(int(c.rx)+int(c.combined), 1)
	case !errors.Is(err, unix.EOPNOTSUPP): // which a device with one queue says
		return device{}, fmt.Errorf("ask for the interface's queues: %w", err)
	}
	if info, err := unix.IoctlGetEthtoolDrvinfo(fd, l.name); err == nil {
		name, _, _ := bytes.Cut(info.Driver[:], []byte{0})
		d.driver = string(name)
		switch d.driver {
		case "virtio_net", "tun":
		default:
			// A device that is on a bus receives from a wire.
			d.virtual = info.Bus_info[0] == 0
		}
	}
	return d, nil
}

// Uncut reports whether an interface of the thread's network namespace is one end of
// a veth with one queue. Senders on this machine hand it segments that are longer than
// its MTU, for a device to cut that there is not. It has no zero-copy mode, and has
// them cut up, at the sender's cost, for a program in native mode; only in generic
// mode are they received as they are, all of them by the first queue.
func Uncut(name string) bool {
	d, err := describe(&link{name: name})
	return err == nil && d.driver == "veth" && d.queues == 1
}
