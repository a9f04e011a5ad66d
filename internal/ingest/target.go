package ingest

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	"mlops/internal/dataset"
	"mlops/internal/progress"
)

// maxClasses is how many values of a target an error lists.
const maxClasses = 10

// class is a value of the target with its rows.
type class struct {
	value string
	rows  int64
}

// checkTarget refuses a target that can't be learnt, before anything is trained:
// no row is positive, or all are. It says what is there.
func checkTarget(ctx context.Context, conn *pgx.Conn, spec *dataset.Spec) error {
	target := quoteColumn(spec.Target.Column)
	found, err := conn.Query(ctx, fmt.Sprintf(`SELECT %s::text, count(*) FROM %s WHERE %s IS NOT NULL GROUP BY 1 ORDER BY 2 DESC, 1`,
		target, quote(spec.Name), target))
	if err != nil {
		return fmt.Errorf("counting the values of the target: %w", err)
	}
	var classes []class
	var c class
	if _, err := pgx.ForEachRow(found, []any{&c.value, &c.rows}, func() error {
		// The common ones, and the positive ones: a target that is a number by
		// mistake has as many values as rows.
		if len(classes) <= maxClasses || slices.Contains(spec.Target.Positive, c.value) || slices.Contains(spec.Target.Classes, c.value) {
			classes = append(classes, c)
		}
		return nil
	}); err != nil {
		return fmt.Errorf("counting the values of the target: %w", err)
	}
	if reason := targetProblem(spec, classes); reason != "" {
		return &Mismatch{reason}
	}
	return nil
}

// targetProblem says why a target with these values can't be learnt, "" where it
// can, and where there are no rows yet.
func targetProblem(spec *dataset.Spec, classes []class) string {
	t := spec.Target
	if len(classes) == 0 {
		return ""
	}
	switch spec.Task {
	case dataset.Multiclass:
		var none []string
		for _, v := range t.Classes {
			if !slices.ContainsFunc(classes, func(c class) bool { return c.value == v }) {
				none = append(none, v)
			}
		}
		if len(none) > 0 {
			return fmt.Sprintf("no row has %s = %s; there are %s: correct target.classes in the spec", t.Column, quoteAll(none, " or "), list(classes))
		}
		return ""
	case dataset.Regression:
		if len(classes) == 1 {
			return fmt.Sprintf("every row with a target has %s = %s: there is nothing to predict", t.Column, classes[0].value)
		}
		return ""
	}
	positive := 0
	for _, c := range classes {
		if slices.Contains(t.Positive, c.value) {
			positive++
		}
	}
	switch positive {
	case 0:
		return fmt.Sprintf("no row has %s = %s; there are %s: correct target.positive in the spec", t.Column, quoteAll(t.Positive, " or "), list(classes))
	case len(classes):
		return fmt.Sprintf("every row with a target is positive; %s is %s, and there is no other value to tell it from: correct target.positive in the spec", t.Column, list(classes))
	}
	return ""
}

func list(classes []class) string {
	var words []string
	for _, c := range classes[:min(len(classes), maxClasses)] {
		words = append(words, fmt.Sprintf("%s (%s)", strconv.Quote(example([]byte(c.value))), progress.Count(c.rows)))
	}
	if len(classes) > maxClasses {
		return strings.Join(words, ", ") + " and others"
	}
	if n := len(words); n > 1 {
		return strings.Join(words[:n-1], ", ") + " and " + words[n-1]
	}
	return strings.Join(words, "")
}

func quoteAll(values []string, between string) string {
	words := make([]string, len(values))
	for i, v := range values {
		words[i] = strconv.Quote(v)
	}
	return strings.Join(words, between)
}
