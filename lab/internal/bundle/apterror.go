package bundle

import (
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"strings"
	"syscall"
)

// signs are what apt-get and its helpers say, in English, when a thing is wrong.
// The first that is found counts: a full disk spoils everything, and a list that
// could not be fetched is reported as not signed, too.
var signs = []struct {
	err  error
	said *regexp.Regexp
}{
	{ErrNoSpace, anyOf("No space left on device", "enough free space", "Disk quota exceeded")},
	{ErrNetwork, anyOf(
		"Temporary failure resolving", "Could not resolve", "Unable to connect", "Could not connect", "Connection failed",
		"[Cc]onnection timed out", "Network is unreachable", "No route to host", "Connection refused", "Connection reset",
		"Could not handshake", "Certificate verification failed", "Undetermined Error",
		`Failed to fetch \S+  (5\d\d|407|429) `,
	)},
	{ErrNoMirror, anyOf(
		`Failed to fetch \S+  4\d\d `, "File not found", "does not have a Release file", "no longer has a Release file",
		"Unable to locate package", "has no installation candidate", "invalid for APT::Default-Release",
	)},
	{ErrUntrusted, anyOf(
		"NO_PUBKEY", "Missing key", "EXPKEYSIG", "EXPSIG", "BADSIG", "REVKEYSIG", "is not signed", "isn't signed",
		"no longer signed", "not signed by", "n.t be verified", "cannot be authenticated", "signature", "Hash Sum mismatch",
		"is not valid yet", "is expired", "gpgv, gpgv2 or gpgv1 required",
	)},
}

func anyOf(patterns ...string) *regexp.Regexp {
	return regexp.MustCompile(strings.Join(patterns, "|"))
}

// classify returns the error of this package that apt's words stand for.
func classify(said string) error {
	for _, s := range signs {
		if s.said.MatchString(said) {
			return s.err
		}
	}
	return ErrApt
}

// saidLimit bounds, in bytes, how much of what a program said is put into an
// error: its end.
const saidLimit = 2000

// key matches the fingerprint or id of a key that apt names as missing.
var key = regexp.MustCompile(`(?:NO_PUBKEY|Missing key) ([0-9A-F]{16,40})`)

// unsandboxed matches what apt warns of when root's folders, where the cache may
// be, are closed to the user that it fetches as.
var unsandboxed = regexp.MustCompile(`(?m)^W: Download is performed unsandboxed as root .*\n?`)

// programError wraps the error of a program that failed, with what it said and
// what to do about it.
func programError(doing string, err error, said string) error {
	said = strings.TrimSpace(unsandboxed.ReplaceAllString(said, ""))
	kind := classify(said)
	advice := ""
	switch kind {
	case ErrNoSpace:
		advice = "\nFree some, or choose a cache folder on another disk"
	case ErrNetwork:
		advice = "\nThe first run needs the mirror: check the network, and the proxy of the machine's apt, with `apt-get update`"
	case ErrNoMirror:
		advice = fmt.Sprintf("\nThe mirror has to have %s and %s: set %s to the address of one that does", suite, backports, MirrorEnv)
	case ErrUntrusted:
		advice = fmt.Sprintf("\n%sThe lab takes nothing that is not verified. Bring the machine's package debian-archive-keyring up to date "+
			"(`apt-get update && apt-get install debian-archive-keyring`), or set %s to a file with the keys that Debian signs %s by, "+
			"such as the one in a newer version of that package. If they are there, see that gpgv or sqv is installed and the clock is right; "+
			"if so, the mirror is broken or forged", missingKeys(said), KeyringEnv, suite)
	}
	return fmt.Errorf("lab: %s: %w: %w: %s%s", doing, kind, err, ending(said), advice)
}

// ending returns the end of what a program said, if that is long.
func ending(said string) string {
	if len(said) > saidLimit {
		said = "..." + said[len(said)-saidLimit:]
	}
	return said
}

// missingKeys says in a sentence which keys apt did not find, if it names any.
func missingKeys(said string) string {
	var ids []string
	for _, m := range key.FindAllStringSubmatch(said, -1) {
		if !slices.Contains(ids, m[1]) {
			ids = append(ids, m[1])
		}
	}
	if len(ids) == 0 {
		return ""
	}
	return "Of the keys that the archive is signed by, one is needed, and none is there: " + strings.Join(ids, ", ") + ". "
}

// spaceError wraps an error of writing to the cache folder.
func spaceError(doing string, err error) error {
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return fmt.Errorf("lab: %s: %w: %w: free some, or choose a cache folder on another disk", doing, ErrNoSpace, err)
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		return fmt.Errorf("lab: %s: %w: %w: make it writable, or choose another", doing, ErrCacheDir, err)
	}
	return fmt.Errorf("lab: %s: %w", doing, err)
}
