// Setup makes what the services of a release share (setup run), waits for services in init
// containers (setup wait TARGET...), and is the TLS of a server that has none
// (setup tls LISTEN SERVER FOLDER: an address, the server as postgres://HOST:PORT or
// http://HOST:PORT, and the folder of tls.crt and tls.key).
//
// run reads the environment: PGHOST, PGPORT, PGUSER, PGPASSWORD (of a role that may
// create roles) and MLOPS_ROLE_{APP,LOAD,CLEAN,SPLIT,TRAIN,PROMOTE,SERVE,SCORE,READ,MONITOR,FIGURES,MLFLOW,ARGO}_PASSWORD, with
// MLOPS_ROLE_LIMITS (postgres.Limits by role, in JSON); AWS_ENDPOINT_URL,
// AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION, MLOPS_BUCKETS (separated by
// spaces), MLOPS_SOURCES (folders, separated by colons), MLOPS_SOURCE_BUCKET,
// MLOPS_MLFLOW_BUCKET, MLOPS_SCORES_BUCKET, and for MinIO's users with rights on these
// buckets MLOPS_S3_{MLFLOW,LOADER,SCORER}_{ACCESS_KEY_ID,SECRET_ACCESS_KEY};
// MLFLOW_AUTH_ADMIN_USERNAME and MLFLOW_AUTH_ADMIN_PASSWORD with
// MLOPS_MLFLOW_{STEPS,INFERENCE}_PASSWORD, for MLflow's users; MLOPS_SIGNING_KEY, which
// signs the version that an earlier release has put into production, and
// MLOPS_FIRST_RUN (the pipeline's parameters as a JSON object) with MLOPS_NAMESPACE,
// both with MLOPS_SPEC, MLFLOW_TRACKING_URI, MLFLOW_TRACKING_USERNAME and
// MLFLOW_TRACKING_PASSWORD. Parts that are not set are skipped.
package main

import (
	"context"
	"encoding/json"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"mlops/internal/certificate"
	"mlops/internal/mlflow"
	"mlops/internal/postgres"
	"mlops/internal/program"
	"mlops/internal/registry"
	"mlops/internal/setup"
	"mlops/internal/signature"
	"mlops/internal/source"
	"mlops/internal/step"
	"mlops/internal/tlsproxy"
)

// waitLimit is how long an init container waits before it is started again: a
// restart shows in the pod's state that something is wrong.
const waitLimit = 10 * time.Minute

func main() { program.Main(run) }

func run(ctx context.Context, log *slog.Logger) error {
	if len(os.Args) < 2 {
		return program.Inputf("missing command: want run, wait TARGET... or tls LISTEN SERVER FOLDER")
	}
	switch command, args := os.Args[1], os.Args[2:]; command {
	case "wait":
		return setup.Wait(ctx, log, args, os.Getenv("PGUSER"), os.Getenv("PGPASSWORD"), waitLimit)
	case "run":
		c, err := configure(log)
		if err != nil {
			return err
		}
		return setup.Run(ctx, c)
	case "tls":
		if len(args) != 3 {
			return program.Inputf("tls has %d arguments: want the address to listen on, the server's URL, and the folder of tls.crt and tls.key", len(args))
		}
		return serveTLS(ctx, log, args[0], args[1], args[2])
	default:
		return program.Inputf("unknown command %q: want run, wait or tls", command)
	}
}

func serveTLS(ctx context.Context, log *slog.Logger, address, server, folder string) error {
	to, err := url.Parse(server)
	if err != nil || to.Host == "" || to.Scheme != "postgres" && to.Scheme != "http" {
		return program.Inputf("%q is neither postgres://HOST:PORT nor http://HOST:PORT", server)
	}
	config, err := certificate.Server(folder)
	if err != nil {
		return program.Input(err)
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	log.Info("serving TLS", "address", l.Addr().String(), "server", server)
	serve := tlsproxy.Serve
	if to.Scheme == "postgres" {
		serve, config.NextProtos = tlsproxy.ServePostgres, nil
	}
	return serve(ctx, l, config, func(ctx context.Context) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", to.Host)
	}, log)
}

