//go:build linux

package vfiouser

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// capabilities are the ones of the version data that mean something here. A
// pointer is nil for one that is not mentioned.
type capabilities struct {
	MaxMsgFDs       *uint64 `json:"max_msg_fds,omitempty"`
	MaxDataXferSize *uint64 `json:"max_data_xfer_size,omitempty"`
	MaxDMAMaps      *uint64 `json:"max_dma_maps,omitempty"`
	PgSizes         *uint64 `json:"pgsizes,omitempty"`
	WriteMultiple   *bool   `json:"write_multiple,omitempty"`
}

// versionData is what comes after the version numbers, as JSON and with a NUL.
type versionData struct {
	Capabilities capabilities `json:"capabilities,omitzero"`
}

// version is VFIO_USER_VERSION: major u16, minor u16, version data or nothing.
// The reply has the same major, minor 0, and the capabilities that the client
// has mentioned, with what holds here. It is not longer than the request, for
// QEMU has not room for more.
func (s *session) version(m *message) error {
	if s.negotiated {
		return fmt.Errorf("a second VFIO_USER_VERSION: %w", unix.EINVAL)
	}
	if len(m.body) < versionLen {
		return violation(unix.EINVAL, "VFIO_USER_VERSION of %d bytes", len(m.body))
	}
	if major, minor := ne.Uint16(m.body), ne.Uint16(m.body[2:]); major != 0 {
		return violation(unix.ENOTSUP, "version %d.%d, major 0 is supported", major, minor)
	}
	text := m.body[versionLen:]
	if len(text) == 0 {
		copy(s.startReply(versionLen), m.body[:2])
		s.negotiated = true
		return nil
	}
	var v versionData
	text, ok := bytes.CutSuffix(text, []byte{0})
	if !ok {
		return violation(unix.EINVAL, "version data without a NUL at its end")
	}
	if err := json.Unmarshal(text, &v); err != nil {
		return violation(unix.EINVAL, "version data: %v", err)
	}
	if err := s.negotiate(&v.Capabilities); err != nil {
		return err
	}
	answer, err := json.Marshal(&v)
	if err != nil {
		return fmt.Errorf("version data: %w", err)
	}
	body := s.startReply(versionLen + len(answer) + 1)
	copy(body, m.body[:2])
	copy(body[versionLen:], answer)
	s.negotiated = true
	return nil
}

// negotiate turns the client's capabilities into the answer to them.
func (s *session) negotiate(c *capabilities) error {
	pageSize := uint64(os.Getpagesize())
	if c.PgSizes != nil {
		if *c.PgSizes&pageSize == 0 {
			return violation(unix.ENOTSUP, "page sizes %#x are without %#x, the host's", *c.PgSizes, pageSize)
		}
		*c.PgSizes = pageSize
	}
	if c.MaxDataXferSize != nil {
		if *c.MaxDataXferSize == 0 {
			return violation(unix.EINVAL, "max_data_xfer_size 0")
		}
		s.maxRead = uint32(min(*c.MaxDataXferSize, maxTransfer))
		*c.MaxDataXferSize = uint64(s.maxRead)
	}
	if c.MaxMsgFDs != nil {
		*c.MaxMsgFDs = min(*c.MaxMsgFDs, maxFDs)
	}
	if c.MaxDMAMaps != nil {
		*c.MaxDMAMaps = min(*c.MaxDMAMaps, maxMaps)
	}
	return nil
}
