//go:build linux

package nic

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// A journal holds what one applied plan has changed, and what it relies on. It
// is a header and then a line for each event, in JSON; a line counts from its
// newline on, so that one whose writing was cut short does not. A change is
// journaled, and in the file for good, before it is made: what the journal does
// not have was not changed.
type journal struct {
	header  header
	records []record
	live    bool // the process that wrote it is alive and has not undone it

	name string // of its file
	out  sink   // nil for those that live elsewhere
	size int    // bytes in out
}

// sink is where a journal's lines go.
type sink interface {
	// append adds bytes, so that they outlive this process.
	append([]byte) error
	// replace puts new contents in place of everything, at once.
	replace([]byte) error
	// release lets go of the journal, so that it is dead.
	release() error
	// remove deletes the journal, and releases it.
	remove() error
}

const journalVersion = 1

// header says whose the journal is, and of what.
type header struct {
	Version   int       `json:"version"`
	Interface string    `json:"interface"`
	Index     int       `json:"index"`
	Driver    string    `json:"driver"`
	NetNS     uint64    `json:"netns"` // SO_NETNS_COOKIE
	Boot      string    `json:"boot"`  // boot_id
	PID       int       `json:"pid"`
	Start     uint64    `json:"start"` // of the process, in ticks after boot
	Command   string    `json:"command"`
	Queue     int       `json:"queue"` // or noQueue
	Needs     []string  `json:"needs"` // keys of settings relied on, changed or not
	Created   time.Time `json:"created"`
}

// who names the process.
func (h header) who() string { return fmt.Sprintf("process %d (%s)", h.PID, h.Command) }

// record is one change.
type record struct {
	Seq    int    `json:"seq"`
	At     int64  `json:"at"` // ns of CLOCK_BOOTTIME: orders the records of several journals
	Change change `json:"change"`

	outcome Outcome // what became of it, or "" as long as it is in force
}

// line is one line of a journal: one of its fields is set.
type line struct {
	Header *header `json:"header,omitempty"`
	Record *record `json:"record,omitempty"`
	Number *number `json:"number,omitempty"`
	Undone *undone `json:"undone,omitempty"`
}

// number is what the kernel gave a change that has been made.
type number struct {
	Seq int    `json:"seq"`
	N   uint32 `json:"n"`
}

type undone struct {
	Seq     int     `json:"seq"`
	Outcome Outcome `json:"outcome"`
}

// errCorrupt is a journal that cannot be understood: it is left to a human.
var errCorrupt = errors.New("not a journal, or one of another version")

// parseJournal reads a journal's contents. whole is how many bytes count: a
// last line without its end does not.
func parseJournal(b []byte) (j *journal, whole int, err error) {
	j = new(journal)
	for {
		text, rest, ok := bytes.Cut(b[whole:], []byte("\n"))
		if !ok {
			return j, whole, nil
		}
		var l line
		if err := json.Unmarshal(text, &l); err != nil {
			return nil, 0, fmt.Errorf("%w: %w", errCorrupt, err)
		}
		if err := j.take(l); err != nil {
			return nil, 0, err
		}
		whole = len(b) - len(rest)
	}
}

// take adds an event.
func (j *journal) take(l line) error {
	switch {
	case l.Header != nil && j.header.Version == 0 && l.Header.Version == journalVersion:
		j.header = *l.Header
		return nil
	case j.header.Version == 0:
	case l.Record != nil && l.Record.Change.get() != nil:
		j.records = append(j.records, *l.Record)
		return nil
	case l.Number != nil:
		if r := j.record(l.Number.Seq); r != nil {
			r.Change.setNumber(l.Number.N)
			return nil
		}
	case l.Undone != nil:
		if r := j.record(l.Undone.Seq); r != nil && l.Undone.Outcome.final() {
			r.outcome = l.Undone.Outcome
			return nil
		}
	}
	return errCorrupt
}

func (j *journal) record(seq int) *record {
	i := slices.IndexFunc(j.records, func(r record) bool { return r.Seq == seq })
	if i < 0 {
		return nil
	}
	return &j.records[i]
}

// write appends an event, and only then takes it.
func (j *journal) write(l line) error {
	b, err := json.Marshal(l)
	if err == nil {
		err = j.out.append(append(b, '\n'))
	}
	if err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	j.size += len(b) + 1
	return j.take(l)
}

// add journals a change that is about to be made, and returns its number.
func (j *journal) add(c change) (seq int, err error) {
	seq = 1
	if n := len(j.records); n > 0 {
		seq = j.records[n-1].Seq + 1
	}
	return seq, j.write(line{Record: &record{Seq: seq, At: bootTime(), Change: c}})
}

// setNumber journals the number of what was created.
func (j *journal) setNumber(seq int, n uint32) error {
	return j.write(line{Number: &number{seq, n}})
}

// done journals what became of a change.
func (j *journal) done(seq int, o Outcome) error {
	if err := j.write(line{Undone: &undone{seq, o}}); err != nil {
		return err
	}
	return j.compact()
}

// compactAt is the size from which a journal is written anew without what is
// done with: flows come and go for as long as the process lives.
const compactAt = 64 << 10

func (j *journal) compact() error {
	if j.size < compactAt || len(j.pending()) > len(j.records)/2 {
		return nil
	}
	small := &journal{header: j.header, records: j.pending()}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	err := enc.Encode(line{Header: &small.header})
	for i := range small.records {
		err = errors.Join(err, enc.Encode(line{Record: &small.records[i]}))
	}
	if err == nil {
		err = j.out.replace(b.Bytes())
	}
	if err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	j.records, j.size = small.records, b.Len()
	return nil
}

// pending are the changes in force.
func (j *journal) pending() []record {
	return slices.DeleteFunc(slices.Clone(j.records), func(r record) bool { return r.outcome != "" })
}

// needs reports whether the journal's owner relies on a setting.
func (j *journal) needs(key string) bool { return slices.Contains(j.header.Needs, key) }

// bootTime is CLOCK_BOOTTIME, which is one clock for all processes.
func bootTime() int64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		return 0 // a clock that every kernel has
	}
	return ts.Nano()
}
