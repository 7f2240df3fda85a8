package packet

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/zctap/zctap/internal/stack/tcp"
)

// parseConfig reads a statement of a script's head.
func (p *parser) parseConfig(w *words) error {
	c := &p.script.Config
	switch w.next() {
	case "ip":
		switch v := w.next(); v {
		case "4":
			c.Families = []int{4}
		case "6":
			c.Families = []int{6}
		default:
			return fmt.Errorf("ip %q: 4 or 6; a script without it runs on both", v)
		}
		if err := because(w); err != nil {
			return err
		}
	case "mtu":
		n, err := strconv.Atoi(w.next())
		if err != nil || n < 1280 || n > 65535 {
			return errors.New("an MTU is a number from 1280 to 65535")
		}
		c.MTU = n
	case "sysctl":
		name, value := w.next(), strings.Trim(w.next(), `"`)
		if !strings.HasPrefix(name, "net/") || value == "" {
			return errors.New(`a sysctl is the path below /proc/sys, which begins with net/, and a value`)
		}
		c.Sysctls = append(c.Sysctls, Setting{name, value})
	case Zctap:
		if err := c.Zctap.set(w.next(), w.next()); err != nil {
			return err
		}
	}
	return w.end()
}

// set sets one field.
func (s *Setup) set(name, value string) error {
	var d time.Duration
	var n int
	var err error
	switch name {
	case "timewait", "usertimeout":
		d, err = parseDuration(value)
	case "cookies":
		if value != "always" {
			err = fmt.Errorf("cookies %q: always is known", value)
		}
	case "congestion":
		_, err = tcp.ParseCongestion(value)
	case "ecn":
		if value != "on" {
			err = fmt.Errorf("zctap ecn %q: on, or nothing", value)
		}
	case "buffers", "window", "sendspace":
		if n, err = strconv.Atoi(value); err == nil && (n < 1 || n > 1<<24) {
			err = fmt.Errorf("%s %d is not from 1 to %d", name, n, 1<<24)
		}
	}
	if err != nil {
		return err
	}
	switch name {
	case "timewait":
		s.TimeWait = d
	case "usertimeout":
		s.UserTimeout = d
	case "ecn":
		s.ECN = true
	case "buffers":
		s.Buffers = min(n, 1<<15)
	case "window":
		s.Window = n
	case "sendspace":
		s.SendSpace = n
	case "cookies":
		s.Cookies = true
	case "congestion":
		s.Congestion = value
	default:
		return fmt.Errorf("zctap %q: timewait, usertimeout, ecn, buffers, window, sendspace, cookies and congestion are known", name)
	}
	return nil
}
