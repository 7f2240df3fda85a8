// Package lab runs programs under a stock Linux kernel in a virtual machine, on
// any amd64 Linux machine: without root, without KVM, and without the hardware
// that the programs are about. What zctap needs it for is the kernel's zero-copy
// receive: a kernel that has it, and a network interface that can do it, which
// few machines have, and which package gvnic models.
//
//	res, err := lab.Run(ctx, lab.Machine{
//		Modules: []string{"gve"},
//		Devices: []vfiouser.Device{nic},
//		Files:   []lab.File{{Path: "/bin/receiver", Source: "./receiver", Program: true}},
//	}, lab.Job{
//		Interfaces: []lab.Interface{{MAC: "02:00:00:00:00:01", Name: "eth0", Addresses: addrs}},
//		Steps:      []lab.Step{{Args: []string{"receiver", "eth0"}}},
//		Collect:    []string{"/out/*"},
//	})
//
// # What there is on the host
//
// Kernel, QEMU and the guest's tools are Debian's own packages, fetched from the
// machine's own mirror into a cache folder at first use (Fetch, Clean). Nothing
// is installed. QEMU emulates the CPU in software unless Machine.Accel says
// otherwise: so it runs everywhere, at a tenth of the speed or less. Time in the
// guest therefore says nothing about speed; instructions do (see
// Machine.Deterministic).
//
// Boot makes a file system for the guest, in memory (an initramfs), starts QEMU,
// and returns when the guest is ready for jobs, after about 4 s. VM.Run runs a
// job; several may run at the same time. Run is Boot, one job, and Close.
//
// # What there is in the guest
//
// The running executable. It is put into the guest's file system as the first
// process, which it notices in Main, the first call of its main function or
// TestMain. Then it mounts the kernel's file systems, loads the modules, and
// carries out the jobs that come through a virtio-serial port (package guest). In
// tests that is
//
//	func TestMain(m *testing.M) {
//		lab.Main()
//		os.Exit(m.Run())
//	}
//
// There is nothing else in the guest: no shell, no tools, no libraries, but for
// what Machine.Files and Machine.Tools name. BuildTest and Build make programs
// for it from Go, CompileC from C.
//
// Programs in the guest can tell the host where they are, and wait for what
// the host does about that: Signal, or the command lab-event in a shell script,
// calls Job.OnEvent. So a test moves a flow, resets a device, or makes the wire
// lose packets, at the right moment. Program and host need no clock for it.
//
// # What counts as a failure
//
// A run is good only if every step ended with status 0, every file was
// collected, the machine lived until it was told to end, and the kernel had
// nothing to complain of: the console is searched for warnings, bugs, oopses,
// hangs, stalls and leaks, and each is a failure unless KnownSplats or
// Machine.Known have it. An error says which of these it was, with what the
// program wrote last, or the end of the kernel's log.
//
// What the guest sends is taken for hostile: its programs are root there. It can
// lie about its own steps, but not break the host's process, nor fill its memory
// beyond the bounds of MaxOutput and Job.MaxFiles.
//
// # What is left behind
//
// Nothing. QEMU ends with the context, with Close or Kill, and with the process
// that started it, however that ends: the kernel sees to it. A machine's files
// and sockets are in one folder of its own, which goes with it; that of a process
// that was killed goes when the next machine boots.
package lab
