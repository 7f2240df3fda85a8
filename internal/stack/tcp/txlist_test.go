package tcp

import "fmt"

// checkTxList checks that the orders of t, which has n records, agree with each other.
func checkTxList(t *txList, n int) error {
	if t.count != n || t.all[none].up != none || t.all[none].under != 0 || t.all[none].flags != 0 || t.all[none].after != none {
		return fmt.Errorf("%d records are counted as %d, %+v", n, t.count, t.all[none])
	}
	free := 0
	for i := t.spare; i != none; i = t.all[i].next {
		free++
	}
	if n+free+int(firstID) != len(t.all) {
		return fmt.Errorf("%d records and %d spare are of %d", n, free, len(t.all))
	}
	// The tree, in order.
	at := t.first()
	var walk func(i, up txID) (uint8, error)
	walk = func(i, up txID) (uint8, error) {
		if i == none {
			return 0, nil
		}
		r := &t.all[i]
		left, err := walk(r.before, i)
		if err != nil {
			return 0, err
		}
		if at != i || r.up != up || up != none && t.all[up].rank < r.rank {
			return 0, fmt.Errorf("%+v is at %d in the tree, in the stream %d is; below %d", *r, i, at, up)
		}
		at = r.next
		right, err := walk(r.after, i)
		if under := left | right | r.own(); err == nil && r.under != under {
			err = fmt.Errorf("under %+v there is %b", *r, under)
		}
		return r.under, err
	}
	if _, err := walk(t.all[none].before, none); err != nil {
		return err
	}
	if at != none {
		return fmt.Errorf("the tree ends before %d", at)
	}
	// The orders of sending.
	queued, reached := 0, t.reached == none
	for _, end := range []txID{none, holes} {
		for i := t.all[end].newer; i != end; i = t.all[i].newer {
			r := &t.all[i]
			older := r.older
			switch {
			case t.all[older].newer != i:
				return fmt.Errorf("%d is not the next to %d", i, older)
			case r.flags&sacked != 0 || r.underWay() != (end == none):
				return fmt.Errorf("%+v is in the order of %d", *r, end)
			case older != end && t.all[older].sentAfter(r):
				return fmt.Errorf("%+v comes before %+v", t.all[older], *r)
			}
			reached = reached || end == none && i == t.reached
			queued++
		}
	}
	for i := t.first(); i != none; i = t.all[i].next {
		if t.all[i].flags&sacked != 0 {
			queued++
		}
	}
	if queued != n || !reached {
		return fmt.Errorf("%d of %d records are in order; %d was reached: %v", queued, n, t.reached, reached)
	}
	return nil
}
