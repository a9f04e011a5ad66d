package ingest

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"mlops/internal/bulk"
	"mlops/internal/dataset"
	"mlops/internal/earlier"
	"mlops/internal/history"
	"mlops/internal/postgres"
)

// Each program has a role of its own in Postgres, with the rights that it needs:
//
//	load-raw-data       owns the tables of raw
//	process-data        reads raw, may take batches of it back; owns the tables of clean
//	load-val-test-data  reads clean, writes the split of a row and its rule
//	train-model         reads clean; of raw the ledger and the rejected lines, and it may count rows
//	promote-best-model  reads clean, owns the history of the models
//	inference           reads the view of earlier rows in clean, and nothing else
//	score-batch         reads the rows of raw; owns the schema scored in clean
//	whoever asks        reads both
//
// The owner of a table grants these rights when it makes the table; ShareRaw and
// ShareClean do it for tables that are there. Where these roles are missing, one
// role does everything, and nothing is granted.

// right is what some roles may do with a table; empty columns: with all of them.
type right struct {
	table, privilege string
	columns          []string // unquoted
	roles            []string
}

// grants are the rights on a data set's tables in one database.
type grants struct {
	rights   []right
	function string // what CleanRole may call; empty: nothing
}

func rawGrants(spec *dataset.Spec) grants {
	t := tablesOf(spec)
	return grants{
		rights: []right{
			{t.rows, "SELECT", nil, []string{postgres.CleanRole, postgres.ScoreRole, postgres.ReadRole}},
			{t.rows, "SELECT", []string{"_batch"}, []string{postgres.TrainRole}}, // enough to count
			{t.batches, "SELECT", nil, []string{postgres.CleanRole, postgres.TrainRole, postgres.ReadRole}},
			{t.rejected, "SELECT", nil, []string{postgres.TrainRole, postgres.ReadRole}},
			{t.replaced, "SELECT", nil, []string{postgres.CleanRole, postgres.ReadRole}},
		},
		function: ours(spec, "take_back") + "(integer)",
	}
}

func cleanGrants(spec *dataset.Spec) grants {
	t := tablesOf(spec)
	readers := []string{postgres.SplitRole, postgres.TrainRole, postgres.PromoteRole, postgres.ReadRole}
	var g grants
	for _, table := range t.clean() {
		g.rights = append(g.rights, right{table, "SELECT", nil, readers})
	}
	g.rights = append(g.rights, right{quote(earlier.View(spec.Name)), "SELECT", nil, []string{postgres.ServeRole}})
	split := []string{postgres.SplitRole}
	g.rights = append(g.rights, right{t.rows, "UPDATE", []string{"split"}, split}, right{t.split, "INSERT", nil, split},
		right{t.split, "UPDATE", []string{"validation_from", "test_from", "decided_at"}, split})
	return g
}

// grant grants what the roles that exist don't have yet.
func grant(ctx context.Context, tx pgx.Tx, g grants) error {
	there, err := programRoles(ctx, tx)
	if err != nil || len(there) == 0 {
		return err
	}
	for _, r := range g.rights {
		for _, role := range r.roles {
			if !slices.Contains(there, role) {
				continue
			}
			has := "has_table_privilege($1, $2, $3)"
			columns := ""
			if len(r.columns) > 0 {
				has = fmt.Sprintf("(SELECT bool_and(has_column_privilege($1, $2, c, $3)) FROM unnest(ARRAY[%s]) c)", quoteTexts(r.columns))
				columns = " (" + quoteNames(r.columns) + ")"
			}
			var done bool
			if err := tx.QueryRow(ctx, "SELECT to_regclass($2) IS NULL OR "+has, role, r.table, r.privilege).Scan(&done); err != nil {
				return fmt.Errorf("looking up the rights of %s on %s: %w", role, r.table, err)
			}
			if done {
				continue
			}
			if _, err := tx.Exec(ctx, fmt.Sprintf("GRANT %s%s ON %s TO %s", r.privilege, columns, r.table, quote(role))); err != nil {
				return fmt.Errorf("granting %s on %s to %s: %w", r.privilege, r.table, role, err)
			}
		}
	}
	if g.function == "" || !slices.Contains(there, postgres.CleanRole) {
		return nil
	}
	var done bool
	if err := tx.QueryRow(ctx, "SELECT has_function_privilege($1, $2, 'EXECUTE')", postgres.CleanRole, g.function).Scan(&done); err != nil {
		return fmt.Errorf("looking up the rights of %s on %s: %w", postgres.CleanRole, g.function, err)
	}
	if done {
		return nil
	}
	if _, err := tx.Exec(ctx, fmt.Sprintf("GRANT EXECUTE ON FUNCTION %s TO %s", g.function, quote(postgres.CleanRole))); err != nil {
		return fmt.Errorf("granting EXECUTE on %s: %w", g.function, err)
	}
	return nil
}

