package packet

import (
	"errors"
	"fmt"
)

// maxBytes bounds what one call sends or receives, and a packet's payload.
const maxBytes = 1 << 20

// A verbForm says what words a call has behind its verb and socket.
type verbForm struct {
	made   bool // the name of the socket that is made
	number bool // bytes or connections; may be left out only where 0 makes sense
	option bool // a word, and behind it a value
	lone   bool // the option has no value
	group  bool // the name of an address, which is Option
	to     bool // to, and the name of an address, may follow
	result bool // it has to be said what it returns
}

var verbs = map[string]verbForm{
	"listen":    {},
	"accept":    {made: true},
	"connect":   {},
	"connected": {},
	"udp":       {option: true, lone: true},
	"send":      {number: true, to: true, result: true},
	"recv":      {number: true, result: true},
	"shutdown":  {},
	"close":     {},
	"abort":     {},
	"set":       {option: true},
	"state":     {result: true},
	"ecn":       {result: true},
	"join":      {group: true},
	"leave":     {group: true},
}

// parseCall reads the words behind a verb: socket, arguments, and -> result.
func parseCall(verb string, w *words) (*Call, error) {
	form, ok := verbs[verb]
	if !ok {
		return nil, fmt.Errorf("what is %q? A packet begins with < or >, a call with its verb", verb)
	}
	c := &Call{Verb: verb, Result: "ok"}
	if c.Socket = w.next(); !isName(c.Socket) {
		return nil, fmt.Errorf("%s: %q names no socket", verb, c.Socket)
	}
	var err error
	if form.made && w.peek() != "->" {
		if c.Made = w.next(); !isName(c.Made) {
			return nil, fmt.Errorf("%s: %q names no socket", verb, c.Made)
		}
	}
	if form.number {
		if c.N, err = w.value("the number of bytes"); err != nil {
			return nil, err
		}
		if !c.N.exact() || c.N.Name == "" && (c.N.Lo < 0 || c.N.Lo > maxBytes) {
			return nil, fmt.Errorf("%s %v: a number of bytes up to %d", verb, c.N, maxBytes)
		}
	}
	if form.group {
		if c.Option = w.next(); !unusuals[c.Option].v4.IsValid() {
			return nil, fmt.Errorf("%s %q: no address is known by that name", verb, c.Option)
		}
	}
	if form.to && w.take("to") {
		if c.To = w.next(); !unusuals[c.To].v4.IsValid() {
			return nil, fmt.Errorf("%s to %q: no address is known by that name", verb, c.To)
		}
	}
	if form.option {
		if err := c.parseOption(form, w); err != nil {
			return nil, err
		}
	}
	if w.take("->") {
		c.Result = w.next()
	} else if form.result {
		return nil, fmt.Errorf("%s: say what it returns, behind ->", verb)
	}
	if !isResult(c.Result) {
		return nil, fmt.Errorf("%s: %q is no result", verb, c.Result)
	}
	return c, nil
}

// parseOption reads: set c nodelay off, and: udp u connected, udp u any.
func (c *Call) parseOption(form verbForm, w *words) error {
	if form.lone {
		if o := w.peek(); o == "connected" || o == "any" {
			c.Option = w.next()
		}
		return nil
	}
	name, value := w.next(), w.next()
	var err error
	switch name {
	case "nodelay", "quickack":
		if value != "on" && value != "off" {
			err = errors.New("on or off")
		}
	case "keepalive", "usertimeout":
		if value != "off" {
			_, err = parseDuration(value)
		}
	case "rcvbuf", "sndbuf", "linger", "dscp":
		_, err = parseNumber(value)
	default:
		return fmt.Errorf("set %q: nodelay, quickack, keepalive, usertimeout, rcvbuf, sndbuf, linger and dscp are known", name)
	}
	if err != nil {
		return fmt.Errorf("set %s %q: %w", name, value, err)
	}
	c.Option = name + " " + value
	return nil
}

// isResult reports whether s may be what a call comes to: ok, a number, EOF, an
// errno, a state.
func isResult(s string) bool {
	if s == "" || len(s) > 32 {
		return false
	}
	for i := range len(s) {
		if c := s[i]; !isLetter(c) && !isDigit(c) && c != '-' {
			return false
		}
	}
	return s[0] != '-'
}
