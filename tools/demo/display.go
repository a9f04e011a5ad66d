package main

import (
	"context"
	"sync"

	"mlops/internal/progress"
)

// display shows what is being done: tasks of our own in the same way as those of
// the workflow.
type display = progress.Reporter

// parallel runs the works at the same time and returns the first error, having
// told the others to stop.
func parallel(ctx context.Context, works ...func(context.Context) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var all sync.WaitGroup
	for _, w := range works {
		all.Go(func() {
			if err := w(ctx); err != nil {
				cancel(err) // the first one counts
			}
		})
	}
	all.Wait()
	return context.Cause(ctx)
}
