package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/jackc/pgx/v5"

	"mlops/internal/local"
	"mlops/internal/mlflow"
	"mlops/internal/registry"
)

// status writes one screen: services, rows, runs, versions in production. It
// changes nothing and takes no lock. A part that can't be had says why.
func status(ctx context.Context, c *config, out io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	records, err := c.state.Records()
	if err != nil {
		return err
	}
	alive := map[string]*local.Record{}
	w := tabwriter.NewWriter(out, 0, 0, 3, ' ', 0)
	fmt.Fprintf(w, "demo in %s\n\nSERVICE\tPID\tADDRESS\tMEMORY\tUP SINCE\n", c.state.Dir)
	for _, r := range records {
		if !r.Alive() {
			fmt.Fprintf(w, "%s\t-\t-\t-\tended, was started %s\n", r.Name, r.Since.Format("2006-01-02 15:04:05"))
			continue
		}
		alive[r.Name] = r
		address := localhost(r)
		if r.Name == "postgres" {
			address = "127.0.0.1:" + strconv.Itoa(r.Port)
		}
		fmt.Fprintf(w, "%s\t%d\t%s\t%d MiB\t%s\n", r.Name, r.PID, address, r.Memory()>>20, r.Since.Format("2006-01-02 15:04:05"))
	}
	if len(records) == 0 {
		fmt.Fprintf(w, "none runs; make demo starts them\t\t\t\t\n")
	}
	sets, err := knownSets(c.state)
	if err != nil {
		return err
	}
	if pg := alive["postgres"]; pg != nil && len(sets) > 0 {
		fmt.Fprintf(w, "\nROWS\tRAW\tREJECTED\tCLEAN\tREJECTED\tTRAIN\tVALIDATION\tTEST\n")
		for _, k := range sets {
			n, err := countRows(ctx, c.state, pg, k.Name)
			if err != nil {
				fmt.Fprintf(w, "%s\t%v\n", k.Name, err)
				continue
			}
			fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t%d\t%d\t%d\n", k.Name, n.raw, n.rawRejected, n.clean, n.cleanRejected, n.split["train"], n.split["validation"], n.split["test"])
		}
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("writing status: %w", err)
	}
	if ml := alive["mlflow"]; ml != nil {
		for _, k := range sets {
			if err := writeModel(ctx, out, ml, k); err != nil {
				fmt.Fprintf(out, "\n%s: %v\n", k.Model, err)
			}
		}
	}
	return nil
}

// knownSets are the data sets that the state has seen, sorted by name.
func knownSets(s *local.State) ([]known, error) {
	paths, err := filepath.Glob(s.Path("datasets", "*.json"))
	if err != nil {
		return nil, fmt.Errorf("listing data sets: %w", err)
	}
	var ks []known
	for _, p := range paths {
		text, err := os.ReadFile(p)
		if err != nil {
			return nil, fmt.Errorf("listing data sets: %w", err)
		}
		var k known
		if err := json.Unmarshal(text, &k); err != nil {
			return nil, fmt.Errorf("reading %s: %w", p, err)
		}
		ks = append(ks, k)
	}
	return ks, nil
}

// counts are the rows of a data set in the databases.
type counts struct {
	raw, rawRejected, clean, cleanRejected int64
	split                                  map[string]int64
}

func countRows(ctx context.Context, s *local.State, pg *local.Record, name string) (counts, error) {
	n := counts{split: map[string]int64{}}
	secrets, err := s.Secrets()
	if err != nil {
		return n, err
	}
	table, rejected := pgx.Identifier{name}.Sanitize(), pgx.Identifier{name + "_rejected"}.Sanitize()
	for _, db := range []struct {
		name          string
		rows, refused *int64
	}{{"raw", &n.raw, &n.rawRejected}, {"clean", &n.clean, &n.cleanRejected}} {
		conn, err := pgx.Connect(ctx, secrets.StepsURL(pg.Port, db.name))
		if err != nil {
			return n, fmt.Errorf("connecting to the database %s: %w", db.name, err)
		}
		defer conn.Close(context.WithoutCancel(ctx))
		for _, q := range []struct {
			table string
			into  *int64
		}{{table, db.rows}, {rejected, db.refused}} {
			var exists bool
			if err := conn.QueryRow(ctx, "SELECT to_regclass($1) IS NOT NULL", q.table).Scan(&exists); err != nil {
				return n, fmt.Errorf("looking for %s.%s: %w", db.name, q.table, err)
			}
			if !exists {
				continue // not loaded yet
			}
			if err := conn.QueryRow(ctx, "SELECT count(*) FROM "+q.table).Scan(q.into); err != nil {
				return n, fmt.Errorf("counting %s.%s: %w", db.name, q.table, err)
			}
		}
		if db.name == "raw" || n.clean == 0 {
			continue
		}
		rows, err := conn.Query(ctx, "SELECT coalesce(split, ''), count(*) FROM "+table+" GROUP BY 1")
		if err != nil {
			return n, fmt.Errorf("counting splits of clean.%s: %w", table, err)
		}
		var split string
		var count int64
		if _, err := pgx.ForEachRow(rows, []any{&split, &count}, func() error { n.split[split] = count; return nil }); err != nil {
			return n, fmt.Errorf("counting splits of clean.%s: %w", table, err)
		}
	}
	return n, nil
}

// shownRuns is how many of the last runs the screen has.
const shownRuns = 5

// writeModel writes a model's last runs and its version in production.
func writeModel(ctx context.Context, out io.Writer, ml *local.Record, k known) error {
	client, err := mlflow.New(ml.URL(), mlflow.Options{Tries: 1, UserAgent: "mlops-demo"})
	if err != nil {
		return err
	}
	e, err := client.ExperimentByName(ctx, k.Model)
	if errors.Is(err, mlflow.ErrNotFound) {
		fmt.Fprintf(out, "\n%s: no run yet\n", k.Model)
		return nil
	}
	if err != nil {
		return err
	}
	runs, err := client.SearchRuns(ctx, []string{e.ID}, "", nil, shownRuns)
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(out, 0, 0, 3, ' ', 0)
	fmt.Fprintf(w, "\nRUNS OF %s\tSTATUS\tSTARTED\tVALIDATION AUC\n", k.Model)
	for _, r := range runs {
		auc := "-"
		if v, ok := r.Metrics["validation_auc"]; ok {
			auc = fmt.Sprintf("%.4f", v)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", r.Name, strings.ToLower(string(r.Status)), r.Start.Local().Format("2006-01-02 15:04:05"), auc)
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("writing status: %w", err)
	}
	v, err := client.GetAlias(ctx, k.Model, registry.Production)
	if errors.Is(err, mlflow.ErrNotFound) {
		fmt.Fprintf(out, "\nIN PRODUCTION: nothing of %s yet\n", k.Model)
		return nil
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "\nIN PRODUCTION: %s version %d (%s, %s)", k.Model, v.Number, v.Tags[registry.TagCandidate], v.Created.Local().Format("2006-01-02 15:04:05"))
	if run, err := client.GetRun(ctx, v.RunID); err == nil {
		var words []string
		for name, value := range run.Metrics {
			if rest, ok := strings.CutPrefix(name, "test_"); ok {
				words = append(words, fmt.Sprintf("%s %.4f", strings.ReplaceAll(rest, "_", " "), value))
			}
		}
		slices.Sort(words)
		fmt.Fprintf(out, "\n  test rows: %s", strings.Join(words, ", "))
	}
	fmt.Fprintln(out)
	return nil
}
