package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"filippo.io/age"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"mlops/internal/backup"
	"mlops/internal/kube"
	"mlops/internal/program"
	"mlops/internal/source"
	"mlops/internal/versions"
)

// databaseNames are a release's databases, each before those that its rows refer to:
// clean rows come from raw ones, a version names the rows that it learnt from, and a
// finished workflow names all of them.
var databaseNames = []string{"argo", "mlflow", "clean", "raw"}

// backUp is `make backup`.
func backUp(ctx context.Context, c *config) error {
	place, err := backupPlace("TO")
	if err != nil {
		return err
	}
	keep := 0
	if text := os.Getenv("KEEP"); text != "" {
		if keep, err = strconv.Atoi(text); err != nil || keep < 1 {
			return program.Inputf("KEEP=%s: want a number of backups to keep, at least 1", text)
		}
	}
	var recipient *age.X25519Recipient
	if text := os.Getenv("RECIPIENT"); text != "" {
		if recipient, err = age.ParseX25519Recipient(text); err != nil {
			return program.Inputf("RECIPIENT=%s: want an age public key, such as age1…: %w", text, err)
		}
	}
	r, err := c.installed(ctx)
	if err != nil {
		return err
	}
	return c.do("backup", func(say func(string)) (string, error) {
		release, closed, err := c.parts(ctx, r, say)
		if err != nil {
			return "", err
		}
		defer closed()
		about := backup.Manifest{Platform: versions.Platform}
		if signers, err := r.Secret(ctx, "signers"); err == nil {
			about.Signers = signers["MLOPS_SIGNERS"]
		} else if !apierrors.IsNotFound(err) {
			return "", err
		}
		var secrets []byte
		if recipient != nil {
			if secrets, err = sealSecrets(ctx, r, recipient); err != nil {
				return "", err
			}
		}
		m, err := backup.Write(ctx, place, release, about, secrets)
		if err != nil {
			return "", err
		}
		said := fmt.Sprintf("%s in %s: %d databases, %d objects, %s", m.Name, place, len(m.Databases), len(m.Objects), megabytes(m.Bytes()))
		if recipient == nil {
			said += "; no Secrets (RECIPIENT=age1… adds them, encrypted)"
		}
		if keep > 0 {
			n, err := backup.Keep(ctx, place, keep)
			if err != nil {
				return "", err
			}
			said += fmt.Sprintf("; %d older deleted", n)
		}
		return said, nil
	})
}

// restore is `make restore`.
func restore(ctx context.Context, c *config) error {
	place, err := backupPlace("FROM")
	if err != nil {
		return err
	}
	m, err := backup.Find(ctx, place, os.Getenv("BACKUP"))
	if err != nil {
		return program.Input(err)
	}
	var identities []age.Identity
	if path := os.Getenv("IDENTITY"); path != "" {
		text, err := os.ReadFile(path)
		if err == nil {
			identities, err = age.ParseIdentities(bytes.NewReader(text))
		}
		if err != nil {
			return program.Inputf("IDENTITY=%s: %w", path, err)
		}
		if m.Secrets == nil {
			return program.Inputf("IDENTITY=%s: backup %s has no Secrets; leave IDENTITY out", path, m.Name)
		}
	}
	err = c.do("verify", func(func(string)) (string, error) {
		return fmt.Sprintf("%s of %s, %s", m.Name, place, megabytes(m.Bytes())), backup.Verify(ctx, place, m)
	})
	if err != nil {
		return err
	}
	t, err := c.choose(ctx)
	if err != nil {
		return err
	}
	r, err := c.open(t)
	if err != nil {
		return err
	}
	if len(identities) > 0 {
		err := c.do("secrets", func(func(string)) (string, error) {
			sealed, err := backup.Secrets(ctx, place, m)
			if err != nil {
				return "", err
			}
			return openSecrets(ctx, r, sealed, identities)
		})
		if err != nil {
			return err
		}
	}
	installed, err := r.Installed(ctx)
	if err != nil {
		return err
	}
	if !installed {
		return program.Inputf("namespace %s has no release %s yet: install it with --set pipelines.runOnInstall=false, then restore again", r.Namespace, r.Name)
	}
	if err := idle(ctx, r); err != nil {
		return err
	}
	err = c.do("restore", func(say func(string)) (string, error) {
		release, closed, err := c.parts(ctx, r, say)
		if err != nil {
			return "", err
		}
		defer closed()
		if err := trust(ctx, r, m.Signers); err != nil {
			return "", err
		}
		done, err := backup.Restore(ctx, place, m, release)
		return fmt.Sprintf("%d databases; %d objects put, %d were there, %d of the buckets are not in the backup and stay", len(m.Databases), done.Put, done.Same, done.Extra), err
	})
	if err != nil {
		return err
	}
	return c.do("restart", func(func(string)) (string, error) {
		return "MLflow, Argo and the server read what was restored", restart(ctx, r)
	})
}

