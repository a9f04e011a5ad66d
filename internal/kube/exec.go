package kube

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/remotecommand"
)

// Exec runs a command in a pod's container. The error has the end of what the
// command wrote to its standard error.
func (r *Release) Exec(ctx context.Context, pod, container string, in io.Reader, out io.Writer, argv ...string) error {
	address := r.Client.CoreV1().RESTClient().Post().Resource("pods").Namespace(r.Namespace).Name(pod).SubResource("exec").
		VersionedParams(&corev1.PodExecOptions{Container: container, Command: argv, Stdin: in != nil, Stdout: true, Stderr: true}, scheme.ParameterCodec).URL()
	e, err := remotecommand.NewSPDYExecutor(r.Config, http.MethodPost, address)
	if err != nil {
		return fmt.Errorf("running %s in %s: %w", argv[0], pod, err)
	}
	var said bytes.Buffer
	if err := e.StreamWithContext(ctx, remotecommand.StreamOptions{Stdin: in, Stdout: out, Stderr: &said}); err != nil {
		text := strings.TrimSpace(said.String())
		return fmt.Errorf("running %s in %s: %w: %s", argv[0], pod, err, text[max(0, len(text)-500):])
	}
	return nil
}
