// Package lint holds the rules of this repository that no general linter
// knows, as tests: which package may import which, where unsafe and assembly may
// be used, where there is no clock, and what every file and dependency must have.
// They read the source and run nothing, so `go test ./internal/lint` checks a whole
// tree in a moment, on any system and without any tool but Go.
//
// Each rule is a function from files to complaints. Its test feeds it small
// files that break it, so that a rule that has stopped looking fails; then
// TestRepository feeds it the repository.
package lint
