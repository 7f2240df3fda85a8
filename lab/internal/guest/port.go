//go:build linux

package guest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// portPatience bounds how long the agent looks for the port.
const portPatience = 20 * time.Second

// openPort opens the virtio-serial port to the runner. The host tells the
// driver a port's name a moment after the port itself has appeared.
func openPort() (*os.File, error) {
	for deadline := time.Now().Add(portPatience); ; time.Sleep(2 * time.Millisecond) {
		names, err := filepath.Glob("/sys/class/virtio-ports/*/name")
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			text, err := os.ReadFile(name)
			if err != nil || strings.TrimSpace(string(text)) != PortName {
				continue
			}
			return os.OpenFile("/dev/"+filepath.Base(filepath.Dir(name)), os.O_RDWR, 0)
		}
		if time.Now().After(deadline) {
			return nil, fmt.Errorf("no virtio-serial port named %s: the kernel needs virtio_pci and virtio_console", PortName)
		}
	}
}
