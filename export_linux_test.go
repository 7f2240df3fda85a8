package zctap

import (
	"github.com/zctap/zctap/internal/buf"
	"github.com/zctap/zctap/internal/driver"
)

// PutOver has t's queue use the driver that f makes of the device's.
func (t *TUN) PutOver(f func(driver.Driver, *buf.Pool) (driver.Driver, error)) { t.over = f }
