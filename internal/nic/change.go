//go:build linux

package nic

import (
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"
)

// Outcome is what became of a change when it was to be undone.
type Outcome string

// The outcomes. After all but the last two the change is done with.
const (
	Restored  Outcome = "restored"
	Unchanged Outcome = "unchanged" // it was as before already, or never changed
	Vanished  Outcome = "vanished"  // with the interface, which may be set so yet in another network namespace
	Foreign   Outcome = "foreign"   // somebody else changed it meanwhile: left
	Needed    Outcome = "needed"    // a process that lives still needs it: left to that
	Failed    Outcome = "failed"    // to be tried again
)

// final reports whether there is nothing left to do.
func (o Outcome) final() bool { return o != Needed && o != Failed }

// A reversible is one change of a device's settings, and how it is undone.
type reversible interface {
	// key names the setting. Of two changes with one key, the later one has to
	// be undone first.
	key() string
	// refresh brings the change up to date with the device, just before it is
	// journaled and made.
	refresh(device) error
	// do makes the change. For what the kernel gives a number, it is the number.
	do(device) (number *uint32, err error)
	// undo puts back what was before, if things are as do left them, whether do
	// was called or not. The detail says what was found instead.
	undo(device) (o Outcome, detail string, err error)
	step(iface string) Step
}

// change is a reversible as it is written to a journal: one of its fields is set.
type change struct {
	Channels *channelsChange `json:"channels,omitempty"`
	Rings    *ringsChange    `json:"rings,omitempty"`
	Feature  *featureChange  `json:"feature,omitempty"`
	RSS      *rssChange      `json:"rss,omitempty"`
	Context  *contextChange  `json:"context,omitempty"`
	Rule     *ruleChange     `json:"rule,omitempty"`
}

// get returns the one that is set, or nil.
func (c change) get() reversible {
	switch {
	case c.Channels != nil:
		return c.Channels
	case c.Rings != nil:
		return c.Rings
	case c.Feature != nil:
		return c.Feature
	case c.RSS != nil:
		return c.RSS
	case c.Context != nil:
		return c.Context
	case c.Rule != nil:
		return c.Rule
	}
	return nil
}

// setNumber notes the number that do returned.
func (c change) setNumber(n uint32) {
	switch {
	case c.Context != nil:
		c.Context.Created = &n
	case c.Rule != nil:
		c.Rule.Rule.Location = n
	}
}

// A value is a setting that is read and written as a whole.
type value[T fmt.Stringer] struct {
	get   func() (T, error)
	set   func(T) error
	equal func(a, b T) bool
	// ours reports whether now is between before and after, for a value of several
	// parts. Nil: it is after.
	ours func(now, before, after T) bool
}

// undo puts before back where after is.
func (v value[T]) undo(before, after T) (Outcome, string, error) {
	now, err := v.get()
	switch {
	case err != nil:
		return Failed, "", err
	case v.equal(now, before):
		return Unchanged, "", nil
	case v.equal(now, after), v.ours != nil && v.ours(now, before, after):
	default:
		return Foreign, now.String(), nil
	}
	if err := v.set(before); err != nil {
		return Failed, "", err
	}
	if now, err = v.get(); err == nil && !v.equal(now, before) {
		err = fmt.Errorf("the driver took it, but it reads %v: %w", now, unix.EIO)
	}
	if err != nil {
		return Failed, "", err
	}
	return Restored, "", nil
}

// Keys of settings that a plan needs, whether it has to change them or not.
const (
	keyChannels = "channels"
	keyRings    = "rings"
	keyRSS      = "rss"
)

func keyFeature(name string) string { return "feature " + name }

// channelsChange sets the numbers of channels.
type channelsChange struct{ Before, After Channels }

func (c *channelsChange) key() string          { return keyChannels }
func (c *channelsChange) refresh(device) error { return nil }

func (c *channelsChange) value(d device) value[Channels] {
	return value[Channels]{get: d.channels, set: d.setChannels, equal: func(a, b Channels) bool {
		return a.RX == b.RX && a.TX == b.TX && a.Combined == b.Combined
	}}
}

func (c *channelsChange) do(d device) (*uint32, error) { return nil, d.setChannels(c.After) }

