package bundle

import "errors"

// What can be missing. Errors of this package match one of these by
// [errors.Is] where it applies, and their text says which thing is missing and
// what to do about it.
var (
	// ErrArchitecture says that the machine is not an amd64 one.
	ErrArchitecture = errors.New("the lab's kernel and QEMU are for linux/amd64")

	// ErrProgram says that a program of the machine is missing, such as
	// apt-get, dpkg-deb or a C compiler.
	ErrProgram = errors.New("program not found")

	// ErrCacheDir says that the cache folder cannot be used.
	ErrCacheDir = errors.New("cache folder not usable")

	// ErrNoSpace says that the disk that holds the cache folder is full, or
	// too full to begin.
	ErrNoSpace = errors.New("not enough disk space")

	// ErrNoMirror says that the machine's apt sources name no mirror of
	// Debian, or none that has what is needed.
	ErrNoMirror = errors.New("no Debian mirror")

	// ErrNetwork says that the mirror could not be reached.
	ErrNetwork = errors.New("mirror not reachable")

	// ErrUntrusted says that the signature of the mirror's archive could not
	// be verified, or that what it served does not match it.
	ErrUntrusted = errors.New("archive not verified")

	// ErrNoKernel says that there is no kernel of the version asked for.
	ErrNoKernel = errors.New("no such kernel")

	// ErrNoModule says that the kernel has no module of the name asked for.
	ErrNoModule = errors.New("no such kernel module")

	// ErrNoTool says that the bundle has no tool of the name asked for.
	ErrNoTool = errors.New("no such tool in the bundle")

	// ErrQEMU says that the QEMU fetched does not run, or lacks what the lab
	// needs of it.
	ErrQEMU = errors.New("QEMU not usable")

	// ErrApt says that apt-get or dpkg-deb failed for a reason that is none
	// of the above. The error's text has what they said.
	ErrApt = errors.New("package manager failed")
)
