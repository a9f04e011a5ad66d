package setup

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mlops/internal/mlflow"
	"mlops/internal/registry"
)

// closedMLflow starts an MLflow that asks for a login, as the chart does, and returns
// its address and its administrator.
func closedMLflow(t *testing.T) (string, *mlflow.Client) {
	t.Helper()
	venv := os.Getenv("MLOPS_VENV")
	if venv == "" {
		t.Skip("SKIPPED, NOT PASSED: MLOPS_VENV names no virtual environment with MLflow")
	}
	dir := t.TempDir()
	ini := filepath.Join(dir, "auth.ini")
	text := "[mlflow]\ndefault_permission = READ\ndatabase_uri = sqlite:///" + filepath.Join(dir, "users.db") + "\nauth_cache_ttl_seconds = 60\n"
	if err := os.WriteFile(ini, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := fmt.Sprint(l.Addr().(*net.TCPAddr).Port)
	l.Close()
	ctx, cancel := context.WithCancel(context.Background())
	server := exec.CommandContext(ctx, filepath.Join(venv, "bin", "python"), "../../images/mlflow/server.py", "--app-name=basic-auth", "--host=127.0.0.1", "--port="+port, "--workers=1",
		"--backend-store-uri=sqlite:///"+filepath.Join(dir, "mlflow.db"), "--serve-artifacts", "--artifacts-destination="+filepath.Join(dir, "artifacts"),
		"--default-artifact-root=mlflow-artifacts:/", "--allowed-hosts=127.0.0.1:*,mlops-mlflow", "--cors-allowed-origins=https://mlflow.example.com")
	server.Env = append(os.Environ(), "MLFLOW_AUTH_CONFIG_PATH="+ini, "MLFLOW_AUTH_ADMIN_USERNAME=admin", "MLFLOW_AUTH_ADMIN_PASSWORD=the-password-of-admin",
		"MLFLOW_FLASK_SERVER_SECRET_KEY=a-key", "MLOPS_MLFLOW_READERS=inference", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false", "MLFLOW_DISABLE_TELEMETRY=true", "DO_NOT_TRACK=true")
	var said strings.Builder
	server.Stdout, server.Stderr = &said, &said
	server.Cancel = func() error { return server.Process.Signal(os.Interrupt) }
	server.WaitDelay = 5 * time.Second
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		server.Wait()
		if t.Failed() {
			t.Log(said.String())
		}
	})
	base := "http://127.0.0.1:" + port
	client := login(t, base, "admin", "the-password-of-admin")
	up := func() bool { _, err := client.ExperimentByName(t.Context(), "Default"); return err == nil }
	for began := time.Now(); !up(); time.Sleep(200 * time.Millisecond) {
		if time.Since(began) > time.Minute {
			t.Fatal("MLflow does not answer")
		}
	}
	return base, client
}