// undo looks at the RSS table, too: with a device that holds it (gve with
// RSS_CONFIG) the driver leaves it as it is, and it may use queues that have gone.
// Nothing but the default table can be set then.
func (c *channelsChange) undo(d device) (Outcome, string, error) {
	o, detail, err := c.value(d).undo(c.Before, c.After)
	if o != Restored {
		return o, detail, err
	}
	if r, e := d.rss(); e == nil && int(slices.Max(r.Indir)) >= c.Before.RXQueues() {
		if err := d.resetRSS(); err != nil {
			return Failed, "", err
		}
	}
	return o, detail, nil
}

func (c *channelsChange) step(iface string) Step {
	return Step{
		Setting: c.key(), What: "a second receive queue",
		Before: c.Before.String(), After: c.After.String(),
		Command: "ethtool -L " + iface + " " + c.After.String(),
	}
}

// ringsChange turns the header/data split on, for packets of every size. It may
// be from on to on: the kernel lets a queue go only if the split was asked for,
// and a driver may report one that is on by its own choice.
type ringsChange struct{ Before, After Rings }

func (c *ringsChange) key() string          { return keyRings }
func (c *ringsChange) refresh(device) error { return nil }

func (c *ringsChange) value(d device) value[Rings] {
	return value[Rings]{
		get: d.rings, set: d.setRings,
		equal: func(a, b Rings) bool { return a.DataSplit == b.DataSplit && thresh(a) == thresh(b) },
		ours: func(now, before, after Rings) bool {
			return (now.DataSplit == before.DataSplit || now.DataSplit == after.DataSplit) &&
				(thresh(now) == thresh(before) || thresh(now) == thresh(after))
		},
	}
}

func thresh(r Rings) uint32 {
	if r.HDSThresh == nil {
		return 0
	}
	return *r.HDSThresh
}

func (c *ringsChange) do(d device) (*uint32, error) { return nil, d.setRings(c.After) }

func (c *ringsChange) undo(d device) (Outcome, string, error) {
	return c.value(d).undo(c.Before, c.After)
}

func (c *ringsChange) step(iface string) Step {
	s := Step{
		Setting: "header/data split", What: "payload into buffers of its own, for packets of every size",
		Before: c.Before.String(), After: c.After.String(),
		Command: "ethtool -G " + iface + " tcp-data-split " + c.After.DataSplit.String(),
	}
	if c.After.HDSThresh != nil {
		s.Command += fmt.Sprintf(" hds-thresh %d", *c.After.HDSThresh)
	}
	if c.Before.splitsAll() {
		s.What = "asked for, rather than by the driver's choice"
	}
	return s
}

// featureChange turns a feature on, or is that somebody else turns it off ([Keep]).
type featureChange struct {
	Name          string
	Before, After bool
	// Wanted: Before and After are what the administrator wants, which the driver
	// may not be able to do at the moment, and not what is active.
	Wanted bool `json:",omitempty"`
}

func (c *featureChange) key() string          { return keyFeature(c.Name) }
func (c *featureChange) refresh(device) error { return nil }

type onOff bool

func (b onOff) String() string {
	if b {
		return "on"
	}
	return "off"
}

func (c *featureChange) value(d device) value[onOff] {
	return value[onOff]{
		get: func() (onOff, error) {
			all, err := d.features()
			if c.Wanted {
				return onOff(all[c.Name].Wanted), err
			}
			return onOff(all[c.Name].Active), err
		},
		set:   func(on onOff) error { return d.setFeature(c.Name, bool(on)) },
		equal: func(a, b onOff) bool { return a == b },
	}
}

func (c *featureChange) do(d device) (*uint32, error) {
	if err := d.setFeature(c.Name, c.After); err != nil {
		return nil, err
	}
	return nil, c.check(d)
}

// undo leaves flow rules on while there are any: they are other people's, for
// ours have been deleted by now, and drivers drop the rules with the feature.
func (c *featureChange) undo(d device) (Outcome, string, error) {
	if c.Name == FeatureRules && !c.Before {
		if t, err := d.rules(); err == nil && len(t.Rules) > 0 {
			return Foreign, fmt.Sprintf("%d flow rules of others need it", len(t.Rules)), nil
		}
	}
	return c.value(d).undo(onOff(c.Before), onOff(c.After))
}

// check reports whether the feature is as do leaves it: the error says that it is not.
func (c *featureChange) check(d device) error {
	now, err := c.value(d).get()
	if err == nil && now != onOff(c.After) {
		err = fmt.Errorf("%v, not %v: %w", now, onOff(c.After), unix.ESTALE)
	}
	return err
}

