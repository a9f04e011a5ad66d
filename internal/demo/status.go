package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/jackc/pgx/v5"

	"mlops/internal/api"
	"mlops/internal/local"
	"mlops/internal/mlflow"
	"mlops/internal/overview"
)

// Status writes one screen: services, rows, runs, versions in production. It
// changes nothing and takes no lock. A part that is unavailable says why.
func Status(ctx context.Context, c *Config, out io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	records, err := c.State.Records()
	if err != nil {
		return err
	}
	alive := map[string]*local.Record{}
	w := tabwriter.NewWriter(out, 0, 0, 3, ' ', 0)
	fmt.Fprintf(w, "demo in %s\n\nSERVICE\tPID\tADDRESS\tMEMORY\tUP SINCE\n", c.State.Dir)
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
		fmt.Fprintf(w, "none is running; make demo starts them\t\t\t\t\n")
	}
	sets, err := knownSets(c.State)
	if err != nil {
		return err
	}
	if pg := alive["postgres"]; pg != nil && len(sets) > 0 {
		overview.WriteHead(w)
		var losses bytes.Buffer
		for _, k := range sets {
			n, err := databases(c.State, pg).Count(ctx, k.Name)
			if err != nil {
				fmt.Fprintf(w, "%s\t%v\n", k.Name, err)
				continue
			}
			n.Write(w, k.Name)
			n.WriteNotes(&losses, k.Name)
		}
		if losses.Len() > 0 {
			fmt.Fprintf(w, "\n%s", losses.String())
		}
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("writing status: %w", err)
	}
	if ml := alive["mlflow"]; ml != nil {
		client, err := mlflow.New(ml.URL(), mlflow.Options{Tries: 1, UserAgent: "mlops-demo"})
		if err != nil {
			return err
		}
		for _, k := range sets {
			if err := overview.WriteModel(ctx, out, client, k.Model); err != nil {
				fmt.Fprintf(out, "\n%s: %v\n", k.Model, err)
			}
			if server := alive["inference-"+k.Name]; server != nil {
				key, err := c.State.APIKey(false)
				if err == nil {
					err = overview.WriteChallenger(ctx, out, api.NewClient(server.URL(), nil).WithKey(key))
				}
				if p := api.AsProblem(err); err != nil && (p == nil || p.Type != api.NoModel) {
					fmt.Fprintf(out, "  %v\n", err)
				}
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

// Specs are the paths of the YAML files of the data sets that the state has seen.
func Specs(s *local.State) ([]string, error) {
	sets, err := knownSets(s)
	var paths []string
	for _, k := range sets {
		paths = append(paths, k.Spec)
	}
	return paths, err
}

// databases connects to the state's Postgres as the steps do.
func databases(s *local.State, pg *local.Record) overview.Databases {
	return func(ctx context.Context, database string) (*pgx.Conn, error) {
		secrets, err := s.Secrets()
		if err != nil {
			return nil, err
		}
		return pgx.Connect(ctx, secrets.StepsURL(pg.Port, database))
	}
}
