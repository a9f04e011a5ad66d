// Program provisioner makes the volumes of a one-node cluster: for each claim of
// its storage class a folder on the node and a PersistentVolume of type local on
// it, and it deletes both once the claim is gone and the class says so.
//
// It has no state of its own: the API server's claims and volumes say what to
// do, so it may be killed and restarted at any time.
package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"mlops/tools/cluster/node/api"
)

// Name is the provisioner that the storage class names.
const Name = "mlops.local/folders"

func main() {
	kubeconfig := flag.String("kubeconfig", "", "kubeconfig file of the API server")
	folder := flag.String("folder", "", "folder of the volumes")
	node := flag.String("node", "", "the node's name")
	flag.Parse()
	log := slog.New(slog.NewJSONHandler(os.Stderr, nil))
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	client, err := api.Load(*kubeconfig)
	if err == nil {
		err = os.MkdirAll(*folder, 0o711)
	}
	if err != nil {
		log.Error(err.Error())
		os.Exit(1)
	}
	p := &provisioner{api: client, folder: *folder, node: *node, log: log}
	p.run(ctx)
}

type provisioner struct {
	api    *api.Client
	folder string
	node   string
	log    *slog.Logger
}

// run looks at everything whenever a claim or a volume changes, and at least
// once a minute.
func (p *provisioner) run(ctx context.Context) {
	wake := make(chan struct{}, 1)
	for _, path := range []string{"/api/v1/persistentvolumeclaims", "/api/v1/persistentvolumes"} {
		go func() {
			for ctx.Err() == nil {
				// The events only wake it up: a watch without a version begins
				// with what exists.
				err := p.api.Watch(ctx, path+"?watch=1&timeoutSeconds=600", func() {
					select {
					case wake <- struct{}{}:
					default:
					}
				})
				if err != nil && ctx.Err() == nil {
					p.log.Warn("watching", "error", err)
				}
				pause(ctx, 2*time.Second)
			}
		}()
	}
	tick := time.NewTicker(time.Minute)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-wake:
		case <-tick.C:
		}
		if err := p.pass(ctx); err != nil && ctx.Err() == nil {
			p.log.Warn("reconciling claims and volumes", "error", err)
			pause(ctx, 2*time.Second)
			select {
			case wake <- struct{}{}:
			default:
			}
		}
		// Events come in bursts: a pod with a volume makes five.
		pause(ctx, 100*time.Millisecond)
	}
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

func (p *provisioner) pass(ctx context.Context) error {
	var classes struct{ Items []class }
	var claims struct{ Items []claim }
	var volumes struct{ Items []volume }
	for path, into := range map[string]any{
		"/apis/storage.k8s.io/v1/storageclasses": &classes,
		"/api/v1/persistentvolumeclaims":         &claims,
		"/api/v1/persistentvolumes":              &volumes,
	} {
		if err := p.api.Call(ctx, "GET", path, nil, into); err != nil {
			return err
		}
	}
	ours := map[string]class{}
	for _, c := range classes.Items {
		if c.Provisioner == Name {
			ours[c.Metadata.Name] = c
		}
	}
	has := map[string]bool{}
	for _, v := range volumes.Items {
		has[v.Metadata.Name] = true
	}
	for _, c := range claims.Items {
		if k, ok := ours[c.Spec.Class]; ok && c.wants(p.node) && !has[c.volumeName()] {
			if err := p.provide(ctx, c, k); err != nil {
				return err
			}
		}
	}
	for _, v := range volumes.Items {
		if v.Metadata.Annotations[provisionedBy] == Name && v.Status.Phase == "Released" && v.Spec.Reclaim == "Delete" && v.Metadata.DeletionTimestamp == "" {
			if err := p.remove(ctx, v); err != nil {
				return err
			}
		}
	}
	return nil
}

func (p *provisioner) provide(ctx context.Context, c claim, k class) error {
	dir := filepath.Join(p.folder, c.folderName())
	// As on a fresh disk, only root may write; fsGroup opens it to a pod.
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("making a volume: %w", err)
	}
	err := p.api.Call(ctx, "POST", "/api/v1/persistentvolumes", c.volume(k, dir, p.node), nil)
	if err != nil && !api.IsCode(err, 409) {
		return fmt.Errorf("making a volume for %s/%s: %w", c.Metadata.Namespace, c.Metadata.Name, err)
	}
	p.log.Info("made a volume", "namespace", c.Metadata.Namespace, "claim", c.Metadata.Name, "folder", dir)
	return nil
}

// remove deletes the folder first: a volume whose folder could not be deleted
// stays and is tried again.
func (p *provisioner) remove(ctx context.Context, v volume) error {
	dir := filepath.Clean(v.Spec.Local.Path)
	if !strings.HasPrefix(dir, filepath.Clean(p.folder)+string(filepath.Separator)) {
		return fmt.Errorf("volume %s: %q is not below %s; deleting nothing", v.Metadata.Name, dir, p.folder)
	}
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("deleting volume %s: %w", v.Metadata.Name, err)
	}
	err := p.api.Call(ctx, "DELETE", "/api/v1/persistentvolumes/"+v.Metadata.Name, nil, nil)
	if err != nil && !api.IsCode(err, 404) {
		return fmt.Errorf("deleting volume %s: %w", v.Metadata.Name, err)
	}
	p.log.Info("deleted a volume", "name", v.Metadata.Name, "folder", dir)
	return nil
}
