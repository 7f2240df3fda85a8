package packet

import (
	"fmt"
	"strconv"
	"strings"
)

// maxNumber keeps arithmetic with a script's numbers far from overflow; no field of
// a packet is larger.
const maxNumber = 1 << 32

// parseValue reads *, 5, -1, 5..9, name, name+5, name-1, name+5..9 or max. The word
// max is a variable that the runner sets: what the MTU leaves for TCP's payload.
func parseValue(s string) (Value, error) {
	if s == "*" {
		return Value{Any: true}, nil
	}
	var v Value
	rest := s
	for rest != "" && isLetter(rest[0]) || v.Name != "" && rest != "" && isDigit(rest[0]) {
		v.Name += rest[:1]
		rest = rest[1:]
	}
	if v.Name != "" && rest == "" {
		return v, nil
	}
	if v.Name != "" && rest[0] != '+' && rest[0] != '-' {
		return Value{}, fmt.Errorf("%q is no number and no name", s)
	}
	if v.Name == "" && rest != "" && rest[0] == '+' {
		return Value{}, fmt.Errorf("%q: a number has no sign but -", s)
	}
	lo, hi, ranged := strings.Cut(rest, "..")
	var err error
	if v.Lo, err = parseNumber(strings.TrimPrefix(lo, "+")); err != nil {
		return Value{}, fmt.Errorf("%q: %w", s, err)
	}
	v.Hi = v.Lo
	if ranged {
		if v.Hi, err = parseNumber(hi); err != nil {
			return Value{}, fmt.Errorf("%q: %w", s, err)
		}
	}
	if v.Hi < v.Lo {
		return Value{}, fmt.Errorf("%q ends before it begins", s)
	}
	return v, nil
}

func parseNumber(s string) (int64, error) {
	if digits := strings.TrimPrefix(s, "-"); digits == "" || !isDigit(digits[0]) {
		return 0, fmt.Errorf("%q is no number", s)
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n > maxNumber || n < -maxNumber {
		return 0, fmt.Errorf("%q is no number of at most 32 bits", s)
	}
	return n, nil
}

func isLetter(c byte) bool { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' }
func isDigit(c byte) bool  { return c >= '0' && c <= '9' }

// isName reports whether s can name a variable or a socket.
func isName(s string) bool {
	if s == "" || !isLetter(s[0]) || len(s) > 32 {
		return false
	}
	for i := range len(s) {
		if !isLetter(s[i]) && !isDigit(s[i]) {
			return false
		}
	}
	return true
}

// String is v as a script has it.
func (v Value) String() string {
	switch {
	case v.Any:
		return "*"
	case v.Name != "" && v.Lo == 0 && v.Hi == 0:
		return v.Name
	}
	s := strconv.FormatInt(v.Lo, 10)
	if v.Name != "" && v.Lo >= 0 {
		s = "+" + s
	}
	if v.Hi != v.Lo {
		s += ".." + strconv.FormatInt(v.Hi, 10)
	}
	return v.Name + s
}
