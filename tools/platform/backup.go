package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"

	"filippo.io/age"
	"github.com/minio/minio-go/v7"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"mlops/internal/backup"
	"mlops/internal/kube"
	"mlops/internal/program"
	"mlops/internal/source"
	"mlops/internal/versions"
)

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
			all, err := ownSecrets(ctx, r)
			if err != nil {
				return "", err
			}
			if secrets, err = backup.Seal(all, recipient); err != nil {
				return "", err
			}
		}
		m, err := backup.Write(ctx, place, release, about, secrets)
		if err != nil {
			return "", err
		}
		said := fmt.Sprintf("%s in %s", m, place)
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
		return fmt.Sprintf("%s, in %s", m, place), backup.Verify(ctx, place, m)
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
			all, err := backup.Unseal(sealed, identities...)
			if err != nil {
				return "", program.Input(err)
			}
			return makeSecrets(ctx, r, all)
		})
		if err != nil {
			return err
		}
	}
	installed, _, err := r.Installed(ctx)
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
		var restored []string // by an earlier attempt
		if os.Getenv("REPLACE") != "1" {
			var held string
			if restored, held, err = backup.Held(ctx, m, release); err != nil {
				return "", err
			}
			if held != "" {
				return "", program.Inputf("release %s in namespace %s holds %s, which the backup would replace: back it up first, then restore with REPLACE=1", r.Name, r.Namespace, held)
			}
		}
		if err := r.Trust(ctx, m.Signers); err != nil {
			return "", err
		}
		done, err := backup.Restore(ctx, place, m, release, restored)
		if err == nil {
			err = shareDatabases(ctx, r, say)
		}
		return done.String(), err
	})
	if err != nil {
		return err
	}
	return c.do("restart", func(say func(string)) (string, error) {
		missing, err := r.Restart(ctx, "mlflow", "argo-controller", "argo", "inference")
		if err != nil {
			return "", fmt.Errorf("the databases are back, and another make restore goes on from here: %w", err)
		}
		release, closed, err := c.parts(ctx, r, say)
		if err != nil {
			return "", err
		}
		defer closed()
		err = release.Databases.Finish(ctx, release.Names)
		if len(missing) > 0 {
			return "not in this release, so restart your own: " + strings.Join(missing, ", "), err
		}
		return "MLflow, Argo and the server read what was restored", err
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
	installed, _, err := r.Installed(ctx)
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
	store, closed, err := objects(ctx, r)
	if apierrors.IsNotFound(err) {
		return release, nil, errors.New("the release has no S3 store of its own; an existing one is backed up with its own tools")
	}
	if err != nil {
		return release, nil, err
	}
	return backup.Release{Databases: inPod(r, pods[i].Name), Names: backup.Names, Store: store, Buckets: []string{mlflowBucket, sourceBucket},
		Log: slog.New(slog.NewTextHandler(sayWriter(say), nil))}, closed, nil
}

// objects leads to a release's own S3 store, until closed is called.
func objects(ctx context.Context, r *kube.Release) (store *minio.Client, closed func(), err error) {
	keys, err := r.Secret(ctx, "s3")
	if err != nil {
		return nil, nil, err
	}
	f, err := r.Forward(ctx, r.Service("minio"), 9000, 0)
	if err != nil {
		return nil, nil, err
	}
	store, err = source.S3{Endpoint: f.URL, Transport: f.Transport, AccessKey: keys["AWS_ACCESS_KEY_ID"], SecretKey: keys["AWS_SECRET_ACCESS_KEY"], Region: "us-east-1"}.Client()
	if err != nil {
		f.Close()
		return nil, nil, err
	}
	return store, f.Close, nil
}

// sayWriter passes lines on.
type sayWriter func(string)

func (say sayWriter) Write(p []byte) (int, error) {
	say(strings.TrimSpace(string(p)))
	return len(p), nil
}

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

// inPod runs Postgres' programs in its own pod, where no password is needed.
func inPod(r *kube.Release, pod string) backup.Postgres {
	return backup.Postgres{Run: func(ctx context.Context, in io.Reader, out io.Writer, argv ...string) error {
		return r.Exec(ctx, pod, "postgres", in, out, append([]string{argv[0], "-U", "postgres"}, argv[1:]...)...)
	}}
}

// ownSecrets returns the Secrets that the release's own templates made: passwords
// and keys, and not what Helm keeps for itself.
func ownSecrets(ctx context.Context, r *kube.Release) ([]backup.Secret, error) {
	list, err := r.Client.CoreV1().Secrets(r.Namespace).List(ctx, metav1.ListOptions{LabelSelector: "app.kubernetes.io/instance=" + r.Name})
	if err != nil {
		return nil, fmt.Errorf("reading the Secrets: %w", err)
	}
	var all []backup.Secret
	for _, s := range list.Items {
		if s.Type == corev1.SecretTypeOpaque {
			all = append(all, backup.Secret{Metadata: backup.Metadata{Name: s.Name, Labels: s.Labels, Annotations: s.Annotations}, Type: string(s.Type), Data: s.Data})
		}
	}
	return all, nil
}

// makeSecrets makes the Secrets that a namespace lacks. One that is there stays, since
// a service may have its password already.
func makeSecrets(ctx context.Context, r *kube.Release, all []backup.Secret) (said string, err error) {
	space := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: r.Namespace}}
	if _, err := r.Client.CoreV1().Namespaces().Create(ctx, space, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
		return "", fmt.Errorf("making namespace %s: %w", r.Namespace, err)
	}
	made, there := 0, 0
	for _, s := range all {
		// So that Helm takes them for the release's own, wherever they come from.
		labels, annotations := map[string]string{}, map[string]string{}
		maps.Copy(labels, s.Metadata.Labels)
		maps.Copy(annotations, s.Metadata.Annotations)
		labels["app.kubernetes.io/managed-by"], labels["app.kubernetes.io/instance"] = "Helm", r.Name
		annotations["meta.helm.sh/release-name"], annotations["meta.helm.sh/release-namespace"] = r.Name, r.Namespace
		annotations["helm.sh/resource-policy"] = "keep"
		_, err := r.Client.CoreV1().Secrets(r.Namespace).Create(ctx, &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Name: s.Metadata.Name, Labels: labels, Annotations: annotations},
			Type:       corev1.SecretType(s.Type), Data: s.Data,
		}, metav1.CreateOptions{})
		switch {
		case apierrors.IsAlreadyExists(err):
			there++
		case err != nil:
			return "", fmt.Errorf("making Secret %s: %w", s.Metadata.Name, err)
		default:
			made++
		}
	}
	return fmt.Sprintf("%d made, %d were there and stay as they are", made, there), nil
}