func (c *featureChange) step(iface string) Step {
	name := c.Name
	if name == FeatureRules {
		name = "ntuple"
	}
	return Step{
		Setting: c.key(), What: map[string]string{
			FeatureRules: "flow rules", FeatureHWGRO: "hardware GRO, which the data split needs",
		}[c.Name],
		Before: onOff(c.Before).String(), After: onOff(c.After).String(),
		Command: fmt.Sprintf("ethtool -K %s %s %v", iface, name, onOff(c.After)),
	}
}

// rssChange takes a queue out of the interface's RSS table.
type rssChange struct {
	Queue   int
	Queues  int // receive queues of the interface
	Before  []uint32
	After   []uint32
	Key     []byte // as it was; it is not changed
	Default bool   // Before is the default table
}

// newRSSChange takes queue out of a table of an interface with so many queues. A
// table with queues that there are not, which a driver may have kept from when
// there were, cannot be set again: in its place comes the default one.
func newRSSChange(r RSS, queue, queues int) *rssChange {
	return &rssChange{
		Queue: queue, Queues: queues, Before: r.Indir, After: without(r.Indir, queue, queues), Key: r.Key,
		Default: slices.Equal(r.Indir, spread(len(r.Indir), queues)) || int(slices.Max(r.Indir)) >= queues,
	}
}

func (c *rssChange) key() string { return keyRSS }

// refresh reads the table again: a change of channels may have made it anew.
func (c *rssChange) refresh(d device) error {
	r, err := d.rss()
	if err == nil {
		*c = *newRSSChange(r, c.Queue, c.Queues)
	}
	return err
}

func (c *rssChange) do(d device) (*uint32, error) {
	if slices.Equal(c.Before, c.After) { // since refresh
		return nil, nil
	}
	return nil, d.setRSS(c.After, nil)
}

func (c *rssChange) undo(d device) (Outcome, string, error) {
	now, err := d.rss()
	switch {
	case err != nil:
		return Failed, "", err
	case slices.Equal(now.Indir, c.Before):
		return Unchanged, "", nil
	case !slices.Equal(now.Indir, c.After):
		return Foreign, describeTable(now.Indir), nil
	}
	if err := c.putBack(d); err != nil {
		return Failed, "", err
	}
	return Restored, "", nil
}

// putBack restores a default table as such, so that the kernel goes on to keep
// it fitted to the number of channels, and writes down any other.
func (c *rssChange) putBack(d device) error {
	if c.Default {
		if err := d.resetRSS(); err != nil && !errors.Is(err, unix.EOPNOTSUPP) && !errors.Is(err, unix.EINVAL) {
			return err
		}
		if now, err := d.rss(); err == nil && c.isDefault(d, now.Indir) && slices.Equal(now.Key, c.Key) {
			return nil
		}
	}
	now, err := d.rss()
	if err != nil {
		return err
	}
	key := c.Key
	if slices.Equal(now.Key, key) || len(now.Key) != len(key) {
		key = nil // as it was
	}
	if err := d.setRSS(c.Before, key); err != nil {
		return err
	}
	if now, err = d.rss(); err == nil && !slices.Equal(now.Indir, c.Before) {
		err = fmt.Errorf("the driver took it, but it reads %s: %w", describeTable(now.Indir), unix.EIO)
	}
	return err
}

// isDefault reports whether a table is the default one that Before was, or that
// of as many queues as there are by now.
func (c *rssChange) isDefault(d device, table []uint32) bool {
	if slices.Equal(table, c.Before) {
		return true
	}
	now, err := d.channels()
	return err == nil && now.RXQueues() > 0 && slices.Equal(table, spread(len(table), now.RXQueues()))
}

// check reports whether the queue is out of the table.
func (c *rssChange) check(d device) error {
	r, err := d.rss()
	if err == nil && r.Uses(c.Queue) {
		err = fmt.Errorf("%s, which uses queue %d: %w", describeTable(r.Indir), c.Queue, unix.ESTALE)
	}
	return err
}

func (c *rssChange) step(iface string) Step {
	return Step{
		Setting: "RSS table", What: fmt.Sprintf("queue %d gets no packets but by rule", c.Queue),
		Before: describeTable(c.Before), After: describeTable(c.After),
		Command: "ethtool -X " + iface + " " + describeTable(c.After),
	}
}
