package guest

import (
	"net/netip"
	"time"
)

const (
	// PortName is the name of the virtio-serial port to the runner.
	PortName = "zctap.lab"
	// Marker is the parameter on the kernel's command line that makes a program
	// take itself for the guest's first process. It has no dot in it, so the
	// kernel hands it to that process as an environment variable.
	Marker = "zctap_lab"
	// ConfigPath is where the initramfs has the Config.
	ConfigPath = "/lab/config.json"
	// ToolsDir has programs that are linked against libraries of their own, in
	// bin, and those libraries with their Loader in lib. Their names elsewhere are
	// links to the guest's first program, which starts them.
	ToolsDir = "/lab/tools"
	Loader   = "ld-linux-x86-64.so.2"
	// EventSocket is where programs in the guest meet the agent (event.go).
	EventSocket = "/run/lab/event"
	// EventCommand is the name under which the guest's first program signals an
	// event instead: a shell script's way to do it.
	EventCommand = "lab-event"
	// OutDir is a folder of the guest that exists, for files to be collected.
	OutDir = "/out"
)

// A Config is what the agent finds in the initramfs.
type Config struct {
	Modules []string // files of kernel modules, in the order to load them
	// Job, if there is one, is run without being sent: nothing comes in through
	// the port then while it runs.
	Job *Job
}

// Hello is how the agent reports that it is ready for jobs.
type Hello struct {
	Version int
	Release string        // of the kernel, as uname(2) has it
	CPUs    int           // that are online
	Uptime  time.Duration // since the kernel started
}

// A Job is an order of steps to run. ID and the steps' numbers, which follow
// each other from First, are not those of another job. 0 is nobody's number.
type Job struct {
	ID, First  uint16
	Interfaces []Interface
	Namespaces []string
	Steps      []Step
	Collect    []string // patterns, as path.Match has them
	MaxFiles   int64    // bytes of all files that are collected
}

// An Interface is a network interface to configure. See lab.Interface.
type Interface struct {
	MAC       string
	Index     int
	Name      string
	Netns     string
	Addresses []netip.Prefix
	Routes    []Route
	MTU       int
	Down      bool
}

// A Route is a way to a network.
type Route struct {
	To  netip.Prefix
	Via netip.Addr // not valid: by the link
}

// A Step is a process to start. See lab.Step.
type Step struct {
	Name       string
	Args       [][]byte // not strings: those are UTF-8 in JSON
	Env        [][]byte
	Dir        string
	Netns      string
	Background bool
	Stop       bool
	Ready      string
	Stdin      bool
	Terminal   bool
	Rows, Cols uint16
	Timeout    time.Duration
	MayFail    bool
}

// Exit tells how a step ended. At most one of Error and Signal is set.
type Exit struct {
	Error    string // it could not be started
	Code     int    // exit status
	Signal   int    // that killed it
	TimedOut bool   // it was killed since its time was up
	Stopped  bool   // it was told to end, or killed, since the job ended
	NotReady bool   // it ended, or its time was up, before it signalled that it is ready
	Start    time.Duration
	Duration time.Duration
	User     time.Duration // CPU time of the process and of its children that it waited for
	System   time.Duration
	MaxRSS   int64 // bytes
}

// Failed reports whether a step that ended so keeps its job from going on.
func (e *Exit) Failed() bool {
	return e.Error != "" || e.TimedOut || e.NotReady || !e.Stopped && (e.Code != 0 || e.Signal != 0)
}

// An Event is something that a program in the guest wants the runner to know.
type Event struct {
	Step uint16 // whose process it was; 0 if that is not known
	Name string
	Data []byte
}

// MaxEventData is the most data that an event or the answer to it carries.
const MaxEventData = 64 << 10

// MaxEvents is how many events may wait for their answers.
const MaxEvents = 16

// A Reply is the runner's answer to an event.
type Reply struct {
	Error string
	Data  []byte
}

// A File is the beginning of a file; Size bytes follow.
type File struct {
	Path string
	Mode uint32 // permissions
	Size int64
}

// Done is a job's end.
type Done struct {
	Error string // what went wrong beside the steps
}
