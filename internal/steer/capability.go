//go:build linux

package steer

import (
	"errors"
	"strings"

	"golang.org/x/sys/unix"
)

// needed are the capabilities that Load and Attach need.
var needed = []struct {
	bit  uint
	name string
}{
	{unix.CAP_BPF, "CAP_BPF"},
	{unix.CAP_NET_ADMIN, "CAP_NET_ADMIN"},
}

// permissionHint says what to do about EPERM.
func permissionHint(err error) string {
	if !errors.Is(err, unix.EPERM) && !errors.Is(err, unix.EACCES) {
		return ""
	}
	missing, known := missingCapabilities()
	switch {
	case !known:
		return " (needs CAP_BPF and CAP_NET_ADMIN)"
	case len(missing) > 0:
		return " (missing " + strings.Join(missing, " and ") + ": run as root, or give the program" +
			" `setcap cap_bpf,cap_net_admin,cap_net_raw+ep`)"
	}
	return " (the capabilities are there: it is a seccomp filter, a security module, kernel lockdown, or a user namespace" +
		" whose capabilities do not count here)"
}

// missingCapabilities are those of needed that the calling thread has not.
func missingCapabilities() (missing []string, known bool) {
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&hdr, &data[0]); err != nil {
		return nil, false
	}
	for _, c := range needed {
		if data[c.bit/32].Effective&(1<<(c.bit%32)) == 0 {
			missing = append(missing, c.name)
		}
	}
	return missing, true
}
