//go:build linux

package nic

import (
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"
)

// builder puts a plan together, from an interface's state and what others do there.
type builder struct {
	s       *State
	want    Want
	matches []Match
	live    []*journal // of plans in force
	dead    []*journal // of processes that have ended, to be reverted first

	plan      *Plan
	queues    int // receive queues there will be
	obstacles []*ObstacleError
}

// build goes through the settings in the order in which they have to be changed,
// but for what can't be there at all, which is named first.
func (b *builder) build() {
	b.dataSplitOffered()
	b.channels()
	b.queue()
	b.moment()
	if b.plan.Queue < 1 {
		return // the rest is about the queue
	}
	b.dataSplit()
	if !b.want.ManualSteering {
		b.rss()
		b.steering()
	}
}

func (b *builder) obstacle(o Obstacle, queue int, err error, remedy, format string, args ...any) {
	b.obstacles = append(b.obstacles, &ObstacleError{
		Interface: b.s.Interface, Queue: queue, Obstacle: o, Err: err,
		Detail: fmt.Sprintf(format, args...), Remedy: remedy,
	})
}

// driver names the driver; lo, for one, has none.
func (b *builder) driver() string {
	if b.s.Driver == "" {
		return "its driver"
	}
	return "driver " + b.s.Driver
}

// change adds a change of a setting that the plan relies on.
func (b *builder) change(c change) {
	b.plan.changes = append(b.plan.changes, c)
	if c.Rule == nil && c.Context == nil { // those are nobody else's
		b.need(c.get().key())
	}
}

// keep notes a setting that is right, and that the plan relies on.
func (b *builder) keep(key, format string, args ...any) {
	b.plan.Kept = append(b.plan.Kept, fmt.Sprintf(format, args...))
	b.need(key)
}

func (b *builder) need(key string) {
	if !slices.Contains(b.plan.needs, key) {
		b.plan.needs = append(b.plan.needs, key)
	}
}

// needed reports whether another plan in force relies on a setting.
func (b *builder) needed(key string) bool {
	return slices.ContainsFunc(b.live, func(j *journal) bool { return j.needs(key) })
}

// unreadable notes an error that is not that a driver lacks something.
func (b *builder) unreadable(part string) bool {
	err := b.s.errs[part]
	if err == nil || errors.Is(err, unix.EOPNOTSUPP) {
		return false
	}
	b.obstacle(Unreadable, -1, err, "", "its %s can't be read: %v", part, err)
	return true
}

// capable are the drivers that are known to work, for those who have another.
const capable = "use a NIC whose driver has it: gve (DQO-RDA with header split), bnxt_en, mlx5_core, fbnic"

func (b *builder) dataSplitOffered() {
	switch r := b.s.Rings; {
	case b.unreadable("rings"):
	case r == nil:
		b.obstacle(NoDataSplit, -1, b.s.errs["rings"], capable,
			"%s has no ring settings, so no header/data split", b.driver())
	case r.DataSplit == SplitUnknown:
		b.obstacle(NoDataSplit, -1, unix.EOPNOTSUPP, capable,
			"%s offers no header/data split (tcp-data-split)", b.driver())
	}
}

// channels makes sure that there is a queue beside queue 0.
func (b *builder) channels() {
	if b.unreadable("channels") {
		return
	}
	b.queues = b.s.rxQueues()
	if b.queues >= 2 {
		b.keep(keyChannels, "%d receive queues", b.queues)
		return
	}
	c := b.s.Channels
	if c == nil || c.CombinedMax+c.RXMax < 2 {
		b.obstacle(OneChannel, -1, unix.ERANGE, "give the NIC more queues, where it is configured",
			"it has one receive queue and %s allows no more; queue 0 must stay the kernel's", b.driver())
		return
	}
	after := *c
	if c.CombinedMax >= 2 {
		after.Combined, after.RX = 2, 0
	} else {
		after.RX = 2 - after.Combined
	}
	b.change(change{Channels: &channelsChange{Before: *c, After: after}})
	b.queues = 2
}

