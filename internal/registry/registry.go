// Package registry is one registered model as the platform uses it: versions
// that training registers whole, the aliases production, previous and challenger, and
// the tags that say what is in production and why.
package registry

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"slices"

	"golang.org/x/sync/errgroup"

	"mlops/internal/dataset"
	"mlops/internal/mlflow"
	"mlops/internal/model"
	"mlops/internal/signature"
)

// Aliases of a registered model. MLflow's stages are deprecated; "Production" is
// the alias production.
const (
	Production = "production"
	Previous   = "previous"
	Challenger = "challenger"
)

// Folder of a version's files below its run's artifacts.
const Folder = "model"

// Bounds of a version's files in bytes, since they may be anybody's: the trees, which
// have some megabytes, each of the others, and the earlier rows.
const (
	maxTrees = 256 << 20
	maxOther = 32 << 20
)

// TestScores is the artifact of a run that has the outputs of each test row, such as
// its probability, a line per row in the order in which training read them.
const TestScores = "scores/test.txt"

var (
	// ErrNoVersion says that the registry answers, but nothing is in production.
	ErrNoVersion = errors.New("no version is in production yet")

	// ErrNoChallenger says that the registry answers, but names no challenger.
	ErrNoChallenger = errors.New("no version is the challenger")

	// ErrUnusable says that a version can never be used as it is: a file of it
	// is missing, too large or damaged.
	ErrUnusable = errors.New("the version is unusable")
)

// Registry is one registered model in MLflow.
type Registry struct {
	client *mlflow.Client
	model  string
}

// New returns the registered model of that name. It makes no call.
func New(client *mlflow.Client, model string) *Registry {
	return &Registry{client: client, model: model}
}

// Model is the registered model's name.
func (r *Registry) Model() string { return r.model }

// Ensure creates the registered model unless it exists.
func (r *Registry) Ensure(ctx context.Context, description string) error {
	if err := r.client.EnsureModel(ctx, r.model, description); err != nil {
		return fmt.Errorf("creating the registered model %s: %w", r.model, err)
	}
	return nil
}

// Production returns the version in production, or ErrNoVersion.
func (r *Registry) Production(ctx context.Context) (Version, error) {
	v, err := r.client.GetAlias(ctx, r.model, Production)
	if errors.Is(err, mlflow.ErrNotFound) {
		return Version{}, ErrNoVersion
	}
	// An MLflow with logins answers 403 for a model that nobody has registered yet.
	var e *mlflow.Error
	if errors.As(err, &e) && e.Status == http.StatusForbidden {
		if list, searchErr := r.Versions(ctx); searchErr == nil && len(list) == 0 {
			return Version{}, ErrNoVersion
		}
	}
	if err != nil {
		return Version{}, fmt.Errorf("looking up the version of %s in production: %w", r.model, err)
	}
	return version(v), nil
}

// Versions returns all versions, the oldest first.
func (r *Registry) Versions(ctx context.Context) ([]Version, error) {
	return r.search(ctx, "")
}

// Trained returns the versions of one training, the oldest first.
func (r *Registry) Trained(ctx context.Context, training string) ([]Version, error) {
	return r.tagged(ctx, TagTraining, training)
}

// Best returns the versions that are tagged as the one in production. There is
// more than one, or another than Production names, where a promotion was killed
// and not yet repaired.
func (r *Registry) Best(ctx context.Context) ([]Version, error) {
	return r.tagged(ctx, TagBest, "true")
}

// Find looks for the version that one training made of a candidate.
func (r *Registry) Find(ctx context.Context, training, candidate string) (v Version, found bool, err error) {
	list, err := r.tagged(ctx, TagTrainingKey, Key(training, candidate))
	if err != nil || len(list) == 0 {
		return Version{}, false, err
	}
	return list[0], true, nil
}

// tagged returns the versions with that tag, the oldest first.
func (r *Registry) tagged(ctx context.Context, tag, value string) ([]Version, error) {
	quoted, err := mlflow.Quote(value)
	if err != nil {
		return nil, fmt.Errorf("looking for versions of %s: %w", r.model, err)
	}
	return r.search(ctx, fmt.Sprintf(" AND tags.`%s` = %s", tag, quoted))
}

func (r *Registry) search(ctx context.Context, condition string) ([]Version, error) {
	name, err := mlflow.Quote(r.model)
	if err != nil {
		return nil, fmt.Errorf("looking for versions of %s: %w", r.model, err)
	}
	list, err := r.client.SearchVersions(ctx, "name = "+name+condition, []string{"version_number ASC"}, 0)
	if err != nil {
		return nil, fmt.Errorf("looking for versions of %s: %w", r.model, err)
	}
	return versions(list), nil
}

// Download writes the files of a version into dir. An error that wraps
// ErrUnusable is final, any other is worth another try.
func (r *Registry) Download(ctx context.Context, v Version, dir string) error {
	return r.download(ctx, v, dir, model.Files)
}

