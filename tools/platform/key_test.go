package main

import (
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"

	"mlops/internal/apikey"
	"mlops/internal/kube"
)

// Keys are added to the Secret that inference reads, which is made if it is missing.
func TestEditKeys(t *testing.T) {
	add := func(data map[string][]byte) error {
		_, k, err := apikey.New("a", []apikey.Scope{apikey.Read}, apikey.Rate{})
		if err != nil {
			return err
		}
		text, err := apikey.Add(string(data[keysFile]), k)
		data[keysFile] = []byte(text)
		return err
	}
	for _, test := range []struct {
		name, want string
		mounted    *corev1.SecretProjection
	}{
		{"before keys are asked for", "mlops-api-keys", nil},
		{"the user's own Secret", "ours", &corev1.SecretProjection{LocalObjectReference: corev1.LocalObjectReference{Name: "ours"}}},
	} {
		d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: "mlops-inference", Namespace: "n"}}
		if test.mounted != nil {
			d.Spec.Template.Spec.Volumes = []corev1.Volume{{Name: "keys", VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{
				Sources: []corev1.VolumeProjection{{Secret: test.mounted}}}}}}
		}
		r := &kube.Release{Name: "mlops", Namespace: "n", Client: fake.NewClientset(d)}
		if _, err := editKeys(t.Context(), r, false, add); err == nil || !strings.Contains(err.Error(), "Secret "+test.want) {
			t.Errorf("%s: without a Secret: %v", test.name, err)
		}
		for range 2 {
			if name, err := editKeys(t.Context(), r, true, add); err != nil || name != test.want {
				t.Fatalf("%s: Secret %s, %v", test.name, name, err)
			}
		}
		s, err := r.Client.CoreV1().Secrets("n").Get(t.Context(), test.want, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if keys, err := apikey.Parse(string(s.Data[keysFile])); err != nil || len(keys) != 2 || s.Labels["app.kubernetes.io/instance"] != "mlops" {
			t.Errorf("%s: %d keys, %v, labels %v", test.name, len(keys), err, s.Labels)
		}
	}
}
