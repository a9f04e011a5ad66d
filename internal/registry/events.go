package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"

	"mlops/internal/api"
	"mlops/internal/mlflow"
	"mlops/internal/model"
)

// FileEvents is the artifact left with a version in production that has what was in
// production, as the gate knew it when it last decided: an api.Events.
const FileEvents = "history.json"

// MostEvents is how many events FileEvents holds at most.
const MostEvents = 200

const maxEvents = 8 << 20 // bytes of FileEvents

// ErrNoEvents says that the gate has not decided since it began to leave FileEvents.
var ErrNoEvents = errors.New("the gate has left no history with the version yet")

// ShareEvents stores events with a version, for those who may read versions
// and not the gate's table.
func (r *Registry) ShareEvents(ctx context.Context, v Version, events api.Events) error {
	text, err := json.MarshalIndent(events, "", " ")
	if err != nil {
		return fmt.Errorf("writing %s: %w", FileEvents, err)
	}
	return r.attach(ctx, v, FileEvents, append(text, '\n'))
}

// Events returns what ShareEvents stored with a version, or ErrNoEvents.
func (r *Registry) Events(ctx context.Context, v Version) (events api.Events, err error) {
	root, err := r.companions(ctx, v)
	if err != nil {
		return events, fmt.Errorf("locating %s of version %d of %s: %w", FileEvents, v.Number, r.model, err)
	}
	dir, err := os.MkdirTemp("", "history-")
	if err != nil {
		return events, fmt.Errorf("creating a folder for %s: %w", FileEvents, err)
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, FileEvents)
	err = r.client.DownloadArtifact(ctx, path.Join(root, FileEvents), file, maxEvents)
	if errors.Is(err, mlflow.ErrNotFound) {
		return events, ErrNoEvents
	}
	if err != nil {
		return events, fmt.Errorf("downloading %s of version %d of %s: %w", FileEvents, v.Number, r.model, err)
	}
	text, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(text, &events)
	}
	if err != nil {
		return events, fmt.Errorf("reading %s of version %d of %s: %w", FileEvents, v.Number, r.model, err)
	}
	return events, nil
}

// Card returns the text of a version's model card, model.FileCard.
func (r *Registry) Card(ctx context.Context, v Version) (text []byte, err error) {
	err = r.read(ctx, v, []string{model.FileCard}, func(dir string) error {
		text, err = os.ReadFile(filepath.Join(dir, model.FileCard))
		return err
	})
	return text, err
}
