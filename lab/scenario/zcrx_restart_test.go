//go:build linux

package scenario

import (
	"strings"

	"github.com/zctap/zctap/lab"
)

// inPeer runs a command at the other end of the wire. The shell of busybox has an
// ip of its own, which can't.
const inPeer = "/usr/bin/ip netns exec " + senderNetns + " "

// killed starts a stream and kills its receiver in the middle of it, before which the stream
// does not end.
func (r *engineRig) killed(flags ...string) []string {
	r.hold(40_000_000)
	steps := stream(1<<30, flags...)
	quietly := func(args []string) string { return strings.Join(args, " ") + " >/dev/null 2>&1" }
	return []string{
		quietly(steps[0].Args) + " & receiver=$!",
		inPeer + quietly(steps[1].Args) + " & sender=$!",
		"lab-event payload '1 10000000'",
		"kill -9 $receiver",
		letGo,
		"if wait $sender; then echo the sender did not notice >&2; exit 1; fi",
	}
}

// restart: the receiver is killed in mid-stream, and another started at once on the
// same queue.
func (r *engineRig) restart() { r.restartWith() }

// restartRings: likewise, where several rings share the queue.
func (r *engineRig) restartRings() { r.restartWith("--rings", "2") }

func (r *engineRig) restartWith(flags ...string) {
	const bytes = 16 << 20
	next := stream(bytes, flags...)
	step := script(append(r.killed(flags...),
		inPeer+strings.Join(next[1].Args, " ")+" >&2 &",
		strings.Join(next[0].Args, " "),
		"wait $!")...)
	step.Name = "receiver"
	got := r.report(r.doing(lab.Job{Steps: []lab.Step{step}, OnEvent: r.events(nil)}))
	r.wantAll(got, bytes)
	r.wantNoCopy(got)
}

// restore: the receiver is killed in mid-stream, and zctap nic restore puts the NIC
// in order.
func (r *engineRig) restore() {
	before := r.settings()
	r.doing(lab.Job{Steps: []lab.Step{script(r.killed()...)}, OnEvent: r.events(nil)})
	if r.settings() == before {
		r.Error("a killed receiver has left nothing to restore")
	}
	r.do(script("zctap nic restore"))
}
