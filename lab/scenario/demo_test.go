//go:build linux

package scenario

import (
	"bytes"
	"encoding/json"
	"os/exec"
	"testing"

	"github.com/zctap/zctap/internal/testenv"
	"github.com/zctap/zctap/lab"
)

// TestLabDemo runs the command that shows all this: `zctap lab demo --json`.
func TestLabDemo(t *testing.T) {
	inTurn(t, 14)
	testenv.NeedVM(t)
	lab.Need(t)
	zctap, err := lab.Build(t.Context(), t.TempDir(), module+"cmd/zctap")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args   []string
		copied uint64
		match  bool
	}{
		{args: []string{"--size", "20MB"}, match: true},
		{args: []string{"--size", "20MB", "--nodev"}, copied: 20_000_000},
	} {
		var out, errs bytes.Buffer
		cmd := exec.CommandContext(t.Context(), zctap, append([]string{"lab", "demo", "--json", "--timeout", "5m"}, c.args...)...)
		cmd.Stdout, cmd.Stderr = &out, &errs
		if err := cmd.Run(); err != nil {
			t.Fatalf("zctap lab demo %v: %v\n%s", c.args, err, &errs)
		}
		var r struct {
			Engine          string `json:"engine"`
			Bytes           uint64 `json:"bytes"`
			ZeroCopyBytes   uint64 `json:"zero_copy_bytes"`
			CopiedBytes     uint64 `json:"copied_bytes"`
			Verified        bool   `json:"verified"`
			Leaked          int    `json:"leaked_buffers"`
			PageFramesMatch bool   `json:"page_frames_match"`
		}
		if err := json.Unmarshal(out.Bytes(), &r); err != nil {
			t.Fatalf("%v\n%s", err, &out)
		}
		const bytes = 20_000_000
		if r.Engine != "zcrx" || r.Bytes != bytes || !r.Verified || r.Leaked != 0 ||
			r.CopiedBytes != c.copied || r.ZeroCopyBytes != bytes-c.copied || r.PageFramesMatch != c.match {
			t.Errorf("zctap lab demo %v: %+v", c.args, r)
		}
	}
}