// backupPlace is the folder or the bucket that a variable names.
func backupPlace(variable string) (backup.Place, error) {
	address := os.Getenv(variable)
	if address == "" {
		return nil, program.Inputf("%s is empty: name a folder or a bucket, such as %s=backups or %s=s3://bucket/mlops (AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY lead to it)", variable, variable, variable)
	}
	if !strings.Contains(address, "://") {
		return backup.Folder(address), nil
	}
	name, prefix, err := backup.ParseBucket(address)
	if err != nil {
		return nil, program.Inputf("%s: %w", variable, err)
	}
	client, err := source.S3{Endpoint: os.Getenv("AWS_ENDPOINT_URL"), Region: os.Getenv("AWS_REGION"),
		AccessKey: os.Getenv("AWS_ACCESS_KEY_ID"), SecretKey: os.Getenv("AWS_SECRET_ACCESS_KEY")}.Client()
	if err != nil {
		return nil, program.Input(err)
	}
	return backup.Bucket{Client: client, Name: name, Prefix: prefix}, nil
}

// installed is the release that `make up` or helm installed.
func (c *config) installed(ctx context.Context) (*kube.Release, error) {
	t, err := c.choose(ctx)
	if err != nil {
		return nil, err
	}
	r, err := c.open(t)
	if err != nil {
		return nil, err
	}
	installed, err := r.Installed(ctx)
	if err == nil && !installed {
		err = program.Inputf("namespace %s has no release %s (NAMESPACE= names another)", r.Namespace, r.Name)
	}
	return r, err
}

// open is the release in the namespace that NAMESPACE names, or in the usual one.
func (c *config) open(t target) (*kube.Release, error) {
	return kube.Open(t.Kubeconfig, t.Context, program.EnvOr("NAMESPACE", namespace), releaseName)
}

// parts leads to a release's own Postgres and MinIO, until closed is called.
func (c *config) parts(ctx context.Context, r *kube.Release, say func(string)) (release backup.Release, closed func(), err error) {
	pods, err := r.Pods(ctx, "app.kubernetes.io/component=postgres,app.kubernetes.io/instance="+r.Name)
	if err != nil {
		return release, nil, err
	}
	i := slices.IndexFunc(pods, func(p corev1.Pod) bool { return kube.Ready(&p) })
	if i < 0 {
		return release, nil, fmt.Errorf("none of the release's %d Postgres pods is ready; an existing Postgres is backed up with its own tools", len(pods))
	}
	keys, err := r.Secret(ctx, "s3")
	if apierrors.IsNotFound(err) {
		return release, nil, errors.New("the release has no S3 store of its own; an existing one is backed up with its own tools")
	}
	if err != nil {
		return release, nil, err
	}
	f, err := r.Forward(ctx, r.Service("minio"), 9000, 0)
	if err != nil {
		return release, nil, err
	}
	store, err := source.S3{Endpoint: "http://" + f.Address, AccessKey: keys["AWS_ACCESS_KEY_ID"], SecretKey: keys["AWS_SECRET_ACCESS_KEY"], Region: "us-east-1"}.Client()
	if err != nil {
		f.Close()
		return release, nil, err
	}
	return backup.Release{Databases: databases{r, pods[i].Name}, Names: databaseNames, Store: store, Buckets: []string{mlflowBucket, sourceBucket},
		Log: slog.New(slog.NewTextHandler(sayWriter(say), nil))}, f.Close, nil
}

// sayWriter passes lines on.
type sayWriter func(string)

func (say sayWriter) Write(p []byte) (int, error) {
	say(strings.TrimSpace(string(p)))
	return len(p), nil
}

func megabytes(n int64) string { return fmt.Sprintf("%.1f MB", float64(n)/1e6) }

// idle refuses to restore under a running workflow.
func idle(ctx context.Context, r *kube.Release) error {
	all, err := r.Workflows(ctx, "")
	if err != nil {
		return err
	}
	for _, w := range all {
		if !w.Status.Fulfilled() {
			return program.Inputf("workflow %s is running: wait until it has ended, or stop it, then restore again", w.Name)
		}
	}
	return nil
}

