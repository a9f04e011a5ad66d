package overview

import (
	"context"
	"fmt"
	"io"

	"mlops/internal/api"
)

// WriteChallenger writes how the version that a server compares with the one it serves
// differs, and nothing where it compares none.
func WriteChallenger(ctx context.Context, out io.Writer, server *api.Client) error {
	m, err := server.Model(ctx)
	if err != nil {
		return err
	}
	c := m.Challenger
	switch {
	case c == nil:
		return nil
	case c.Refused != nil:
		_, err = fmt.Fprintf(out, "  challenger: version %s is not compared: %s\n", c.Refused.Version, c.Refused.Reason)
	case c.Model == nil:
		_, err = fmt.Fprintf(out, "  challenger: none is known; the next pipeline chooses the best candidate that it does not promote, or mlops challenge\n")
	default:
		_, err = fmt.Fprintf(out, "  challenger: version %s (%s), %s\n", c.Model.Number, c.Model.Candidate, found(m.Task, c))
	}
	return err
}

// found is what a comparison has found, in words.
func found(task string, c *api.Challenger) string {
	lost := ""
	for _, l := range []struct {
		records int64
		why     string
	}{{c.Dropped, "dropped, since the server had too much to do"}, {c.Skipped, "skipped, since their request had too many"}, {c.Failed, "failed: " + c.Failure}} {
		if l.records > 0 {
			lost += fmt.Sprintf("; %d %s", l.records, l.why)
		}
	}
	if c.Records == 0 {
		return fmt.Sprintf("no record compared yet (%.3g %% of the requests)%s", 100*c.Share, lost)
	}
	same := "the same label"
	if task == api.Regression {
		same = "a value inside the interval"
	}
	d := c.Difference
	return fmt.Sprintf("%d records compared: %s for %.1f %%; differences %.4g on average (%+.4g with sign), at most %.4g in 99 of 100; %.1f µs per record%s",
		c.Records, same, 100**c.Agreement, d.Absolute, d.Mean, d.P99, c.Microseconds, lost)
}
