package main

import (
	"context"
	"fmt"
	"os"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"mlops/internal/host"
)

// down stops the platform: our own cluster with everything in it, or the release
// in any other cluster. Volumes and passwords stay, unless purge deletes them.
func down(ctx context.Context, c *config) error {
	lock, err := host.TryLock(c.state.Path("lock"), "make down")
	if err != nil {
		return err
	}
	defer lock.Unlock()
	t, err := c.kept()
	if err != nil {
		return err
	}
	if t == nil {
		t = &target{Kind: own} // a cluster whose record was lost
	}
	if t.Kind == own {
		err := c.do("cluster", func(say func(string)) (string, error) {
			args := []string{"down"}
			if c.purge {
				os.Setenv("PURGE", "1")
			}
			_, err := c.cluster(ctx, say, args...)
			return "stopped", err
		})
		if err != nil {
			return err
		}
		if c.purge {
			return remove(c.targetFile())
		}
		return nil
	}
	r, err := t.release()
	if err != nil {
		return err
	}
	helm := find("helm")
	if helm == "" {
		if helm, err = c.helm(ctx, c.show.Print); err != nil {
			return err
		}
	}
	argv := []string{helm, "uninstall", releaseName, "--namespace", namespace, "--ignore-not-found", "--kubeconfig", t.Kubeconfig}
	if t.Context != "" {
		argv = append(argv, "--kube-context", t.Context)
	}
	if out, err := c.command(ctx, nil, nil, argv...); err != nil {
		return err
	} else if out != "" {
		c.show.Print(out)
	}
	err = r.Client.CoreV1().ConfigMaps(namespace).Delete(ctx, r.Service(notes), metav1.DeleteOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("deleting the record of the installation: %w", err)
	}
	if !c.purge {
		c.show.Print("volumes and passwords are kept; PURGE=1 deletes them, with the namespace " + namespace)
		return nil
	}
	if err := r.Client.CoreV1().Namespaces().Delete(ctx, namespace, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("deleting namespace %s: %w", namespace, err)
	}
	return remove(c.targetFile())
}

func remove(path string) error {
	if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
		return fmt.Errorf("deleting the record of the cluster: %w", err)
	}
	return nil
}
