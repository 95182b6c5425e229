package world

import "context"

// scope is the context of the simulated world: ending it wakes the tasks that wait
// under it, in the order in which they began to wait. There is nothing to receive
// from on Done, which is nil: nobody waits there but Env.
type scope struct {
	context.Context // the parent; what scope does not override is the parent's

	up       *scope // the nearest scope above that can end it
	err      error  // context.Canceled or DeadlineExceeded once ended
	cause    error
	probed   bool
	children scopeList
	waiting  waitList

	prev, next *scope // among its parent's children
}

// scopeKey finds the innermost scope of a context.
type scopeKey struct{}

func (s *scope) Err() error {
	if s.probed {
		return context.Canceled
	}
	return s.err
}

func (s *scope) Value(key any) any {
	if key == (scopeKey{}) {
		return s
	}
	return s.Context.Value(key)
}

// scopeOf finds the scope whose end ends ctx; nil if none does. A context made by
// context.WithoutCancel shows its parents' values but not their end: whether an end
// shows is tried out.
func scopeOf(ctx context.Context) *scope {
	if s, ok := ctx.(*scope); ok {
		return s
	}
	s, _ := ctx.Value(scopeKey{}).(*scope)
	if s == nil {
		return nil
	}
	s.probed = true
	shows := ctx.Err() != nil
	s.probed = false
	if !shows {
		return nil
	}
	return s
}

// newScope makes a scope that ends when ctx does.
func newScope(ctx context.Context) *scope {
	s := &scope{Context: ctx, up: scopeOf(ctx)}
	if s.up == nil {
		return s
	}
	if s.up.err != nil {
		s.err, s.cause = s.up.err, s.up.cause
		return s
	}
	s.up.children.push(s)
	return s
}

// end ends the scope and all below it. The first end stays.
func (s *scope) end(err, cause error) {
	if s.err != nil {
		return
	}
	s.err, s.cause = err, cause
	if s.up != nil {
		s.up.children.remove(s)
	}
	for t := s.waiting.first; t != nil; t = s.waiting.first {
		t.wake(cause)
	}
	for child := s.children.first; child != nil; child = s.children.first {
		child.end(err, cause)
	}
}

// ended returns why s has ended, nil if it has not. s may be nil.
func (s *scope) ended() error {
	if s == nil {
		return nil
	}
	return s.cause
}

// fire is the end of a time limit.
func (s *scope) fire(uint64) { s.end(context.DeadlineExceeded, context.DeadlineExceeded) }

type scopeList struct{ first, last *scope }

func (l *scopeList) push(s *scope) {
	s.prev = l.last
	if l.last != nil {
		l.last.next = s
	} else {
		l.first = s
	}
	l.last = s
}

func (l *scopeList) remove(s *scope) {
	if s.prev != nil {
		s.prev.next = s.next
	} else {
		l.first = s.next
	}
	if s.next != nil {
		s.next.prev = s.prev
	} else {
		l.last = s.prev
	}
	s.prev, s.next = nil, nil
}

// waitList is the tasks that wait under a scope.
type waitList struct{ first, last *task }

func (l *waitList) push(t *task) {
	t.prev = l.last
	if l.last != nil {
		l.last.following = t
	} else {
		l.first = t
	}
	l.last = t
}

func (l *waitList) remove(t *task) {
	if t.prev != nil {
		t.prev.following = t.following
	} else {
		l.first = t.following
	}
	if t.following != nil {
		t.following.prev = t.prev
	} else {
		l.last = t.prev
	}
	t.prev, t.following = nil, nil
}
