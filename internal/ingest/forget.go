package ingest

import (
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"mlops/internal/dataset"
	"mlops/internal/postgres"
)

// OwnSources are the addresses that rows of a data set were loaded from and no other data
// set's were, without credentials, from a connection to the database raw.
func OwnSources(ctx context.Context, raw *pgx.Conn, spec *dataset.Spec) ([]string, error) {
	found, err := raw.Query(ctx, `SELECT c.relname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'end_offset'
		WHERE c.relkind = 'r' AND c.relname LIKE '%\_batches'`)
	if err != nil {
		return nil, fmt.Errorf("looking for ledgers: %w", err)
	}
	ledgers, err := pgx.CollectRows(found, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("looking for ledgers: %w", err)
	}
	var own []string
	others := map[string]bool{}
	for _, ledger := range ledgers {
		found, err := raw.Query(ctx, fmt.Sprintf("SELECT DISTINCT source FROM %s ORDER BY 1", quote(ledger)))
		if err != nil {
			return nil, fmt.Errorf("reading the ledger %s: %w", ledger, err)
		}
		sources, err := pgx.CollectRows(found, pgx.RowTo[string])
		if err != nil {
			return nil, fmt.Errorf("reading the ledger %s: %w", ledger, err)
		}
		if ledger == spec.Name+"_batches" {
			own = sources
			continue
		}
		for _, s := range sources {
			others[s] = true
		}
	}
	return slices.DeleteFunc(own, func(s string) bool { return others[s] }), nil
}

// Forget removes all that the databases hold of a data set: rows, rejected and
// replaced ones, ledgers. Each database's part goes in one transaction, under the
// lock of the steps that write it, clean first: a run that is killed between the
// two leaves raw whole, and clean is made from it again or forgotten by the next.
func Forget(ctx context.Context, cfg Config) error {
	pg := cfg.Postgres.Defaults()
	t := tablesOf(cfg.Spec)
	plan := planOf(cfg.Spec)
	old := t.clean()
	for i, name := range old {
		old[i] = before + "." + name
	}
	for _, d := range []struct {
		database, lock string
		tables         []string
	}{
		{pg.Clean, "clean " + cfg.Spec.Name, append(old, t.clean()...)},
		{pg.Raw, "load-raw-data " + cfg.Spec.Name, []string{t.rows, t.batches, t.rejected, t.replaced, plan.of, plan.lines}},
	} {
		s := postgres.NewSession(pg, d.database, d.lock, cfg.Logger)
		err := s.Do(ctx, "forgetting "+cfg.Spec.Name, func(ctx context.Context, conn *pgx.Conn) error {
			return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
				if err := dropEarlier(ctx, tx, cfg.Spec); err != nil {
					return err
				}
				if err := dropTables(ctx, tx, d.tables); err != nil {
					return err
				}
				if _, err := tx.Exec(ctx, fmt.Sprintf("DROP FUNCTION IF EXISTS %s(integer)", ours(cfg.Spec, "take_back"))); err != nil {
					return fmt.Errorf("dropping a function: %w", err)
				}
				return nil
			})
		})
		s.Close()
		if err != nil {
			return fmt.Errorf("database %s: %w", d.database, err)
		}
	}
	return nil
}
