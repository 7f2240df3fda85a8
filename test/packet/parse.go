package packet

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// Bounds on what Parse takes: a script is a page, not a program.
const (
	maxEvents = 10_000
	maxLine   = 1000
	maxWait   = 10 * time.Minute
)

// Parse reads a script; name is for errors, which begin with it and the line. All
// errors of the script come, joined, but for those that follow from others.
func Parse(name, text string) (*Script, error) {
	p := &parser{script: &Script{Name: name, Config: Config{Families: []int{4, 6}, MTU: 1500}}}
	var errs []error
	for line := range strings.Lines(text) {
		p.line++
		if err := p.parseLine(strings.TrimRight(line, "\n")); err != nil {
			errs = append(errs, fmt.Errorf("%s:%d: %w", name, p.line, err))
			if len(errs) == 10 {
				break
			}
		}
	}
	if p.where != Everywhere && len(errs) == 0 {
		errs = append(errs, fmt.Errorf("%s:%d: 'on %s' without an 'end'", name, p.opened, whereNames[p.where]))
	}
	if len(p.script.Events) == 0 && len(errs) == 0 {
		errs = append(errs, fmt.Errorf("%s: there is no event", name))
	}
	return p.script, errors.Join(errs...)
}

type parser struct {
	script *Script
	line   int
	where  Where
	opened int // line of the block
}

func (p *parser) parseLine(line string) error {
	if len(line) > maxLine {
		return fmt.Errorf("a line of %d bytes: %d at most", len(line), maxLine)
	}
	f, err := fields(line)
	if err != nil || len(f) == 0 {
		return err
	}
	w := &words{f}
	switch w.peek() {
	case "on", "end":
		return p.parseBlock(w)
	case "ip", "mtu", "sysctl", Zctap:
		if len(p.script.Events) > 0 || p.where != Everywhere {
			return fmt.Errorf("%q belongs to the head of the script", w.peek())
		}
		return p.parseConfig(w)
	}
	e := Event{Line: p.line, Where: p.where}
	timed, err := parseWhen(w, &e.When)
	if err != nil {
		return err
	}
	if err := parseEvent(w, &e); err != nil {
		return err
	}
	expected := e.Packet != nil && e.Packet.Expected
	if !expected && (e.When.Any || e.When.Hi != e.When.Lo) {
		return errors.New("a time that is not exact is for packets that are expected")
	}
	if timed && e.Quiet > 0 {
		return errors.New("quiet has no time but how long it is")
	}
	if len(p.script.Events) == maxEvents {
		return fmt.Errorf("more than %d events", maxEvents)
	}
	p.script.Events = append(p.script.Events, e)
	return w.end()
}

// parseBlock reads: on linux|zctap because "...", and end.
func (p *parser) parseBlock(w *words) error {
	if w.take("end") {
		if p.where == Everywhere {
			return errors.New("'end' of nothing")
		}
		p.where = Everywhere
		return w.end()
	}
	w.next()
	if p.where != Everywhere {
		return errors.New("'on' inside of another: end that first")
	}
	switch name := w.next(); name {
	case Linux:
		p.where = OnLinux
	case Zctap:
		p.where = OnZctap
	default:
		return fmt.Errorf("on %q: %s and %s are known", name, Linux, Zctap)
	}
	p.opened = p.line
	if err := because(w); err != nil {
		return err
	}
	return w.end()
}

// because reads a reason, which has to be there.
func because(w *words) error {
	reason := ""
	if w.take("because") {
		reason = strings.Trim(w.next(), `" `)
	}
	if reason == "" {
		return errors.New(`say why the two differ: because "..."`)
	}
	return nil
}

// parseWhen reads a time, if there is one: +1s, +1s~100ms, +1s..2s, *.
func parseWhen(w *words, at *When) (timed bool, err error) {
	s := w.peek()
	switch {
	case s == "*":
		at.Any = true
	case !strings.HasPrefix(s, "+"):
		return false, nil
	default:
		if *at, err = whenOf(s[1:]); err != nil {
			return false, err
		}
	}
	w.next()
	return true, nil
}

func whenOf(s string) (at When, err error) {
	if first, tolerance, ok := strings.Cut(s, "~"); ok {
		d, err := parseDuration(first)
		if err != nil {
			return at, err
		}
		t, err := parseDuration(tolerance)
		if err != nil {
			return at, err
		}
		return When{Lo: max(d-t, 0), Hi: d + t}, nil
	}
	first, last, ranged := strings.Cut(s, "..")
	if at.Lo, err = parseDuration(first); err != nil {
		return at, err
	}
	if at.Hi = at.Lo; !ranged {
		return at, nil
	}
	if at.Hi, err = parseDuration(last); err != nil {
		return at, err
	}
	if at.Hi < at.Lo {
		return at, fmt.Errorf("the time %q ends before it begins", s)
	}
	return at, nil
}

// parseDuration reads 0, 200ms, 1.5s.
func parseDuration(s string) (time.Duration, error) {
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 || d > maxWait {
		return 0, fmt.Errorf("%q is no time from 0 to %v, as 200ms or 1.5s", s, maxWait)
	}
	return d, nil
}

// parseEvent reads what comes behind the time.
func parseEvent(w *words, e *Event) (err error) {
	switch verb := w.next(); verb {
	case "":
		return errors.New("a time, and nothing that happens then")
	case "<", ">":
		e.Packet, err = parsePacket(w, verb == ">")
	case "quiet":
		e.Quiet, err = parseDuration(w.next())
		if err == nil && e.Quiet == 0 {
			err = errors.New("quiet for how long?")
		}
	case "flow":
		var v Value
		v, err = w.value("the number of a flow")
		if err == nil && (!v.exact() || v.Name != "" || v.Lo < 1 || v.Lo > 99) {
			err = fmt.Errorf("flow %v: 1 to 99", v)
		}
		e.Flow = &FlowChange{Number: int(v.Lo)}
	case "isn":
		var v Value
		v, err = w.value("a sequence number")
		if err == nil && !v.exact() {
			err = errors.New("a sequence number is one number")
		}
		e.Flow = &FlowChange{ISN: &v}
	default:
		e.Call, err = parseCall(verb, w)
	}
	return err
}
