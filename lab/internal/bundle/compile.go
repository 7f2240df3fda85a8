//go:build linux

package bundle

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// CompileC compiles programs in C with the machine's compiler, $CC or cc,
// against the bundle's liburing and kernel headers, to the static program out,
// which runs in any guest. Files named in args are sources; other options of the
// compiler may be among them.
//
// Of zero-copy receive, the header of this liburing has less than the kernel's;
// a source that needs it all includes <linux/io_uring.h>, and
// <linux/io_uring/zcrx.h>, before <liburing.h>.
//
// An error matches [ErrProgram] when there is no compiler; otherwise it has what
// the compiler said.
func (b *Bundle) CompileC(ctx context.Context, out string, args ...string) error {
	cc := strings.Fields(os.Getenv("CC"))
	if len(cc) == 0 {
		cc = []string{"cc"}
	}
	if _, err := exec.LookPath(cc[0]); err != nil {
		return fmt.Errorf("lab: C compiler %s: %w: %w: install the packages gcc and libc6-dev, or set CC", cc[0], ErrProgram, err)
	}
	all := append(cc[1:], "-O2", "-g", "-static", "-pthread", "-o", out)
	for _, dir := range b.IncludeDirs() {
		all = append(all, "-isystem", dir)
	}
	all = append(all, args...)
	all = append(all, filepath.Join(b.tools, libraryDir, "liburing.a"))
	said, err := exec.CommandContext(ctx, cc[0], all...).CombinedOutput()
	if ctx.Err() != nil {
		return fmt.Errorf("lab: compiling %s: %w", filepath.Base(out), context.Cause(ctx))
	}
	if err != nil {
		return fmt.Errorf("lab: compiling %s with %s: %w:\n%s", filepath.Base(out), cc[0], err, said)
	}
	return nil
}
