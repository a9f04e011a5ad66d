package chart

import (
	"encoding/json"
	"os"
	"strconv"
	"testing"
	"time"

	wfv1 "github.com/argoproj/argo-workflows/v3/pkg/apis/workflow/v1alpha1"
	"go.yaml.in/yaml/v3"
	batchv1 "k8s.io/api/batch/v1"

	"mlops/internal/postgres"
)

// limitsOf returns the limits of Postgres' roles that the set-up Job applies.
func limitsOf(t *testing.T, r *rendering) map[string]postgres.Limits {
	t.Helper()
	limits := map[string]postgres.Limits{}
	for _, j := range all[*batchv1.Job](r) {
		for _, e := range j.Spec.Template.Spec.Containers[0].Env {
			if e.Name == "MLOPS_ROLE_LIMITS" {
				if err := json.Unmarshal([]byte(e.Value), &limits); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	return limits
}

// The limits of Postgres' roles leave room for what the release itself does: a
// statement may last as long as the pod that sends it, and all roles together fit
// into the server.
func TestDatabaseLimits(t *testing.T) {
	t.Parallel()
	eachHelm(t, func(t *testing.T, helm string) {
		r := render(t, helm, "mlops", "mlops")
		limits := limitsOf(t, r)
		text, err := os.ReadFile(dir + "/values.yaml")
		if err != nil {
			t.Fatal(err)
		}
		var server struct {
			Postgres struct {
				Settings struct {
					Connections int `yaml:"max_connections"`
				}
			}
		}
		if err := yaml.Unmarshal(text, &server); err != nil {
			t.Fatal(err)
		}
		const reserved = 3 + 10 // for superusers, and for backups and people who use them
		sum := reserved
		for name, l := range limits {
			if l.Connections < 1 {
				t.Errorf("role %s may have %d connections", name, l.Connections)
			}
			sum += l.Connections
		}
		if sum > server.Postgres.Settings.Connections {
			t.Errorf("the roles' %d connections do not fit into max_connections=%d", sum, server.Postgres.Settings.Connections)
		}
		roles := map[string]string{"load-raw-data": postgres.LoadRole, "process-data": postgres.CleanRole, "load-val-test-data": postgres.SplitRole,
			"candidates": postgres.TrainRole, "train": postgres.TrainRole, "promote-best-model": postgres.PromoteRole, "score-batch": postgres.ScoreRole}
		seen := 0
		for _, w := range all[*wfv1.WorkflowTemplate](r) {
			for _, template := range w.Spec.Templates {
				role, ok := roles[template.Name]
				if !ok || template.Container == nil {
					continue
				}
				seen++
				deadline := time.Duration(template.ActiveDeadlineSeconds.IntValue()) * time.Second
				if got := postgresTime(t, limits[role].Statement); got < deadline {
					t.Errorf("a statement of %s may last %v, its pod %v", template.Name, got, deadline)
				}
			}
		}
		if seen != len(roles) {
			t.Errorf("%d of %d steps found", seen, len(roles))
		}
		if got := limitsOf(t, render(t, helm, "mlops", "mlops", set("mlflow.workers=3")...))["mlflow"].Connections; got != 3*limits["mlflow"].Connections {
			t.Errorf("three workers of MLflow may have %d connections", got)
		}
		one := limitsOf(t, render(t, helm, "mlops", "mlops", set("global.postgres.roles.train.connections=-1", "global.postgres.roles.train.statementTimeout=0")...))[postgres.TrainRole]
		if one.Connections != -1 || one.Statement != "0" {
			t.Errorf("without limits: %+v", one)
		}
	})
}

// postgresTime reads a time as Postgres writes it in whole units.
func postgresTime(t *testing.T, text string) time.Duration {
	t.Helper()
	i := 0
	for i < len(text) && text[i] >= '0' && text[i] <= '9' {
		i++
	}
	n, err := strconv.Atoi(text[:i])
	unit, ok := map[string]time.Duration{"ms": time.Millisecond, "s": time.Second, "min": time.Minute, "h": time.Hour, "d": 24 * time.Hour}[text[i:]]
	if err != nil || !ok {
		t.Fatalf("%q is not a time of Postgres", text)
	}
	return time.Duration(n) * unit
}

// No pod can fill its node's disk with temporary files, and what waits for a service
// takes what the values say.
func TestEmptyDirsHaveSizes(t *testing.T) {
	t.Parallel()
	eachScenario(t, func(t *testing.T, r *rendering) {
		for _, p := range pods(t, r) {
			for _, v := range p.spec.Volumes {
				if v.EmptyDir != nil && (v.EmptyDir.SizeLimit == nil || v.EmptyDir.SizeLimit.Sign() <= 0) {
					t.Errorf("%s: the emptyDir %s has no size", p, v.Name)
				}
			}
		}
	})
	eachHelm(t, func(t *testing.T, helm string) {
		r := render(t, helm, "mlops", "mlops", set("global.waitResources.requests.cpu=3m", "global.waitResources.limits.memory=77Mi", "global.waitResources.limits.ephemeral-storage=8Mi")...)
		seen := 0
		for _, p := range pods(t, r) {
			for _, c := range p.spec.InitContainers {
				if c.Name != "wait" {
					continue
				}
				seen++
				if c.Resources.Requests.Cpu().String() != "3m" || c.Resources.Limits.Memory().String() != "77Mi" || c.Resources.Limits.StorageEphemeral().String() != "8Mi" {
					t.Errorf("%s: the init container takes %+v", p, c.Resources)
				}
			}
		}
		if seen == 0 {
			t.Error("no pod waits for a service")
		}
	})
}
