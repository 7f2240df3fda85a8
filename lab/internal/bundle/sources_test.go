package bundle

import (
	"reflect"
	"strings"
	"testing"
)

func TestParseList(t *testing.T) {
	tests := []struct {
		name, text string
		want       []source
	}{
		{"empty", "", nil},
		{"comment", "# deb http://h/debian trixie main", nil},
		{"source packages", "deb-src http://h/debian trixie main", nil},
		{
			"plain", "deb http://h/debian trixie main contrib\n",
			[]source{{uris: []string{"http://h/debian"}, suites: []string{"trixie"}, components: []string{"main", "contrib"}}},
		},
		{
			"options", "deb  [ arch=amd64 Signed-By=/k/a.gpg,/k/b.gpg trusted=yes ]\thttp://h/debian  trixie  main # why\n",
			[]source{{uris: []string{"http://h/debian"}, suites: []string{"trixie"}, components: []string{"main"}, signedBy: "/k/a.gpg /k/b.gpg"}},
		},
		{
			"options without spaces", "deb [signed-by=ABCD]http://h/debian trixie main",
			[]source{{uris: []string{"http://h/debian"}, suites: []string{"trixie"}, components: []string{"main"}, signedBy: "ABCD"}},
		},
		{
			"flat", "deb http://h/flat ./",
			[]source{{uris: []string{"http://h/flat"}, suites: []string{"./"}, components: []string{}}},
		},
		{"options without end", "deb [signed-by=/k http://h/debian trixie main", nil},
		{"no suite", "deb http://h/debian", nil},
		{"no suite, but a space", "deb http://h/debian ", nil},
		{"nothing", "deb", nil},
		{"another word", "debbie http://h/debian trixie main", nil},
		{
			"bad among good", "what is this\r\ndeb http://h/debian sid main\r\n",
			[]source{{uris: []string{"http://h/debian"}, suites: []string{"sid"}, components: []string{"main"}}},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := parseList(test.text); !reflect.DeepEqual(got, test.want) {
				t.Errorf("got %+v, want %+v", got, test.want)
			}
		})
	}
}

func TestParseSources(t *testing.T) {
	const good = "Types: deb\nURIs: http://h/debian\nSuites: trixie\nComponents: main\n"
	plain := source{uris: []string{"http://h/debian"}, suites: []string{"trixie"}, components: []string{"main"}}
	with := func(change func(s *source)) []source {
		s := plain
		change(&s)
		return []source{s}
	}
	tests := []struct {
		name, text string
		want       []source
	}{
		{"empty", "", nil},
		{"plain", good, []source{plain}},
		{"no end of line", strings.TrimSpace(good), []source{plain}},
		{"two", good + "\n \n" + good, []source{plain, plain}},
		{"case of names", "TYPES: deb\nuris: http://h/debian\nsUITES: trixie\ncomponents: main\n", []source{plain}},
		{"enabled", "Enabled: yes\n" + good, []source{plain}},
		{"disabled", "Enabled: no\n" + good, nil},
		{"disabled otherwise", good + "Enabled: False\n", nil},
		{"source packages", strings.Replace(good, "deb", "deb-src", 1), nil},
		{"both", strings.Replace(good, "deb", "deb-src deb", 1), []source{plain}},
		{"commented out", strings.ReplaceAll("\n"+good, "\n", "\n# "), nil},
		{"comment inside", strings.Replace(good, "Suites", "# a comment\nSuites", 1), []source{plain}},
		{"no suites", "Types: deb\nURIs: http://h/debian\n", nil},
		{"no address", "Types: deb\nSuites: trixie\n", nil},
		{"a line that is no field", "what is this\n" + good, []source{plain}},
		{"a continuation of nothing", "  what is this\n" + good, []source{plain}},
		{
			"several", "Types: deb\nURIs: http://h/debian http://i/debian\nSuites: trixie trixie-updates\nComponents: main\n",
			with(func(s *source) {
				s.uris, s.suites = []string{"http://h/debian", "http://i/debian"}, []string{"trixie", "trixie-updates"}
			}),
		},
		{
			"values over several lines", "Types: deb\nURIs:\n http://h/debian\nSuites:\n trixie\n# with a comment\n\ttrixie-updates\nComponents: main\n",
			with(func(s *source) { s.suites = []string{"trixie", "trixie-updates"} }),
		},
		{"keyring", good + "Signed-By: /k/a.gpg\n", with(func(s *source) { s.signedBy = "/k/a.gpg" })},
		{
			"key", good + "Signed-By:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n mQ==\n -----END PGP PUBLIC KEY BLOCK-----\n",
			with(func(s *source) {
				s.signedBy = "-----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n mQ==\n -----END PGP PUBLIC KEY BLOCK-----"
			}),
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := parseSources(test.text); !reflect.DeepEqual(got, test.want) {
				t.Errorf("got %+v, want %+v", got, test.want)
			}
		})
	}
}

// FuzzSources parses anything, in both formats, and what a mirror that was
// found so makes of it: that has to be one stanza again, with the same meaning.
func FuzzSources(f *testing.F) {
	f.Add("deb [signed-by=/k/a.gpg] http://h/debian trixie main")
	f.Add("Types: deb\nURIs: http://h/debian\nSuites: trixie\nComponents: main\nSigned-By:\n a\n .\n b\n")
	f.Add("deb [] x sid main\n\n:\n \nEnabled: no")
	f.Fuzz(func(t *testing.T, text string) {
		for _, m := range mirrors(append(parseList(text), parseSources(text)...)) {
			back := parseSources(m.sourcesFile())
			if len(back) != 1 {
				t.Fatalf("%d stanzas of mirror %+v", len(back), m)
			}
			if len(back[0].uris) != 1 || back[0].uris[0] != m.uri {
				t.Errorf("uris %q of mirror %+v", back[0].uris, m)
			}
			if back[0].signedBy != m.signedBy {
				t.Errorf("signed by %q, mirror by %q", back[0].signedBy, m.signedBy)
			}
			if m.String() == "" {
				t.Error("a mirror without a name")
			}
		}
	})
}
