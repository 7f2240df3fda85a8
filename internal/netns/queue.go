//go:build linux

package netns

import (
	"fmt"

	"github.com/vishvananda/netlink"
)

// SetQueue gives a link a queue of packets to send, pfifo(8), as long as its
// txqueuelen, such as that of a network card. A veth has none: what the ring of 256
// packets can't take that an XDP program or GRO puts behind it is dropped. With a
// queue newer kernels let it wait there (seen with 6.18).
func (n *NS) SetQueue(link string) error {
	err := n.Do(func() error {
		l, err := netlink.LinkByName(link)
		if err != nil {
			return err
		}
		return netlink.QdiscReplace(&netlink.GenericQdisc{
			QdiscAttrs: netlink.QdiscAttrs{LinkIndex: l.Attrs().Index, Handle: netlink.MakeHandle(1, 0), Parent: netlink.HANDLE_ROOT},
			QdiscType:  "pfifo",
		})
	})
	if err != nil {
		return fmt.Errorf("netns: link %s: queue: %w", link, err)
	}
	return nil
}
