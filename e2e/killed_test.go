//go:build e2e

package e2e

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"text/tabwriter"
	"time"

	wfv1 "github.com/argoproj/argo-workflows/v3/pkg/apis/workflow/v1alpha1"
	corev1 "k8s.io/api/core/v1"
)

const (
	kills   = 3 // how often each kind of step is killed
	maxRuns = 8 // in which that has to come about

	// A step is long where its container's times, which are whole seconds, lie at
	// least this far apart: it then ran for more than a second.
	long = 2 * time.Second
)

// testStepsKilled kills a pod of each kind of step at a random moment, in as many
// runs of the pipeline as it takes to hit each kind some times while it ran.
func testStepsKilled(t *testing.T, f *faults) {
	ran := f.undisturbed(t)
	if t.Failed() {
		return
	}
	defer func() {
		f.outcomes = append(f.outcomes, outcome{fault: fmt.Sprintf("each kind of step deleted %d times", kills), replicas: 1, exact: !t.Failed()})
	}()
	hits, deletions := map[string]int{}, map[string]int{}
	left := func(kind string) bool { return hits[kind] < kills }
	var table strings.Builder
	for run := 1; run <= maxRuns && slices.ContainsFunc(steps, left); run++ {
		name := f.anew(t, fmt.Sprintf("killed-%d", run))
		aims := map[string]aim{}
		for _, kind := range steps {
			if left(kind) {
				aims[kind] = moment(ran, kind, run)
			}
		}
		deleted := deletePods(t, f.r, name, aims)
		w := f.follow(t, name)
		if w == nil {
			return
		}
		var told []string
		for kind, d := range deleted() {
			deletions[kind]++
			how := d.interrupted(w)
			if how != "" && d.runs {
				hits[kind]++
			}
			if how == "" {
				how = "it was over"
			} else if !d.runs {
				how += ", before it was seen to run"
			}
			told = append(told, fmt.Sprintf("%s (%s) at %.1f s: %s", kind, d.pod, d.at.Seconds(), how))
		}
		slices.Sort(told)
		t.Logf("run %d: %s after %s\n  %s", run, w.Status.Phase, took(w), strings.Join(told, "\n  "))
		fmt.Fprintf(&table, "%s\t%s\t%s\t\n", name, took(w), w.Status.Phase)
		f.whole(t)
	}
	table.WriteString("\nkind\truns for\tdeleted\twhile it ran\n")
	for _, kind := range steps {
		at := longest(ran, kind)
		fmt.Fprintf(&table, "%s\t%s\t%d\t%d\n", kind, at, deletions[kind], hits[kind])
		if at >= long && left(kind) {
			t.Errorf("%s, which runs for %s, was deleted %d times while it ran, want %d", kind, at, hits[kind], kills)
		}
	}
	var text strings.Builder
	w := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	fmt.Fprint(w, "workflow\ttook\tphase\t\n", table.String())
	w.Flush()
	t.Logf("\n%s", text.String())
}

// moment chooses which step of a kind is deleted and when: a long one at any
// moment of the time that it takes, a short one as soon as it is seen, or as soon
// as its pod is, by turns: it may be over before the API says that it runs.
func moment(ran map[string]time.Duration, kind string, run int) aim {
	of := slices.DeleteFunc(slices.Sorted(maps.Keys(ran)), func(step string) bool { return kindOf(step) != kind })
	if len(of) == 0 {
		return aim{begun: podRuns} // not even seen
	}
	step := of[rand.IntN(len(of))]
	switch {
	case ran[step] >= long:
		return aim{step: step, begun: mainRuns, after: rand.N(ran[step])}
	case run%2 == 1:
		return aim{step: step, begun: mainRuns}
	}
	return aim{step: step, begun: podRuns}
}

// longest is how long the longest step of a kind ran.
func longest(ran map[string]time.Duration, kind string) time.Duration {
	var d time.Duration
	for step, r := range ran {
		if kindOf(step) == kind {
			d = max(d, r)
		}
	}
	return d
}

// undisturbed runs the pipeline and returns how long the container of each step
// ran. Argo's own times begin with the pod, so they are the pods' that count.
func (f *faults) undisturbed(t *testing.T) map[string]time.Duration {
	t.Helper()
	name := f.anew(t, "undisturbed")
	w := watchPods(t, f.r, name)
	ran := map[string]time.Duration{}
	var all sync.WaitGroup
	all.Go(func() {
		for e := range w.ResultChan() {
			p, ok := e.Object.(*corev1.Pod)
			if !ok {
				continue
			}
			if s := mainOf(p).State.Terminated; s != nil {
				ran[stepOf(p)] = s.FinishedAt.Sub(s.StartedAt.Time)
			}
		}
	})
	ended := f.follow(t, name)
	w.Stop()
	all.Wait()
	if ended != nil {
		t.Logf("undisturbed: %s after %s; containers ran for %v", ended.Status.Phase, took(ended), ran)
	}
	f.whole(t)
	// The others are over within a second or two, even with the whole table.
	if longest(ran, "train") < long {
		t.Errorf("train was seen to run for %s only: was it no training?", longest(ran, "train"))
	}
	return ran
}

// testStepPanics ends a training as a Go panic does: with exit code 2, which otherwise
// says that the input is wrong, and with a stack at the end of the log. Argo tries
// it again.
func testStepPanics(t *testing.T, f *faults) {
	var panicked string
	f.observe(t, "a training panics", always, func(t *testing.T) time.Duration {
		name := f.anew(t, "panicked")
		eventually(t, 5*time.Minute, func() error {
			pods, err := f.r.Pods(t.Context(), "workflows.argoproj.io/workflow="+name)
			if err != nil {
				return err
			}
			for _, p := range pods {
				if template(&p) != "train" || !mainRuns(&p) {
					continue
				}
				for _, pid := range processes(t, &p) {
					// Go's runtime does the same for this signal as for a panic.
					if line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)); err == nil && strings.HasPrefix(string(line), "/train-model\x00") {
						panicked = p.Name
						return syscall.Kill(pid, syscall.SIGQUIT)
					}
				}
			}
			return fmt.Errorf("no training runs")
		})
		w := f.follow(t, name)
		if w == nil {
			return 0
		}
		for _, n := range w.Status.Nodes {
			if n.Type == wfv1.NodeTypePod && strings.HasSuffix(panicked, n.ID[strings.LastIndexByte(n.ID, '-'):]) {
				t.Logf("%s ended %s: %s", panicked, n.Phase, n.Message)
				if n.Outputs == nil || n.Outputs.ExitCode == nil || *n.Outputs.ExitCode != "2" {
					t.Errorf("its outputs are %+v, want exit code 2", n.Outputs)
				}
			}
		}
		if !interrupted(w, panicked) {
			t.Errorf("%s did not fail: there was nothing to try again", panicked)
		}
		return took(w)
	})
}
