// Package vfiousertest is the other side of lab/vfiouser for tests: a Client
// that does what QEMU and a guest together do to a device. It negotiates, gives
// the device memory, reads and writes its registers, and waits for interrupts.
//
// It is written from the protocol's specification, not from the server, and
// shares no code with it: a format that both get wrong is wrong twice.
//
// A device's test begins with
//
//	g := vfiousertest.Start(t, dev)
//	ram, err := g.Map(0x10_0000, 1<<20)
//	err = g.EnableVectors(3)
//	err = g.WriteRegion(vfiousertest.BAR0, 0x40, []byte{0, 0, 0, 1})
//	err = g.WaitInterrupt(0, time.Second)
//
// and needs no end: the test's cleanup disconnects, waits for the server, and
// fails the test if it did not end well.
package vfiousertest
