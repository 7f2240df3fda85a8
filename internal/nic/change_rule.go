//go:build linux

package nic

import (
	"fmt"
	"slices"

	"golang.org/x/sys/unix"
)

// Contexts, and rules where it is the driver that places them, get their number
// only when they are there. A process that is killed in between has journaled
// which there were before: what is new since, and just as it would be, is its.

// contextChange creates an RSS context that holds one queue.
type contextChange struct {
	Queue    int
	Entries  int      // of its table
	Existing []uint32 // the contexts that there were
	Created  *uint32  `json:",omitempty"`
}

func (c *contextChange) key() string {
	if c.Created == nil {
		return fmt.Sprintf("context for queue %d", c.Queue)
	}
	return fmt.Sprintf("context %d", *c.Created)
}

func (c *contextChange) table() []uint32 {
	table := make([]uint32, min(max(c.Entries, 0), maxIndir))
	for i := range table {
		table[i] = uint32(c.Queue)
	}
	return table
}

func (c *contextChange) refresh(d device) error {
	list, err := d.contexts()
	if err != nil {
		return err
	}
	c.Existing = nil
	for _, r := range list {
		c.Existing = append(c.Existing, r.Context)
	}
	r, err := d.rss()
	c.Entries = len(r.Indir)
	return err
}

func (c *contextChange) do(d device) (*uint32, error) {
	id, err := d.createContext(c.table())
	if err != nil {
		return nil, err
	}
	return &id, nil
}

// ours finds the context.
func (c *contextChange) ours(d device) (r RSS, found bool, err error) {
	list, err := d.contexts()
	for _, r := range list {
		if c.is(r) {
			return r, true, err
		}
	}
	return RSS{}, false, err
}

// is reports whether r is the context that was created.
func (c *contextChange) is(r RSS) bool {
	if c.Created != nil {
		return r.Context == *c.Created
	}
	return !slices.Contains(c.Existing, r.Context) && slices.Equal(r.Indir, c.table())
}

func (c *contextChange) undo(d device) (Outcome, string, error) {
	r, found, err := c.ours(d)
	switch {
	case err != nil:
		return Failed, "", err
	case !found:
		return Unchanged, "", nil
	case !allEqual(r.Indir, uint32(c.Queue)):
		return Foreign, "its table is " + describeTable(r.Indir), nil
	}
	if err := d.deleteContext(r.Context); err != nil {
		return Failed, "", err
	}
	return Restored, "", nil
}

func allEqual(table []uint32, v uint32) bool {
	return !slices.ContainsFunc(table, func(one uint32) bool { return one != v })
}

// check reports whether the context is there, as it was made.
func (c *contextChange) check(d device) error {
	r, found, err := c.ours(d)
	if err == nil && (!found || !allEqual(r.Indir, uint32(c.Queue))) {
		err = fmt.Errorf("it is gone or changed: %w", unix.ESTALE)
	}
	return err
}

func (c *contextChange) step(iface string) Step {
	return Step{
		Setting: "RSS context", What: "for flow rules to send to", Before: "none",
		After:   fmt.Sprintf("queue %d alone", c.Queue),
		Command: fmt.Sprintf("ethtool -X %s context new start %d equal 1", iface, c.Queue),
	}
}

// newContext stands in a plan for the number of a context that is to be created.
const newContext = rxfhContextAlloc

// ruleChange inserts a flow rule.
type ruleChange struct {
	Rule     Rule     // with anyLocation as long as the driver has not placed it
	Existing []uint32 `json:",omitempty"` // if so, the locations of the rules that there were
}

func newRuleChange(m Match, queue int, context *uint32) *ruleChange {
	r := Rule{Location: anyLocation, Match: m, Exact: true, Queue: queue, Context: context}
	if context != nil {
		r.Queue = 0 // is added to the context's
	}
	return &ruleChange{Rule: r}
}

func (c *ruleChange) key() string {
	if c.Rule.Location == anyLocation {
		return "rule " + c.Rule.Match.String()
	}
	return fmt.Sprintf("rule %d", c.Rule.Location)
}

// refresh chooses the location, and makes sure that the rule is in nobody's way.
func (c *ruleChange) refresh(d device) error {
	t, err := d.rules()
	if err != nil {
		return err
	}
	for _, r := range t.Rules {
		if r.Exact && r.Match.overlaps(c.Rule.Match) {
			return fmt.Errorf("rule %d sends %v already: %w", r.Location, r, unix.EEXIST)
		}
		c.Existing = append(c.Existing, r.Location)
	}
	location, ok := t.place()
	if !ok {
		from, to := t.Reserved()
		return fmt.Errorf("locations %d to %d are taken: %w", from, int64(to)-1, unix.ENOSPC)
	}
	c.Rule.Location = location
	if location != anyLocation {
		c.Existing = nil
	}
	return nil
}

func (c *ruleChange) do(d device) (*uint32, error) {
	location, err := d.insertRule(c.Rule)
	if err != nil {
		return nil, err
	}
	return &location, nil
}

// ours finds the rule, or what is in its place.
func (c *ruleChange) ours(d device) (r Rule, found bool, err error) {
	t, err := d.rules()
	if c.Rule.Location != anyLocation {
		r, found = t.at(c.Rule.Location)
		return r, found, err
	}
	for _, r := range t.Rules {
		if c.is(r) {
			return r, true, err
		}
	}
	return Rule{}, false, err
}

// is reports whether r is the rule that was inserted.
func (c *ruleChange) is(r Rule) bool {
	if c.Rule.Location != anyLocation {
		return r.Location == c.Rule.Location && r.same(c.Rule)
	}
	return r.same(c.Rule) && !slices.Contains(c.Existing, r.Location)
}

func (c *ruleChange) undo(d device) (Outcome, string, error) {
	r, found, err := c.ours(d)
	switch {
	case err != nil:
		return Failed, "", err
	case !found:
		return Unchanged, "", nil
	case !r.same(c.Rule):
		return Foreign, r.String(), nil
	}
	if err := d.deleteRule(r.Location); err != nil {
		return Failed, "", err
	}
	return Restored, "", nil
}

// check reports whether the rule is there, as it was made.
func (c *ruleChange) check(d device) error {
	r, found, err := c.ours(d)
	switch {
	case err != nil:
		return err
	case !found:
		return fmt.Errorf("it is gone: %w", unix.ESTALE)
	case !r.same(c.Rule):
		return fmt.Errorf("%v instead: %w", r, unix.ESTALE)
	}
	return nil
}

const stepRule = "flow rule"

func (c *ruleChange) step(iface string) Step {
	m := c.Rule.Match
	version := 4
	if m.IPv6 {
		version = 6
	}
	command := fmt.Sprintf("ethtool -N %s flow-type %v%d", iface, m.Proto, version)
	if m.Addr.IsValid() {
		command += " dst-ip " + m.Addr.String()
	}
	command += fmt.Sprintf(" dst-port %d", m.Port)
	to := fmt.Sprintf("queue %d", c.Rule.Queue)
	switch {
	case c.Rule.Context == nil:
		command += fmt.Sprintf(" action %d", c.Rule.Queue)
	case *c.Rule.Context == newContext:
		to = "the new context"
		command += " context NEW"
	default:
		to = fmt.Sprintf("context %d", *c.Rule.Context)
		command += " " + to
	}
	if c.Rule.Location != anyLocation {
		command += fmt.Sprintf(" loc %d", c.Rule.Location)
	}
	return Step{Setting: stepRule, What: m.String(), Before: "none", After: "to " + to, Command: command}
}
