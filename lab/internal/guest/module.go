//go:build linux

package guest

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// loadModules loads kernel modules from files, in their order. The kernel
// itself decompresses what is compressed (CONFIG_MODULE_DECOMPRESS, as
// finit_module(2) describes).
func loadModules(files []string) error {
	for _, name := range files {
		if err := loadModule(name); err != nil {
			return fmt.Errorf("loading the kernel module %s: %w", name, err)
		}
	}
	return nil
}

func loadModule(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	flags := 0
	if !strings.HasSuffix(name, ".ko") {
		flags = unix.MODULE_INIT_COMPRESSED_FILE
	}
	if err := unix.FinitModule(int(f.Fd()), "", flags); err != nil && !errors.Is(err, unix.EEXIST) {
		return err
	}
	return nil
}
