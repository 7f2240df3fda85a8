// Package bundle fetches and keeps what the lab runs: a stock kernel with its
// modules, a QEMU that has the device vfio-user-pci, the guest's tools, and
// liburing with the kernel's headers for programs in C. Nothing is installed,
// and nothing needs root.
//
// # Where it comes from
//
// All of it are packages of Debian, fetched by the machine's own apt-get from
// the mirror that the machine's own apt sources name, with the proxies and
// keyrings that they are configured with, but on a private state folder: the
// machine's package lists, its configuration and what is installed stay as they
// are. apt checks the signature of the archive and the SHA-256 of each package;
// nothing unsigned is ever taken, whatever the machine's configuration allows.
//
// # Where it goes
//
// A cache folder of the user, zctap/lab below [os.UserCacheDir] if no other is
// named, holds the parts:
//
//	tools/            QEMU, its libraries and firmware, guest tools, headers
//	kernels/RELEASE/  one folder for each kernel fetched
//	lock              held by the process that fetches
//
// A part is complete or absent: it is unpacked into a folder beside it, which
// gets its marker last and its name by one rename. A process that dies in the
// middle leaves a folder that the next one removes; two that fetch at the same
// time wait for one another.
//
// # How it is run
//
// The packages' programs are linked against the packages' libraries, which need
// not fit the machine's. So the programs are started through the loader that
// came along, see [Bundle.Command].
package bundle
