//go:build linux

package steer

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// nothing is the value of maps that are sets.
var nothing [4]byte

// AddFlow steers one flow: what comes from remote to local, as of a connection that
// was dialed, or accepted by a listener that is to go away. IPv4-mapped addresses
// count as IPv4, zones are ignored.
//
// Errors: EINVAL, EPROTONOSUPPORT; EEXIST if it is steered already; ENOSPC if there
// are Options.Flows already.
func (p *Program) AddFlow(proto Proto, local, remote netip.AddrPort) error {
	if err := p.flow(proto, local, remote, p.addFlow); err != nil {
		return fmt.Errorf("steer: %v flow from %v to %v: %w", proto, remote, local, err)
	}
	return nil
}

// RemoveFlow leaves the flow to the kernel again, unless a listener matches it.
// ENOENT if it is not steered.
func (p *Program) RemoveFlow(proto Proto, local, remote netip.AddrPort) error {
	if err := p.flow(proto, local, remote, p.removeFlow); err != nil {
		return fmt.Errorf("steer: %v flow from %v to %v: %w", proto, remote, local, err)
	}
	return nil
}

func (p *Program) flow(proto Proto, local, remote netip.AddrPort, do func(flowKey) error) error {
	k, err := checkFlow(proto, local, remote)
	if err != nil {
		return err
	}
	if err := p.use(); err != nil {
		return err
	}
	defer p.mu.RUnlock()
	return do(k)
}

func (p *Program) addFlow(k flowKey) error {
	switch err := p.flows.Update(k[:], nothing[:], ebpf.UpdateNoExist); {
	case errors.Is(err, ebpf.ErrKeyExist):
		return fmt.Errorf("is steered already: %w", unix.EEXIST)
	case errors.Is(err, unix.E2BIG): // what the kernel says of a full hash
		return fmt.Errorf("there are %d already, see Options.Flows: %w", p.o.Flows, unix.ENOSPC)
	default:
		return err
	}
}

func (p *Program) removeFlow(k flowKey) error {
	err := p.flows.Delete(k[:])
	if errors.Is(err, ebpf.ErrKeyNotExist) {
		return fmt.Errorf("is not steered: %w", unix.ENOENT)
	}
	return err
}

func checkFlow(proto Proto, local, remote netip.AddrPort) (flowKey, error) {
	if err := proto.check(); err != nil {
		return flowKey{}, err
	}
	local, err := endpoint("local", local)
	if err != nil {
		return flowKey{}, err
	}
	remote, err = endpoint("remote", remote)
	if err != nil {
		return flowKey{}, err
	}
	switch {
	case local.Addr().IsUnspecified(), remote.Addr().IsUnspecified():
		return flowKey{}, fmt.Errorf("both addresses of a flow must be known: %w", unix.EINVAL)
	case local.Addr().Is4() != remote.Addr().Is4():
		return flowKey{}, fmt.Errorf("one address is IPv4, the other IPv6: %w", unix.EINVAL)
	}
	return makeFlowKey(proto, local, remote), nil
}
