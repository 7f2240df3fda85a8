package bundle

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func TestMirrors(t *testing.T) {
	const (
		debian   = "deb http://h/debian bookworm main\n"
		updates  = "deb http://h/debian bookworm-updates main\n"
		security = "deb http://h/debian-security bookworm-security main\n"
		vendor   = "deb [signed-by=/k/vendor.gpg] http://vendor/apt bookworm main\n"
	)
	tests := []struct {
		name, text string
		want       []string
	}{
		{"none", "", nil},
		{"the usual", security + debian + updates, []string{"http://h/debian"}},
		{"security only", security, nil},
		{"security with the address of the archive", "deb http://h/debian stable-security main\n", nil},
		{"a vendor first", vendor + debian, []string{"http://h/debian", "http://vendor/apt"}},
		{"a mirror without the usual name", vendor + "deb http://m/pub trixie main\ndeb http://m/pub trixie-updates main\n", []string{"http://m/pub", "http://vendor/apt"}},
		{"a vendor with the usual name", "deb [signed-by=/k/v.gpg] http://vendor/linux/debian bookworm main\n" + debian + updates, []string{"http://h/debian", "http://vendor/linux/debian"}},
		{"no component main", "deb http://vendor/linux/debian bookworm stable\n", nil},
		{"other suites", "deb http://u/ubuntu noble main\ndeb http://v/x cloud-sdk-bookworm main\ndeb http://v/y bookworm/sub main\n", nil},
		{"a disk", "deb cdrom:[Debian]/ trixie main\ndeb cdrom:x trixie main\n", nil},
		{"no scheme", "deb /srv/debian trixie main\n", nil},
		{"strange characters", "deb http://h/de\"bian trixie main\ndeb http://h/d\u00e9bian trixie main\n", nil},
		{"a list of mirrors", "deb mirror+file:/etc/apt/mirrors/debian.list trixie main\n", []string{"mirror+file:/etc/apt/mirrors/debian.list"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var got []string
			for _, m := range mirrors(parseList(test.text)) {
				got = append(got, m.uri)
			}
			if !reflect.DeepEqual(got, test.want) {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestMirrorString(t *testing.T) {
	for uri, want := range map[string]string{
		"http://h/debian":                 "http://h/debian",
		"https://user:secret@h:80/debian": "https://h:80/debian",
		"https://user:s@cret@h/debian":    "https://h/debian",
		"mirror+file:/etc/list":           "mirror+file:/etc/list",
	} {
		if got := (mirror{uri: uri}).String(); got != want {
			t.Errorf("%s is called %s, want %s", uri, got, want)
		}
	}
}

func TestSourcesFile(t *testing.T) {
	const form = "Types: deb\nURIs: http://h/debian\nSuites: trixie trixie-backports\nComponents: main\n" +
		"Architectures: amd64\nTargets: Packages\nLanguages: none\nPDiffs: no\n"
	for signedBy, want := range map[string]string{
		"":                       form,
		"/k/a.gpg":               form + "Signed-By: /k/a.gpg\n",
		"-----BEGIN\n .\n -----": form + "Signed-By:\n -----BEGIN\n .\n -----\n",
	} {
		if got := (mirror{uri: "http://h/debian", signedBy: signedBy}).sourcesFile(); got != want {
			t.Errorf("signed by %q: %q, want %q", signedBy, got, want)
		}
	}
}

// writeFiles makes files below a new folder.
func writeFiles(t testing.TB, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestFindMirrors(t *testing.T) {
	root := writeFiles(t, map[string]string{
		"etc/apt/sources.list":                  "deb http://list/debian trixie main\n",
		"etc/apt/sources.list.d/a.list":         "deb [signed-by=/k/a.gpg] http://a/debian trixie main\n",
		"etc/apt/sources.list.d/b.sources":      "Types: deb\nURIs: http://b/debian\nSuites: trixie trixie-updates\nComponents: main\nSigned-By: /k/b.gpg\n",
		"etc/apt/sources.list.d/b.sources.save": "Types: deb\nURIs: http://save/debian\nSuites: trixie\nComponents: main\n",
		"keyring.gpg":                           "keys",
	})
	keyring := filepath.Join(root, "keyring.gpg")
	t.Setenv(MirrorEnv, "")
	t.Setenv(KeyringEnv, "")
	find := func(uri, keyring string) []mirror {
		t.Helper()
		found, err := findMirrors(uri, keyring, root)
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	want := []mirror{{"http://b/debian", "/k/b.gpg"}, {"http://list/debian", ""}, {"http://a/debian", "/k/a.gpg"}}
	if got := find("", ""); !reflect.DeepEqual(got, want) {
		t.Errorf("the machine's: %v, want %v", got, want)
	}
	for i := range want {
		want[i].signedBy = keyring
	}
	if got := find("", keyring); !reflect.DeepEqual(got, want) {
		t.Errorf("the machine's, with a keyring: %v, want %v", got, want)
	}
	want = []mirror{{"http://asked/x", keyring}}
	if got := find("http://asked/x", keyring); !reflect.DeepEqual(got, want) {
		t.Errorf("one that was asked for: %v, want %v", got, want)
	}
	t.Setenv(MirrorEnv, "http://env/x")
	t.Setenv(KeyringEnv, keyring)
	if got := find("http://asked/x", ""); !reflect.DeepEqual(got, want) {
		t.Errorf("one that was asked for, and one of the environment: %v, want %v", got, want)
	}
	want[0].uri = "http://env/x"
	if got := find("", ""); !reflect.DeepEqual(got, want) {
		t.Errorf("one of the environment: %v, want %v", got, want)
	}
	t.Setenv(KeyringEnv, "")
	for _, m := range find("", "") {
		if _, err := os.Stat(debianKeyring); (err == nil) != (m.signedBy == debianKeyring) {
			t.Errorf("without a keyring, it is to be signed by %q", m.signedBy)
		}
	}
}

func TestFindMirrorsFails(t *testing.T) {
	t.Setenv(MirrorEnv, "")
	t.Setenv(KeyringEnv, "")
	tests := []struct {
		name, uri, keyring string

		want error
		text string
	}{
		{"none", "", "", ErrNoMirror, MirrorEnv},
		{"two addresses", "http://a http://b", "", ErrNoMirror, "spaces"},
		{"two lines", "http://a", "/k\nTrusted: yes", ErrNoMirror, "line breaks"},
		{"no keyring", "http://a", "/nowhere/k.gpg", ErrUntrusted, "/nowhere/k.gpg"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := findMirrors(test.uri, test.keyring, t.TempDir())
			if !errors.Is(err, test.want) || !strings.Contains(err.Error(), test.text) {
				t.Errorf("error %v, want %v and %q", err, test.want, test.text)
			}
		})
	}
}
