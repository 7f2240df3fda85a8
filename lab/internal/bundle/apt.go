//go:build linux

package bundle

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// apt runs the machine's apt programs on a state of their own in dir.
type apt struct {
	dir      string
	progress func(percent float64)
}

// aptConf is read after the machine's own configuration. What is cleared are
// commands of the machine's that are about the machine's state. What is said
// about signatures is apt's default; a machine may say otherwise for itself, but
// not for the lab.
const aptConf = `
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear AptCli;
#clear APT::Architectures;
APT::Architecture "amd64";
APT::Architectures { "amd64"; };
APT::Default-Release "` + backports + `";
APT::Install-Recommends "false";
APT::Install-Suggests "false";
APT::Get::AllowUnauthenticated "false";
APT::Update::Error-Mode "any";
Acquire::AllowInsecureRepositories "false";
Acquire::AllowWeakRepositories "false";
Acquire::AllowDowngradeToInsecureRepositories "false";
Acquire::GzipIndexes "false";
Acquire::Languages "none";
Acquire::Retries "2";
Acquire::http::Timeout "20";
Acquire::https::Timeout "20";
Debug::NoLocking "true";
Dir::Cache::pkgcache "pkgcache.bin";
Dir::Cache::srcpkgcache "";
Dir::Etc::Preferences "/dev/null";
Dir::Etc::PreferencesParts "/dev/null";
Dir::Etc::SourceParts "/dev/null";
`

// installed are packages that apt is made to believe are there: what others
// depend on in order to be installed and configured, rather than to run.
var installed = []string{
	"adduser", "base-passwd", "debconf", "dpkg", "dracut", "init-system-helpers", "initramfs-tools",
	"kmod", "libc6-dev", "libcap2-bin", "libdb5.3t64", "libpam0g", "linux-base", "login.defs",
	"openssl-provider-legacy", "passwd", "perl-base",
}

// newApt makes an apt of the folder dir, which exists, that fetches from m.
func newApt(dir string, m mirror) (*apt, error) {
	var status strings.Builder
	for _, name := range installed {
		fmt.Fprintf(&status, "Package: %s\nStatus: install ok installed\nVersion: 9999:1\nArchitecture: amd64\nMaintainer: none\nDescription: none\n\n", name)
	}
	files := map[string]string{
		"apt.conf":     aptConf,
		"lab.sources":  m.sourcesFile(),
		"state/status": status.String(),
	}
	for _, folder := range []string{"state", "lists/partial", "cache/archives/partial", "log"} {
		if err := os.MkdirAll(filepath.Join(dir, folder), 0o755); err != nil {
			return nil, spaceError("making apt's folders", err)
		}
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			return nil, spaceError("writing apt's configuration", err)
		}
	}
	return &apt{dir: dir, progress: func(float64) {}}, nil
}

// archives is the folder that packages appear in, each as soon as it is there
// and its checksum right.
func (a *apt) archives() string { return filepath.Join(a.dir, "cache/archives") }

// run runs apt-get or apt-cache and returns what it wrote to its standard
// output. The error has what it said, and matches one of this package's.
func (a *apt) run(ctx context.Context, program string, args ...string) ([]byte, error) {
	in := func(name string) string { return filepath.Join(a.dir, name) }
	options := []string{
		"-c", in("apt.conf"),
		"-o", "Dir::Etc::SourceList=" + in("lab.sources"),
		"-o", "Dir::State=" + in("state"),
		"-o", "Dir::State::Lists=" + in("lists"),
		"-o", "Dir::State::status=" + in("state/status"),
		"-o", "Dir::Cache=" + in("cache"),
		"-o", "Dir::Log=" + in("log"),
	}
	statusRead, statusWrite, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("lab: starting %s: %w", program, err)
	}
	defer statusRead.Close()
	if program == "apt-get" {
		options = append(options, "-o", "APT::Status-Fd=3")
	}

	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, program, append(options, args...)...)
	cmd.Env = append(os.Environ(), "LC_ALL=C", "LANGUAGE=", "DEBIAN_FRONTEND=noninteractive")
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.ExtraFiles = []*os.File{statusWrite} // descriptor 3
	done := make(chan struct{})
	go func() {
		defer close(done)
		a.readStatus(statusRead)
	}()
	err = runGroup(cmd, func() { statusWrite.Close() })
	// What apt has started may have the pipe open for a moment longer.
	late := time.AfterFunc(groupDelay, func() { statusRead.Close() })
	<-done
	late.Stop()
	if ctx.Err() != nil {
		return nil, fmt.Errorf("lab: %s %s: %w", program, args[0], context.Cause(ctx))
	}
	if err != nil {
		return nil, programError(program+" "+args[0], err, stderr.String())
	}
	return stdout.Bytes(), nil
}

// readStatus reads what apt writes to APT::Status-Fd, lines like
// "dlstatus:1:20.5:Retrieving file 1 of 9", until the pipe ends.
func (a *apt) readStatus(f *os.File) {
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		fields := strings.SplitN(lines.Text(), ":", 4)
		if len(fields) < 3 || fields[0] != "dlstatus" {
			continue
		}
		if percent, err := strconv.ParseFloat(fields[2], 64); err == nil && percent >= 0 && percent <= 100 {
			a.progress(percent)
		}
	}
}

// groupDelay bounds how long is waited for the pipes of a program that was
// killed, should something have kept them open.
const groupDelay = 2 * time.Second

// runGroup runs cmd, and calls started once it runs or could not be started. The
// program and all that it starts die when cmd's context ends, and it does when
// this process dies.
func runGroup(cmd *exec.Cmd, started func()) error {
	cmd.SysProcAttr = &unix.SysProcAttr{Setpgid: true, Pdeathsig: unix.SIGKILL}
	cmd.Cancel = func() error { return unix.Kill(-cmd.Process.Pid, unix.SIGKILL) }
	cmd.WaitDelay = groupDelay
	// The signal comes with the death of the thread that started the program,
	// so that thread is kept until the program has ended.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err := cmd.Start()
	started()
	if err != nil {
		return err
	}
	return cmd.Wait()
}
