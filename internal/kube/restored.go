package kube

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"mlops/internal/retry"
)

// Trust adds public keys to those that the release's servers trust. A release that
// does not sign trusts none.
func (r *Release) Trust(ctx context.Context, signers string) error {
	if signers == "" {
		return nil
	}
	have, err := r.Secret(ctx, "signers")
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil || strings.Contains(have["MLOPS_SIGNERS"], strings.TrimSpace(signers)) {
		return err
	}
	patch, err := json.Marshal(map[string]any{"stringData": map[string]string{"MLOPS_SIGNERS": strings.TrimRight(have["MLOPS_SIGNERS"], "\n") + "\n" + signers}})
	if err != nil {
		return err
	}
	if _, err = r.Client.CoreV1().Secrets(r.Namespace).Patch(ctx, r.Service("signers"), types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
		return fmt.Errorf("trusting the backup's signers: %w", err)
	}
	return nil
}

// Restored are the deployments that hold connections, or what they have read, of databases
// that a restore from inside the cluster has replaced. The chart's account for it may
// restart these and no others. Argo's controller runs that very workflow, and connects to
// its archive again by itself.
var Restored = []string{"mlflow", "argo", "inference"}

// Restart replaces the pods of deployments, one deployment after another, and waits
// until they are ready. It returns the names of those that the release does not have.
func (r *Release) Restart(ctx context.Context, names ...string) (missing []string, err error) {
	patch := fmt.Appendf(nil, `{"spec":{"template":{"metadata":{"annotations":{"kubectl.kubernetes.io/restartedAt":%q}}}}}`, time.Now().Format(time.RFC3339))
	apps := r.Client.AppsV1().Deployments(r.Namespace)
	for _, name := range names {
		_, err := apps.Patch(ctx, r.Service(name), types.StrategicMergePatchType, patch, metav1.PatchOptions{})
		if apierrors.IsNotFound(err) {
			missing = append(missing, name)
			continue
		}
		if err != nil {
			return missing, fmt.Errorf("restarting %s: %w", name, err)
		}
		for {
			d, err := apps.Get(ctx, r.Service(name), metav1.GetOptions{})
			if err != nil {
				return missing, fmt.Errorf("restarting %s: %w", name, err)
			}
			s := d.Status
			if s.ObservedGeneration >= d.Generation && s.UpdatedReplicas == *d.Spec.Replicas && s.AvailableReplicas == s.Replicas && s.Replicas == *d.Spec.Replicas {
				break
			}
			if !retry.Sleep(ctx, time.Second) {
				return missing, context.Cause(ctx)
			}
		}
	}
	return missing, nil
}
