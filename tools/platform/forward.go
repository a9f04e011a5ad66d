package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"mlops/internal/kube"
	"mlops/internal/program"
	"mlops/internal/retry"
)

// service is what people reach.
type service struct {
	title    string
	service  string
	port     int
	local    int
	nodePort string // the service that has its NodePort
	path     string // that answers without a password
	login    string // what it asks for, with %[1]s for the release and %[2]s for kubectl with its flags
}

// How people log in. The tokens are made when they are needed and expire.
const (
	argoLogin     = `token: echo "Bearer $(%[2]s create token %[1]s-argo-user --duration=12h)"`
	mlflowLogin   = `user admin, password: %[2]s get secret %[1]s-mlflow-admin -o jsonpath='{.data.MLFLOW_AUTH_ADMIN_PASSWORD}' | base64 -d`
	loadtestLogin = `user admin, password: %[2]s get secret %[1]s-loadtest -o jsonpath='{.data.MLOPS_LOADTEST_PASSWORD}' | base64 -d`
	grafanaLogin  = `user admin, password: %[2]s get secret %[1]s-grafana -o jsonpath='{.data.admin-password}' | base64 -d`
)

// services are those that a release may have, in the order in which they are
// shown, with their ports on localhost.
var services = []service{
	{"page", "ui", 8501, 8501, "ui", "/", ""},
	{"API", "inference", 8000, 8000, "inference", "/healthz", ""},
	{"MLflow", "mlflow", 5000, 5000, "mlflow-nodeport", "/health", mlflowLogin},
	{"Argo", "argo", 2746, 2746, "argo-nodeport", "/", argoLogin},
	{"Prometheus", "prometheus", 9090, 9090, "prometheus-nodeport", "/-/ready", ""},
	{"Grafana", "grafana", 3000, 3000, "grafana", "/api/health", grafanaLogin},
	{"load test", "loadtest", 8089, 8089, "loadtest-nodeport", "/healthz", loadtestLogin},
}

// forward forwards local ports to the release's services until the context ends. A
// connection that breaks, because its pod was replaced, is made again.
func forward(ctx context.Context, c *config) error {
	t, r, err := c.running(ctx)
	if err != nil {
		return err
	}
	there, err := present(ctx, r)
	if err != nil {
		return err
	}
	var all sync.WaitGroup
	for _, s := range there {
		all.Go(func() {
			told := ""
			for ctx.Err() == nil {
				f, err := r.Forward(ctx, r.Service(s.service), s.port, s.local)
				switch {
				case err == nil:
					told = ""
					c.show.Print(fmt.Sprintf("%-11s %s://localhost:%d%s", s.title, f.Scheme(), s.local, s.loginLine(r, t.kubectl(r.Namespace))))
					select {
					case <-ctx.Done():
						f.Close()
					case <-f.Ended:
					}
				case ctx.Err() == nil && err.Error() != told:
					told = err.Error()
					c.show.Print(fmt.Sprintf("%-11s %v", s.title, err))
				}
				retry.Sleep(ctx, time.Second)
			}
		})
	}
	all.Wait()
	return nil
}

// present are the services that the release has.
func present(ctx context.Context, r *kube.Release) ([]service, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	var there []service
	for _, s := range services {
		_, err := r.Client.CoreV1().Services(r.Namespace).Get(ctx, r.Service(s.service), metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("asking the cluster (make up starts it if it is our own): %w", err)
		}
		there = append(there, s)
	}
	if len(there) == 0 {
		return nil, program.Inputf("namespace %s has none of the platform's services; make up installs them", r.Namespace)
	}
	return there, nil
}

// loginLine says how to log in to a service that asks for it, on a line of its own.
func (s service) loginLine(r *kube.Release, kubectl string) string {
	if s.login == "" {
		return ""
	}
	return "\n              " + fmt.Sprintf(s.login, r.Name, kubectl)
}

// running returns the release that people look at, and where it is: the one of NAMESPACE;
// without it that of an earlier `up` or, if its namespace has none, of the only other
// namespace that has one.
func (c *config) running(ctx context.Context) (*target, *kube.Release, error) {
	t, err := c.kept()
	if err != nil {
		return nil, nil, err
	}
	named := os.Getenv("NAMESPACE") != ""
	switch {
	case t == nil && !named:
		return nil, nil, program.Inputf("no platform was installed from here (%s): make up installs one, and NAMESPACE= names the namespace of one that helm installed", c.state.Dir)
	case t == nil:
		chosen, err := c.choose(ctx)
		if err != nil {
			return nil, nil, err
		}
		t = &chosen
	}
	r, err := c.open(*t)
	if err == nil && !named {
		r, err = nearest(ctx, r)
	}
	return t, r, err
}

// nearest returns the release if its namespace has it, else the only other one of its
// name. A cluster that doesn't say where there are any is asked for the release itself,
// and that question's error says why.
func nearest(ctx context.Context, r *kube.Release) (*kube.Release, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	exists, _, err := r.Installed(ctx)
	if err != nil || exists {
		return r, nil
	}
	spaces, err := r.Elsewhere(ctx)
	switch {
	case err != nil || len(spaces) == 0:
		return r, nil
	case len(spaces) > 1:
		return nil, program.Inputf("namespace %s has no release %s, but %s have one: choose with NAMESPACE=%s", r.Namespace, r.Name, strings.Join(spaces, ", "), spaces[0])
	}
	other := *r
	other.Namespace = spaces[0]
	return &other, nil
}
