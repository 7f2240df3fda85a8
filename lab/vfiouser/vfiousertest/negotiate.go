//go:build linux

package vfiousertest

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// QEMUCapabilities is the version data that QEMU 10.1 sends.
const QEMUCapabilities = `{"capabilities": {"pgsizes": 4096, "max_data_xfer_size": 1048576, "migration": ` +
	`{"pgsize": 4096, "max_bitmap_size": 268435456}, "max_msg_fds": 16, "max_dma_maps": 65535, "write_multiple": true}}`

// Capabilities are what a server answers. A pointer is nil for one that it
// does not mention.
type Capabilities struct {
	MaxMsgFDs       *uint64 `json:"max_msg_fds"`
	MaxDataXferSize *uint64 `json:"max_data_xfer_size"`
	MaxDMAMaps      *uint64 `json:"max_dma_maps"`
	PgSizes         *uint64 `json:"pgsizes"`
	WriteMultiple   *bool   `json:"write_multiple"`
}

// Negotiate sends VFIO_USER_VERSION as QEMU does.
func (c *Client) Negotiate() (Capabilities, error) { return c.NegotiateWith(0, 0, QEMUCapabilities) }

// NegotiateWith sends VFIO_USER_VERSION with other contents. An empty string
// is left out with its NUL. It checks the reply as QEMU does: its version, its
// length, which may not be more than the request's, and its NUL.
func (c *Client) NegotiateWith(major, minor uint16, capabilities string) (Capabilities, error) {
	b := make([]byte, 4)
	le.PutUint16(b, major)
	le.PutUint16(b[2:], minor)
	if capabilities != "" {
		b = append(append(b, capabilities...), 0)
	}
	reply, err := c.Do(CmdVersion, b)
	if err != nil {
		return Capabilities{}, err
	}
	if len(reply) < 4 || len(reply) > len(b) {
		return Capabilities{}, fmt.Errorf("vfiousertest: a version reply of %d bytes to a request of %d", len(reply), len(b))
	}
	if le.Uint16(reply) != major || le.Uint16(reply[2:]) > minor {
		return Capabilities{}, fmt.Errorf("vfiousertest: version %x offered, %x answered", b[:4], reply[:4])
	}
	if len(reply) == 4 {
		return Capabilities{}, nil
	}
	text, ok := bytes.CutSuffix(reply[4:], []byte{0})
	if !ok {
		return Capabilities{}, fmt.Errorf("vfiousertest: version data %q without its NUL", text)
	}
	var v struct {
		Capabilities Capabilities `json:"capabilities"`
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields() // a subset of what was proposed
	if err := dec.Decode(&v); err != nil {
		return Capabilities{}, fmt.Errorf("vfiousertest: version data %q: %w", text, err)
	}
	return v.Capabilities, nil
}