// queue chooses the queue, or checks the one that is asked for.
func (b *builder) queue() {
	q := b.want.Queue
	switch {
	case b.queues < 2:
	case q == AnyQueue:
		for id := b.queues - 1; id > 0; id-- {
			if b.taken(id) == nil {
				b.plan.Queue = id
				return
			}
		}
		b.obstacles = append(b.obstacles, b.taken(b.queues-1))
	case q == 0:
		b.obstacle(QueueZero, 0, unix.ERANGE, b.useAnother(),
			"the kernel keeps queue 0 for itself")
	case q < 0 || q >= b.queues:
		b.obstacle(QueueRange, -1, unix.ERANGE, b.useAnother()+", or ethtool -L for more",
			"there is no receive queue %d: it has %d, from 0", q, b.queues)
	default:
		b.plan.Queue = q
		if o := b.taken(q); o != nil {
			b.obstacles = append(b.obstacles, o)
		}
	}
}

// useAnother names the queues that there are to use.
func (b *builder) useAnother() string {
	if b.queues == 2 {
		return "use queue 1"
	}
	return fmt.Sprintf("use one of 1 to %d", b.queues-1)
}

// taken says who uses a queue, or is nil.
func (b *builder) taken(queue int) *ObstacleError {
	for _, j := range b.live {
		if j.header.Queue == queue {
			return &ObstacleError{
				Interface: b.s.Interface, Queue: queue, Obstacle: QueueBusy, Err: unix.EBUSY,
				Detail: j.header.who() + " has prepared it for itself",
				Remedy: "use another queue, or end that",
			}
		}
	}
	if q := b.s.queue(queue); q.Busy() != "" {
		return busyObstacle(b.s.Interface, q)
	}
	return nil
}

// moment looks at what stands in the way now and may not tomorrow.
func (b *builder) moment() {
	if b.s.XDPAttached {
		b.obstacle(XDPAttached, -1, unix.EEXIST, "take it off: ip link set dev "+b.s.Interface+" xdp off",
			"XDP program %d is attached, and the kernel gives no queue away beside one", b.s.XDPProgram)
	}
	if !b.s.Up {
		b.obstacle(InterfaceDown, -1, unix.ENETDOWN, "ip link set dev "+b.s.Interface+" up", "it is down")
	}
	if !b.want.DryRun && !mayChange() {
		b.obstacle(NoPermission, -1, unix.EPERM, remedyPermission, "changing its settings needs CAP_NET_ADMIN")
	}
}

func (b *builder) dataSplit() {
	r := b.s.Rings
	if r == nil || r.DataSplit == SplitUnknown {
		return // noted
	}
	if b.s.Driver == "mlx5_core" {
		b.hardwareGRO()
	}
	after := *r
	after.DataSplit = SplitOn
	if r.HDSThresh != nil {
		after.HDSThresh = new(uint32)
	}
	if r.splitsAll() && b.needed(keyRings) {
		b.keep(keyRings, "%v", *r)
		return
	}
	b.change(change{Rings: &ringsChange{Before: *r, After: after}})
}

// hardwareGRO turns on what mlx5 splits headers by.
func (b *builder) hardwareGRO() {
	switch f := b.s.feature(FeatureHWGRO); {
	case f.Active:
		b.keep(keyFeature(FeatureHWGRO), "%s on", FeatureHWGRO)
	case f.Changeable:
		b.change(change{Feature: &featureChange{Name: FeatureHWGRO, Before: false, After: true}})
	default:
		b.obstacle(NoDataSplit, -1, unix.EOPNOTSUPP, "see `ethtool -k` and the NIC's firmware settings",
			"mlx5_core splits headers only with %s, which can't be turned on", FeatureHWGRO)
	}
}

// rss takes the queue out of the tables that spread packets over queues.
func (b *builder) rss() {
	queue := b.plan.Queue
	if b.unreadable("rss") || b.unreadable("rss_contexts") {
		return
	}
	if b.s.RSS == nil {
		b.obstacle(NoRSS, queue, b.s.errs["rss"], "steer by other means, and ask for manual steering",
			"%s has no RSS table that the queue could be taken out of", b.driver())
		return
	}
	for _, c := range b.s.Contexts {
		if c.Uses(queue) && !b.leftContext(c) {
			b.obstacle(ForeignFlows, queue, unix.EBUSY, "take the queue out of it, or use another queue",
				"RSS context %d sends packets to it (%s)", c.Context, describeTable(c.Indir))
		}
	}
	c := newRSSChange(*b.s.RSS, queue, b.queues)
	if grown := b.queues != b.s.rxQueues(); grown {
		// What the table will be with more channels is seen when they are there.
		c.Before, c.After = spread(len(c.Before), b.queues), spread(len(c.Before), b.queues-1)
	} else if !b.s.RSS.Uses(queue) {
		b.keep(keyRSS, "RSS table without queue %d (%s)", queue, describeTable(b.s.RSS.Indir))
		return
	}
	b.change(change{RSS: c})
}

