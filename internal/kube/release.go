// Package kube accesses a Helm release in a Kubernetes cluster, from this machine or
// from one of its pods: its services, secrets and workflows.
package kube

import (
	"context"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"

	"github.com/jackc/pgx/v5"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// Release is a Helm release of the platform in a namespace.
type Release struct {
	Name, Namespace string
	Config          *rest.Config
	Client          kubernetes.Interface
	Dynamic         dynamic.Interface
}

// Open returns a release in the cluster of a kubeconfig's context; empty: its
// current context. It sends nothing yet.
func Open(kubeconfig, kubecontext, namespace, name string) (*Release, error) {
	config, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(
		&clientcmd.ClientConfigLoadingRules{ExplicitPath: kubeconfig},
		&clientcmd.ConfigOverrides{CurrentContext: kubecontext}).ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", kubeconfig, err)
	}
	r, err := open(config, namespace, name)
	if err != nil {
		return nil, fmt.Errorf("connecting to the cluster of %s: %w", kubeconfig, err)
	}
	return r, nil
}

// Inside returns a release to a program that runs in a pod of its cluster, with the
// rights of the pod's service account.
func Inside(namespace, name string) (*Release, error) {
	config, err := rest.InClusterConfig()
	if err != nil {
		return nil, fmt.Errorf("connecting to the cluster: %w", err)
	}
	return open(config, namespace, name)
}

func open(config *rest.Config, namespace, name string) (r *Release, err error) {
	config.QPS, config.Burst = 50, 100
	r = &Release{Name: name, Namespace: namespace, Config: config}
	if r.Client, err = kubernetes.NewForConfig(config); err != nil {
		return nil, err
	}
	if r.Dynamic, err = dynamic.NewForConfig(config); err != nil {
		return nil, err
	}
	return r, nil
}

// Service returns the full name of one of the release's services:
// "mlops-postgres".
func (r *Release) Service(service string) string { return r.Name + "-" + service }

// Secret returns the data of one of the release's secrets.
func (r *Release) Secret(ctx context.Context, name string) (map[string]string, error) {
	s, err := r.Client.CoreV1().Secrets(r.Namespace).Get(ctx, r.Service(name), metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("reading secret %s: %w", r.Service(name), err)
	}
	m := map[string]string{}
	for k, v := range s.Data {
		m[k] = string(v)
	}
	return m, nil
}

// MLflowLogin returns a user of the release's MLflow, "steps" (may write) or
// "inference" (may read), and the password; both are empty if it asks for none.
func (r *Release) MLflowLogin(ctx context.Context, user string) (name, password string, err error) {
	s, err := r.Client.CoreV1().Secrets(r.Namespace).Get(ctx, r.Service("mlflow-"+user), metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return "", "", nil
	}
	if err != nil {
		return "", "", fmt.Errorf("reading MLflow's login: %w", err)
	}
	return string(s.Data["MLFLOW_TRACKING_USERNAME"]), string(s.Data["MLFLOW_TRACKING_PASSWORD"]), nil
}

// APIKey returns the key that the release's own clients present to its servers; empty if
// those ask for none.
func (r *Release) APIKey(ctx context.Context) (string, error) {
	s, err := r.Client.CoreV1().Secrets(r.Namespace).Get(ctx, r.Service("internal-key"), metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("reading the release's own API key: %w", err)
	}
	return string(s.Data["MLOPS_API_KEY"]), nil
}

// Pods returns the pods that match a label selector.
func (r *Release) Pods(ctx context.Context, selector string) ([]corev1.Pod, error) {
	list, err := r.Client.CoreV1().Pods(r.Namespace).List(ctx, metav1.ListOptions{LabelSelector: selector})
	if err != nil {
		return nil, fmt.Errorf("listing pods: %w", err)
	}
	return list.Items, nil
}

// Postgres returns the URL of a database in the release's own Postgres for the role that
// owns raw and clean, through the API server. closed ends the forwarding.
func (r *Release) Postgres(ctx context.Context) (address func(database string) string, closed func(), err error) {
	secret, err := r.Secret(ctx, "postgres-app")
	if err != nil {
		return nil, nil, err
	}
	return r.postgres(ctx, secret)
}

