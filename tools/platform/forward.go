package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"mlops/internal/kube"
	"mlops/internal/program"
)

// services are what people reach, in the order in which they are shown, at the
// ports of localhost that the ancestor had.
var services = []struct {
	title    string
	service  string
	port     int
	local    int
	nodePort string // the service that has its NodePort
	path     string // that answers without a password
}{
	{"page", "ui", 8501, 8501, "ui", "/"},
	{"API", "inference", 8000, 8000, "inference", "/healthz"},
	{"MLflow", "mlflow", 5000, 5000, "mlflow-nodeport", "/health"},
	{"Argo", "argo", 2746, 2746, "argo-nodeport", "/"},
	{"Prometheus", "prometheus", 9090, 9090, "prometheus-nodeport", "/-/ready"},
	{"Grafana", "grafana", 3000, 3000, "grafana", "/api/health"},
	{"load test", "loadtest", 8089, 8089, "", "/"},
}

// forward leads localhost's ports to the release's services until the context
// ends. A way that breaks, because its pod was replaced, is laid anew.
func forward(ctx context.Context, c *config) error {
	r, err := c.running()
	if err != nil {
		return err
	}
	var all sync.WaitGroup
	n := 0
	for _, s := range services {
		if _, err := r.Client.CoreV1().Services(r.Namespace).Get(ctx, r.Service(s.service), metav1.GetOptions{}); err != nil {
			continue // the release has no such service
		}
		n++
		all.Go(func() {
			told := ""
			for ctx.Err() == nil {
				f, err := r.Forward(ctx, r.Service(s.service), s.port, s.local)
				switch {
				case err == nil:
					told = ""
					c.show.Print(fmt.Sprintf("%-11s http://localhost:%d", s.title, s.local))
					select {
					case <-ctx.Done():
						f.Close()
					case <-f.Ended:
					}
				case ctx.Err() == nil && err.Error() != told:
					told = err.Error()
					c.show.Print(fmt.Sprintf("%-11s %v", s.title, err))
				}
				select {
				case <-ctx.Done():
				case <-time.After(time.Second):
				}
			}
		})
	}
	if n == 0 {
		return program.Inputf("namespace %s has none of the platform's services; make up installs them", r.Namespace)
	}
	all.Wait()
	return nil
}

// running returns the release that an earlier `up` has installed.
func (c *config) running() (*kube.Release, error) {
	t, err := c.kept()
	if err != nil {
		return nil, err
	}
	if t == nil {
		return nil, program.Inputf("no platform was installed from here (%s); make up does it", c.state.Dir)
	}
	return t.release()
}
