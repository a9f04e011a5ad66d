package ingest

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"mlops/internal/dataset"
)

// kinds are Postgres' types of the columns in clean.
var kinds = map[dataset.Type]string{
	dataset.Integer:  "bigint",
	dataset.Number:   "double precision",
	dataset.Category: "text",
	dataset.Boolean:  "boolean",
	dataset.Date:     "timestamp without time zone",
}

// createClean makes the data set's tables in the database clean where they are
// missing, and begins to rebuild them where they are of another spec. The caller holds the lock.
//
// The table's pages are left half empty: Split then writes each row's new
// version beside the old one and no index has to change.
//
// filled is how often columns of raw were filled in: that too is part of what
// clean is made from.
func createClean(ctx context.Context, conn *pgx.Conn, spec *dataset.Spec, filled int64) error {
	return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		t := tablesOf(spec)
		want := meanings(spec)
		if filled > 0 {
			want = append(want, meaning{means: fmt.Sprintf("columns were filled in from their files (%d batches so far)", filled)})
		}
		var cols strings.Builder
		for _, c := range spec.Columns {
			kind := kinds[c.Type]
			fmt.Fprintf(&cols, "%s %s", quoteColumn(c.Name), kind)
			if c.Type == dataset.Category {
				cols.WriteString(` COLLATE "C"`)
			}
			cols.WriteString(", ")
		}
		ddl := []string{
			fmt.Sprintf(`CREATE TABLE %s (%s_batch integer NOT NULL, _line integer NOT NULL,
				split text COLLATE "C" CHECK (split IN ('train', 'validation', 'test'))) WITH (fillfactor = 45)`, t.rows, cols.String()),
			fmt.Sprintf(`CREATE UNIQUE INDEX %s ON %s (_batch, _line)`, ours(spec, "place"), t.rows),
			fmt.Sprintf(`CREATE TABLE %s (batch integer CONSTRAINT %s PRIMARY KEY, digest text NOT NULL, number integer NOT NULL,
				rows integer NOT NULL, rejected integer NOT NULL, processed_at timestamptz NOT NULL)`, t.batches, ours(spec, "batches_pkey")),
			fmt.Sprintf(`CREATE TABLE %s (_batch integer NOT NULL, line integer NOT NULL, "column" text NOT NULL, reason text NOT NULL)`, t.rejected),
			fmt.Sprintf(`CREATE TABLE %s (one boolean CONSTRAINT %s PRIMARY KEY DEFAULT true CHECK (one), salt text NOT NULL, by text NOT NULL,
				train integer NOT NULL, validation integer NOT NULL, test integer NOT NULL, decided_at timestamptz NOT NULL)`, t.split, ours(spec, "split_pkey")),
		}
		if spec.Key != "" {
			ddl = append(ddl, fmt.Sprintf(`CREATE UNIQUE INDEX %s ON %s (%s)`, ours(spec, "key"), t.rows, quoteColumn(spec.Key)))
		}
		create := func() error {
			for _, sql := range ddl {
				if _, err := tx.Exec(ctx, sql); err != nil {
					return fmt.Errorf("creating tables of %s: %w", spec.Name, err)
				}
			}
			if err := complete(ctx, tx, spec); err != nil {
				return err
			}
			return storeMeanings(ctx, tx, t, want)
		}
		fitted := false
		if err := createOrFit(ctx, tx, "clean", spec, ddl, func() error {
			fitted = true
			was, err := storedMeanings(ctx, conn, t.meaning)
			if err != nil {
				return err
			}
			if slices.Equal(was, want) {
				return complete(ctx, tx, spec)
			}
			return rebuild(ctx, tx, spec, want, create)
		}); err != nil {
			return err
		}
		if !fitted {
			if err := storeMeanings(ctx, tx, t, want); err != nil {
				return err
			}
		}
		if err := keepsSplit(ctx, tx, spec); err != nil { // before any row is cleaned again
			return err
		}
		if err := fitEarlier(ctx, tx, spec); err != nil {
			return err
		}
		return grant(ctx, tx, cleanGrants(spec))
	})
}
