//go:build linux

package nic

import (
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"
)

// RestoreOptions say what Restore is to look at. The zero value: every
// interface that there is a journal of.
type RestoreOptions struct {
	// JournalDir is that of [Want].
	JournalDir string
	// Interface, if set, is the only one looked at.
	Interface string
	// Unclaimed also deletes flow rules in the reserved range of locations that
	// no journal has. Interface must be set. They may be those of a process that
	// lives and could keep no journal: see [Applied.Volatile].
	Unclaimed bool
}

// Restore reverts what processes that have ended left changed on interfaces of
// the thread's network namespace. What plans in force need it leaves to those.
// It waits up to five seconds for a queue that is still being taken down. There
// is a report for each interface that there was something to do for; the error
// holds what failed, and without a directory of journals says why there is none.
func Restore(o RestoreOptions) ([]Report, error) {
	st, err := openStore(o.JournalDir)
	if err != nil {
		return nil, err
	}
	if o.Unclaimed && o.Interface == "" {
		return nil, fmt.Errorf("nic: restoring unclaimed rules needs an interface: %w", unix.EINVAL)
	}
	return restoreIn(st, o)
}

func restoreIn(st store, o RestoreOptions) ([]Report, error) {
	netns, err := namespace()
	if err != nil {
		return nil, fmt.Errorf("nic: %w", err)
	}
	indexes, err := st.places(netns)
	if err != nil {
		return nil, err
	}
	errs := []error{st.volatile()}
	if o.Interface != "" {
		// It may have gone, and still have journals.
		if only, err := indexOf(o.Interface); err == nil {
			indexes = []int{only}
		} else if o.Unclaimed || !IsObstacle(err, NoInterface) {
			return nil, err
		}
	}
	var reports []Report
	for _, index := range indexes {
		r, err := restoreAt(st, place{netns, index}, o)
		errs = append(errs, err)
		if len(r.Results) > 0 {
			reports = append(reports, r)
		}
	}
	return reports, errors.Join(errs...)
}

func indexOf(iface string) (int, error) {
	d, err := openDevice(iface)
	if err != nil {
		return 0, err
	}
	defer d.close()
	l, err := d.link()
	if err != nil {
		return 0, fmt.Errorf("nic: %s: %w", iface, err)
	}
	return l.Index, nil
}

// restoreAt restores one interface.
func restoreAt(st store, at place, o RestoreOptions) (Report, error) {
	report := Report{Index: at.index, Interface: o.Interface}
	unlock, err := st.lock(at)
	if err != nil {
		return report, err
	}
	defer unlock()
	all, listErr := st.list(at)
	live, dead := split(all)
	d, err := openIndex(at.index)
	if err == nil {
		defer d.close()
		if l, err := d.link(); err == nil {
			report.Interface = l.Interface
		}
		if o.Interface != "" && o.Interface != report.Interface {
			return report, finish(dead) // another one's
		}
	} else if !errors.Is(err, unix.ENODEV) {
		return report, errors.Join(err, listErr, finish(dead))
	} else {
		d = nil
	}
	if o.Interface != "" && d == nil {
		dead = slices.DeleteFunc(dead, func(j *journal) bool {
			return j.header.Interface != o.Interface && j.out.release() == nil
		})
	}
	if d == nil && len(dead) > 0 {
		report.Interface = dead[0].header.Interface
	}
	report.Results = revert(d, live, dead, teardownTime)
	err = errors.Join(failures(report.Interface, report.Results), listErr)
	if o.Unclaimed && d != nil {
		results, e := unclaimed(d, append(live, dead...))
		report.Results = append(report.Results, results...)
		err = errors.Join(err, e)
	}
	return report, errors.Join(err, finish(dead))
}

// unclaimed deletes the rules that look like ours, are where ours are, and that
// no journal has.
func unclaimed(d device, all []*journal) ([]Result, error) {
	t, err := d.rules()
	if errors.Is(err, unix.EOPNOTSUPP) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("nic: flow rules: %w", err)
	}
	var results []Result
	var errs []error
	from, to := t.Reserved()
	for _, r := range t.Rules {
		if !r.Exact || r.Location < from || r.Location >= to || t.DriverPlaces || claimed(all, r) {
			continue
		}
		result := Result{Setting: fmt.Sprintf("rule %d", r.Location), Outcome: Restored, Detail: "of no journal: " + r.String()}
		if err := d.deleteRule(r.Location); err != nil {
			result.Outcome, result.Err, result.Error = Failed, err, err.Error()
			errs = append(errs, fmt.Errorf("nic: deleting rule %d: %w", r.Location, err))
		}
		results = append(results, result)
	}
	return results, errors.Join(errs...)
}

func claimed(all []*journal, r Rule) bool {
	for _, j := range all {
		for _, one := range j.pending() {
			if one.Change.Rule != nil && one.Change.Rule.is(r) {
				return true
			}
		}
	}
	return false
}
