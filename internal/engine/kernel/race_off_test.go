//go:build linux && !race

package kernel

// allowedPerMB is how many allocations a MiB may cost: what the Go runtime makes
// for itself meanwhile.
const allowedPerMB = 1
