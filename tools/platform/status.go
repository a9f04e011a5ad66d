package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"text/tabwriter"
	"time"

	"sigs.k8s.io/yaml"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"mlops/internal/api"
	"mlops/internal/kube"
	"mlops/internal/mlflow"
	"mlops/internal/overview"
)

// shownWorkflows is how many of the last workflows the screen has.
const shownWorkflows = 5

// status writes one screen: pods, workflows, rows, the model in production. A part
// that is unavailable says why.
func status(ctx context.Context, c *config) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	t, r, err := c.running(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(c.out, "platform on %s, namespace %s\n\n", t, r.Namespace)
	pods, err := r.Pods(ctx, "app.kubernetes.io/instance="+r.Name)
	if err != nil {
		fmt.Fprintf(c.out, "the cluster does not respond (make up starts it): %v\n", err)
		return nil
	}
	memory := podMemory(ctx, r)
	w := tabwriter.NewWriter(c.out, 0, 0, 3, ' ', 0)
	fmt.Fprintln(w, "POD\tSTATE\tRESTARTS\tMEMORY\tUP SINCE")
	for _, p := range pods {
		if p.Status.Phase == "Succeeded" {
			continue
		}
		state, restarts := strings.ToLower(string(p.Status.Phase)), int32(0)
		if !kube.Ready(&p) {
			state = "not ready" + why(ctx, r, pods, p.Name)
		}
		for _, s := range p.Status.ContainerStatuses {
			restarts += s.RestartCount
		}
		since := "-"
		if p.Status.StartTime != nil {
			since = p.Status.StartTime.Local().Format(time.DateTime)
		}
		used := "-"
		if m, ok := memory[p.Name]; ok {
			used = fmt.Sprintf("%d MiB", m>>20)
		}
		fmt.Fprintf(w, "%s\t%s\t%d\t%s\t%s\n", p.Name, state, restarts, used, since)
	}
	if ws, err := r.Workflows(ctx, ""); err != nil {
		fmt.Fprintln(w, err)
	} else if len(ws) > 0 {
		fmt.Fprintln(w, "\nWORKFLOW\tSTATE\tPROGRESS\tSTARTED\tTOOK")
		for _, f := range ws[:min(len(ws), shownWorkflows)] {
			took := "-"
			if !f.Status.FinishedAt.IsZero() {
				took = f.Status.FinishedAt.Sub(f.Status.StartedAt.Time).String()
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", f.Name, f.Status.Phase, f.Status.Progress, f.Status.StartedAt.Local().Format(time.DateTime), took)
		}
	}
	name, model := dataSet(ctx, r)
	if databases, closed, err := r.Databases(ctx); err != nil {
		fmt.Fprintf(w, "\nROWS\t%v\n", err)
	} else {
		defer closed()
		n, err := overview.Databases(databases).Count(ctx, name)
		if err != nil {
			fmt.Fprintf(w, "\nROWS\t%v\n", err)
		} else {
			overview.WriteHead(w)
			n.Write(w, name)
			n.WriteNotes(w, name)
		}
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("writing status: %w", err)
	}
	f, err := r.Forward(ctx, r.Service("mlflow"), 5000, 0)
	if err != nil {
		fmt.Fprintf(c.out, "\n%v\n", err)
		return nil
	}
	defer f.Close()
	user, password, err := r.MLflowLogin(ctx, "inference")
	if err != nil {
		fmt.Fprintf(c.out, "\n%v\n", err)
		return nil
	}
	client, err := mlflow.New(f.URL, mlflow.Options{Transport: f.Transport, Tries: 1, UserAgent: "mlops-platform", Username: user, Password: password})
	if err != nil {
		return err
	}
	if err := overview.WriteModel(ctx, c.out, client, model); err != nil {
		fmt.Fprintf(c.out, "\n%s: %v\n", model, err)
	}
	if err := challenger(ctx, c.out, r); err != nil {
		fmt.Fprintf(c.out, "  %v\n", err)
	}
	return nil
}

// challenger writes how the challenger compares, if the release's server compares one.
func challenger(ctx context.Context, out io.Writer, r *kube.Release) error {
	f, err := r.Forward(ctx, r.Service("inference"), 8000, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	key, err := r.APIKey(ctx)
	if err != nil {
		return err
	}
	err = overview.WriteChallenger(ctx, out, api.NewClient(f.URL, &http.Client{Transport: f.Transport, Timeout: 30 * time.Second}).WithKey(key))
	if p := api.AsProblem(err); p != nil && p.Type == api.NoModel {
		return nil // the line above says it
	}
	return err
}

// dataSet is the name of the release's data set and of its registered model.
func dataSet(ctx context.Context, r *kube.Release) (name, model string) {
	m, err := r.Client.CoreV1().ConfigMaps(r.Namespace).Get(ctx, r.Service("dataset"), metav1.GetOptions{})
	if err != nil {
		return "", ""
	}
	var spec struct {
		Name  string `json:"name"`
		Model string `json:"model"`
	}
	if err := yaml.Unmarshal([]byte(m.Data["dataset.yaml"]), &spec); err != nil {
		return "", ""
	}
	return spec.Name, spec.Model
}

// podMemory is the working memory of the pods in bytes, where the cluster
// measures it.
func podMemory(ctx context.Context, r *kube.Release) map[string]int64 {
	text, err := r.Client.CoreV1().RESTClient().Get().AbsPath("/apis/metrics.k8s.io/v1beta1/namespaces/" + r.Namespace + "/pods").DoRaw(ctx)
	if err != nil {
		return nil
	}
	return kube.Memory(text)
}