func login(t *testing.T, base, name, password string) *mlflow.Client {
	t.Helper()
	c, err := mlflow.New(base, mlflow.Options{Username: name, Password: password, Tries: 1})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Nobody gets at MLflow without a login, and each login has its own rights.
func TestLogins(t *testing.T) {
	base, admin := closedMLflow(t)
	// What an earlier release's steps left, which asked for no login.
	if err := admin.EnsureModel(t.Context(), "earlier", ""); err != nil {
		t.Fatal(err)
	}
	config := Config{Log: quiet, Patience: 20 * time.Second, MLflow: admin, MLflowUsers: []MLflowUser{
		{Name: "steps", Password: "a-former-password", Write: true}, {Name: "inference", Password: "password-of-inference"}}}
	if err := Run(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	config.MLflowUsers[0].Password = "password-of-steps"
	if err := Run(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	steps, inference := login(t, base, "steps", "password-of-steps"), login(t, base, "inference", "password-of-inference")
	experiment, err := steps.EnsureExperiment(t.Context(), "readmission")
	if err != nil {
		t.Fatal(err)
	}
	run, err := steps.CreateRun(t.Context(), mlflow.NewRun{ExperimentID: experiment.ID, Name: "one", Start: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	root, err := steps.ArtifactPath(run.ArtifactURI)
	if err != nil {
		t.Fatal(err)
	}
	if err := steps.EnsureModel(t.Context(), "readmission", ""); err != nil {
		t.Fatal(err)
	}
	if err := steps.UploadArtifact(t.Context(), root+"/model/model.ubj", strings.NewReader("model")); err != nil {
		t.Fatal(err)
	}
	version, err := admin.CreateVersion(t.Context(), mlflow.NewVersion{Name: "earlier", Source: "runs:/" + run.ID + "/model", RunID: run.ID})
	if err != nil {
		t.Fatal(err)
	}
	alias := func(c *mlflow.Client) error { return c.SetAlias(t.Context(), "earlier", "production", version.Number) }
	write := func(c *mlflow.Client) error {
		return c.UploadArtifact(t.Context(), root+"/model/model.ubj", strings.NewReader("evil"))
	}
	read := func(c *mlflow.Client) error {
		file := filepath.Join(t.TempDir(), "model.ubj")
		err := c.DownloadArtifact(t.Context(), root+"/model/model.ubj", file, 100)
		text, _ := os.ReadFile(file)
		if err == nil && string(text) != "model" {
			err = fmt.Errorf("the model holds %q", text)
		}
		return err
	}
	makeExperiment := func(c *mlflow.Client) error { _, err := c.EnsureExperiment(t.Context(), "a new one"); return err }
	makeModel := func(c *mlflow.Client) error { return c.EnsureModel(t.Context(), "a new one", "") }
	search := func(c *mlflow.Client) error {
		runs, err := c.SearchRuns(t.Context(), []string{experiment.ID}, "", nil, 10)
		if err == nil && len(runs) != 1 {
			err = fmt.Errorf("%d runs, want 1", len(runs))
		}
		return err
	}
	makeUser := func(c *mlflow.Client) error { return c.EnsureUser(t.Context(), "intruder", "password-of-intruder") }
	for _, tt := range []struct {
		name   string
		client *mlflow.Client
		do     func(*mlflow.Client) error
		status int // 0: it works
	}{
		{"anyone moves the alias", login(t, base, "", ""), alias, 401},
		{"anyone writes a model", login(t, base, "", ""), write, 401},
		{"anyone reads a model", login(t, base, "", ""), read, 401},
		{"a wrong password", login(t, base, "steps", "guessed"), alias, 401},
		{"the former password", login(t, base, "steps", "a-former-password"), alias, 401},
		{"the server reads a model", inference, read, 0},
		{"the server moves the alias", inference, alias, 403},
		{"the server writes a model", inference, write, 403},
		{"the server makes an experiment", inference, makeExperiment, 403},
		{"the server makes a model", inference, makeModel, 403},
		{"the server looks for runs", inference, search, 0},
		{"a step makes an experiment", steps, makeExperiment, 0},
		{"a step makes a model", steps, makeModel, 0},
		{"the server makes a user", inference, makeUser, 403},
		{"a step moves the alias of a model that it did not make", steps, alias, 0},
		{"a step makes a user", steps, makeUser, 403},
		{"the model is as it was", steps, read, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := tt.do(tt.client)
			var e *mlflow.Error
			if tt.status == 0 && err != nil || tt.status != 0 && (!errors.As(err, &e) || e.Status != tt.status) {
				t.Errorf("got %v, want status %d", err, tt.status)
			}
		})
	}

	// Before the first training there is no model to look up, and MLflow answers 403.
	for name, client := range map[string]*mlflow.Client{"steps": steps, "inference": inference} {
		if v, err := registry.New(client, "untrained").Production(t.Context()); !errors.Is(err, registry.ErrNoVersion) {
			t.Errorf("%s looks up a model that nobody trained: got %v, %v, want %v", name, v, err, registry.ErrNoVersion)
		}
	}

	// A page of another origin, and a name that only looks like a private address.
	for _, tt := range []struct {
		origin, host string
		want         int
	}{
		{"http://10.evil.example", "", http.StatusForbidden},
		{"http://192.168.evil.example", "", http.StatusForbidden},
		{"", "10.evil.example", http.StatusForbidden},
		{"", "mlops-mlflow", http.StatusOK},
		{"https://mlflow.example.com", "", http.StatusOK},
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, base+"/api/2.0/mlflow/experiments/search", strings.NewReader(`{"max_results": 1}`))
		if err != nil {
			t.Fatal(err)
		}
		req.SetBasicAuth("steps", "password-of-steps")
		req.Header.Set("Content-Type", "application/json")
		if tt.origin != "" {
			req.Header.Set("Origin", tt.origin)
		}
		if tt.host != "" {
			req.Host = tt.host
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != tt.want {
			t.Errorf("origin %q, host %q: status %d, want %d", tt.origin, tt.host, resp.StatusCode, tt.want)
		}
	}

	// With another password than it was first started with, the set-up says so at once.
	config.MLflow = login(t, base, "admin", "another")
	if err := Run(t.Context(), config); err == nil || !strings.Contains(err.Error(), "refuses the administrator's password") {
		t.Errorf("a wrong administrator's password: %v", err)
	}
}
