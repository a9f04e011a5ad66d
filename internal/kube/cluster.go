// Package kube is a release in a cluster as our programs use it: its services
// reached from this machine, its secrets, its workflows.
package kube

import (
	"context"
	"fmt"
	"net/url"
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

// Open connects to the cluster of a kubeconfig's context; empty: its current
// context. Nothing is sent yet.
func Open(kubeconfig, kubecontext, namespace, name string) (*Release, error) {
	config, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(
		&clientcmd.ClientConfigLoadingRules{ExplicitPath: kubeconfig},
		&clientcmd.ConfigOverrides{CurrentContext: kubecontext}).ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", kubeconfig, err)
	}
	config.QPS, config.Burst = 50, 100
	r := &Release{Name: name, Namespace: namespace, Config: config}
	if r.Client, err = kubernetes.NewForConfig(config); err != nil {
		return nil, fmt.Errorf("connecting to the cluster of %s: %w", kubeconfig, err)
	}
	if r.Dynamic, err = dynamic.NewForConfig(config); err != nil {
		return nil, fmt.Errorf("connecting to the cluster of %s: %w", kubeconfig, err)
	}
	return r, nil
}

// Service is the name of one of the release's services, "mlops-postgres".
func (r *Release) Service(service string) string { return r.Name + "-" + service }

// Secret returns what one of the release's secrets holds.
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

// Pods returns the release's pods, or those of one component of it.
func (r *Release) Pods(ctx context.Context, selector string) ([]corev1.Pod, error) {
	list, err := r.Client.CoreV1().Pods(r.Namespace).List(ctx, metav1.ListOptions{LabelSelector: selector})
	if err != nil {
		return nil, fmt.Errorf("listing pods: %w", err)
	}
	return list.Items, nil
}

// Databases connects to the release's own Postgres, by way of the API server, as
// the steps do. close ends the way.
func (r *Release) Databases(ctx context.Context) (connect func(ctx context.Context, database string) (*pgx.Conn, error), close func(), err error) {
	secret, err := r.Secret(ctx, "postgres-app")
	if err != nil {
		return nil, nil, err
	}
	f, err := r.Forward(ctx, r.Service("postgres"), 5432, 0)
	if err != nil {
		return nil, nil, err
	}
	return func(ctx context.Context, database string) (*pgx.Conn, error) {
		u := url.URL{Scheme: "postgres", Host: f.Address, Path: "/" + database, RawQuery: "sslmode=disable",
			User: url.UserPassword(secret["PGUSER"], secret["PGPASSWORD"])}
		return pgx.Connect(ctx, u.String())
	}, f.Close, nil
}

// Installed reports whether Helm has the release, as it keeps it in Secrets, and
// its last install or upgrade went well.
func (r *Release) Installed(ctx context.Context) (bool, error) {
	list, err := r.Client.CoreV1().Secrets(r.Namespace).List(ctx, metav1.ListOptions{LabelSelector: "owner=helm,name=" + r.Name})
	if err != nil {
		return false, fmt.Errorf("asking for release %s: %w", r.Name, err)
	}
	last, status := -1, ""
	for _, s := range list.Items {
		if n, err := strconv.Atoi(s.Labels["version"]); err == nil && n > last {
			last, status = n, s.Labels["status"]
		}
	}
	return status == "deployed", nil
}

// Notes returns what Note has kept.
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

// Note keeps a value in a ConfigMap beside the release.
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
		return fmt.Errorf("noting %s in %s: %w", key, r.Service(name), err)
	}
	return nil
}