func configure(log *slog.Logger) (setup.Config, error) {
	c := setup.Config{
		S3: source.S3{
			Endpoint:  os.Getenv("AWS_ENDPOINT_URL"),
			AccessKey: os.Getenv("AWS_ACCESS_KEY_ID"),
			SecretKey: os.Getenv("AWS_SECRET_ACCESS_KEY"),
			Region:    os.Getenv("AWS_REGION"),
		},
		Buckets:      strings.Fields(os.Getenv("MLOPS_BUCKETS")),
		Sources:      filepath.SplitList(os.Getenv("MLOPS_SOURCES")),
		SourceBucket: os.Getenv("MLOPS_SOURCE_BUCKET"),
		Log:          log,
	}
	for _, u := range []struct{ variable, reads, writes string }{
		{"MLOPS_S3_MLFLOW", "", os.Getenv("MLOPS_MLFLOW_BUCKET")},
		{"MLOPS_S3_LOADER", c.SourceBucket, ""},
		{"MLOPS_S3_SCORER", c.SourceBucket, os.Getenv("MLOPS_SCORES_BUCKET")},
	} {
		if key := os.Getenv(u.variable + "_ACCESS_KEY_ID"); key != "" {
			c.Users = append(c.Users, setup.User{AccessKey: key, SecretKey: os.Getenv(u.variable + "_SECRET_ACCESS_KEY"), Reads: u.reads, Writes: u.writes})
		}
	}
	if os.Getenv("PGHOST") != "" {
		c.Postgres = step.Postgres()
	}
	var limits map[string]postgres.Limits
	if text := os.Getenv("MLOPS_ROLE_LIMITS"); text != "" {
		if err := json.Unmarshal([]byte(text), &limits); err != nil {
			return c, program.Inputf("MLOPS_ROLE_LIMITS: %w", err)
		}
	}
	var programs []string // roles of the steps, whose rights the owner of their databases has too
	for _, r := range []struct {
		variable, role string
		databases      []string
	}{
		{"MLOPS_ROLE_LOAD_PASSWORD", postgres.LoadRole, nil},
		{"MLOPS_ROLE_CLEAN_PASSWORD", postgres.CleanRole, nil},
		{"MLOPS_ROLE_SPLIT_PASSWORD", postgres.SplitRole, nil},
		{"MLOPS_ROLE_TRAIN_PASSWORD", postgres.TrainRole, nil},
		{"MLOPS_ROLE_PROMOTE_PASSWORD", postgres.PromoteRole, nil},
		{"MLOPS_ROLE_SERVE_PASSWORD", postgres.ServeRole, nil},
		{"MLOPS_ROLE_SCORE_PASSWORD", postgres.ScoreRole, nil},
		{"MLOPS_ROLE_READ_PASSWORD", postgres.ReadRole, nil},
		{"MLOPS_ROLE_MONITOR_PASSWORD", postgres.MonitorRole, nil},
		{"MLOPS_ROLE_FIGURES_PASSWORD", postgres.FiguresRole, nil},
		{"MLOPS_ROLE_APP_PASSWORD", "mlops", []string{"raw", "clean"}},
		{"MLOPS_ROLE_MLFLOW_PASSWORD", "mlflow", []string{"mlflow"}},
		{"MLOPS_ROLE_ARGO_PASSWORD", "argo", []string{"argo"}},
	} {
		password := os.Getenv(r.variable)
		if password == "" {
			continue
		}
		role := postgres.Role{Name: r.role, Password: password}
		if l, ok := limits[r.role]; ok {
			role.Limits = &l
		}
		switch {
		case r.role == postgres.MonitorRole:
			role.Of = []string{"pg_monitor"}
		case r.role == postgres.FiguresRole:
			c.Figures = r.role
		case r.databases == nil:
			programs = append(programs, r.role)
		case r.role == "mlops":
			role.Of = programs
		}
		c.Roles = append(c.Roles, role)
		for _, d := range r.databases {
			c.Databases = append(c.Databases, postgres.Database{Name: d, Owner: r.role})
		}
	}
	if admin := os.Getenv("MLFLOW_AUTH_ADMIN_PASSWORD"); admin != "" {
		var err error
		c.MLflow, err = mlflow.New(os.Getenv("MLFLOW_TRACKING_URI"), mlflow.Options{Tries: 1, UserAgent: "mlops-setup", Username: os.Getenv("MLFLOW_AUTH_ADMIN_USERNAME"), Password: admin})
		if err != nil {
			return c, program.Input(err)
		}
		c.MLflowUsers = []setup.MLflowUser{
			{Name: "steps", Password: os.Getenv("MLOPS_MLFLOW_STEPS_PASSWORD"), Write: true},
			{Name: "inference", Password: os.Getenv("MLOPS_MLFLOW_INFERENCE_PASSWORD")},
		}
	}
	if text := os.Getenv("MLOPS_SIGNING_KEY"); text != "" {
		var err error
		if c.Signer, err = signature.ReadSigner([]byte(text)); err != nil {
			return c, program.Inputf("MLOPS_SIGNING_KEY: %w", err)
		}
		c.Registry = model
	}
	if text := os.Getenv("MLOPS_FIRST_RUN"); text != "" {
		c.First = func() (*setup.FirstRun, error) { return firstRun(text) }
	}
	return c, nil
}

// model is the registered model that the data set's YAML names.
func model() (*registry.Registry, error) {
	spec, err := step.Spec()
	if err != nil {
		return nil, err
	}
	client, err := step.MLflow(mlflow.Options{Tries: 1, UserAgent: "mlops-setup"})
	if err != nil {
		return nil, err
	}
	return registry.New(client, spec.Model), nil
}

func firstRun(text string) (*setup.FirstRun, error) {
	var parameters map[string]string
	if err := json.Unmarshal([]byte(text), &parameters); err != nil {
		return nil, program.Inputf("MLOPS_FIRST_RUN is not a JSON object of strings: %w", err)
	}
	reg, err := model()
	if err != nil {
		return nil, err
	}
	namespace, err := program.Env("MLOPS_NAMESPACE")
	if err != nil {
		return nil, err
	}
	config, err := rest.InClusterConfig()
	if err != nil {
		return nil, program.Inputf("starting a first run: %w", err)
	}
	kube, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, program.Inputf("starting a first run: %w", err)
	}
	return &setup.FirstRun{
		Registry:  reg,
		Workflows: &setup.Pipeline{Client: kube, Namespace: namespace, Parameters: parameters},
	}, nil
}
