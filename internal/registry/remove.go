package registry

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strconv"

	"mlops/internal/mlflow"
)

// Tags of a run whose version is or was removed.
const (
	tagRetention        = "retention"         // one of the values below
	tagRetentionVersion = "retention_version" // number of the version
	tagRetentionBytes   = "retention_bytes"   // of its run's artifacts
)

const (
	removing  = "removing" // begun; another run ends it
	removed   = "removed"  // with all of its run's artifacts
	keptAfter = "kept"     // begun, and given up before anything was gone
)

// Removed is a version that was removed, with its run's artifacts.
type Removed struct {
	Number int    `json:"version"`
	RunID  string `json:"run_id"`
	Bytes  int64  `json:"bytes"` // of the artifacts
}

// Aliases returns the aliases of all versions that have any.
func (r *Registry) Aliases(ctx context.Context) (map[int][]string, error) {
	aliases, err := r.client.ModelAliases(ctx, r.model)
	if err != nil {
		return nil, fmt.Errorf("looking up the aliases of %s: %w", r.model, err)
	}
	of := map[int][]string{}
	for alias, number := range aliases {
		of[number] = append(of[number], alias)
	}
	return of, nil
}

// Size returns how many bytes the artifacts of a version's run have.
func (r *Registry) Size(ctx context.Context, v Version) (int64, error) {
	root, err := r.artifacts(ctx, v.RunID)
	if err != nil {
		return 0, fmt.Errorf("measuring version %d of %s: %w", v.Number, r.model, err)
	}
	n, err := r.measure(ctx, root)
	if err != nil {
		return 0, fmt.Errorf("measuring version %d of %s: %w", v.Number, r.model, err)
	}
	return n, nil
}

// Remove deletes a version and the artifacts of its run, whose parameters, metrics and
// tags stay. If it is killed, Unfinished names the version until SettleRemoved.
func (r *Registry) Remove(ctx context.Context, v Version) (Removed, error) {
	out := Removed{Number: v.Number, RunID: v.RunID}
	n, err := r.Size(ctx, v)
	if err != nil {
		return out, err
	}
	out.Bytes = n
	err = r.client.LogBatch(ctx, v.RunID, mlflow.Batch{Tags: map[string]string{
		tagRetentionVersion: strconv.Itoa(v.Number), tagRetentionBytes: strconv.FormatInt(n, 10), tagRetention: removing}})
	if err != nil {
		return out, fmt.Errorf("noting the removal of version %d of %s: %w", v.Number, r.model, err)
	}
	// Somebody may have given it an alias in the meantime.
	whole, err := r.client.GetVersion(ctx, r.model, v.Number)
	if err == nil && len(whole.Aliases) > 0 {
		return out, r.giveUp(ctx, v.RunID, fmt.Errorf("version %d of %s has the alias %s by now", v.Number, r.model, whole.Aliases[0]))
	}
	if err != nil && !errors.Is(err, mlflow.ErrNotFound) {
		return out, fmt.Errorf("looking up version %d of %s: %w", v.Number, r.model, err)
	}
	if err := r.client.DeleteVersion(ctx, r.model, v.Number); err != nil && !errors.Is(err, mlflow.ErrNotFound) {
		return out, fmt.Errorf("deleting version %d of %s: %w", v.Number, r.model, err)
	}
	return out, r.clear(ctx, out)
}

