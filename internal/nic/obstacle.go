//go:build linux

package nic

import (
	"errors"
	"fmt"
)

// An Obstacle is a reason why a queue cannot be prepared.
type Obstacle string

// The obstacles, from those of the interface to those of the moment.
const (
	NoInterface   Obstacle = "no such interface"
	NoDataSplit   Obstacle = "no header/data split"
	OneChannel    Obstacle = "too few channels"
	QueueZero     Obstacle = "queue 0"
	QueueRange    Obstacle = "no such queue"
	QueueBusy     Obstacle = "queue in use"
	XDPAttached   Obstacle = "XDP attached"
	NoRSS         Obstacle = "no RSS table"
	NoRules       Obstacle = "no flow rules"
	RulesFull     Obstacle = "no room for flow rules"
	FlowConflict  Obstacle = "flow taken"
	ForeignFlows  Obstacle = "foreign flows on the queue"
	NoContext     Obstacle = "no RSS contexts"
	InterfaceDown Obstacle = "interface down"
	NoPermission  Obstacle = "no permission"
	Unreadable    Obstacle = "state unreadable"
)

// An ObstacleError names the precise reason why a queue of an interface cannot
// be prepared, and what to do about it. Err is the kernel's error, or the errno
// that the kernel would answer.
type ObstacleError struct {
	Interface string
	Queue     int // -1 if it is not about one
	Obstacle  Obstacle
	Detail    string // what was found
	Remedy    string // what to do next, or ""
	Err       error

	ring bool // it is an io_uring instance that may be on its way out
}

// Error says where, what and what to do.
func (e *ObstacleError) Error() string {
	s := "nic: " + e.Interface
	if e.Queue >= 0 {
		s += fmt.Sprintf(" queue %d", e.Queue)
	}
	s += ": " + e.Detail
	if e.Remedy != "" {
		s += ": " + e.Remedy
	}
	return s
}

// Unwrap returns Err.
func (e *ObstacleError) Unwrap() error { return e.Err }

// A PlanError holds everything that stands in the way of a plan, the most
// fundamental first. errors.As finds that first ObstacleError.
type PlanError struct {
	Obstacles []*ObstacleError // never empty
}

// Error is the first obstacle, and how many more there are.
func (e *PlanError) Error() string {
	s := e.Obstacles[0].Error()
	if n := len(e.Obstacles) - 1; n > 0 {
		more := "more obstacles"
		if n == 1 {
			more = "more obstacle"
		}
		s += fmt.Sprintf(" (and %d %s: see `zctap nic plan %s`)", n, more, e.Obstacles[0].Interface)
	}
	return s
}

// Unwrap returns the obstacles.
func (e *PlanError) Unwrap() []error {
	errs := make([]error, len(e.Obstacles))
	for i, o := range e.Obstacles {
		errs[i] = o
	}
	return errs
}

// IsObstacle reports whether err is, or wraps, an obstacle of that kind.
func IsObstacle(err error, o Obstacle) bool {
	var p *PlanError
	if errors.As(err, &p) {
		for _, one := range p.Obstacles {
			if one.Obstacle == o {
				return true
			}
		}
		return false
	}
	var e *ObstacleError
	return errors.As(err, &e) && e.Obstacle == o
}

const remedyPermission = "run as root or with CAP_NET_ADMIN in the user namespace that owns the network namespace"
