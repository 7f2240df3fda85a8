//go:build linux

package nic

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// A Result is what became of one change that was to be undone.
type Result struct {
	Setting string  `json:"setting"`
	Process string  `json:"process"` // that made the change
	Outcome Outcome `json:"outcome"`
	Detail  string  `json:"detail,omitempty"` // for Foreign: what is there now; for Needed: by whom; for Vanished: what was before
	Err     error   `json:"-"`                // for Failed
	Error   string  `json:"error,omitempty"`  // its text

	journal *journal
}

// String returns such as "RSS table: restored".
func (r Result) String() string {
	s := r.Setting + ": " + string(r.Outcome)
	if r.Detail != "" {
		s += " (" + r.Detail + ")"
	}
	if r.Err != nil {
		s += ": " + r.Err.Error()
	}
	return s
}

// A Report is what became of the changes of an interface, in the order in which
// they were undone: the latest first.
type Report struct {
	Interface string   `json:"interface"`
	Index     int      `json:"index"`
	Results   []Result `json:"results"`
}

// String is one line for each result.
func (r Report) String() string {
	var b strings.Builder
	for _, one := range r.Results {
		fmt.Fprintf(&b, "%s: %v\n", r.Interface, one)
	}
	return b.String()
}

// split separates the journals of plans in force from those to be reverted.
func split(all []*journal) (live, dead []*journal) {
	for _, j := range all {
		if j.live {
			live = append(live, j)
		} else {
			dead = append(dead, j)
		}
	}
	return live, dead
}

// revert undoes the changes of dead journals, the latest first, but for what
// plans in force need. If one of a journal's changes can't be undone those before
// it wait, for they may be what it rests on; and so do earlier changes of the
// same setting by others. A queue that is still bound is given a while. A nil
// device is one that has gone. The caller has the interface's lock.
func revert(d device, live, dead []*journal, wait time.Duration) []Result {
	type job struct {
		j *journal
		r record
	}
	var jobs []job
	stuck := make(map[*journal]error)
	for _, j := range dead {
		pending := j.pending()
		for _, r := range pending {
			jobs = append(jobs, job{j, r})
		}
		if len(pending) > 0 && d != nil && j.header.Queue != noQueue && !queueOf(live, j.header.Queue) {
			stuck[j] = waitFree(d, j.header.Interface, j.header.Queue, wait)
		}
	}
	slices.SortStableFunc(jobs, func(a, b job) int {
		switch {
		case a.r.At != b.r.At:
			return int(max(-1, min(1, b.r.At-a.r.At)))
		case a.j == b.j:
			return b.r.Seq - a.r.Seq
		}
		return 0
	})
	waiting := make(map[string]bool)
	var results []Result
	for _, one := range jobs {
		c := one.r.Change.get()
		result := Result{Setting: c.key(), Process: one.j.header.who(), Outcome: Failed, journal: one.j}
		by := neededBy(live, c.key())
		switch err := stuck[one.j]; {
		case by != "":
			result.Outcome, result.Detail = Needed, by
		case err != nil:
			result.Err = err
		case waiting[c.key()]:
			result.Err = fmt.Errorf("a later change of it has to be undone first: %w", unix.EBUSY)
		default:
			result.Outcome, result.Detail, result.Err = undoOne(d, one.j, one.r)
		}
		if !result.Outcome.final() {
			waiting[c.key()] = true
		}
		if result.Outcome == Failed {
			result.Error = result.Err.Error()
			if stuck[one.j] == nil {
				stuck[one.j] = fmt.Errorf("%s has to be undone first: %w", c.key(), unix.EBUSY)
			}
		}
		results = append(results, result)
	}
	return results
}

// undoOne undoes one change and journals that.
func undoOne(d device, j *journal, r record) (o Outcome, detail string, err error) {
	gone := d == nil
	if !gone {
		driver, err := d.driver()
		gone = errors.Is(err, unix.ENODEV) || err == nil && driver != j.header.Driver
	}
	if gone {
		o = Vanished
	} else if o, detail, err = r.Change.get().undo(d); errors.Is(err, unix.ENODEV) {
		o, err = Vanished, nil
	}
	if before := r.Change.get().step(j.header.Interface).Before; o == Vanished && before != "" {
		detail = "was " + before
	}
	if o.final() {
		if err := j.done(r.Seq, o); err != nil {
			return Failed, detail, err
		}
	}
	return o, detail, err
}

func queueOf(live []*journal, queue int) bool {
	return slices.ContainsFunc(live, func(j *journal) bool { return j.header.Queue == queue })
}

// neededBy names a process whose plan needs a setting, or is "".
func neededBy(live []*journal, key string) string {
	for _, j := range live {
		if j.needs(key) {
			return j.header.who()
		}
	}
	return ""
}

// finish deletes the journals with nothing left in them, and lets go of the others.
func finish(dead []*journal) error {
	var errs []error
	for _, j := range dead {
		j.live = false
		if len(j.pending()) == 0 {
			errs = append(errs, j.out.remove())
		} else {
			errs = append(errs, j.out.release())
		}
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("nic: journal: %w", err)
	}
	return nil
}

// failures is the error of the results that failed.
func failures(iface string, results []Result) error {
	var errs []error
	for _, r := range results {
		if r.Outcome == Failed {
			errs = append(errs, fmt.Errorf("nic: %s: undoing %s: %w", iface, r.Setting, r.Err))
		}
	}
	return errors.Join(errs...)
}

// Undo puts the interface back: it reverts the changes of this plan, and those
// of ended processes that it had to keep. Call it when nothing is bound to the
// queue any more; it waits five seconds for that, and then fails with
// [QueueBusy] and changes nothing. If something can't be undone the plan stays in
// force as far as it was not, Undo may be called again, and once the process has
// ended [Restore] tries. After success it does nothing.
func (a *Applied) Undo() (Report, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	report := Report{Interface: a.iface, Index: a.at.index}
	if a.dev == nil {
		return report, nil
	}
	if a.queue != noQueue {
		if err := waitFree(a.dev, a.iface, a.queue, teardownTime); err != nil {
			return report, err
		}
	}
	unlock, err := a.st.lock(a.at)
	if err != nil {
		return report, err
	}
	defer unlock()
	all, err := a.st.list(a.at)
	live, dead := split(all)
	if err != nil {
		// What others left can't be read; ours we have.
		err = errors.Join(err, finish(dead))
		dead = nil
	}
	live = slices.DeleteFunc(live, a.owns)
	report.Results = revert(a.dev, live, append(dead, a.j), 0)
	ours := slices.DeleteFunc(slices.Clone(report.Results), func(r Result) bool { return r.journal != a.j })
	err = errors.Join(err, finish(dead))
	if failed := failures(a.iface, ours); failed != nil {
		return report, errors.Join(failed, err)
	}
	d := a.dev
	a.dev = nil
	clear(a.flows)
	return report, errors.Join(err, finish([]*journal{a.j}), d.close())
}

// owns reports whether j is the plan's own journal, as it was listed.
func (a *Applied) owns(j *journal) bool {
	if mine, ok := a.j.out.(*file); ok {
		return j.name == mine.name
	}
	return j == a.j
}
