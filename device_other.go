//go:build !linux

package zctap

import (
	"fmt"
	"runtime"
)

// newDevice: zctap needs Linux; elsewhere programs that import it compile.
func newDevice(_ *Config, name string) (*device, error) {
	return nil, fmt.Errorf("%w: engine %s needs Linux, this is %s", ErrNotSupported, name, runtime.GOOS)
}
