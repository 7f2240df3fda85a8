//go:build linux

package netns

import (
	"errors"
	"io/fs"
	"testing"
)

func TestOpenNames(t *testing.T) {
	for _, name := range []string{"", "a/b", "../net"} {
		if n, err := Open(name); err == nil {
			n.Close()
			t.Errorf("%q was opened", name)
		}
	}
	if _, err := Open("zctap-no-such-namespace"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a namespace that is not there: %v", err)
	}
}
