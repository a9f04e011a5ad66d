package setup

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mlops/internal/certificate"
	"mlops/internal/mlflow"
	"mlops/internal/source"
	"mlops/internal/tlsproxy"
)

// TestTLSClient is the process that TestServicesOverTLS starts, since Go reads
// SSL_CERT_FILE once.
func TestTLSClient(t *testing.T) {
	endpoint := os.Getenv("MLOPS_TEST_TLS_S3")
	if endpoint == "" {
		t.Skip("started by TestServicesOverTLS")
	}
	root := store(t)
	root.Endpoint = endpoint
	bucket := "tls-" + fmt.Sprint(time.Now().UnixNano())
	config := Config{S3: root, Buckets: []string{bucket}, Log: quiet, Patience: 2 * time.Second, Users: []User{
		{AccessKey: "writer-" + bucket, SecretKey: "secret-of-the-writer", Writes: bucket},
	}}
	if err := Run(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	c, err := source.S3{Endpoint: endpoint, AccessKey: "writer-" + bucket, SecretKey: "secret-of-the-writer", Region: root.Region}.Client()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.BucketExists(t.Context(), bucket); err != nil {
		t.Error(err)
	}
	m, err := mlflow.New(os.Getenv("MLOPS_TEST_TLS_MLFLOW"), mlflow.Options{Tries: 1})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.EnsureExperiment(t.Context(), bucket); err != nil {
		t.Error(err)
	}
	if err := Wait(t.Context(), quiet, []string{os.Getenv("MLOPS_TEST_TLS_MLFLOW") + "/health"}, "", "", time.Second); err != nil {
		t.Error(err)
	}
}

// The real MinIO and MLflow, with TLS in front as in a release, serve clients that trust
// the authority: ours by SSL_CERT_FILE, MLflow's client of the store by AWS_CA_BUNDLE.
func TestServicesOverTLS(t *testing.T) {
	root, tracking, venv := store(t), os.Getenv("MLOPS_TEST_MLFLOW"), os.Getenv("MLOPS_VENV")
	if tracking == "" || venv == "" {
		t.Skip("SKIPPED, NOT PASSED: MLOPS_TEST_MLFLOW or MLOPS_VENV is not set; make test sets them")
	}
	donor := httptest.NewTLSServer(nil) // for its certificate, which is its own authority
	defer donor.Close()
	key, err := x509.MarshalPKCS8PrivateKey(donor.TLS.Certificates[0].PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, block := range map[string]*pem.Block{"tls.crt": {Type: "CERTIFICATE", Bytes: donor.Certificate().Raw}, "tls.key": {Type: "PRIVATE KEY", Bytes: key}} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	front := func(server string) string {
		t.Helper()
		u, err := url.Parse(server)
		if err != nil {
			t.Fatal(err)
		}
		config, err := certificate.Server(dir)
		if err != nil {
			t.Fatal(err)
		}
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() {
			done <- tlsproxy.Serve(ctx, l, config, func(ctx context.Context) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, "tcp", u.Host)
			}, quiet)
		}()
		t.Cleanup(func() {
			stop()
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
		return "https://" + l.Addr().String()
	}
	s3, ml := front(root.Endpoint), front(tracking)
	run := func(env []string, name string, args ...string) (string, error) {
		cmd := exec.Command(name, args...)
		cmd.Env = append(os.Environ(), append(env, "MLOPS_TEST_TLS_S3="+s3, "MLOPS_TEST_TLS_MLFLOW="+ml)...)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	authority := filepath.Join(dir, "tls.crt")
	if out, err := run([]string{"SSL_CERT_FILE=" + authority}, os.Args[0], "-test.run=^TestTLSClient$", "-test.v"); err != nil || strings.Contains(out, "SKIP") {
		t.Errorf("our clients: %v\n%s", err, out)
	}
	if out, err := run(nil, os.Args[0], "-test.run=^TestTLSClient$", "-test.v"); err == nil || !strings.Contains(out, "certificate") {
		t.Errorf("our clients, without the authority: %v\n%s", err, out)
	}
	const script = `
import boto3, os, sys, time
s3 = boto3.client("s3", endpoint_url=os.environ["MLOPS_TEST_TLS_S3"], region_name="us-east-1", aws_access_key_id=sys.argv[1], aws_secret_access_key=sys.argv[2])
bucket = "python-%d" % time.time_ns()
s3.create_bucket(Bucket=bucket)
with open(sys.argv[3], "rb") as f:
    s3.upload_fileobj(f, bucket, "large")
print(s3.head_object(Bucket=bucket, Key="large")["ContentLength"])
`
	large := filepath.Join(dir, "large")
	if err := os.WriteFile(large, make([]byte, 20<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	args := []string{"-c", script, root.AccessKey, root.SecretKey, large}
	if out, err := run([]string{"AWS_CA_BUNDLE=" + authority}, filepath.Join(venv, "bin", "python"), args...); err != nil || !strings.HasSuffix(out, "20971520\n") {
		t.Errorf("boto3: %v\n%s", err, out)
	}
	if out, err := run(nil, filepath.Join(venv, "bin", "python"), args...); err == nil || !strings.Contains(out, "certificate verify failed") {
		t.Errorf("boto3, without the authority: %v\n%s", err, out)
	}
}
