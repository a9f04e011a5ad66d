package kube

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"mlops/internal/certificate"
)

// Scheme returns how a service of the release is spoken to at any of its addresses: http
// with the usual transport, or https with one that verifies the service's certificate by
// the authority in the Secret beside it.
func (r *Release) Scheme(ctx context.Context, s *corev1.Service) (scheme string, transport http.RoundTripper, err error) {
	if p := s.Spec.Ports[0].AppProtocol; p == nil || *p != "https" {
		return "http", http.DefaultTransport, nil
	}
	name := strings.TrimSuffix(s.Name, "-nodeport")
	secret, err := r.Client.CoreV1().Secrets(r.Namespace).Get(ctx, name+"-tls", metav1.GetOptions{})
	if err != nil {
		return "", nil, fmt.Errorf("reading the authority of %s: %w", name, err)
	}
	t, err := certificate.Client(secret.Data["ca.crt"], name)
	if err != nil {
		return "", nil, fmt.Errorf("secret %s-tls: %w", name, err)
	}
	return "https", t, nil
}