func (r *Release) postgres(ctx context.Context, secret map[string]string) (address func(database string) string, closed func(), err error) {
	f, err := r.Forward(ctx, r.Service("postgres"), 5432, 0)
	if err != nil {
		return nil, nil, err
	}
	return func(database string) string {
		u := url.URL{Scheme: "postgres", Host: f.Address, Path: "/" + database, RawQuery: "sslmode=prefer",
			User: url.UserPassword(secret["PGUSER"], secret["PGPASSWORD"])}
		return u.String()
	}, f.Close, nil
}

// Databases returns a function that connects to the release's own Postgres with
// the role that only reads, through the API server. close ends the forwarding.
func (r *Release) Databases(ctx context.Context) (connect func(ctx context.Context, database string) (*pgx.Conn, error), close func(), err error) {
	secret, err := r.Secret(ctx, "postgres-read")
	if apierrors.IsNotFound(err) { // an earlier release has one role
		secret, err = r.Secret(ctx, "postgres-app")
	}
	if err != nil {
		return nil, nil, err
	}
	address, closed, err := r.postgres(ctx, secret)
	if err != nil {
		return nil, nil, err
	}
	return func(ctx context.Context, database string) (*pgx.Conn, error) {
		return pgx.Connect(ctx, address(database))
	}, closed, nil
}

// Installed reports whether the release exists, by the Secrets in which Helm keeps
// its revisions, and whether its last install, upgrade or rollback succeeded. One whose
// upgrade failed exists: its services are still there.
func (r *Release) Installed(ctx context.Context) (exists, succeeded bool, err error) {
	records, err := r.records(ctx, r.Namespace)
	if err != nil {
		return false, false, err
	}
	exists, succeeded = installed(records)
	return exists, succeeded, nil
}

// Elsewhere returns the other namespaces of the cluster that have a release of this name,
// sorted.
func (r *Release) Elsewhere(ctx context.Context) ([]string, error) {
	records, err := r.records(ctx, metav1.NamespaceAll)
	if err != nil {
		return nil, err
	}
	by := map[string][]corev1.Secret{}
	for _, s := range records {
		by[s.Namespace] = append(by[s.Namespace], s)
	}
	delete(by, r.Namespace)
	maps.DeleteFunc(by, func(_ string, records []corev1.Secret) bool {
		exists, _ := installed(records)
		return !exists
	})
	return slices.Sorted(maps.Keys(by)), nil
}

// records are what Helm keeps of releases of this name.
func (r *Release) records(ctx context.Context, namespace string) ([]corev1.Secret, error) {
	list, err := r.Client.CoreV1().Secrets(namespace).List(ctx, metav1.ListOptions{LabelSelector: "owner=helm,name=" + r.Name})
	if err != nil {
		return nil, fmt.Errorf("looking up release %s: %w", r.Name, err)
	}
	return list.Items, nil
}

// installed reports what the last of a release's records says.
func installed(records []corev1.Secret) (exists, succeeded bool) {
	last, status := -1, ""
	for _, s := range records {
		if n, err := strconv.Atoi(s.Labels["version"]); err == nil && n > last {
			last, status = n, s.Labels["status"]
		}
	}
	switch status {
	case "", "pending-install", "uninstalling", "uninstalled":
		return false, false
	}
	return true, status == "deployed"
}

// Notes returns the values that Note has stored under that name.
func (r *Release) Notes(ctx context.Context, name string) (map[string]string, error) {
	m, err := r.Client.CoreV1().ConfigMaps(r.Namespace).Get(ctx, r.Service(name), metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", r.Service(name), err)
	}
	return m.Data, nil
}

// Note stores a value in a ConfigMap of the release's namespace.
func (r *Release) Note(ctx context.Context, name, key, value string) error {
	api := r.Client.CoreV1().ConfigMaps(r.Namespace)
	m, err := api.Get(ctx, r.Service(name), metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		_, err = api.Create(ctx, &corev1.ConfigMap{
			ObjectMeta: metav1.ObjectMeta{Name: r.Service(name)}, Data: map[string]string{key: value}}, metav1.CreateOptions{})
	} else if err == nil {
		if m.Data == nil {
			m.Data = map[string]string{}
		}
		m.Data[key] = value
		_, err = api.Update(ctx, m, metav1.UpdateOptions{})
	}
	if err != nil {
		return fmt.Errorf("storing %s in %s: %w", key, r.Service(name), err)
	}
	return nil
}
