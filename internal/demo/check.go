package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"mlops/internal/api"
	"mlops/internal/dataset"
	"mlops/internal/local"
	"mlops/internal/mlflow"
	"mlops/internal/overview"
	"mlops/internal/program"
	"mlops/internal/registry"
)

// Check verifies what the running demo of one data set serves: the version in
// production, the stored scores, the page, the row counts. The error holds
// everything that is wrong.
func Check(ctx context.Context, c *Config, out io.Writer, wantRows int64, wantAUC float64) error {
	spec, err := dataset.Read(c.Spec)
	if err != nil {
		return program.Input(err)
	}
	running := map[string]*local.Record{}
	for _, name := range []string{"postgres", "mlflow", "inference-" + spec.Name, "ui-" + spec.Name} {
		r, err := c.State.Record(name)
		if err != nil {
			return err
		}
		if r == nil || !r.Alive() {
			return program.Inputf("%s is not running; make demo starts it", name)
		}
		running[name] = r
	}
	inference, ui := running["inference-"+spec.Name], running["ui-"+spec.Name]
	key, err := c.State.APIKey(false)
	if err != nil {
		return err
	}
	client := api.NewClient(inference.URL(), nil).WithKey(key)
	if err := client.Ready(ctx); err != nil {
		return err
	}
	view, err := client.Model(ctx)
	if err != nil {
		return err
	}
	var errs []error
	ok := func(what string, err error) {
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", what, err))
			return
		}
		fmt.Fprintln(out, "ok  ", what)
	}
	ok("MLflow's alias and tag name the version that is served", checkVersion(ctx, running["mlflow"], spec.Model, view))
	ok(fmt.Sprintf("/predict gives the stored scores of %d records", len(view.Samples)), overview.Scores(ctx, client, view))
	if spec.Task == dataset.Binary {
		ok("/predict gives every test row the score of training", replay(ctx, client, c.State, running, spec, view, out))
	}
	ok("the page answers, with a form for the version that is served", checkPage(ctx, ui, key, view))
	ok("the services answer on this machine's loopback address only", checkLoopback(ctx, running))
	if c.variable("MLOPS_HOSTS") == "" {
		ok("the services answer to this machine's names only", checkNames(ctx, running))
	}
	ok("the rows add up", checkRows(ctx, c.State, running["postgres"], spec.Name, wantRows))
	if wantAUC > 0 {
		var err error
		if got := view.Metrics["test_auc"]; !(got >= wantAUC) {
			err = fmt.Errorf("got %.4f", got)
		}
		ok(fmt.Sprintf("AUC on the test rows is at least %.4f", wantAUC), err)
	}
	return errors.Join(errs...)
}

// replay scores all test rows again and says how far that is from training.
func replay(ctx context.Context, server *api.Client, s *local.State, running map[string]*local.Record, spec *dataset.Spec, view *api.Model, out io.Writer) error {
	tracking, err := mlflow.New(running["mlflow"].URL(), mlflow.Options{UserAgent: "mlops-demo"})
	if err != nil {
		return err
	}
	rows, largest, err := overview.Replay(ctx, server, tracking, databases(s, running["postgres"]), spec, view)
	if err == nil {
		fmt.Fprintf(out, "    %d test rows, largest difference %.1e\n", rows, largest)
	}
	return err
}

func checkVersion(ctx context.Context, ml *local.Record, name string, view *api.Model) error {
	client, err := mlflow.New(ml.URL(), mlflow.Options{UserAgent: "mlops-demo"})
	if err != nil {
		return err
	}
	v, err := registry.New(client, name).Production(ctx)
	if err != nil {
		return err
	}
	if got := view.Model; got.Name != name || got.Number != fmt.Sprint(v.Number) || got.RunID != v.RunID {
		return fmt.Errorf("the server serves %s version %s of run %s, the alias names version %d of run %s", got.Name, got.Number, got.RunID, v.Number, v.RunID)
	}
	if !v.Best {
		return fmt.Errorf("version %d has no tag %s", v.Number, registry.TagBest)
	}
	return nil
}

func checkPage(ctx context.Context, ui *local.Record, key string, view *api.Model) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, ui.URL()+"/", nil)
	if err != nil {
		return err
	}
	if key != "" {
		req.Header.Set("Authorization", "Bearer "+key)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 16<<20))
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("GET /: %s", resp.Status)
	}
	for _, want := range []string{view.Dataset.Title, "<form", view.Model.RunID} {
		if !strings.Contains(string(text), want) {
			return fmt.Errorf("the page does not contain %q", want)
		}
	}
	return nil
}

// checkLoopback asks for the services at the machine's other addresses.
func checkLoopback(ctx context.Context, running map[string]*local.Record) error {
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		return fmt.Errorf("listing the machine's addresses: %w", err)
	}
	dialer := net.Dialer{Timeout: time.Second}
	for _, a := range addresses {
		network, ok := a.(*net.IPNet)
		if !ok || network.IP.IsLoopback() || network.IP.IsLinkLocalUnicast() {
			continue
		}
		for name, r := range running {
			at := net.JoinHostPort(network.IP.String(), strconv.Itoa(r.Port))
			if conn, err := dialer.DialContext(ctx, "tcp", at); err == nil {
				conn.Close()
				return fmt.Errorf("%s answers at %s", name, at)
			}
		}
	}
	return nil
}

// checkNames calls the services by a name that its owner leads to this machine.
func checkNames(ctx context.Context, running map[string]*local.Record) error {
	for name, r := range running {
		if name == "postgres" {
			continue
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.URL()+"/", nil)
		if err != nil {
			return fmt.Errorf("asking %s: %w", name, err)
		}
		req.Host = fmt.Sprintf("evil.example:%d", r.Port)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return fmt.Errorf("asking %s: %w", name, err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusMisdirectedRequest && resp.StatusCode != http.StatusForbidden {
			return fmt.Errorf("%s answers to evil.example with status %d", name, resp.StatusCode)
		}
	}
	return nil
}

func checkRows(ctx context.Context, s *local.State, pg *local.Record, name string, want int64) error {
	n, err := databases(s, pg).Count(ctx, name)
	if err != nil {
		return err
	}
	return n.Check(want)
}