// trust adds the public keys of a backup to those that the release's servers trust.
func trust(ctx context.Context, r *kube.Release, signers string) error {
	if signers == "" {
		return nil
	}
	have, err := r.Secret(ctx, "signers")
	if apierrors.IsNotFound(err) {
		return nil // the release does not sign
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

// restart replaces the pods of what keeps rows or a model in memory, and waits until
// they are ready.
func restart(ctx context.Context, r *kube.Release) error {
	patch := fmt.Appendf(nil, `{"spec":{"template":{"metadata":{"annotations":{"kubectl.kubernetes.io/restartedAt":%q}}}}}`, time.Now().Format(time.RFC3339))
	apps := r.Client.AppsV1().Deployments(r.Namespace)
	for _, name := range []string{"mlflow", "argo-controller", "argo-server", "inference"} {
		_, err := apps.Patch(ctx, r.Service(name), types.StrategicMergePatchType, patch, metav1.PatchOptions{})
		if apierrors.IsNotFound(err) {
			continue
		}
		if err != nil {
			return fmt.Errorf("restarting %s: %w", name, err)
		}
		for tick := time.NewTicker(time.Second); ; {
			d, err := apps.Get(ctx, r.Service(name), metav1.GetOptions{})
			if err != nil {
				tick.Stop()
				return fmt.Errorf("restarting %s: %w", name, err)
			}
			s := d.Status
			if s.ObservedGeneration >= d.Generation && s.UpdatedReplicas == *d.Spec.Replicas && s.AvailableReplicas == s.Replicas && s.Replicas == *d.Spec.Replicas {
				tick.Stop()
				break
			}
			select {
			case <-ctx.Done():
				tick.Stop()
				return context.Cause(ctx)
			case <-tick.C:
			}
		}
	}
	return nil
}

// ownSecrets returns the Secrets that the release's own templates made: passwords
// and keys, and not what Helm keeps for itself.
func ownSecrets(ctx context.Context, r *kube.Release) ([]corev1.Secret, error) {
	list, err := r.Client.CoreV1().Secrets(r.Namespace).List(ctx, metav1.ListOptions{LabelSelector: "app.kubernetes.io/instance=" + r.Name})
	if err != nil {
		return nil, fmt.Errorf("reading the Secrets: %w", err)
	}
	var all []corev1.Secret
	for _, s := range list.Items {
		if s.Type == corev1.SecretTypeOpaque {
			s.ObjectMeta = metav1.ObjectMeta{Name: s.Name, Labels: s.Labels, Annotations: s.Annotations}
			all = append(all, s)
		}
	}
	return all, nil
}

func sealSecrets(ctx context.Context, r *kube.Release, to age.Recipient) ([]byte, error) {
	all, err := ownSecrets(ctx, r)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	w, err := age.Encrypt(&out, to)
	if err == nil {
		err = json.NewEncoder(w).Encode(all)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		return nil, fmt.Errorf("encrypting the Secrets: %w", err)
	}
	return out.Bytes(), nil
}

// openSecrets makes the Secrets that a namespace lacks. One that is there stays, since
// a service may have its password already.
func openSecrets(ctx context.Context, r *kube.Release, sealed []byte, with []age.Identity) (said string, err error) {
	in, err := age.Decrypt(bytes.NewReader(sealed), with...)
	if err != nil {
		return "", program.Inputf("decrypting the Secrets: %w; give the private key that belongs to the RECIPIENT of the backup", err)
	}
	text, err := io.ReadAll(in)
	if err != nil {
		return "", fmt.Errorf("decrypting the Secrets: %w", err)
	}
	var all []corev1.Secret
	if err := json.Unmarshal(text, &all); err != nil {
		return "", fmt.Errorf("decrypting the Secrets: %w", err)
	}
	space := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: r.Namespace}}
	if _, err := r.Client.CoreV1().Namespaces().Create(ctx, space, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
		return "", fmt.Errorf("making namespace %s: %w", r.Namespace, err)
	}
	made, there := 0, 0
	for _, s := range all {
		if s.Annotations == nil {
			s.Annotations = map[string]string{}
		}
		s.Annotations["meta.helm.sh/release-namespace"] = r.Namespace
		_, err := r.Client.CoreV1().Secrets(r.Namespace).Create(ctx, &s, metav1.CreateOptions{})
		switch {
		case apierrors.IsAlreadyExists(err):
			there++
		case err != nil:
			return "", fmt.Errorf("making Secret %s: %w", s.Name, err)
		default:
			made++
		}
	}
	return fmt.Sprintf("%d made, %d were there and stay as they are", made, there), nil
}
