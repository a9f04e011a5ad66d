package kube

import (
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/utils/ptr"
)

// A service that says https is verified by its own name, whatever the address.
func TestScheme(t *testing.T) {
	t.Parallel()
	server := httptest.NewTLSServer(http.NotFoundHandler()) // its certificate is one of example.com
	defer server.Close()
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	secret := func(name string) *corev1.Secret {
		return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "n"}, Data: map[string][]byte{"ca.crt": ca}}
	}
	r := &Release{Name: "mlops", Namespace: "n", Client: fake.NewClientset(secret("example.com-tls"), secret("mlops-ui-tls"))}
	for _, test := range []struct {
		name     string
		protocol *string
		scheme   string
		verified bool
	}{
		{"mlops-ui", nil, "http", false},
		{"example.com", ptr.To("https"), "https", true},
		{"example.com-nodeport", ptr.To("https"), "https", true},
		{"mlops-ui", ptr.To("https"), "https", false},
	} {
		s := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: test.name}, Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{{AppProtocol: test.protocol}}}}
		scheme, transport, err := r.Scheme(t.Context(), s)
		if err != nil || scheme != test.scheme {
			t.Errorf("%s: %q, %v, want %s", test.name, scheme, err, test.scheme)
			continue
		}
		resp, err := (&http.Client{Transport: transport}).Get(server.URL)
		if err == nil {
			resp.Body.Close()
		}
		if (err == nil) != test.verified {
			t.Errorf("%s: %v, want it verified: %t", test.name, err, test.verified)
		}
	}
	s := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: "mlops-mlflow"}, Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{{AppProtocol: ptr.To("https")}}}}
	if _, _, err := r.Scheme(t.Context(), s); err == nil {
		t.Error("https without an authority is no error")
	}
}
