//go:build e2e

package e2e

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"mlops/internal/kube"
	tables "mlops/internal/source"
	"mlops/internal/versions"
)

// gateway is an S3 store that is not MinIO, with a user for each role.
type gateway struct {
	endpoint string                       // inside the cluster
	keys     map[string]map[string]string // by role, as a Secret has them: root, mlflow, loader
}

// gateway runs the Versity S3 Gateway in the namespace of r, with the buckets of a
// release, one user that may write to MLflow's and one that may read the sources.
func (m *machine) gateway(t *testing.T, r *kube.Release) gateway {
	t.Helper()
	dir := t.TempDir()
	m.must(t, nil, "go", "run", "-trimpath", "-buildvcs=false", "./tools/images", "-out", dir, "versitygw")
	cluster := filepath.Join(m.home, "bin", "cluster")
	m.must(t, nil, cluster, "import", filepath.Join(dir, "images", "versitygw.tar"))

	g := gateway{"http://" + r.Service("gateway") + "." + r.Namespace + ":7070", map[string]map[string]string{}}
	for _, role := range []string{"root", "mlflow", "loader"} {
		g.keys[role] = map[string]string{"AWS_ACCESS_KEY_ID": role + rand.Text()[:8], "AWS_SECRET_ACCESS_KEY": rand.Text()}
		secret(t, r, "s3-"+role, g.keys[role])
	}
	key := func(name string) *corev1.EnvVarSource {
		return &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: "s3-root"}, Key: name}}
	}
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "gateway", Labels: map[string]string{"app": "gateway"}},
		Spec: corev1.PodSpec{
			AutomountServiceAccountToken: new(bool),
			SecurityContext:              &corev1.PodSecurityContext{FSGroup: new(int64(65532))},
			Containers: []corev1.Container{{
				Name: "gateway", Image: "mlops.local/versitygw:" + versions.VersityGW, ImagePullPolicy: corev1.PullNever,
				Args: []string{"--port", ":7070", "--quiet", "--health", "/health", "--iam-dir", "/data/users",
					"posix", "--sidecar", "/data/metadata", "/data/buckets"},
				Env:            []corev1.EnvVar{{Name: "ROOT_ACCESS_KEY", ValueFrom: key("AWS_ACCESS_KEY_ID")}, {Name: "ROOT_SECRET_KEY", ValueFrom: key("AWS_SECRET_ACCESS_KEY")}},
				ReadinessProbe: &corev1.Probe{ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: "/health", Port: intstr.FromInt32(7070)}}, PeriodSeconds: 1},
			}},
		},
	}
	for _, name := range []string{"buckets", "metadata", "users"} {
		pod.Spec.Volumes = append(pod.Spec.Volumes, corev1.Volume{Name: name, VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}})
		pod.Spec.Containers[0].VolumeMounts = append(pod.Spec.Containers[0].VolumeMounts, corev1.VolumeMount{Name: name, MountPath: "/data/" + name})
	}
	if _, err := r.Client.CoreV1().Pods(r.Namespace).Create(t.Context(), pod, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	service := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: r.Service("gateway")},
		Spec:       corev1.ServiceSpec{Selector: pod.Labels, Ports: []corev1.ServicePort{{Port: 7070, TargetPort: intstr.FromInt32(7070)}}},
	}
	if _, err := r.Client.CoreV1().Services(r.Namespace).Create(t.Context(), service, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, time.Minute, func() error {
		p, err := r.Client.CoreV1().Pods(r.Namespace).Get(t.Context(), "gateway", metav1.GetOptions{})
		if err == nil && !kube.Ready(p) {
			err = fmt.Errorf("the gateway is not ready: %+v", p.Status.ContainerStatuses)
		}
		return err
	})

	path := strings.Fields(m.must(t, nil, cluster, "path", "kubectl"))
	root := g.keys["root"]
	for _, role := range []string{"mlflow", "loader"} {
		m.must(t, nil, path[len(path)-1], "--kubeconfig", m.kubeconfig(), "-n", r.Namespace, "exec", "gateway", "--", "/bin/versitygw", "admin",
			"--access", root["AWS_ACCESS_KEY_ID"], "--secret", root["AWS_SECRET_ACCESS_KEY"], "--endpoint-url", "http://127.0.0.1:7070",
			"create-user", "--access", g.keys[role]["AWS_ACCESS_KEY_ID"], "--secret", g.keys[role]["AWS_SECRET_ACCESS_KEY"], "--role", "user")
	}
	g.buckets(t, r)
	return g
}

// buckets makes the buckets, and lets each user use its own.
func (g gateway) buckets(t *testing.T, r *kube.Release) {
	t.Helper()
	client := func(role string) *minio.Client {
		c, err := tables.S3{Endpoint: forward(t, r, "gateway", 7070), AccessKey: g.keys[role]["AWS_ACCESS_KEY_ID"], SecretKey: g.keys[role]["AWS_SECRET_ACCESS_KEY"], Region: "us-east-1"}.Client()
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	root := client("root")
	for bucket, user := range map[string]struct {
		role    string
		actions []string
	}{
		"mlflow":  {"mlflow", []string{"s3:GetBucketLocation", "s3:ListBucket", "s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"}},
		"sources": {"loader", []string{"s3:GetBucketLocation", "s3:ListBucket", "s3:GetObject"}},
	} {
		if err := root.MakeBucket(t.Context(), bucket, minio.MakeBucketOptions{}); err != nil {
			t.Fatal(err)
		}
		policy, err := json.Marshal(map[string]any{"Version": "2012-10-17", "Statement": []map[string]any{{
			"Effect": "Allow", "Principal": map[string]any{"AWS": []string{g.keys[user.role]["AWS_ACCESS_KEY_ID"]}}, "Action": user.actions,
			"Resource": []string{"arn:aws:s3:::" + bucket, "arn:aws:s3:::" + bucket + "/*"},
		}}})
		if err != nil {
			t.Fatal(err)
		}
		if err := root.SetBucketPolicy(t.Context(), bucket, string(policy)); err != nil {
			t.Fatal(err)
		}
	}
	for role, bucket := range map[string]string{"mlflow": "sources", "loader": "mlflow"} {
		for o := range client(role).ListObjects(t.Context(), bucket, minio.ListObjectsOptions{}) {
			if minio.ToErrorResponse(o.Err).Code != "AccessDenied" {
				t.Errorf("the user %s may list the bucket %s: %v", role, bucket, o.Err)
			}
		}
	}
}