// Unfinished returns the versions whose removal began and was not settled. What is left
// of one that is gone already is deleted; one that is still there is left alone.
func (r *Registry) Unfinished(ctx context.Context) (list []Removed, err error) {
	experiment, err := r.client.ExperimentByName(ctx, r.model)
	if errors.Is(err, mlflow.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("looking for removals of %s that were not finished: %w", r.model, err)
	}
	runs, err := r.client.SearchRuns(ctx, []string{experiment.ID}, "tags."+tagRetention+" = '"+removing+"'", []string{"attributes.start_time ASC"}, 0)
	if err != nil {
		return nil, fmt.Errorf("looking for removals of %s that were not finished: %w", r.model, err)
	}
	for _, run := range runs {
		n, err := strconv.Atoi(run.Tags[tagRetentionVersion])
		if err != nil {
			return nil, fmt.Errorf("run %s has the tag %s=%q, which is no number", run.ID, tagRetentionVersion, run.Tags[tagRetentionVersion])
		}
		bytes, _ := strconv.ParseInt(run.Tags[tagRetentionBytes], 10, 64) // for people only
		_, err = r.client.GetVersion(ctx, r.model, n)
		if err == nil {
			if err := r.giveUp(ctx, run.ID, nil); err != nil {
				return nil, err
			}
			continue
		}
		if !errors.Is(err, mlflow.ErrNotFound) {
			return nil, fmt.Errorf("looking up version %d of %s: %w", n, r.model, err)
		}
		gone := Removed{Number: n, RunID: run.ID, Bytes: bytes}
		if err := r.clear(ctx, gone); err != nil {
			return nil, err
		}
		list = append(list, gone)
	}
	return list, nil
}

// SettleRemoved ends what Remove began, once it has been noted elsewhere.
func (r *Registry) SettleRemoved(ctx context.Context, list []Removed) error {
	for _, gone := range list {
		if err := r.client.LogBatch(ctx, gone.RunID, mlflow.Batch{Tags: map[string]string{tagRetention: removed}}); err != nil {
			return fmt.Errorf("noting that version %d of %s was removed: %w", gone.Number, r.model, err)
		}
	}
	return nil
}

// giveUp ends a removal before anything is gone, and returns why.
func (r *Registry) giveUp(ctx context.Context, runID string, why error) error {
	if err := r.client.LogBatch(ctx, runID, mlflow.Batch{Tags: map[string]string{tagRetention: keptAfter}}); err != nil {
		return fmt.Errorf("noting that run %s stays: %w", runID, err)
	}
	return why
}

// clear deletes the artifacts of a version that is gone, and its entry among the models.
func (r *Registry) clear(ctx context.Context, gone Removed) error {
	run, err := r.client.GetRun(ctx, gone.RunID)
	if err == nil {
		var root string
		if root, err = r.client.ArtifactPath(run.ArtifactURI); err == nil {
			err = r.deleteAll(ctx, root)
		}
	}
	if err == nil {
		for _, id := range run.LoggedModels {
			if err = r.client.DeleteLoggedModel(ctx, id); err != nil {
				break
			}
		}
	}
	if err != nil {
		return fmt.Errorf("deleting the artifacts of version %d of %s: %w", gone.Number, r.model, err)
	}
	return nil
}

// deleteAll deletes what is in a folder, entry by entry: a store may answer a request
// for a folder that it no longer has with an error.
func (r *Registry) deleteAll(ctx context.Context, root string) error {
	list, err := r.client.ListArtifacts(ctx, root)
	if err != nil {
		return err
	}
	for _, a := range list {
		if err := r.client.DeleteArtifact(ctx, path.Join(root, a.Path)); err != nil {
			return err
		}
	}
	return nil
}

// measure sums up the sizes of the files in a folder and below.
func (r *Registry) measure(ctx context.Context, folder string) (int64, error) {
	list, err := r.client.ListArtifacts(ctx, folder)
	if err != nil {
		return 0, err
	}
	var sum int64
	for _, a := range list {
		n := a.Size
		if a.Dir {
			if n, err = r.measure(ctx, path.Join(folder, a.Path)); err != nil {
				return 0, err
			}
		}
		sum += n
	}
	return sum, nil
}

// artifacts returns where a run's artifacts are.
func (r *Registry) artifacts(ctx context.Context, runID string) (string, error) {
	run, err := r.client.GetRun(ctx, runID)
	if err != nil {
		return "", err
	}
	return r.client.ArtifactPath(run.ArtifactURI)
}
