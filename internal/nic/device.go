//go:build linux

package nic

// A device is an interface's settings: those of the kernel, or in tests a model.
// What a driver does not offer is unix.EOPNOTSUPP, an interface that has gone
// unix.ENODEV. Calls are made by one goroutine at a time.
type device interface {
	link() (Link, error)
	driver() (string, error)
	// netns identifies the network namespace, for this boot.
	netns() uint64

	channels() (Channels, error)
	setChannels(Channels) error // the counts; not the maxima
	rings() (Rings, error)
	setRings(Rings) error // DataSplit and, unless nil, HDSThresh
	features() (map[string]Feature, error)
	setFeature(name string, on bool) error

	rss() (RSS, error)
	setRSS(indir []uint32, key []byte) error // a nil key stays as it is
	resetRSS() error                         // the table only
	contexts() ([]RSS, error)                // all but the interface's own
	createContext(indir []uint32) (uint32, error)
	deleteContext(id uint32) error

	rules() (RuleTable, error)
	insertRule(Rule) (location uint32, err error)
	deleteRule(location uint32) error

	queue(id int) (QueueState, error)
	queues() ([]QueueState, error)
	queueStats(id int) (QueueStats, error)
	xdpFeatures() (XDPFeatures, error)

	close() error
}
