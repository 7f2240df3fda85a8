package bundle

import (
	"errors"
	"io/fs"
	"strings"
	"syscall"
	"testing"
)

// TestProgramError has what apt of several versions says, shortened.
func TestProgramError(t *testing.T) {
	const refused = "E: Some index files failed to download. They have been ignored, or old ones used instead.\n"
	tests := []struct {
		name, said string
		want       error
		text       string
	}{
		{"no name", "E: Failed to fetch http://m/debian/dists/trixie/InRelease  Could not resolve 'm'\n" + refused, ErrNetwork, "proxy"},
		{"no name for now", "E: Failed to fetch http://m/x  Temporary failure resolving 'm'\n" + refused, ErrNetwork, "proxy"},
		{"nobody there", "E: Failed to fetch http://m/x  Could not connect to m:80 (10.0.0.1). - connect (111: Connection refused)\n", ErrNetwork, "proxy"},
		{"no answer", "E: Failed to fetch http://m/x  Connection timed out [IP: 10.0.0.1 80]\n", ErrNetwork, "proxy"},
		{"a broken mirror", "E: Failed to fetch http://m/x  503  Service Unavailable [IP: 10.0.0.1 80]\nE: The repository 'http://m trixie InRelease' is not signed.\n", ErrNetwork, "proxy"},
		{"a proxy that wants to know", "E: Failed to fetch http://m/x  407  Proxy Authentication Required [IP: 10.0.0.1 80]\n", ErrNetwork, "proxy"},
		{"a certificate", "E: Failed to fetch https://m/x  Certificate verification failed: The certificate is NOT trusted.\n", ErrNetwork, "certificate"},
		{"no such folder", "E: Failed to fetch http://m/x  404  Not Found [IP: 10.0.0.1 80]\nE: The repository 'http://m trixie Release' does not have a Release file.\n", ErrNoMirror, backports},
		{"no suite", "E: The repository 'http://m trixie-backports Release' does not have a Release file.\n", ErrNoMirror, backports},
		{"bad request", "E: Failed to fetch http://m/x  400  Bad Request [IP: 10.0.0.1 80]\nE: The repository 'http://m trixie InRelease' is not signed.\n", ErrNoMirror, backports},
		{"no package", "E: Unable to locate package qemu-system-x86\n", ErrNoMirror, backports},
		{
			"no key", "W: GPG error: http://m trixie InRelease: The following signatures couldn't be verified because the public key is not available: NO_PUBKEY 6ED0E7B82643E131 NO_PUBKEY 78DBA3BC47EF2265\n" +
				"E: The repository 'http://m trixie InRelease' is not signed.\n",
			ErrUntrusted, "none is there: 6ED0E7B82643E131, 78DBA3BC47EF2265. ",
		},
		{
			"no key for sqv", "W: OpenPGP signature verification failed: http://m trixie InRelease: Sub-process /usr/bin/sqv returned an error code (1), error message is: Missing key 41587F7DB8C774BCCF131416762F67A0B2C39DE4, which is needed to verify signature.\n",
			ErrUntrusted, "none is there: 41587F7DB8C774BCCF131416762F67A0B2C39DE4. ",
		},
		{"not signed", "E: The repository 'http://m trixie Release' is not signed.\n", ErrUntrusted, "debian-archive-keyring"},
		{"forged", "E: Failed to fetch http://m/x.deb  Hash Sum mismatch\n", ErrUntrusted, "forged"},
		{"the clock", "E: Release file for http://m/InRelease is not valid yet (invalid for another 3h). Updates for this repository will not be applied.\n", ErrUntrusted, "clock"},
		{"full", "E: Write error - write (28: No space left on device)\nE: The repository 'x' is not signed.\n", ErrNoSpace, "another disk"},
		{"something else", "E: The method driver /usr/lib/apt/methods/foo could not be found.\n", ErrApt, "methods/foo"},
		{"nothing", "", ErrApt, "apt-get update"},
	}
	cause := errors.New("exit status 100")
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			const noise = "W: Download is performed unsandboxed as root as file '/x' couldn't be accessed by user '_apt'. - pkgAcquire::Run (13: Permission denied)\n"
			err := programError("apt-get update", cause, noise+test.said)
			if !errors.Is(err, test.want) || !errors.Is(err, cause) || !strings.Contains(err.Error(), test.text) {
				t.Errorf("error %v, want %v and %q", err, test.want, test.text)
			}
			if strings.Contains(err.Error(), "unsandboxed") {
				t.Errorf("noise in %q", err)
			}
		})
	}
	long := programError("apt-get update", cause, strings.Repeat("x", 10*saidLimit)+"end")
	if n := len(long.Error()); n > 2*saidLimit || !strings.HasSuffix(long.Error(), "end") {
		t.Errorf("an error of %d bytes", n)
	}
}

func TestSpaceError(t *testing.T) {
	for cause, want := range map[error]error{
		syscall.ENOSPC: ErrNoSpace, syscall.EDQUOT: ErrNoSpace,
		syscall.EACCES: ErrCacheDir, syscall.EROFS: ErrCacheDir,
		syscall.EIO: syscall.EIO,
	} {
		err := spaceError("writing", &fs.PathError{Op: "write", Path: "/x", Err: cause})
		if !errors.Is(err, want) || !errors.Is(err, cause) {
			t.Errorf("error %v, want %v and %v", err, want, cause)
		}
	}
}
