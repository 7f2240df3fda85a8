// Package impair makes a wire bad: it decorates a driver.Driver and drops,
// duplicates, corrupts, reorders and delays the frames that come out of its
// Poll, at random or by a script. Frames that are sent are left alone; for both
// directions, decorate both ends.
//
// What becomes of a frame depends on its number, the seed and the configuration
// only, and when, on the times that Poll is called with. So a test with a fake
// clock comes out always alike, and a soak that failed can be run again.
//
// The words are those of Linux's netem: each kind of impairment has a
// probability of its own, a duplicate has its own luck further on, frames held
// back are bounded in number, and one too many is dropped.
package impair