// steering is the flow rules, and what they need.
func (b *builder) steering() {
	switch f := b.s.feature(FeatureRules); {
	case b.unreadable("features"):
		return
	case f.Active:
		b.keep(keyFeature(FeatureRules), "flow rules on (%s)", FeatureRules)
	case f.Changeable:
		b.change(change{Feature: &featureChange{Name: FeatureRules, Before: false, After: true}})
	default:
		b.obstacle(NoRules, -1, unix.EOPNOTSUPP, "steer by other means, and ask for manual steering",
			"%s has no flow rules (%s can't be turned on)", b.driver(), FeatureRules)
		return
	}
	if !b.rules() {
		return
	}
	var context *uint32
	if b.want.RSSContext {
		if err := b.s.errs["rss_contexts"]; err != nil {
			b.obstacle(NoContext, -1, err, "steer without a context", "%s has no RSS contexts", b.driver())
			return
		}
		context = new(uint32)
		*context = newContext
		b.change(change{Context: &contextChange{Queue: b.plan.Queue}})
	}
	var table RuleTable // as it will be, for the plan to name locations
	if b.s.Rules != nil {
		table = *b.s.Rules
		table.Rules = slices.DeleteFunc(slices.Clone(table.Rules), b.leftRule)
	}
	for _, m := range b.matches {
		c := newRuleChange(m, b.plan.Queue, context)
		if location, ok := table.place(); ok {
			c.Rule.Location = location
			table.Rules = append(table.Rules, c.Rule)
		}
		b.change(change{Rule: c})
	}
}

// rules checks that rules of ours can be added and are in nobody's way.
func (b *builder) rules() bool {
	t := b.s.Rules
	if t == nil {
		if b.s.feature(FeatureRules).Active {
			err := b.s.errs["rules"]
			b.obstacle(NoRules, -1, err, "", "its flow rules can't be read: %v", err)
			return false
		}
		return true // some drivers show them only when they are on
	}
	before := len(b.obstacles)
	free := 0
	from, to := t.Reserved()
	for location := from; location < to; location++ {
		if r, used := t.at(location); !used || b.leftRule(r) {
			free++
		}
	}
	for _, r := range t.Rules {
		if b.leftRule(r) {
			continue
		}
		remove := fmt.Sprintf("use another queue, or delete it: ethtool -N %s delete %d", b.s.Interface, r.Location)
		if r.reaches(b.plan.Queue, b.s.Contexts) {
			b.obstacle(ForeignFlows, b.plan.Queue, unix.EBUSY, remove, "rule %d sends packets to it: %v", r.Location, r)
			continue
		}
		for _, m := range b.matches {
			if r.Exact && r.Match.overlaps(m) {
				remove := fmt.Sprintf("use another port, or delete it: ethtool -N %s delete %d", b.s.Interface, r.Location)
				b.obstacle(FlowConflict, b.plan.Queue, unix.EEXIST, remove, "rule %d sends %v already, so %v can't be taken", r.Location, r, m)
			}
		}
	}
	if !t.DriverPlaces && free < len(b.matches) {
		b.obstacle(RulesFull, -1, unix.ENOSPC, "delete some: ethtool -n "+b.s.Interface+" lists them",
			"%d flow rules are needed and %d of the locations %d to %d are free", len(b.matches), free, from, int64(to)-1)
	}
	return len(b.obstacles) == before
}

// leftRule reports whether a rule is one that a dead process left, which will
// be gone when the plan is applied.
func (b *builder) leftRule(r Rule) bool {
	return b.left(func(c change) bool { return c.Rule != nil && c.Rule.is(r) })
}

// leftContext is leftRule for contexts.
func (b *builder) leftContext(r RSS) bool {
	return b.left(func(c change) bool { return c.Context != nil && c.Context.is(r) })
}

func (b *builder) left(is func(change) bool) bool {
	for _, j := range b.dead {
		for _, r := range j.pending() {
			if is(r.Change) {
				return true
			}
		}
	}
	return false
}
