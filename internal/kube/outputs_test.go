package kube

import (
	"testing"
	"time"

	wfv1 "github.com/argoproj/argo-workflows/v3/pkg/apis/workflow/v1alpha1"
	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestOutputs(t *testing.T) {
	t.Parallel()
	node := func(second int64, kind wfv1.NodeType, phase wfv1.NodePhase, name, value string) wfv1.NodeStatus {
		return wfv1.NodeStatus{
			Type: kind, Phase: phase, StartedAt: metav1.NewTime(time.Unix(second, 0)),
			Outputs: &wfv1.Outputs{Parameters: []wfv1.Parameter{{Name: name, Value: wfv1.AnyStringPtr(value)}, {Name: "unset"}}},
		}
	}
	w := &wfv1.Workflow{Status: wfv1.WorkflowStatus{Nodes: wfv1.Nodes{
		"a": node(3, wfv1.NodeTypePod, wfv1.NodeSucceeded, "report", "second"),
		"b": node(1, wfv1.NodeTypePod, wfv1.NodeFailed, "report", "a try that failed"),
		"c": node(2, wfv1.NodeTypePod, wfv1.NodeSucceeded, "report", "first"),
		"d": node(1, wfv1.NodeTypeRetry, wfv1.NodeSucceeded, "report", "the same again, above its tries"),
		"e": {Type: wfv1.NodeTypePod, Phase: wfv1.NodeSucceeded},
	}}}
	want := []map[string]string{{"report": "first"}, {"report": "second"}}
	if diff := cmp.Diff(want, Outputs(w)); diff != "" {
		t.Errorf("outputs (-want +got):\n%s", diff)
	}
}
