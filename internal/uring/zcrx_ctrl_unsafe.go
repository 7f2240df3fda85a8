//go:build linux

package uring

import "unsafe"

// zcrxControl is the Ring as the IFQOps of its interface queues: IORING_REGISTER_ZCRX_CTRL.
type zcrxControl Ring

func (c *zcrxControl) do(op uint32, id uint32, arg *zcrxCtrl) error {
	if c.fd < 0 {
		return ErrClosed
	}
	arg.op, arg.zcrxID = op, id
	if errno := registerStruct(c.fd, registerZCRXCtrl, arg, 0); errno != 0 {
		return explainControl(op, errno)
	}
	return nil
}

func (c *zcrxControl) FlushRefill(id uint32) error {
	var arg zcrxCtrl
	return c.do(ctrlFlushRQ, id, &arg)
}

func (c *zcrxControl) Export(id uint32) (int, error) {
	var arg zcrxCtrl
	if err := c.do(ctrlExport, id, &arg); err != nil {
		return -1, err
	}
	return int(*(*uint32)(unsafe.Pointer(&arg.arg))), nil // struct zcrx_ctrl_export
}

func (c *zcrxControl) ArmEvent(id uint32, event ZCRXEvents) error {
	n, _ := event.number()
	var arg zcrxCtrl
	*(*uint32)(unsafe.Pointer(&arg.arg)) = n // struct zcrx_ctrl_arm_event
	return c.do(ctrlArmEvent, id, &arg)
}

func (c *zcrxControl) AddArea(id uint32, a Area) (token uint64, err error) {
	err = withScratch(func(s *zcrxScratch) error {
		s.area.fill(&a)
		s.ctrl.arg[0] = addrOf(&s.area) // struct zcrx_ctrl_add_area
		if err := c.do(ctrlAddArea, id, &s.ctrl); err != nil {
			return err
		}
		token = s.area.token
		return nil
	})
	return token, err
}
