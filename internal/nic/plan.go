//go:build linux

package nic

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"golang.org/x/sys/unix"
)

// Step is a change that a plan makes, for people to read.
type Step struct {
	Setting string `json:"setting"`
	What    string `json:"what"` // what it is for
	Before  string `json:"before"`
	After   string `json:"after"`
	Command string `json:"command"` // the ethtool command that does the same, or its like
}

// Pending is what a process that has ended left changed, to be reverted first.
type Pending struct {
	Process string `json:"process"`
	Queue   int    `json:"queue"` // -1: the changes are not about one
	Changes int    `json:"changes"`
}

// A Plan is what has to be changed for a queue to be used. It has changed
// nothing. It holds sockets until it is applied or closed.
type Plan struct {
	Interface string    `json:"interface"`
	Index     int       `json:"index"`
	Driver    string    `json:"driver"`
	Queue     int       `json:"queue"`
	Steps     []Step    `json:"steps"`             // in the order in which they are made
	Kept      []string  `json:"kept,omitempty"`    // what is right already
	Pending   []Pending `json:"pending,omitempty"` // what has to be reverted before

	want    Want
	needs   []string
	changes []change
	matches []Match // of the rules among changes
	dev     device
	st      store
}

// NewPlan looks at an interface of the thread's network namespace and says what
// has to be changed. Nothing is changed yet. The error holds every obstacle there
// is ([PlanError]); a flow that is none is unix.EINVAL.
func NewPlan(iface string, want Want) (*Plan, error) {
	st, d, err := openWith(want.JournalDir, func() (device, error) { return openDevice(iface) })
	if err != nil {
		return nil, err
	}
	p, err := planOn(d, st, want)
	if err != nil {
		d.close()
		return nil, err
	}
	return p, nil
}

func planOn(d device, st store, want Want) (*Plan, error) {
	l, err := d.link()
	if err != nil {
		return nil, fmt.Errorf("nic: %w", err)
	}
	at := place{d.netns(), l.Index}
	unlock, err := st.lock(at)
	if err != nil {
		return nil, err
	}
	defer unlock()
	all, err := st.list(at)
	if err != nil {
		return nil, err
	}
	defer releaseDead(all)
	return makePlan(d, st, want, all)
}

// releaseDead lets go of the journals that were only looked at.
func releaseDead(all []*journal) {
	for _, j := range all {
		if f, ok := j.out.(*file); ok && !j.live {
			_ = f.release() // of a file that was only read
		}
	}
}

// makePlan plans with what is known of others' plans. The caller has the lock.
func makePlan(d device, st store, want Want, all []*journal) (*Plan, error) {
	matches, err := matchesOf(want.Flows)
	if err != nil {
		return nil, err
	}
	if want.ManualSteering {
		matches = nil
	}
	s, err := inspect(d)
	if err != nil {
		return nil, fmt.Errorf("nic: %w", err)
	}
	b := &builder{
		s: s, want: want, matches: matches,
		plan: &Plan{
			Interface: s.Interface, Index: s.Index, Driver: s.Driver, Queue: -1,
			want: want, matches: matches, dev: d, st: st,
		},
	}
	for _, j := range all {
		if j.live {
			b.live = append(b.live, j)
		} else if n := len(j.pending()); n > 0 {
			b.dead = append(b.dead, j)
			b.plan.Pending = append(b.plan.Pending, Pending{j.header.who(), j.header.Queue, n})
		}
	}
	b.build()
	if len(b.obstacles) > 0 {
		return nil, &PlanError{b.obstacles}
	}
	for _, c := range b.plan.changes {
		b.plan.Steps = append(b.plan.Steps, c.get().step(s.Interface))
	}
	return b.plan, nil
}

// Close lets go of a plan that is not going to be applied.
func (p *Plan) Close() error {
	if p.dev == nil {
		return nil
	}
	d := p.dev
	p.dev = nil
	return d.close()
}

// String is the plan as a table, for a terminal.
func (p *Plan) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s (driver %s): receive queue %d\n", p.Interface, p.Driver, p.Queue)
	for _, d := range p.Pending {
		queue := ""
		if d.Queue != noQueue {
			queue = fmt.Sprintf(" for queue %d", d.Queue)
		}
		fmt.Fprintf(&b, "first, %d changes that %s left%s are reverted\n", d.Changes, d.Process, queue)
	}
	for _, k := range p.Kept {
		fmt.Fprintf(&b, "as it should be: %s\n", k)
	}
	if len(p.Steps) == 0 {
		b.WriteString("nothing has to be changed\n")
		return b.String()
	}
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "#\tsetting\tbefore\tafter\tby hand\n")
	for i, s := range p.Steps {
		fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%s\n", i+1, s.Setting, s.Before, s.After, s.Command)
	}
	w.Flush() // to memory
	return b.String()
}

// MarshalJSON is the plan's exported fields, with a list where there is none.
func (p *Plan) MarshalJSON() ([]byte, error) {
	type plain Plan
	q := plain(*p)
	if q.Steps == nil {
		q.Steps = []Step{}
	}
	return json.Marshal(q)
}

// mayChange reports whether the thread has CAP_NET_ADMIN. Where the namespace
// belongs to another user namespace that is not enough; the kernel will say so.
var mayChange = func() bool {
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&hdr, &data[0]); err != nil {
		return false
	}
	return data[0].Effective&(1<<unix.CAP_NET_ADMIN) != 0
}

// newHeader is that of a journal of this process.
func (p *Plan) newHeader() (header, error) {
	boot, err := bootID()
	if err != nil {
		return header{}, err
	}
	start, err := startTime(os.Getpid())
	if err != nil {
		return header{}, err
	}
	return header{
		Version: journalVersion, Interface: p.Interface, Index: p.Index, Driver: p.Driver,
		NetNS: p.dev.netns(), Boot: boot, PID: os.Getpid(), Start: start,
		Command: filepath.Base(os.Args[0]), Queue: p.Queue,
		Needs: slices.Clone(p.needs), Created: time.Now().UTC(),
	}, nil
}
