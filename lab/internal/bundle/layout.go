package bundle

import (
	"path"
	"slices"
	"strings"
)

// toolPackages are what the part tools is made of, with what they depend on.
var toolPackages = []string{
	"qemu-system-x86",
	"busybox-static", "ethtool", "iproute2", // for guests
	"liburing-dev", "linux-libc-dev", // for programs in C
	"xz-utils", // for the kernel's modules
}

// programs are the programs that are kept.
var programs = []string{
	"qemu-system-x86_64", "xz",
	"busybox", "ethtool", "ip", "ss", "tc", "bridge", "devlink", "nstat",
}

// Where things are in the part tools.
const (
	libraryDir = "usr/lib/x86_64-linux-gnu"
	includeDir = "usr/include"
	loader     = libraryDir + "/ld-linux-x86-64.so.2"
	loaderDir  = "usr/lib64"          // has a link to the loader, by the name that programs have for it
	qemuDir    = libraryDir + "/qemu" // QEMU's modules
)

// firmwareDirs are where Debian's QEMU looks for firmware.
var firmwareDirs = []string{"usr/share/qemu", "usr/share/seabios", "usr/lib/ipxe/qemu"}

// programDirs are where programs are, in the order in which they are looked for.
var programDirs = []string{"usr/bin", "usr/sbin"}

// packagePath returns the name that a file of a package has after installation,
// without the slash in front: on a system of today /bin is /usr/bin, whatever
// the package says.
func packagePath(name string) string {
	name = path.Clean("/" + name)[1:]
	top, _, _ := strings.Cut(name, "/")
	if slices.Contains([]string{"bin", "sbin", "lib", "lib64"}, top) {
		name = "usr/" + name
	}
	return name
}

// placeTool says where a file of a package goes in the part tools, if it is kept.
func placeTool(name string) (string, bool) {
	dir, file := path.Split(name)
	dir = strings.TrimSuffix(dir, "/")
	switch {
	case slices.Contains(programDirs, dir):
		return name, slices.Contains(programs, file)
	case dir == libraryDir:
		return name, strings.Contains(file, ".so") || strings.HasSuffix(file, ".a")
	case dir == qemuDir || dir == loaderDir:
		return name, true
	case strings.HasPrefix(name, includeDir+"/"):
		// The headers of other architectures' kernels come along.
		top, _, _ := strings.Cut(name[len(includeDir)+1:], "/")
		return name, !strings.Contains(top, "-linux-gnu") || top == "x86_64-linux-gnu"
	}
	return name, slices.ContainsFunc(firmwareDirs, func(d string) bool { return strings.HasPrefix(name, d+"/") })
}

// placeKernel returns the function that says where a file of a package of a
// kernel goes in that kernel's part:
//
//	vmlinuz      the kernel
//	config       what it was built with
//	modules/...  its modules, and lists of them
//
// Packages have the first two in /boot, or beside the modules.
func placeKernel(release string) func(name string) (string, bool) {
	return func(name string) (string, bool) {
		switch name {
		case "boot/vmlinuz-" + release, "usr/lib/modules/" + release + "/vmlinuz":
			return "vmlinuz", true
		case "boot/config-" + release, "usr/lib/modules/" + release + "/config":
			return "config", true
		}
		rest, ok := strings.CutPrefix(name, "usr/lib/modules/"+release+"/")
		top, _, _ := strings.Cut(rest, "/")
		return "modules/" + rest, ok && (top == "kernel" || strings.HasPrefix(top, "modules."))
	}
}
