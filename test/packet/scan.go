package packet

import (
	"fmt"
	"strings"
)

// fields cuts a line into its words. A comment, from # to the end, is none of them;
// what is between double quotes is one, quotes included, and so is what is between
// < and >, but for the arrows that stand alone.
func fields(line string) ([]string, error) {
	var words []string
	for i := 0; i < len(line); {
		switch c := line[i]; {
		case c == ' ' || c == '\t' || c == '\r':
			i++
		case c == '#':
			return words, nil
		case c == '"':
			n := strings.IndexByte(line[i+1:], '"')
			if n < 0 {
				return nil, fmt.Errorf("a quote without an end: %s", line[i:])
			}
			words = append(words, line[i:i+n+2])
			i += n + 2
		case c == '<' && i+1 < len(line) && line[i+1] != ' ' && line[i+1] != '\t':
			n := strings.IndexByte(line[i:], '>')
			if n < 0 {
				return nil, fmt.Errorf("options without an end: %s", line[i:])
			}
			words = append(words, line[i:i+n+1])
			i += n + 1
		default:
			n := strings.IndexAny(line[i:], " \t\r#\"")
			if n < 0 {
				n = len(line) - i
			}
			words = append(words, line[i:i+n])
			i += n
		}
	}
	return words, nil
}

// words are what is left of a line to be read.
type words struct{ rest []string }

// next is the next word, "" if there is none.
func (w *words) next() string {
	if len(w.rest) == 0 {
		return ""
	}
	s := w.rest[0]
	w.rest = w.rest[1:]
	return s
}

// peek is the next word, which stays.
func (w *words) peek() string {
	if len(w.rest) == 0 {
		return ""
	}
	return w.rest[0]
}

// take reports whether the next word is s, and takes it.
func (w *words) take(s string) bool {
	if w.peek() != s {
		return false
	}
	w.next()
	return true
}

// value reads the next word as a value.
func (w *words) value(what string) (Value, error) {
	if w.peek() == "" {
		return Value{}, fmt.Errorf("%s is missing", what)
	}
	v, err := parseValue(w.next())
	if err != nil {
		return Value{}, fmt.Errorf("%s: %w", what, err)
	}
	return v, nil
}

// end complains if something is left.
func (w *words) end() error {
	if len(w.rest) > 0 {
		return fmt.Errorf("what is %q to mean here?", strings.Join(w.rest, " "))
	}
	return nil
}
