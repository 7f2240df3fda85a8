//go:build linux

package nic

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// struct ethtool_rxfh (linux/ethtool.h), and what is special in it. After it
// come the table and the key.
const (
	rxfhContext   = 4
	rxfhIndirSize = 8
	rxfhKeySize   = 12
	rxfhXfrm      = 17
	rxfhLen       = 24

	rxfhContextAlloc  = 0xffffffff // ETH_RXFH_CONTEXT_ALLOC
	rxfhXfrmNoChange  = 0xff       // RXH_XFRM_NO_CHANGE
	maxIndir          = 1 << 16    // entries; the largest table known has 4096
	maxKey            = 1 << 10    // bytes; NETDEV_RSS_KEY_LEN is 256
	ethtoolARSSIndir  = 4          // ETHTOOL_A_RSS_INDIR
	ethtoolARSSHKey   = 5          // ETHTOOL_A_RSS_HKEY
	ethtoolARSSNumber = 2          // ETHTOOL_A_RSS_CONTEXT
)

// rss reads the interface's own context: first its sizes, then it.
func (d *kernelDevice) rss() (RSS, error) {
	head := make([]byte, rxfhLen)
	binary.NativeEndian.PutUint32(head, unix.ETHTOOL_GRSSH)
	if err := d.ethtoolIoctl("ETHTOOL_GRSSH", head); err != nil {
		return RSS{}, err
	}
	indir, key := binary.NativeEndian.Uint32(head[rxfhIndirSize:]), binary.NativeEndian.Uint32(head[rxfhKeySize:])
	if indir == 0 {
		return RSS{}, fmt.Errorf("ETHTOOL_GRSSH: no indirection table: %w", unix.EOPNOTSUPP)
	}
	if indir > maxIndir || key > maxKey {
		return RSS{}, fmt.Errorf("ETHTOOL_GRSSH: a table of %d entries, a key of %d bytes: %w", indir, key, unix.EBADMSG)
	}
	arg := make([]byte, rxfhLen+4*indir+key)
	binary.NativeEndian.PutUint32(arg, unix.ETHTOOL_GRSSH)
	binary.NativeEndian.PutUint32(arg[rxfhIndirSize:], indir)
	binary.NativeEndian.PutUint32(arg[rxfhKeySize:], key)
	if err := d.ethtoolIoctl("ETHTOOL_GRSSH", arg); err != nil {
		return RSS{}, err
	}
	return RSS{
		Indir: attr{value: arg[rxfhLen : rxfhLen+4*indir]}.u32s(),
		Key:   slices.Clone(arg[rxfhLen+4*indir:]),
	}, nil
}

// encodeRXFH puts together what ETHTOOL_SRSSH takes. No table means, for the
// interface's own context, the default one, and for others the context's end.
func encodeRXFH(context uint32, indir []uint32, key []byte) []byte {
	arg := make([]byte, rxfhLen, rxfhLen+4*len(indir)+len(key))
	binary.NativeEndian.PutUint32(arg, unix.ETHTOOL_SRSSH)
	binary.NativeEndian.PutUint32(arg[rxfhContext:], context)
	binary.NativeEndian.PutUint32(arg[rxfhIndirSize:], uint32(len(indir)))
	binary.NativeEndian.PutUint32(arg[rxfhKeySize:], uint32(len(key)))
	arg[rxfhXfrm] = rxfhXfrmNoChange
	for _, q := range indir {
		arg = binary.NativeEndian.AppendUint32(arg, q)
	}
	return append(arg, key...)
}

func (d *kernelDevice) setRSS(indir []uint32, key []byte) error {
	if len(indir) == 0 {
		return fmt.Errorf("ETHTOOL_SRSSH: an empty table: %w", unix.EINVAL)
	}
	return d.ethtoolIoctl("ETHTOOL_SRSSH", encodeRXFH(0, indir, key))
}

func (d *kernelDevice) resetRSS() error {
	return d.ethtoolIoctl("ETHTOOL_SRSSH", encodeRXFH(0, nil, nil))
}

func (d *kernelDevice) createContext(indir []uint32) (uint32, error) {
	arg := encodeRXFH(rxfhContextAlloc, indir, nil)
	if err := d.ethtoolIoctl("ETHTOOL_SRSSH", arg); err != nil {
		return 0, err
	}
	return binary.NativeEndian.Uint32(arg[rxfhContext:]), nil
}

func (d *kernelDevice) deleteContext(id uint32) error {
	return d.ethtoolIoctl("ETHTOOL_SRSSH", encodeRXFH(id, nil, nil))
}

// contexts lists the additional contexts, which only netlink can, from Linux
// 6.12 on. A kernel or driver that has no list has no contexts.
func (d *kernelDevice) contexts() ([]RSS, error) {
	answers, err := d.ethtool("ETHTOOL_MSG_RSS_GET", unix.ETHTOOL_MSG_RSS_GET, unix.NLM_F_DUMP, nil)
	if err != nil {
		return nil, err
	}
	var list []RSS
	for _, answer := range answers {
		var r RSS
		for _, a := range answer {
			switch a.typ {
			case ethtoolARSSNumber:
				r.Context = a.u32()
			case ethtoolARSSIndir:
				r.Indir = a.u32s()
			case ethtoolARSSHKey:
				r.Key = slices.Clone(a.value)
			}
		}
		if r.Context != 0 {
			list = append(list, r)
		}
	}
	return list, nil
}

// spread is the table that the kernel sets by default, and `ethtool -X equal`:
// ethtool_rxfh_indir_default.
func spread(entries, queues int) []uint32 {
	table := make([]uint32, entries)
	for i := range table {
		table[i] = uint32(i % queues)
	}
	return table
}

// without is a table that does not use a queue, of an interface that has so many.
// A default table stays one, over fewer queues, if it can; otherwise the entries
// of the queue, and of queues that there are not, go to the other queues that
// the table uses, in turns.
func without(table []uint32, queue, queues int) []uint32 {
	if queue == queues-1 && slices.Equal(table, spread(len(table), queues)) {
		return spread(len(table), queues-1)
	}
	var others []uint32
	stays := func(q uint32) bool { return int(q) != queue && int(q) < queues }
	none := !slices.ContainsFunc(table, stays) // then every other queue will do
	for q := range uint32(queues) {
		if stays(q) && (none || slices.Contains(table, q)) {
			others = append(others, q)
		}
	}
	out := slices.Clone(table)
	turn := 0
	for i, q := range out {
		if !stays(q) {
			out[i] = others[turn%len(others)]
			turn++
		}
	}
	return out
}

// describeTable words a table as the arguments of `ethtool -X` that set it, or
// its like: for a table that is not even, the shares of the queues.
func describeTable(table []uint32) string {
	if len(table) == 0 {
		return "none"
	}
	queues := int(slices.Max(table)) + 1
	if slices.Equal(table, spread(len(table), queues)) {
		return fmt.Sprintf("equal %d", queues)
	}
	if queues > 1<<10 {
		return fmt.Sprintf("%d entries over %d queues", len(table), queues)
	}
	weights := make([]int, queues)
	for _, q := range table {
		weights[q]++
	}
	return "weight " + strings.Trim(fmt.Sprint(weights), "[]")
}
