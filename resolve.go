package zctap

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
)

func isStream(network string) error   { return isOneOf(network, "tcp", "tcp4", "tcp6") }
func isDatagram(network string) error { return isOneOf(network, "udp", "udp4", "udp6") }

func isOneOf(network string, known ...string) error {
	for _, k := range known {
		if network == k {
			return nil
		}
	}
	return fmt.Errorf("%w (want %s)", net.UnknownNetworkError(network), strings.Join(known, ", "))
}

// resolveRemote is resolve for an address to connect to, which needs a host.
func resolveRemote(ctx context.Context, network, address string) ([]netip.AddrPort, error) {
	addrs, err := resolve(ctx, network, address)
	if err == nil && !addrs[0].Addr().IsValid() {
		return nil, addressError(network, addrs[0], errNoHost)
	}
	return addrs, err
}

// resolve turns "host:port" into addresses for network, by the system's
// resolver where host is a name. An empty host is an invalid address with the
// port: all addresses of the engine. As in package net "" is ":0".
func resolve(ctx context.Context, network, address string) ([]netip.AddrPort, error) {
	if address == "" {
		address = ":0"
	}
	host, service, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	family := strings.TrimLeft(network, "tcpud") // "", "4" or "6"
	port, err := net.DefaultResolver.LookupPort(ctx, network, service)
	if err != nil {
		return nil, err
	}
	if host == "" {
		return []netip.AddrPort{netip.AddrPortFrom(netip.Addr{}, uint16(port))}, nil
	}
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip"+family, host)
	if err != nil {
		return nil, err
	}
	var out []netip.AddrPort
	for _, a := range addrs {
		out = append(out, netip.AddrPortFrom(a.Unmap(), uint16(port)))
	}
	return out, nil
}
