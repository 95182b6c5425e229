// Package env is the ground that the program stands on: clock, tasks, files,
// network, object store, randomness and trace, as interfaces only.
//
// A shell (a safekeeper, a pageserver) is constructed with one [Env] and reaches
// the world through nothing else. Package osenv gives it the real world; the
// simulator gives it a world that is drawn from one seed. The shell cannot tell.
//
// # Rules of the ground
//
//   - Every call that may block takes a context first, and returns when the
//     context ends, with the context's error. Contexts that can be cancelled are
//     made by [Tasks]; nobody else waits on their Done channel.
//   - A task waits only through Env. In production a task is a goroutine; in the
//     simulator it is a coroutine, one runs at a time, and every blocking call of
//     Env hands control to the scheduler. So a task must never hold a sync.Mutex
//     across a call of Env: use [Lock], which is made of Env's own waiting.
//     A plain mutex or atomic around code that calls no Env is fine.
//   - Tasks belong to a [Group], which stops them and waits for their end.
//   - Values cross the network as bytes, never as pointers.
//   - A failed call of [Bucket] that changes something is definite (nothing
//     happened, nothing will) or unknown (it may have happened, or may yet); the
//     two are told apart by [IsUnknown], and every caller says what it does for each.
//
// # Example
//
//	func serve(ctx context.Context, e env.Env, addr string) error {
//		listener, err := e.Net.Listen(ctx, addr)
//		if err != nil {
//			return err
//		}
//		group := e.Tasks.NewGroup(ctx)
//		group.Go("accept", func(ctx context.Context) error { ... })
//		return group.Wait()
//	}
package env