// programRoles returns those of the programs' roles that exist.
func programRoles(ctx context.Context, tx pgx.Tx) ([]string, error) {
	rows, err := tx.Query(ctx, "SELECT rolname FROM pg_roles WHERE rolname = ANY ($1)", postgres.ProgramRoles())
	if err != nil {
		return nil, fmt.Errorf("looking for roles: %w", err)
	}
	roles, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("looking for roles: %w", err)
	}
	return roles, nil
}

// Share is ShareRaw and ShareClean for the databases of a server.
func Share(ctx context.Context, cfg postgres.Config, log *slog.Logger) error {
	cfg = cfg.Defaults()
	for _, d := range []struct {
		name  string
		share func(context.Context, *pgx.Conn) error
	}{{cfg.Raw, ShareRaw}, {cfg.Clean, ShareClean}} {
		s := postgres.NewSession(cfg, d.name, "", log)
		err := s.Do(ctx, "granting the steps their rights in "+d.name, d.share)
		s.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

// ShareRaw gives the programs' roles their rights in the database raw, which conn
// is connected to: the right to connect, and those on the tables that are there.
// Tables that the database's owner has, of an earlier release or of a backup,
// become those of load-raw-data. conn belongs to that owner, or to a role that may
// create roles. It may be repeated; without the roles it changes nothing.
func ShareRaw(ctx context.Context, conn *pgx.Conn) error {
	return share(ctx, conn, postgres.LoadRole, []string{postgres.CleanRole, postgres.TrainRole, postgres.ScoreRole, postgres.ReadRole},
		createTakeBack, rawGrants)
}

// ShareClean is ShareRaw for the database clean and process-data, with the history of
// the models, which is the gate's, and the schema of scored tables.
func ShareClean(ctx context.Context, conn *pgx.Conn) error {
	err := share(ctx, conn, postgres.CleanRole, []string{postgres.SplitRole, postgres.TrainRole, postgres.PromoteRole, postgres.ServeRole, postgres.ScoreRole, postgres.ReadRole},
		func(context.Context, pgx.Tx, *dataset.Spec) error { return nil }, cleanGrants)
	if err != nil {
		return err
	}
	if err := history.Share(ctx, conn); err != nil {
		return err
	}
	return bulk.Share(ctx, conn)
}

func share(ctx context.Context, conn *pgx.Conn, owner string, others []string, also func(context.Context, pgx.Tx, *dataset.Spec) error, rights func(*dataset.Spec) grants) error {
	return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		there, err := programRoles(ctx, tx)
		if err != nil || !slices.Contains(there, owner) {
			return err
		}
		var database string
		if err := tx.QueryRow(ctx, "SELECT quote_ident(current_database())").Scan(&database); err != nil {
			return fmt.Errorf("sharing a database: %w", err)
		}
		// CREATE on the database is for the schema of tables that are rebuilt.
		sql := []string{
			fmt.Sprintf("REVOKE ALL ON DATABASE %s FROM PUBLIC", database),
			fmt.Sprintf("GRANT CONNECT, TEMPORARY, CREATE ON DATABASE %s TO %s", database, quote(owner)),
			"REVOKE CREATE ON SCHEMA public FROM PUBLIC",
			fmt.Sprintf("GRANT USAGE, CREATE ON SCHEMA public TO %s", quote(owner)),
		}
		for _, role := range others {
			if slices.Contains(there, role) {
				sql = append(sql, fmt.Sprintf("GRANT CONNECT ON DATABASE %s TO %s", database, quote(role)),
					fmt.Sprintf("GRANT USAGE ON SCHEMA public TO %s", quote(role)))
			}
		}
		for _, s := range sql {
			if _, err := tx.Exec(ctx, s); err != nil {
				return fmt.Errorf("sharing database %s: %w", database, err)
			}
		}
		if err := handOver(ctx, tx, owner); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, "SET LOCAL ROLE "+quote(owner)); err != nil { // what is made now is its own
			return fmt.Errorf("sharing database %s: %w", database, err)
		}
		sets, err := dataSets(ctx, tx)
		if err != nil {
			return err
		}
		for _, spec := range sets {
			if err := complete(ctx, tx, spec); err != nil {
				return err
			}
			if err := also(ctx, tx, spec); err != nil {
				return err
			}
			if err := grant(ctx, tx, rights(spec)); err != nil {
				return err
			}
		}
		return nil
	})
}

