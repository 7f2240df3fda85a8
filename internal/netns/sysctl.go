//go:build linux

package netns

import (
	"fmt"
	"os"
	"path"
	"strings"
)

// SetSysctl sets a network sysctl of the namespace, named by its path below
// /proc/sys, such as "net/ipv4/tcp_rmem".
func (n *NS) SetSysctl(name, value string) error {
	err := n.Do(func() error { return writeSysctl(name, value) })
	if err != nil {
		return fmt.Errorf("netns: sysctl: %w", err)
	}
	return nil
}

// Sysctl returns the value of a network sysctl of the namespace, named as in
// SetSysctl, with its fields separated by tabs as the kernel has them.
func (n *NS) Sysctl(name string) (string, error) {
	var value []byte
	err := n.Do(func() error {
		file, err := sysctlPath(name)
		if err != nil {
			return err
		}
		value, err = os.ReadFile(file)
		return err
	})
	if err != nil {
		return "", fmt.Errorf("netns: sysctl: %w", err)
	}
	return strings.TrimSpace(string(value)), nil
}

// writeSysctl sets a network sysctl of the thread's namespace: what
// /proc/sys/net shows depends on who looks.
func writeSysctl(name, value string) error {
	file, err := sysctlPath(name)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(file, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.WriteString(value)
	return err
}

// sysctlPath returns the file of a network sysctl. All others belong to the
// machine, and are not touched from here.
func sysctlPath(name string) (string, error) {
	if path.Clean(name) != name || !strings.HasPrefix(name, "net/") {
		return "", fmt.Errorf("%q is not a sysctl below net/: %w", name, os.ErrInvalid)
	}
	return "/proc/sys/" + name, nil
}
