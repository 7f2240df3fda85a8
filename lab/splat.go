//go:build linux

package lab

import (
	"regexp"
	"strings"
)

// A Splat is a complaint of the guest's kernel about itself: a warning, a bug,
// an oops, a panic, a hang, a leak.
type Splat struct {
	Text  string // its lines, without the timestamps; the first says what it is
	Known string // why it is accepted; empty if it is not
}

// A Known is a splat that is accepted.
type Known struct {
	Match *regexp.Regexp // is looked for in Splat.Text
	Why   string         // why it is harmless
}

// KnownSplats is the one list of the kernel's complaints that are accepted. A
// caller's Machine.Known adds to it.
var KnownSplats = []Known{
	{
		regexp.MustCompile(`\AWARNING: .*net/core/dev\.h:\d+ .*page_pool_disable_direct_recycling`),
		"at the restart of a queue the driver's NAPI instance is not yet scheduled off (net/core/dev.h:398 in 7.3); nothing is recycled then",
	},
}

const (
	maxSplats     = 32 // kept of one machine
	maxSplatLines = 60 // kept of one splat
)

// complaints are how splats begin, the timestamp aside.
var complaints = regexp.MustCompile(strings.Join([]string{
	`^WARNING: `, `^BUG:? `, `^UBSAN: `,
	`^Oops\b`, `\[#\d+\]`, // "Oops: general protection fault ...: 0000 [#1] SMP"
	`general protection fault`, `kernel BUG at `, `KASAN: `, `double fault: `,
	`Kernel panic - not syncing`,
	`^INFO: task .* blocked for more than `, `^watchdog: BUG: `,
	`INFO: \w+ (self-)?detected stall`, `INFO: \w+ detected expedited stalls`,
	`stalled pool shutdown`, `^page_pool.*leak`, // page_pool_release_retry
	`unregister_netdevice: waiting for `,
	`unreferenced object 0x`,
}, "|"))

// timestamp is what printk puts before each line, with the thread or CPU where
// the kernel is built so.
var timestamp = regexp.MustCompile(`^\[ *\d+\.\d+\](\[ *[CT]\d+\])? `)

// A splatScanner finds splats among the lines of a kernel log.
type splatScanner struct {
	known  []Known
	splats []Splat
	more   int  // how many were found beyond maxSplats
	open   bool // the last one goes on
	lines  int  // of it
	panic  string
}

// line takes one line, without its end.
func (s *splatScanner) line(text string) {
	text = timestamp.ReplaceAllString(text, "")
	begins := complaints.MatchString(text)
	if _, message, ok := strings.Cut(text, "Kernel panic - not syncing: "); ok && s.panic == "" {
		s.panic = message
	}
	switch {
	case begins && len(s.splats) == maxSplats:
		s.more++
		s.open = false
	case begins:
		s.splats = append(s.splats, Splat{Text: text})
		s.open, s.lines = true, 1
	case s.open && s.lines < maxSplatLines:
		last := &s.splats[len(s.splats)-1]
		last.Text += "\n" + text
		s.lines++
	}
	if strings.HasPrefix(text, "---[ end ") {
		s.open = false
	}
}

// found returns the splats, and those of them that are not known.
func (s *splatScanner) found() (all, unknown []Splat) {
	for _, sp := range s.splats {
		for _, k := range s.known {
			if k.Match.MatchString(sp.Text) {
				sp.Known = k.Why
				break
			}
		}
		all = append(all, sp)
		if sp.Known == "" {
			unknown = append(unknown, sp)
		}
	}
	if s.more > 0 {
		sp := Splat{Text: "more splats than are kept"}
		all, unknown = append(all, sp), append(unknown, sp)
	}
	return all, unknown
}
