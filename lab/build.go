//go:build linux

package lab

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
)

// BuildTest compiles the tests of one package to a static program in the folder
// dir, and returns its file name. pkg is as the go command takes it, from the
// working folder. The program takes the flags of test programs: -test.v,
// -test.run and so on. Files in testdata do not come along: see Machine.Files.
func BuildTest(ctx context.Context, dir, pkg string) (string, error) {
	out := filepath.Join(dir, programName(pkg)+".test")
	if err := goCommand(ctx, "test", "-c", "-o", out, pkg); err != nil {
		return "", err
	}
	if _, err := os.Stat(out); err != nil {
		return "", fmt.Errorf("lab: package %s has no tests: %w", pkg, err)
	}
	return out, nil
}

// Build compiles the command pkg to a static program in the folder dir, and
// returns its file name.
func Build(ctx context.Context, dir, pkg string) (string, error) {
	out := filepath.Join(dir, programName(pkg))
	if err := goCommand(ctx, "build", "-o", out, pkg); err != nil {
		return "", err
	}
	return out, nil
}

// programName returns the last part of a package's path, or another name if
// that is relative and says nothing, such as "." and "..".
func programName(pkg string) string {
	if name := path.Base(pkg); !strings.HasPrefix(name, ".") && name != "/" {
		return name
	}
	return "package"
}

// goCommand runs the go command, for programs that need no library of the guest's.
func goCommand(ctx context.Context, args ...string) error {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64")
	said, err := cmd.CombinedOutput()
	if ctx.Err() != nil {
		return fmt.Errorf("lab: go %s: %w", args[0], context.Cause(ctx))
	}
	if err != nil {
		return fmt.Errorf("lab: go %s: %w%s", strings.Join(args, " "), err, tail(":", said, 40))
	}
	return nil
}