func (r *Registry) download(ctx context.Context, v Version, dir string, files []string) error {
	whole, err := r.client.GetVersion(ctx, r.model, v.Number)
	if err != nil {
		return fmt.Errorf("looking up version %d of %s: %w", v.Number, r.model, err)
	}
	root, err := r.client.ResolveArtifacts(ctx, whole)
	if errors.Is(err, mlflow.ErrUnavailable) || ctx.Err() != nil {
		return fmt.Errorf("locating the files of version %d of %s: %w", v.Number, r.model, err)
	}
	if err != nil {
		return fmt.Errorf("locating the files of version %d of %s: %w: %w", v.Number, r.model, err, ErrUnusable)
	}
	one := func(ctx context.Context, name string, limit int64) error {
		file := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return fmt.Errorf("creating a folder for version %d: %w", v.Number, err)
		}
		err := r.client.DownloadArtifact(ctx, path.Join(root, name), file, limit)
		switch {
		case errors.Is(err, mlflow.ErrNotFound) && name == model.FileEarlier:
			return nil // there were too many rows for it
		case errors.Is(err, mlflow.ErrNotFound) || errors.Is(err, mlflow.ErrTooLarge):
			return fmt.Errorf("%s of version %d of %s: %w: %w", name, v.Number, r.model, err, ErrUnusable)
		case err != nil:
			return fmt.Errorf("downloading %s of version %d of %s: %w", name, v.Number, r.model, err)
		}
		return nil
	}
	// All at once: under load each request waits its turn in MLflow.
	group, together := errgroup.WithContext(ctx)
	for _, name := range files {
		limit := int64(maxOther)
		if name == model.FileTrees {
			limit = maxTrees
		}
		group.Go(func() error { return one(together, name, limit) })
	}
	err = group.Wait()
	if errors.Is(err, mlflow.ErrNotFound) && slices.Contains(files, model.FileSpec) && len(files) == len(model.Files) {
		// A notebook's version has other files.
		if r.notebooks(ctx, root) {
			return downloadNotebooks(ctx, dir, one)
		}
	}
	if err != nil || !slices.Contains(files, model.FileSpec) || len(files) < len(model.Files) {
		return err
	}
	if spec, err := dataset.Read(filepath.Join(dir, model.FileSpec)); err != nil || !spec.LooksBack() {
		return nil // a spec that can't be read is the reader's to refuse
	}
	return one(ctx, model.FileEarlier, model.MaxEarlier)
}

// Load downloads a version and reads it, with the checks of model.Read.
func (r *Registry) Load(ctx context.Context, v Version) (*model.Model, error) {
	m, _, err := r.Open(ctx, v)
	return m, err
}

// Open is Load that also returns what a signature of the files it read is over. It
// checks the files that only Python reads too: a signature is over their digests.
func (r *Registry) Open(ctx context.Context, v Version) (m *model.Model, subject signature.Subject, err error) {
	err = r.read(ctx, v, model.Files, func(dir string) (err error) {
		if subject, err = v.Subject(os.DirFS(dir)); err == nil {
			m, err = model.Read(os.DirFS(dir))
		}
		return err
	})
	if err == nil && len(m.Serving.Files) > 0 {
		err = r.read(ctx, v, m.Serving.Companions(), func(dir string) error { return m.Serving.CheckCompanions(os.DirFS(dir)) })
	}
	return m, subject, err
}

// AnySigned reports whether any version was ever signed.
func (r *Registry) AnySigned(ctx context.Context) (bool, error) {
	all, err := r.Versions(ctx)
	return slices.ContainsFunc(all, func(v Version) bool { return v.Signature != "" }), err
}

// Sign notes the signature of a version's files.
func (r *Registry) Sign(ctx context.Context, v Version, signature string) error {
	return r.tag(ctx, v, TagSignature, signature)
}

// Spec downloads the spec that is stored with a version.
func (r *Registry) Spec(ctx context.Context, v Version) (*dataset.Spec, error) {
	var spec *dataset.Spec
	err := r.read(ctx, v, []string{model.FileSpec}, func(dir string) (err error) {
		spec, err = dataset.Read(filepath.Join(dir, model.FileSpec))
		return err
	})
	return spec, err
}

// read downloads files of a version and reads them; what can't be read is
// ErrUnusable.
func (r *Registry) read(ctx context.Context, v Version, files []string, read func(dir string) error) error {
	dir, err := os.MkdirTemp("", "version-")
	if err != nil {
		return fmt.Errorf("creating a folder for version %d: %w", v.Number, err)
	}
	defer os.RemoveAll(dir)
	if err := r.download(ctx, v, dir, files); err != nil {
		return err
	}
	if err := read(dir); err != nil {
		return fmt.Errorf("version %d of %s: %w: %w", v.Number, r.model, err, ErrUnusable)
	}
	return nil
}

// notebooks reports whether the files below root are what a notebook logged.
func (r *Registry) notebooks(ctx context.Context, root string) bool {
	list, err := r.client.ListArtifacts(ctx, root)
	if err != nil {
		return false
	}
	var names []string
	for _, a := range list {
		names = append(names, a.Path)
	}
	return model.IsNotebooks(names)
}

// downloadNotebooks downloads the files of a notebook's version.
func downloadNotebooks(ctx context.Context, dir string, one func(ctx context.Context, name string, limit int64) error) error {
	if err := one(ctx, model.FileMLmodel, maxOther); err != nil {
		return err
	}
	names, err := model.Names(os.DirFS(dir))
	if err != nil {
		return fmt.Errorf("%w: %w", err, ErrUnusable)
	}
	for _, name := range names {
		if err := one(ctx, name, maxTrees); err != nil {
			return err
		}
	}
	return nil
}
