//go:build linux

package scenario

import (
	"encoding/json"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/zctap/zctap/lab"
	"github.com/zctap/zctap/lab/gvnic"
)

const (
	seed     = "7" // of the streams
	flapTime = gvnic.Duration(300 * time.Millisecond)
)

// long asks for what takes longer than a submission should wait for: ZCTAP_LAB_LONG=1.
var long = os.Getenv("ZCTAP_LAB_LONG") == "1"

// An engineRig is a rig whose receiver is zctap, with engine zcrx, which prepares
// the queue by itself.
type engineRig struct{ *rig }

// newEngineRig builds zctap. The machine is not started.
func newEngineRig(t *testing.T, c gvnic.Config) *engineRig {
	t.Helper()
	r := &engineRig{newRig(t, c)}
	zctap, err := lab.Build(t.Context(), t.TempDir(), module+"cmd/zctap")
	if err != nil {
		t.Fatal(err)
	}
	r.machine.Files = append(r.machine.Files, lab.File{Path: "/usr/local/bin/zctap", Source: zctap, Program: true})
	return r
}

// stream is a receiver, in the background, and a sender in the other namespace.
func stream(bytes int, flags ...string) []lab.Step {
	at := fmt.Sprintf("%s:%d", receiverAddr, port)
	receive := []string{
		"zctap", "recv", "--engine", "zcrx", "--interface", "eth0", "--queue", fmt.Sprint(queue),
		"--listen", at, "--pattern", seed, "--json",
	}
	return []lab.Step{
		{Name: "receiver", Background: true, Args: append(receive, flags...)},
		{Name: "sender", Netns: senderNetns, Args: []string{"zctap", "send", at, "--size", fmt.Sprint(bytes), "--pattern", seed, "--wait", "1m"}},
	}
}

// A report is what zctap recv reports.
type report struct {
	Engine        string            `json:"engine"`
	XDPMode       string            `json:"xdp_mode"`
	Bytes         int               `json:"bytes"`
	ZeroCopyBytes int               `json:"zero_copy_bytes"`
	CopiedBytes   int               `json:"copied_bytes"`
	Verified      bool              `json:"verified"`
	Mismatches    int               `json:"mismatches"`
	Leaked        int               `json:"leaked_buffers"`
	Drops         map[string]uint64 `json:"drops"`
	Events        map[string]uint64 `json:"events"`
	frames        []uint64
}

// report reads the report of a job's receiver.
func (r *engineRig) report(res *lab.Result) *report {
	r.Helper()
	got := new(report)
	if err := json.Unmarshal(res.Step("receiver").Stdout, got); err != nil {
		r.Fatalf("the receiver's report: %v\n%s", err, res.Step("receiver").Stdout)
	}
	got.frames = r.frames(res)
	r.Logf("%d bytes in %v, %d copied, %d page frames, drops %v, events %v",
		got.Bytes, res.Duration.Round(time.Millisecond), got.CopiedBytes, len(got.frames), got.Drops, got.Events)
	return got
}

// wantAll checks that a stream came as it was sent, and that each byte was counted
// once.
func (r *engineRig) wantAll(got *report, bytes int) {
	r.Helper()
	r.wantAllBy("zcrx", got, bytes)
}

func (r *engineRig) wantAllBy(engine string, got *report, bytes int) {
	r.Helper()
	if got.Engine != engine || got.Bytes != bytes || !got.Verified || got.Mismatches != 0 {
		r.Errorf("engine %q, %d of %d bytes, verified %v, %d wrong", got.Engine, got.Bytes, bytes, got.Verified, got.Mismatches)
	}
	if got.ZeroCopyBytes+got.CopiedBytes != bytes {
		r.Errorf("of %d bytes %d count as not copied and %d as copied", bytes, got.ZeroCopyBytes, got.CopiedBytes)
	}
	if got.Leaked != 0 || len(got.Drops) != 0 {
		r.Errorf("%d buffers leaked, drops %v", got.Leaked, got.Drops)
	}
}

func (r *engineRig) wantNoCopy(got *report) {
	r.Helper()
	if got.CopiedBytes != 0 {
		r.Errorf("%d bytes were copied", got.CopiedBytes)
	}
}
