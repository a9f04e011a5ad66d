package registry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path"
	"strconv"
	"strings"

	"mlops/internal/mlflow"
)

// Candidate names what a version is made of. Its tags stand on the run and on
// the version alike.
type Candidate struct {
	Dataset  string
	Name     string
	Training string // see Training

	Synthetic bool // of made-up rows

	Description string // for people; may be empty
}

// Tags are those by which the run and the version are found again.
func (c Candidate) Tags() map[string]string {
	tags := map[string]string{
		TagDataset:     c.Dataset,
		TagCandidate:   c.Name,
		TagTraining:    c.Training,
		TagTrainingKey: Key(c.Training, c.Name),
	}
	if c.Synthetic {
		tags[TagSynthetic] = "true"
	}
	return tags
}

// Register makes a version of a run whose artifacts are complete. The registered
// model must exist.
func (r *Registry) Register(ctx context.Context, c Candidate, runID string) (Version, error) {
	v, err := r.client.CreateVersion(ctx, mlflow.NewVersion{
		Name:   r.model,
		Source: "runs:/" + runID + "/" + Folder,
		RunID:  runID,
		Tags:   c.Tags(),

		Description: c.Description,
	})
	if err != nil {
		return Version{}, fmt.Errorf("registering run %s: %w", runID, err)
	}
	return version(v), nil
}

// Promote puts a version into production. What it replaces is noted first, so
// that Repair can set the alias previous after a kill.
func (r *Registry) Promote(ctx context.Context, next Version) error {
	current, err := r.Production(ctx)
	if err != nil && !errors.Is(err, ErrNoVersion) {
		return err
	}
	if current.Number == next.Number {
		return nil
	}
	if current.Number != 0 {
		if err := r.tag(ctx, next, TagReplaces, strconv.Itoa(current.Number)); err != nil {
			return err
		}
	}
	if err := r.client.SetAlias(ctx, r.model, Production, next.Number); err != nil {
		return fmt.Errorf("putting version %d of %s into production: %w", next.Number, r.model, err)
	}
	_, err = r.Repair(ctx)
	return err
}

// Restore puts a version that was in production back, in the place of the one
// that is, which somebody found wanting: it is noted first as rolled back, so that
// the gate knows even if this is killed. The alias previous names what the
// restored version replaced in its time.
func (r *Registry) Restore(ctx context.Context, back, current Version, why string) error {
	if err := r.Note(ctx, current, RolledBack, fmt.Sprintf("rolled back to version %d: %s", back.Number, why)); err != nil {
		return err
	}
	if err := r.client.SetAlias(ctx, r.model, Production, back.Number); err != nil {
		return fmt.Errorf("putting version %d of %s back into production: %w", back.Number, r.model, err)
	}
	if err := r.Note(ctx, back, Promoted, Restored(current.Number, why)); err != nil {
		return err
	}
	_, err := r.Repair(ctx)
	return err
}

// Restored is the reason that Restore notes on the version that it puts back.
func Restored(from int, why string) string {
	return fmt.Sprintf("put back into production in the place of version %d: %s", from, why)
}

// Pin notes that the version in production stays until Unpin, whatever the gate
// finds.
func (r *Registry) Pin(ctx context.Context, why string) error {
	if err := r.client.SetModelTag(ctx, r.model, TagPinned, why); err != nil {
		return fmt.Errorf("pinning %s: %w", r.model, err)
	}
	return nil
}

// Unpin undoes Pin. It is no error where nothing is pinned.
func (r *Registry) Unpin(ctx context.Context) error {
	if err := r.client.DeleteModelTag(ctx, r.model, TagPinned); err != nil {
		return fmt.Errorf("unpinning %s: %w", r.model, err)
	}
	return nil
}

// Pinned returns why the version in production is pinned; empty: it is not.
func (r *Registry) Pinned(ctx context.Context) (string, error) {
	tags, err := r.client.ModelTags(ctx, r.model)
	if err != nil {
		return "", fmt.Errorf("looking up whether %s is pinned: %w", r.model, err)
	}
	return tags[TagPinned], nil
}

