//go:build linux

package lab

import (
	"context"

	"github.com/zctap/zctap/lab/internal/bundle"
)

// openBundle returns the kernel and the tools, fetched if need be.
func openBundle(ctx context.Context, cacheDir, kernel string, progress func(Progress)) (*bundle.Bundle, error) {
	o := bundle.Options{CacheDir: cacheDir, Kernel: kernel}
	if progress != nil {
		o.Progress = func(e bundle.Event) { progress(Progress{string(e.Stage), e.Percent, e.Text}) }
	}
	return bundle.Open(ctx, o)
}

// Fetch fetches what a machine needs, if it is not in the cache: what Boot and
// Run do first. It returns the release of the kernel and the versions of the
// Debian packages, by name. Kernel, Progress and CacheDir of m count.
func Fetch(ctx context.Context, m Machine) (release string, versions map[string]string, err error) {
	b, err := openBundle(ctx, m.CacheDir, m.Kernel, m.Progress)
	if err != nil {
		return "", nil, err
	}
	return b.KernelRelease(), b.Versions, nil
}

// Clean removes all that was ever fetched into a cache folder; empty is the
// user's.
func Clean(ctx context.Context, cacheDir string) error { return bundle.Clean(ctx, cacheDir) }

// CompileC compiles programs in C, with the compiler of this machine, against
// the kernel headers and the liburing of the bundle, to the static program out.
// args are source files and options of the compiler.
func CompileC(ctx context.Context, out string, args ...string) error {
	b, err := openBundle(ctx, "", "", nil)
	if err != nil {
		return err
	}
	return b.CompileC(ctx, out, args...)
}
