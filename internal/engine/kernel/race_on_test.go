//go:build linux && race

package kernel

// allowedPerMB is how many allocations a MiB may cost: under the race detector
// sync.Pool, which socket queues take their chunks from, forgets at random.
const allowedPerMB = 20
