// Package vfiouser serves a PCI device, modelled in Go, to a virtual machine: it
// is the server side of the vfio-user protocol. QEMU from 10.1 on is a client:
//
//	-machine q35,memory-backend=mem
//	-object memory-backend-memfd,id=mem,size=768M,share=on
//	-device '{"driver":"vfio-user-pci","socket":{"type":"unix","path":"nic.sock"}}'
//
// The guest finds a device that its unmodified driver drives. To the author of
// one there are two types: a Device, which he writes, gets what the guest does
// to its registers; a Bus, which he is given, gets him to the guest's memory and
// interrupts.
//
//	l, err := vfiouser.Listen("nic.sock")  // before QEMU starts
//	s, err := vfiouser.NewServer(device)
//	err = l.Serve(ctx, s, nil)             // one client after the other
//
// # The protocol
//
// vfio-user ("vfio-user Protocol Specification", docs/interop/vfio-user.rst in
// QEMU) is Linux's VFIO with messages on a unix stream socket in place of ioctl.
// A message is a header of 16 bytes, a body, and up to 16 descriptors
// (SCM_RIGHTS); each command is answered by one reply. As QEMU 10.1 speaks it:
//
// VFIO_USER_VERSION comes first: major and minor number, and JSON that says how
// many descriptors a message may have, how many bytes a read or write. The reply
// has the part of it that the server agrees to (negotiate.go).
//
// VFIO_USER_DMA_MAP announces a range of guest addresses, for guest RAM with a
// descriptor, which is mapped here: from then on the device and the guest share
// the memory, and DMA is a memory access. Ranges without a descriptor (ROM) are
// only taken note of. VFIO_USER_DMA_UNMAP takes one back, or all. Both come in
// bursts while the firmware moves things about (dma.go).
//
// VFIO_USER_DEVICE_GET_INFO, GET_REGION_INFO and GET_IRQ_INFO ask what there is:
// nine regions, of which regions 0 to 5 are the BARs and 7 is the configuration
// space, and five interrupt types, of which only MSI-X is there (info.go).
//
// VFIO_USER_REGION_READ and REGION_WRITE are the guest's accesses to registers
// and to the configuration space: QEMU sends one for each, and the guest's
// processor waits for the reply. REGION_WRITE_MULTI is several small writes at
// once (regions.go, config.go). QEMU emulates what the configuration space does
// to the machine: where the BARs are, and the MSI-X table.
//
// VFIO_USER_DEVICE_SET_IRQS gives each MSI-X vector an eventfd. To write to that
// is to interrupt the guest: no message is needed (irqs.go, vectors.go).
//
// VFIO_USER_DEVICE_RESET is sent when the virtual machine is reset.
//
// Migration, dirty pages, memory that the client does not share, and regions
// that the client maps are not supported: the specification has them optional,
// and answers for those who lack them.
//
// # Trust
//
// Neither the guest nor the client is trusted. A message that is wrong is
// answered with an errno and changes nothing; one after which nobody knows where
// the next begins ends the connection. What one client can take is bounded. The
// memory is the client's to take away at any time, which would be a SIGBUS here
// and is an error instead (fault.go). The client can make its own device hang or
// fail, and no more.
package vfiouser
