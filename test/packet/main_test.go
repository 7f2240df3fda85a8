package packet

import (
	"errors"
	"flag"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/zctap/zctap/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }

var trace = flag.Bool("packet.trace", false, "print everything that scripts do")

// traced is where the runner's trace goes.
func traced() io.Writer {
	if *trace {
		return os.Stdout
	}
	return nil
}

// load parses all scripts below a folder; their names are paths from here. A folder
// that is not there has none: known may be empty.
func load(t testing.TB, folder string) []*Script {
	t.Helper()
	var scripts []*Script
	err := filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) != ".pkt" {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		s, err := Parse(path, string(text))
		if err != nil {
			t.Error(err)
			return nil
		}
		scripts = append(scripts, s)
		return nil
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return scripts
}

// title is a script's name in the tests' output.
func title(s *Script) string {
	name := strings.TrimSuffix(filepath.ToSlash(s.Name), ".pkt")
	return strings.TrimPrefix(name, "scripts/")
}

// runOn does a script on a target that newTarget makes, and returns what came of it. A
// target that does not come up, or leaks, is told by leak.
func runOn(s *Script, family int, newTarget func(Config, int) (Target, error)) (failure *Failure, late bool, leak error) {
	target, err := newTarget(s.Config, family)
	if err != nil {
		return nil, false, err
	}
	err = NewRunner(s, target, family, traced()).Run()
	if l, ok := target.(interface{ Late() bool }); ok {
		late = l.Late()
	}
	leak = target.Close()
	failure, _ = err.(*Failure)
	return failure, late, leak
}
