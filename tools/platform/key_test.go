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

// A name that two files know is not revoked in one of them.
func TestRevoke(t *testing.T) {
	data := map[string][]byte{}
	ids := map[string]string{}
	for _, of := range [][2]string{{"keys", "a"}, {"keys", "b"}, {"others", "b"}} {
		_, k, err := apikey.New(of[1], []apikey.Scope{apikey.Read}, apikey.Rate{})
		if err != nil {
			t.Fatal(err)
		}
		text, err := apikey.Add(string(data[of[0]]), k)
		if err != nil {
			t.Fatal(err)
		}
		data[of[0]], ids[of[0]+of[1]] = []byte(text), k.ID
	}
	left := func() string { return string(data["keys"]) + string(data["others"]) }
	before := left()
	for which, want := range map[string]string{"b": "2 keys are named b", "c": `no key "c"`} {
		if _, err := revoke(data, which); err == nil || !strings.Contains(err.Error(), want) || left() != before {
			t.Errorf("revoking %s: %v, want %q and no change", which, err, want)
		}
	}
	for which, id := range map[string]string{"a": ids["keysa"], ids["othersb"]: ids["othersb"]} {
		if k, err := revoke(data, which); err != nil || k.ID != id || strings.Contains(left(), id) {
			t.Errorf("revoking %s: key %s, %v", which, k.ID, err)
		}
	}
	if !strings.Contains(left(), ids["keysb"]) {
		t.Error("a key that nobody revoked is gone")
	}
}
