//go:build linux

package main

import (
	"context"
	"errors"

	"github.com/zctap/zctap"
)

// receive receives c to its end, as handler says: by RecvZC, or by a handler on the
// engine's thread.
func receive(ctx context.Context, handler bool, q *zctap.Queue, c *zctap.Conn, s sink, p *progress, r *report) error {
	if handler {
		r.Receiver = "zctap, handler"
		return receiveHandled(ctx, q, c, s, p, r)
	}
	return receiveZC(q, c, s, p, r)
}

// receiveHandled is receiveZC by Queue.Handle: s is called on the engine's thread.
// Nothing but the end wakes this goroutine.
func receiveHandled(ctx context.Context, q *zctap.Queue, c *zctap.Conn, s sink, p *progress, r *report) error {
	var views [][]byte
	ended := make(chan error, 1)
	m := startMeter()
	err := q.Handle(func(cqes []zctap.Completion) {
		for i := range cqes {
			cqe := &cqes[i]
			if cqe.Res <= 0 {
				ended <- cqe.Err()
				return
			}
			var err error
			if s != nil {
				views = views[:0]
				for j := range cqe.Iovs {
					views = append(views, cqe.Iovs[j].Bytes())
				}
				err = s(views)
			}
			if _, e := q.Release(cqe.Iovs); err == nil {
				err = e
			}
			r.Bytes += int64(cqe.Res)
			p.add(cqe.Res)
			if err != nil {
				c.Disarm()
				ended <- err
				return
			}
		}
	})
	if err == nil {
		err = c.Arm(0)
	}
	if err == nil {
		select {
		case err = <-ended:
		case <-ctx.Done(): // whose end closes c, which then completes no more
			err = ctx.Err()
		}
	}
	r.took(m.stop())
	return errors.Join(err, q.Handle(nil))
}
