package bundle

// A Stage is a step of fetching.
type Stage string

// The stages, in the order in which they come. Those that have nothing to do
// are left out.
const (
	StageWait     Stage = "wait"     // for another process that fetches
	StageIndex    Stage = "index"    // the mirror's package lists
	StageResolve  Stage = "resolve"  // which packages are needed
	StageDownload Stage = "download" // of the packages
	StageUnpack   Stage = "unpack"   // of the packages
	StageCheck    Stage = "check"    // that QEMU runs and has what is needed
	StageDone     Stage = "done"
)

// An Event tells of progress. The same stage comes many times, with a growing
// Percent.
type Event struct {
	Stage   Stage
	Percent float64 // of this stage, 0 to 100
	Text    string  // for people: a version, a package, a process waited for
}
