package main

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/retry"

	"mlops/internal/apikey"
	"mlops/internal/kube"
	"mlops/internal/program"
)

// keysFile is the file of the release's Secret that new keys are added to.
const keysFile = "keys"

// soon says when a change takes effect.
const soon = "the servers read it within a minute or two, without a restart"

// newKey is `make key`.
func newKey(ctx context.Context, c *config) error {
	name := os.Getenv("NAME")
	if name == "" {
		return program.Inputf("NAME is empty: say whom the key is for, such as make key NAME=partner-a SCOPE=predict RATE=100/s")
	}
	scopes, err := apikey.ParseScopes(program.EnvOr("SCOPE", string(apikey.Predict)))
	if err != nil {
		return program.Inputf("SCOPE: %w", err)
	}
	rate, err := apikey.ParseRate(program.EnvOr("RATE", "-"))
	if err != nil {
		return program.Inputf("RATE: %w", err)
	}
	text, k, err := apikey.New(name, scopes, rate)
	if err != nil {
		return program.Inputf("NAME: %w", err)
	}
	r, err := c.installed(ctx)
	if err != nil {
		return err
	}
	asks, err := r.APIKey(ctx)
	if err != nil {
		return err
	}
	secret, err := editKeys(ctx, r, true, func(data map[string][]byte) error {
		added, err := apikey.Add(string(data[keysFile]), k)
		data[keysFile] = []byte(added)
		return err
	})
	if err != nil {
		return err
	}
	c.show.Print(fmt.Sprintf("%s\n\nThis is the only time that the key is shown. Send it as `Authorization: Bearer KEY` or `X-API-Key: KEY`.\nIts hash is in Secret %s; %s.\n", text, secret, soon))
	if asks == "" {
		c.show.Print("The release asks for no keys yet: set ingress.enabled=true or global.auth.apiKeys=on.\n")
	}
	return nil
}

// listKeys is `make keys`.
func listKeys(ctx context.Context, c *config) error {
	r, err := c.installed(ctx)
	if err != nil {
		return err
	}
	name, err := keysSecret(ctx, r)
	if err != nil {
		return err
	}
	s, err := r.Client.CoreV1().Secrets(r.Namespace).Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		c.show.Print(fmt.Sprintf("There is no Secret %s yet; make key NAME= makes the first key.\n", name))
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading Secret %s: %w", name, err)
	}
	var out strings.Builder
	fmt.Fprintf(&out, "%-8s  %-24s  %-22s  %s\n", "ID", "NAME", "SCOPES", "RATE")
	for file, text := range s.Data {
		keys, err := apikey.Parse(string(text))
		if err != nil {
			return program.Inputf("Secret %s, %s: %w", name, file, err)
		}
		for _, k := range keys {
			fmt.Fprintf(&out, "%-8s  %-24s  %-22s  %s\n", k.ID, k.Name, k.ScopeList(), k.Rate)
		}
	}
	c.show.Print(out.String())
	return nil
}

// revokeKey is `make key-revoke`.
func revokeKey(ctx context.Context, c *config) error {
	which := program.EnvOr("ID", os.Getenv("NAME"))
	if which == "" {
		return program.Inputf("name the key: make key-revoke ID= or NAME=")
	}
	r, err := c.installed(ctx)
	if err != nil {
		return err
	}
	var revoked apikey.Key
	_, err = editKeys(ctx, r, false, func(data map[string][]byte) (err error) {
		revoked, err = revoke(data, which)
		return program.Input(err)
	})
	if apierrors.IsNotFound(err) {
		err = program.Inputf("there is no key %q: nobody has made one yet", which)
	}
	if err == nil {
		c.show.Print(fmt.Sprintf("Revoked key %s of %s; %s.\n", revoked.ID, revoked.Name, soon))
	}
	return err
}

// revoke takes a key out of the files of a Secret. It is named by its id or, if no other in
// any of the files has that name, by its name.
func revoke(data map[string][]byte, which string) (apikey.Key, error) {
	var all strings.Builder
	for _, file := range slices.Sorted(maps.Keys(data)) {
		all.WriteString(string(data[file]) + "\n")
	}
	_, k, err := apikey.Revoke(all.String(), which)
	if err != nil {
		return k, err
	}
	for file, text := range data {
		if rest, _, err := apikey.Revoke(string(text), k.ID); err == nil {
			data[file] = []byte(rest)
		}
	}
	return k, nil
}

// keysSecret is the name of the Secret with the users' keys: the one that inference
// mounts, or the one that it would.
func keysSecret(ctx context.Context, r *kube.Release) (string, error) {
	d, err := r.Client.AppsV1().Deployments(r.Namespace).Get(ctx, r.Service("inference"), metav1.GetOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return "", fmt.Errorf("looking for the Secret of API keys: %w", err)
	}
	if err == nil {
		for _, v := range d.Spec.Template.Spec.Volumes {
			if v.Name == "keys" && v.Projected != nil && len(v.Projected.Sources) > 0 && v.Projected.Sources[0].Secret != nil {
				return v.Projected.Sources[0].Secret.Name, nil
			}
		}
	}
	return r.Service("api-keys"), nil
}

// editKeys changes the files of keys, and makes the Secret if it is missing and create is
// set. If somebody else changes it at the same time, edit is called again.
func editKeys(ctx context.Context, r *kube.Release, create bool, edit func(data map[string][]byte) error) (name string, err error) {
	if name, err = keysSecret(ctx, r); err != nil {
		return "", err
	}
	api := r.Client.CoreV1().Secrets(r.Namespace)
	err = retry.RetryOnConflict(retry.DefaultRetry, func() error {
		s, err := api.Get(ctx, name, metav1.GetOptions{})
		missing := apierrors.IsNotFound(err)
		if missing && create {
			s, err = &corev1.Secret{Type: corev1.SecretTypeOpaque, ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{
				"app.kubernetes.io/name": "mlops", "app.kubernetes.io/instance": r.Name, "app.kubernetes.io/component": "api-keys", "app.kubernetes.io/part-of": "mlops"}}}, nil
		}
		if err != nil {
			return err
		}
		if s.Data == nil {
			s.Data = map[string][]byte{}
		}
		if err := edit(s.Data); err != nil {
			return err
		}
		if missing {
			_, err = api.Create(ctx, s, metav1.CreateOptions{})
		} else {
			_, err = api.Update(ctx, s, metav1.UpdateOptions{})
		}
		return err
	})
	if err != nil {
		err = fmt.Errorf("writing Secret %s: %w", name, err)
	}
	return name, err
}
