package bundle

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// The suites that the lab's packages come from. The kernel and QEMU are those
// of the backports; their libraries are the stable release's.
const (
	suite     = "trixie"
	backports = suite + "-backports"
)

// Environment variables that name a mirror and its keyring on a machine whose
// apt sources have none of Debian. What Open is told takes precedence.
const (
	MirrorEnv  = "ZCTAP_LAB_MIRROR"
	KeyringEnv = "ZCTAP_LAB_KEYRING"
)

// debianKeyring is where Debian's package debian-archive-keyring puts the keys.
const debianKeyring = "/usr/share/keyrings/debian-archive-keyring.gpg"

// A mirror is a place to fetch from, in apt's words: where, and by which keys
// it is to be verified.
type mirror struct {
	uri      string
	signedBy string // as in source; empty: apt's trusted keys
}

// String returns what people call it, without the password that the address
// may hold.
func (m mirror) String() string {
	scheme, rest, ok := strings.Cut(m.uri, "://")
	if !ok {
		return m.uri
	}
	authority, path, _ := strings.Cut(rest, "/")
	if i := strings.LastIndexByte(authority, '@'); i >= 0 {
		authority = authority[i+1:]
	}
	return scheme + "://" + authority + "/" + path
}

// sourcesFile returns the text of a .sources file that has this mirror's
// archive and no other, and of it only the lists that are needed.
func (m mirror) sourcesFile() string {
	var b strings.Builder
	fmt.Fprintf(&b, "Types: deb\nURIs: %s\nSuites: %s %s\nComponents: main\n", m.uri, suite, backports)
	fmt.Fprintf(&b, "Architectures: amd64\nTargets: Packages\nLanguages: none\nPDiffs: no\n")
	switch {
	case strings.Contains(m.signedBy, "\n"): // a key
		fmt.Fprintf(&b, "Signed-By:\n %s\n", m.signedBy)
	case m.signedBy != "":
		fmt.Fprintf(&b, "Signed-By: %s\n", m.signedBy)
	}
	return b.String()
}

// debianSuites are the names that the suites of Debian's archive go by. Other
// archives use some of them, too.
var debianSuites = []string{
	"stable", "oldstable", "testing", "unstable", "sid",
	"buster", "bullseye", "bookworm", "trixie", "forky", "duke",
}

// mirrors returns the places among sources that look like a mirror of Debian's
// archive, the likeliest first. Other people's archives have suites of the same
// names, and then it takes a try to see that they have not what is needed.
func mirrors(sources []source) []mirror {
	type candidate struct {
		mirror
		score int
	}
	var candidates []candidate
	for _, s := range sources {
		if !slices.Contains(s.components, "main") || !slices.ContainsFunc(s.suites, isDebianSuite) {
			continue
		}
		for _, uri := range s.uris {
			if !isUsableURI(uri) {
				continue
			}
			c := candidate{mirror: mirror{uri: uri, signedBy: s.signedBy}}
			if strings.HasSuffix(strings.TrimRight(uri, "/"), "/debian") {
				c.score += 4
			}
			if hasSuite(sources, uri, "-updates") || hasSuite(sources, uri, "-backports") {
				c.score += 2
			}
			if s.signedBy == "" || strings.Contains(s.signedBy, "debian-archive") {
				c.score++
			}
			if !slices.ContainsFunc(candidates, func(o candidate) bool { return o.mirror == c.mirror }) {
				candidates = append(candidates, c)
			}
		}
	}
	slices.SortStableFunc(candidates, func(a, b candidate) int { return cmp.Compare(b.score, a.score) })
	found := make([]mirror, len(candidates))
	for i, c := range candidates {
		found[i] = c.mirror
	}
	return found
}

// isUsableURI reports whether uri is an address that apt can fetch from without
// a person at the machine, in printable ASCII as addresses are.
func isUsableURI(uri string) bool {
	scheme, _, ok := strings.Cut(uri, ":")
	return ok && scheme != "cdrom" && !strings.ContainsFunc(uri, func(r rune) bool {
		return r <= ' ' || r > '~' || strings.ContainsRune("[]\"'", r)
	})
}

// isDebianSuite reports whether suite is one that the main archive has, rather
// than that of security updates, which has no backports.
func isDebianSuite(suite string) bool {
	base, _, _ := strings.Cut(suite, "-")
	return slices.Contains(debianSuites, base) && !strings.Contains(suite, "security") && !strings.Contains(suite, "/")
}

// hasSuite reports whether one of the suites of Debian at uri ends with ending.
func hasSuite(sources []source, uri, ending string) bool {
	return slices.ContainsFunc(sources, func(s source) bool {
		return slices.Contains(s.uris, uri) && slices.ContainsFunc(s.suites, func(suite string) bool {
			return isDebianSuite(suite) && strings.HasSuffix(suite, ending)
		})
	})
}

// machineSources reads the machine's apt sources below root, which is / but in
// tests. Files that are missing or may not be read have nothing in them.
func machineSources(root string) []source {
	dir := filepath.Join(root, "etc/apt")
	var sources []source
	files := []string{filepath.Join(dir, "sources.list"), filepath.Join(dir, "sources.list.d/*.list"), filepath.Join(dir, "sources.list.d/*.sources")}
	for _, pattern := range files {
		names, err := filepath.Glob(pattern)
		if err != nil {
			continue // a root with pattern characters that do not match
		}
		for _, name := range names {
			text, err := os.ReadFile(name)
			if err != nil {
				continue
			}
			if strings.HasSuffix(name, ".sources") {
				sources = append(sources, parseSources(string(text))...)
			} else {
				sources = append(sources, parseList(string(text))...)
			}
		}
	}
	return sources
}

// findMirrors returns the mirrors to try, in order: the one that was asked for,
// by Open's options, or those of the machine whose root is given.
func findMirrors(uri, keyring, root string) ([]mirror, error) {
	uri = cmp.Or(uri, os.Getenv(MirrorEnv))
	keyring = cmp.Or(keyring, os.Getenv(KeyringEnv))
	if strings.ContainsAny(uri, " \t\r\n") || strings.ContainsAny(keyring, "\r\n") {
		return nil, fmt.Errorf("lab: mirror %q, keyring %q: %w: an address has no spaces, a file name no line breaks", uri, keyring, ErrNoMirror)
	}
	var found []mirror
	if uri != "" {
		m := mirror{uri: uri}
		if _, err := os.Stat(debianKeyring); err == nil {
			m.signedBy = debianKeyring
		}
		found = []mirror{m}
	} else {
		found = mirrors(machineSources(root))
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("lab: %w: none in %s or %s.d: set %s to the address of a mirror that has %s, such as one from Debian's list of mirrors, and install the package debian-archive-keyring (or set %s to a file with Debian's keys)",
			ErrNoMirror, "/etc/apt/sources.list", "/etc/apt/sources.list", MirrorEnv, backports, KeyringEnv)
	}
	if keyring != "" {
		_, err := os.Stat(keyring)
		if err != nil {
			return nil, fmt.Errorf("lab: keyring: %w: %w: name a file with Debian's keys", ErrUntrusted, err)
		}
		if keyring, err = filepath.Abs(keyring); err != nil {
			return nil, fmt.Errorf("lab: keyring: %w: %w", ErrUntrusted, err)
		}
		for i := range found {
			found[i].signedBy = keyring
		}
	}
	return found, nil
}
