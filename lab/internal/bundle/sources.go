package bundle

import (
	"slices"
	"strings"
)

// A source is an archive that the machine's apt knows: one line of
// sources.list, or one stanza of a .sources file (sources.list(5)).
type source struct {
	uris       []string
	suites     []string
	components []string

	// signedBy is the option Signed-By as it was written: file names,
	// fingerprints, or a key, whose lines then follow, each with its indent.
	signedBy string
}

// parseList reads the one-line format:
//
//	deb [ option=value ... ] uri suite [component ...]
//
// Lines that are not of that form are passed over: it is apt that complains of
// them, not the lab.
func parseList(text string) []source {
	var sources []source
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		if s, ok := parseListLine(strings.TrimSpace(line)); ok {
			sources = append(sources, s)
		}
	}
	return sources
}

func parseListLine(line string) (source, bool) {
	kind, rest, _ := cutField(line)
	if kind != "deb" {
		return source{}, false
	}
	var s source
	if options, ok := strings.CutPrefix(rest, "["); ok {
		options, rest, ok = strings.Cut(options, "]")
		if !ok {
			return source{}, false
		}
		for _, option := range strings.Fields(options) {
			if value, ok := cutPrefixFold(option, "signed-by="); ok {
				s.signedBy = strings.Join(strings.FieldsFunc(value, func(r rune) bool { return r == ',' }), " ")
			}
		}
	}
	uri, rest, ok := cutField(rest)
	if !ok {
		return source{}, false
	}
	suite, rest, _ := cutField(rest)
	if suite == "" {
		return source{}, false
	}
	s.uris, s.suites, s.components = []string{uri}, []string{suite}, strings.Fields(rest)
	return s, true
}

// cutField returns the first word of text and what follows it.
func cutField(text string) (field, rest string, more bool) {
	text = strings.TrimLeft(text, " \t")
	i := strings.IndexAny(text, " \t")
	if i < 0 {
		return text, "", false
	}
	return text[:i], strings.TrimLeft(text[i:], " \t"), true
}

func cutPrefixFold(text, prefix string) (after string, found bool) {
	if len(text) < len(prefix) || !strings.EqualFold(text[:len(prefix)], prefix) {
		return text, false
	}
	return text[len(prefix):], true
}

// parseSources reads the stanzas of a .sources file (deb822(5)). Stanzas that
// are disabled, or lack a field that they must have, are passed over.
func parseSources(text string) []source {
	var sources []source
	for _, stanza := range parseStanzas(text) {
		if isNo(stanza["enabled"]) || !slices.Contains(strings.Fields(stanza["types"]), "deb") {
			continue
		}
		s := source{
			uris:       strings.Fields(stanza["uris"]),
			suites:     strings.Fields(stanza["suites"]),
			components: strings.Fields(stanza["components"]),
			signedBy:   strings.TrimSpace(stanza["signed-by"]),
		}
		if len(s.uris) > 0 && len(s.suites) > 0 {
			sources = append(sources, s)
		}
	}
	return sources
}

// isNo reports whether a value is one that apt takes for false.
func isNo(value string) bool {
	return slices.Contains([]string{"no", "false", "without", "off", "disable", "0"}, strings.ToLower(strings.TrimSpace(value)))
}

// A stanza is a paragraph of fields, by name in lower case. The lines of a value
// that has several keep the indent that makes them part of it.
type stanza map[string]string

// parseStanzas reads a file of the form of Debian's control files (deb822(5)):
// package lists and .sources files.
func parseStanzas(text string) []stanza {
	var all []stanza
	var current stanza
	var field string
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, " \t\r\n")
		switch {
		case line == "":
			current, field = nil, ""
		case line[0] == '#':
			// A comment, also between the lines of a value.
		case line[0] == ' ' || line[0] == '\t':
			if field != "" {
				current[field] += "\n" + line
			}
		default:
			name, value, ok := strings.Cut(line, ":")
			if !ok {
				field = ""
				continue
			}
			if current == nil {
				current = make(stanza)
				all = append(all, current)
			}
			field = strings.ToLower(strings.TrimSpace(name))
			current[field] = strings.TrimSpace(value)
		}
	}
	return all
}
