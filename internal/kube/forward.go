package kube

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/transport/spdy"
)

// Forward is a local port that is forwarded to a pod of a service.
type Forward struct {
	Address   string            // 127.0.0.1:port
	URL       string            // for a service that speaks HTTP
	Transport http.RoundTripper // verifies its certificate, if the URL is https
	Ended     <-chan error
	stop      chan struct{}
}

// Scheme is the scheme of the URL.
func (f *Forward) Scheme() string {
	scheme, _, _ := strings.Cut(f.URL, ":")
	return scheme
}

// Close ends the forwarding.
func (f *Forward) Close() { close(f.stop) }

// Forward forwards a local port (0: a free one) to a ready pod of a service. The
// forwarding ends with the pod, with the context or by Close.
func (r *Release) Forward(ctx context.Context, service string, port, local int) (*Forward, error) {
	f, err := r.forward(ctx, service, port, local)
	if err != nil {
		return nil, fmt.Errorf("forwarding a port to service %s: %w", service, err)
	}
	return f, nil
}

func (r *Release) forward(ctx context.Context, service string, port, local int) (*Forward, error) {
	s, err := r.Client.CoreV1().Services(r.Namespace).Get(ctx, service, metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	pods, err := r.Pods(ctx, labels.SelectorFromSet(s.Spec.Selector).String())
	if err != nil {
		return nil, err
	}
	for _, pod := range pods {
		if !Ready(&pod) {
			continue
		}
		target, err := targetPort(s, &pod, port)
		if err != nil {
			return nil, err
		}
		scheme, transport, err := r.Scheme(ctx, s)
		if err != nil {
			return nil, err
		}
		f, err := r.forwardPod(ctx, pod.Name, target, local)
		if err != nil {
			return nil, err
		}
		f.URL, f.Transport = scheme+"://"+f.Address, transport
		return f, nil
	}
	return nil, fmt.Errorf("none of its %d pods is ready", len(pods))
}

// Ready reports whether a pod is ready and not terminating.
func Ready(pod *corev1.Pod) bool {
	if pod.DeletionTimestamp != nil {
		return false
	}
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

// targetPort returns the pod's port behind a service's port.
func targetPort(s *corev1.Service, pod *corev1.Pod, port int) (int, error) {
	for _, p := range s.Spec.Ports {
		if int(p.Port) != port {
			continue
		}
		if p.TargetPort.Type == intstr.Int {
			return p.TargetPort.IntValue(), nil
		}
		for _, c := range pod.Spec.Containers {
			for _, cp := range c.Ports {
				if cp.Name == p.TargetPort.StrVal {
					return int(cp.ContainerPort), nil
				}
			}
		}
	}
	return 0, fmt.Errorf("it has no port %d", port)
}

func (r *Release) forwardPod(ctx context.Context, pod string, target, local int) (*Forward, error) {
	transport, upgrader, err := spdy.RoundTripperFor(r.Config)
	if err != nil {
		return nil, err
	}
	address := r.Client.CoreV1().RESTClient().Post().Resource("pods").Namespace(r.Namespace).Name(pod).SubResource("portforward").URL()
	dialer := spdy.NewDialer(upgrader, &http.Client{Transport: transport}, http.MethodPost, address)
	stop, ready, ended := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	fw, err := portforward.NewOnAddresses(dialer, []string{"127.0.0.1"}, []string{fmt.Sprintf("%d:%d", local, target)}, stop, ready, io.Discard, io.Discard)
	if err != nil {
		return nil, err
	}
	go func() { ended <- fw.ForwardPorts() }()
	f := &Forward{Ended: ended, stop: stop}
	select {
	case err := <-ended:
		if err == nil {
			err = errors.New("it ended immediately")
		}
		return nil, err
	case <-ctx.Done():
		f.Close()
		return nil, context.Cause(ctx)
	case <-ready:
	}
	ports, err := fw.GetPorts()
	if err != nil {
		f.Close()
		return nil, err
	}
	f.Address = "127.0.0.1:" + strconv.Itoa(int(ports[0].Local))
	return f, nil
}
