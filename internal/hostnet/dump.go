//go:build linux

package hostnet

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

var families = [...]byte{unix.AF_INET, unix.AF_INET6}

// getInterface asks for one link, by its index or, if that is 0, by its name.
func getInterface(c *conn, name string, index int) (found int, l link, err error) {
	const skipStats = 1 << 3 // RTEXT_FILTER_SKIP_STATS
	body := make([]byte, unix.SizeofIfInfomsg)
	binary.NativeEndian.PutUint32(body[4:], uint32(index))
	if index == 0 {
		body = appendAttribute(body, unix.IFLA_IFNAME, append([]byte(name), 0))
	}
	body = appendAttribute(body, unix.IFLA_EXT_MASK, u32bytes(skipStats))
	ok := false
	err = c.do(unix.RTM_GETLINK, 0, body, func(m message) {
		if m.typ == unix.RTM_NEWLINK {
			found, l, ok = parseLink(m.payload)
		}
	})
	if err == nil && !ok {
		err = unix.EBADMSG
	}
	if err != nil {
		return 0, l, fmt.Errorf("reading the link: %w", err)
	}
	return found, l, nil
}

// findLink returns the index of an interface, given by its name or its index.
func findLink(c *conn, name string, index int) (int, error) {
	if index < 0 || index == 0 && (name == "" || len(name) >= unix.IFNAMSIZ) {
		return 0, unix.ENODEV
	}
	found, _, err := getInterface(c, name, index)
	return found, err
}

func getLink(c *conn, index int) (link, error) {
	_, l, err := getInterface(c, "", index)
	return l, err
}

// getAddresses returns the addresses of an interface in the kernel's order,
// IPv4 first.
func getAddresses(c *conn, index int) (list []address, err error) {
	for _, f := range families {
		body := make([]byte, unix.SizeofIfAddrmsg)
		body[0] = f
		binary.NativeEndian.PutUint32(body[4:], uint32(index))
		e := c.do(unix.RTM_GETADDR, unix.NLM_F_DUMP, body, func(m message) {
			if m.typ != unix.RTM_NEWADDR {
				return
			}
			if i, a, ok := parseAddress(m.payload); ok && i == index {
				list = append(list, a)
			}
		})
		if errors.Is(e, unix.ENODEV) {
			e = nil // without this family, or gone: who asks for the link finds out
		}
		if err = outcome(err, e); fatal(err) {
			return nil, fmt.Errorf("reading the addresses: %w", err)
		}
	}
	return list, err
}

// getRoutes returns the routes that count for an interface, and how many were
// too many.
func getRoutes(c *conn, index int) (r routes, ignored uint64, err error) {
	for i, f := range families {
		for _, t := range []struct {
			id  uint32
			fib **fib
		}{{unix.RT_TABLE_LOCAL, &r.local[i]}, {unix.RT_TABLE_MAIN, &r.main[i]}} {
			var b fibBuilder
			body := make([]byte, unix.SizeofRtMsg)
			body[0] = f
			body = appendAttribute(body, unix.RTA_TABLE, u32bytes(t.id))
			e := c.do(unix.RTM_GETROUTE, unix.NLM_F_DUMP, body, func(m message) {
				if m.typ != unix.RTM_NEWROUTE {
					return
				}
				if x, ok := parseRoute(m.payload, index); ok && x.table == t.id {
					b.add(x.prefix, x.metric, x.rank, x.hop)
				}
			})
			if err = outcome(err, e); fatal(err) {
				return r, 0, fmt.Errorf("reading the routes: %w", err)
			}
			*t.fib = b.build()
			ignored += b.ignored
		}
	}
	return r, ignored, err
}

// getPolicy reports whether there are rules beyond the default ones.
func getPolicy(c *conn) (found bool, err error) {
	for _, f := range families {
		body := make([]byte, 12) // struct fib_rule_hdr
		body[0] = f
		e := c.do(unix.RTM_GETRULE, unix.NLM_F_DUMP, body, func(m message) {
			found = found || m.typ == unix.RTM_NEWRULE && foreignRule(m.payload)
		})
		if err = outcome(err, e); fatal(err) {
			return false, fmt.Errorf("reading the rules: %w", err)
		}
	}
	return found, err
}

// getNeighbors returns the neighbors on an interface, and how many were too
// many.
func getNeighbors(c *conn, index int) (found map[netip.Addr]Neighbor, ignored uint64, err error) {
	found = make(map[netip.Addr]Neighbor)
	for _, f := range families {
		body := make([]byte, unix.SizeofNdMsg)
		body[0] = f
		body = appendAttribute(body, unix.NDA_IFINDEX, u32bytes(uint32(index)))
		e := c.do(unix.RTM_GETNEIGH, unix.NLM_F_DUMP, body, func(m message) {
			if m.typ != unix.RTM_NEWNEIGH {
				return
			}
			i, n, ok := parseNeighbor(m.payload)
			if !ok || i != index {
				return
			}
			if len(found) >= maxNeighbors {
				ignored++
				return
			}
			found[n.Addr] = n
		})
		if err = outcome(err, e); fatal(err) {
			return nil, 0, fmt.Errorf("reading the neighbors: %w", err)
		}
	}
	return found, ignored, err
}

// outcome is the error of several dumps, given that of the earlier ones, which
// is not fatal. No error is a dump of what does not exist: a routing table that
// was never used (ENOENT), a kernel without IPv6 or without rules (EOPNOTSUPP,
// EAFNOSUPPORT).
func outcome(earlier, err error) error {
	if err == nil || errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EAFNOSUPPORT) {
		return earlier
	}
	return err
}

// fatal reports whether a dump is of no use.
func fatal(err error) bool { return err != nil && err != errInterrupted }