// Repair makes the tag of the best model and the alias previous agree with the
// alias production, which a promotion that was killed may have moved alone. It
// returns the version in production, or ErrNoVersion.
func (r *Registry) Repair(ctx context.Context) (Version, error) {
	production, missing := r.Production(ctx)
	if missing != nil && !errors.Is(missing, ErrNoVersion) {
		return Version{}, missing
	}
	best, err := r.Best(ctx)
	if err != nil {
		return Version{}, err
	}
	for _, v := range best {
		if v.Number == production.Number {
			continue
		}
		switch {
		case v.Outcome == Promoted && production.Outcome == Replaced && production.Replaces != v.Number:
			// Somebody moved the alias back past the platform, and meant it.
			if err := r.Note(ctx, v, RolledBack, fmt.Sprintf("rolled back to version %d: somebody moved the alias production by hand", production.Number)); err != nil {
				return Version{}, err
			}
		case v.Outcome == Promoted || v.Outcome == "":
			if err := r.tag(ctx, v, TagOutcome, string(Replaced)); err != nil {
				return Version{}, err
			}
		}
		if err := r.client.DeleteVersionTag(ctx, r.model, v.Number, TagBest); err != nil {
			return Version{}, fmt.Errorf("removing tag %s from version %d of %s: %w", TagBest, v.Number, r.model, err)
		}
	}
	if missing != nil {
		return Version{}, missing
	}
	if !production.Best {
		if err := r.tag(ctx, production, TagBest, "true"); err != nil {
			return Version{}, err
		}
		production.Best = true
	}
	if production.Replaces != 0 {
		if err := r.client.SetAlias(ctx, r.model, Previous, production.Replaces); err != nil {
			return Version{}, fmt.Errorf("setting alias %s of %s to version %d: %w", Previous, r.model, production.Replaces, err)
		}
		return production, nil
	}
	// The first one replaced none. After a rollback to it the alias names another.
	previous, err := r.client.GetAlias(ctx, r.model, Previous)
	if errors.Is(err, mlflow.ErrNotFound) {
		return production, nil
	}
	if err == nil && previous.Number == production.Number {
		err = r.client.DeleteAlias(ctx, r.model, Previous)
	}
	if err != nil {
		return Version{}, fmt.Errorf("removing alias %s of %s: %w", Previous, r.model, err)
	}
	return production, nil
}

// maxReason bounds a reason in characters, well below what MLflow stores of a tag.
const maxReason = 4000

// Note leaves the outcome and the reason on a version and its run. It does
// nothing where the version says so already: the outcome is written last, so
// that one there means that all of it is.
func (r *Registry) Note(ctx context.Context, v Version, o Outcome, reason string) error {
	return r.note(ctx, v, o, reason, nil, nil)
}

// FileDecision is the artifact of a run that has all that the gate looked at when it
// decided on the run's version.
const FileDecision = "decision.json"

// NoteDecision is Note that also leaves FileDecision and tags on the run.
func (r *Registry) NoteDecision(ctx context.Context, v Version, o Outcome, reason string, decision []byte, tags map[string]string) error {
	return r.note(ctx, v, o, reason, decision, tags)
}

func (r *Registry) note(ctx context.Context, v Version, o Outcome, reason string, decision []byte, more map[string]string) error {
	if v.noted && v.Outcome == o && v.Reason == cut(reason) {
		return nil
	}
	if decision != nil {
		if err := r.attach(ctx, v, FileDecision, decision); err != nil {
			return err
		}
	}
	description := decided(v.Description, reason)
	tags := map[string]string{TagOutcome: string(o), TagPromotion: cut(reason), TagRunDescription: description}
	for key, value := range more {
		tags[key] = cut(value)
	}
	if v.hasRun() {
		if err := r.client.LogBatch(ctx, v.RunID, mlflow.Batch{Tags: tags}); err != nil {
			return fmt.Errorf("noting the outcome on the run of version %d of %s: %w", v.Number, r.model, err)
		}
	}
	if err := r.client.SetDescription(ctx, r.model, v.Number, description); err != nil {
		return fmt.Errorf("describing version %d of %s: %w", v.Number, r.model, err)
	}
	if err := r.tag(ctx, v, TagPromotion, cut(reason)); err != nil {
		return err
	}
	return r.tag(ctx, v, TagOutcome, string(o))
}

// TagRunDescription is the tag of a run that MLflow's page shows as its description.
const TagRunDescription = "mlflow.note.content"

// decisionMark begins the paragraph of a description that says what was decided.
const decisionMark = "**Decision:** "

// decided is a description with what was decided, in the place of an earlier decision.
func decided(description, reason string) string {
	before, _, _ := strings.Cut(description, decisionMark)
	if before = strings.TrimSpace(before); before != "" {
		before += "\n\n"
	}
	return cutTo(before+decisionMark+reason+".", mlflow.MaxDescription)
}

func cut(text string) string { return cutTo(text, maxReason) }

func cutTo(text string, most int) string {
	if runes := []rune(text); len(runes) > most {
		return string(runes[:most-1]) + "…"
	}
	return text
}

// attach stores a file where companions are.
func (r *Registry) attach(ctx context.Context, v Version, name string, content []byte) error {
	root, err := r.companions(ctx, v)
	if err == nil {
		err = r.client.UploadArtifact(ctx, path.Join(root, name), bytes.NewReader(content))
	}
	if err != nil {
		return fmt.Errorf("storing %s with version %d of %s: %w", name, v.Number, r.model, err)
	}
	return nil
}

// companions returns the folder of what the platform leaves with a version: its run's
// artifacts. A model that a notebook logged outside a run has none; there it is the folder
// of the model's own files, of which a signature covers only those that are served.
func (r *Registry) companions(ctx context.Context, v Version) (string, error) {
	if !v.hasRun() {
		return r.client.ResolveArtifacts(ctx, mlflow.Version{Name: r.model, Number: v.Number})
	}
	return r.artifacts(ctx, v.RunID)
}

func (r *Registry) tag(ctx context.Context, v Version, key, value string) error {
	if err := r.client.SetVersionTag(ctx, r.model, v.Number, key, value); err != nil {
		return fmt.Errorf("setting tag %s of version %d of %s: %w", key, v.Number, r.model, err)
	}
	return nil
}
