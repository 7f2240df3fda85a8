package bundle

import (
	"cmp"
	"strings"
)

// compareVersions compares kernel releases as people read them: runs of digits
// by their value, all else by its bytes.
func compareVersions(a, b string) int {
	for a != "" && b != "" {
		na, nb := leadingDigits(a), leadingDigits(b)
		switch {
		case na > 0 && nb > 0:
			da, db := strings.TrimLeft(a[:na], "0"), strings.TrimLeft(b[:nb], "0")
			if c := cmp.Or(cmp.Compare(len(da), len(db)), cmp.Compare(da, db)); c != 0 {
				return c
			}
			a, b = a[na:], b[nb:]
		case a[0] != b[0]:
			return cmp.Compare(a[0], b[0])
		default:
			a, b = a[1:], b[1:]
		}
	}
	return cmp.Compare(len(a), len(b))
}

func leadingDigits(s string) int {
	n := 0
	for n < len(s) && isDigit(s[n]) {
		n++
	}
	return n
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// matchesKernel reports whether a kernel's release is the one asked for, or
// begins with it: 6.1 is not the beginning of 6.16.
func matchesKernel(release, asked string) bool {
	rest, ok := strings.CutPrefix(release, asked)
	if !ok || asked == "" {
		return ok
	}
	return rest == "" || !isDigit(asked[len(asked)-1]) || !isDigit(rest[0])
}
