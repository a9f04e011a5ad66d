// Package registry is one registered model as the platform uses it: versions
// that training registers whole, the aliases production and previous, and the
// tags that say what is in production and why.
package registry

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strconv"

	"mlops/internal/mlflow"
	"mlops/internal/model"
)

// Aliases of a registered model. MLflow's stages are deprecated; "Production" is
// the alias production.
const (
	Production = "production"
	Previous   = "previous"
)

// Tags of a version.
const (
	TagDataset     = "dataset"      // the spec's name
	TagCandidate   = "candidate"    // the candidate's name
	TagTrainingKey = "training_key" // digest of all that made the version
	TagTraining    = "training"     // digest of what the candidates of one training share
	TagBest        = "best_model"   // "true" on the version in production
	TagPromotion   = "promotion"    // why the version was or was not promoted
	TagReplaces    = "replaces"     // number of the version that was in production before this one
)

// Folder of a version's files below its run's artifacts.
const Folder = "model"

// maxFile bounds a version's file; the largest, the trees, has some megabytes.
const maxFile = 512 << 20

var (
	// ErrNoVersion says that the registry answers, but nothing is in production.
	ErrNoVersion = errors.New("no version is in production yet")

	// ErrUnusable says that a version can never be used as it is: a file of it
	// is missing or too large.
	ErrUnusable = errors.New("the version is not whole")
)

// Version names a version of a registered model, as the API does.
type Version struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	RunID   string `json:"run_id"`
}

// Registry is one registered model in MLflow.
type Registry struct {
	Client *mlflow.Client
	Model  string
}

// Production returns the version in production, or ErrNoVersion.
func (r *Registry) Production(ctx context.Context) (Version, error) {
	v, err := r.Client.GetAlias(ctx, r.Model, Production)
	if errors.Is(err, mlflow.ErrNotFound) {
		return Version{}, ErrNoVersion
	}
	if err != nil {
		return Version{}, fmt.Errorf("asking which version of %s is in production: %w", r.Model, err)
	}
	return Version{Name: v.Name, Version: strconv.Itoa(v.Number), RunID: v.RunID}, nil
}

// Download writes the files of a version into dir. An error that wraps
// ErrUnusable is final, any other worth another try.
func (r *Registry) Download(ctx context.Context, v Version, dir string) error {
	number, err := strconv.Atoi(v.Version)
	if err != nil {
		return fmt.Errorf("version %q is not a number: %w", v.Version, ErrUnusable)
	}
	whole, err := r.Client.GetVersion(ctx, v.Name, number)
	if err != nil {
		return fmt.Errorf("looking up version %d of %s: %w", number, v.Name, err)
	}
	root, err := r.Client.ResolveArtifacts(ctx, whole)
	if errors.Is(err, mlflow.ErrUnavailable) || ctx.Err() != nil {
		return fmt.Errorf("looking for the files of version %d of %s: %w", number, v.Name, err)
	}
	if err != nil {
		return fmt.Errorf("looking for the files of version %d of %s: %w: %w", number, v.Name, err, ErrUnusable)
	}
	for _, name := range model.Files {
		err := r.Client.DownloadArtifact(ctx, path.Join(root, name), filepath.Join(dir, name), maxFile)
		if errors.Is(err, mlflow.ErrNotFound) || errors.Is(err, mlflow.ErrTooLarge) {
			return fmt.Errorf("%s of version %d of %s: %w: %w", name, number, v.Name, err, ErrUnusable)
		}
		if err != nil {
			return fmt.Errorf("fetching %s of version %d of %s: %w", name, number, v.Name, err)
		}
	}
	return nil
}

// Load fetches a version and reads it, with the checks of model.Read.
func (r *Registry) Load(ctx context.Context, v Version) (*model.Model, error) {
	dir, err := os.MkdirTemp("", "version-")
	if err != nil {
		return nil, fmt.Errorf("making a folder for version %s: %w", v.Version, err)
	}
	defer os.RemoveAll(dir)
	if err := r.Download(ctx, v, dir); err != nil {
		return nil, err
	}
	m, err := model.Read(os.DirFS(dir))
	if err != nil {
		return nil, fmt.Errorf("version %s of %s: %w: %w", v.Version, v.Name, err, ErrUnusable)
	}
	return m, nil
}

// Find returns the version with that training key, or mlflow.ErrNotFound.
func (r *Registry) Find(ctx context.Context, trainingKey string) (mlflow.Version, error) {
	versions, err := r.Tagged(ctx, TagTrainingKey, trainingKey)
	if err != nil {
		return mlflow.Version{}, err
	}
	if len(versions) == 0 {
		return mlflow.Version{}, fmt.Errorf("version with %s %s: %w", TagTrainingKey, trainingKey, mlflow.ErrNotFound)
	}
	return versions[0], nil
}

// Tagged returns the versions with that tag, the oldest first.
func (r *Registry) Tagged(ctx context.Context, tag, value string) ([]mlflow.Version, error) {
	name, err := mlflow.Quote(r.Model)
	if err != nil {
		return nil, fmt.Errorf("looking for versions of %s: %w", r.Model, err)
	}
	quoted, err := mlflow.Quote(value)
	if err != nil {
		return nil, fmt.Errorf("looking for versions of %s: %w", r.Model, err)
	}
	filter := fmt.Sprintf("name = %s AND tags.`%s` = %s", name, tag, quoted)
	versions, err := r.Client.SearchVersions(ctx, filter, []string{"version_number ASC"}, 0)
	if err != nil {
		return nil, fmt.Errorf("looking for versions of %s with %s=%s: %w", r.Model, tag, value, err)
	}
	return versions, nil
}

// Trained returns the versions of one training, the oldest first.
func (r *Registry) Trained(ctx context.Context, training string) ([]mlflow.Version, error) {
	return r.Tagged(ctx, TagTraining, training)
}
