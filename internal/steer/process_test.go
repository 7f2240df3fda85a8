//go:build linux

package steer

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/zctap/zctap/internal/netns"
)

// startRole starts this program in a namespace, in a role. The function returned
// reads a line of what it prints. It is killed at the test's end at the latest.
func startRole(t testing.TB, ns *netns.NS, cmd *exec.Cmd) func() string {
	t.Helper()
	out, err := cmd.StdoutPipe()
	must(t, err)
	// Its standard input ends when this process does.
	in, err := cmd.StdinPipe()
	must(t, err)
	var errs strings.Builder
	cmd.Stderr = &errs
	must(t, ns.Start(cmd))
	t.Cleanup(func() {
		in.Close()
		cmd.Process.Kill()
		cmd.Wait()
		if t.Failed() && errs.Len() > 0 {
			t.Logf("the process in its role said:\n%s", errs.String())
		}
	})
	lines := bufio.NewReader(out)
	return func() string {
		line, err := lines.ReadString('\n')
		if err != nil && err != io.EOF {
			t.Error(err)
		}
		return strings.TrimSuffix(line, "\n")
	}
}

// waitAfter prints a line and waits until the parent closes our standard input, or
// kills us.
func waitAfter(line string) error {
	fmt.Println(line)
	_, err := io.Copy(io.Discard, os.Stdin)
	return err
}

func itoa(n int) string { return strconv.Itoa(n) }