// dataSets finds the data sets that have tables in the database. Only their names
// are known.
func dataSets(ctx context.Context, tx pgx.Tx) ([]*dataset.Spec, error) {
	rows, err := tx.Query(ctx, `SELECT c.relname FROM pg_class c
		WHERE c.relkind = 'r' AND c.relnamespace = current_schema()::regnamespace
		  AND pg_has_role(c.relowner, 'USAGE')
		  AND (SELECT count(*) FROM pg_attribute WHERE attrelid = c.oid AND attname IN ('_batch', '_line')) = 2 -- or it is somebody else's
		  AND to_regclass(quote_ident(c.relname || '_batches')) IS NOT NULL AND to_regclass(quote_ident(c.relname || '_rejected')) IS NOT NULL
		ORDER BY 1`)
	if err != nil {
		return nil, fmt.Errorf("looking for data sets: %w", err)
	}
	sets, err := pgx.CollectRows(rows, func(r pgx.CollectableRow) (*dataset.Spec, error) {
		spec := new(dataset.Spec)
		return spec, r.Scan(&spec.Name)
	})
	if err != nil {
		return nil, fmt.Errorf("looking for data sets: %w", err)
	}
	return sets, nil
}

// handOver gives a role the tables, sequences, functions and schemas that belong to
// the database's owner.
func handOver(ctx context.Context, tx pgx.Tx, to string) error {
	rows, err := tx.Query(ctx, `WITH own AS (SELECT oid, nspname, nspowner FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname NOT IN ('information_schema', 'registry', 'scored'))
		SELECT format('SCHEMA %I', nspname) FROM own
		WHERE nspname <> 'public' AND nspowner = (SELECT datdba FROM pg_database WHERE datname = current_database())
		UNION ALL
		SELECT format('%s %I.%I', CASE relkind WHEN 'S' THEN 'SEQUENCE' WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW' ELSE 'TABLE' END, nspname, relname)
		FROM pg_class c JOIN own ON own.oid = relnamespace
		WHERE relkind IN ('r', 'p', 'v', 'm', 'S') AND relowner = (SELECT datdba FROM pg_database WHERE datname = current_database())
		  AND NOT EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_class'::regclass AND objid = c.oid AND deptype IN ('a', 'e', 'i')) -- goes with its table, or is an extension's
		UNION ALL
		SELECT format('FUNCTION %s', p.oid::regprocedure) FROM pg_proc p JOIN own ON own.oid = pronamespace
		WHERE prokind = 'f' AND proowner = (SELECT datdba FROM pg_database WHERE datname = current_database())
		  AND NOT EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_proc'::regclass AND objid = p.oid AND deptype = 'e')`)
	if err != nil {
		return fmt.Errorf("looking for tables to hand over: %w", err)
	}
	things, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return fmt.Errorf("looking for tables to hand over: %w", err)
	}
	for _, thing := range things {
		if _, err := tx.Exec(ctx, fmt.Sprintf("ALTER %s OWNER TO %s", thing, quote(to))); err != nil {
			return fmt.Errorf("giving %s to %s: %w", thing, to, err)
		}
	}
	return nil
}

// quoteTexts are several SQL literals as a list.
func quoteTexts(all []string) string {
	quoted := make([]string, len(all))
	for i, s := range all {
		quoted[i] = quoteText(s)
	}
	return strings.Join(quoted, ", ")
}

// quoteNames are several SQL identifiers as a list.
func quoteNames(all []string) string {
	quoted := make([]string, len(all))
	for i, s := range all {
		quoted[i] = quote(s)
	}
	return strings.Join(quoted, ", ")
}
