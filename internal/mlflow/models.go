package mlflow

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"
	"time"
)

// MaxDescription is how long a version's description may be in characters
// (mlflow/store/model_registry/dbmodels/models.py).
const MaxDescription = 5000

// EnsureModel creates a registered model unless there is one of that name. A name
// must not contain "/" or ":".
func (c *Client) EnsureModel(ctx context.Context, name, description string) error {
	err := c.post(ctx, "registered-models/create", map[string]any{"name": name, "description": description}, nil)
	if errors.Is(err, ErrExists) {
		return nil
	}
	return err
}

// ModelTags returns the tags of a registered model. One that does not exist has
// none; that is no error.
func (c *Client) ModelTags(ctx context.Context, name string) (map[string]string, error) {
	var out struct {
		Model struct {
			Tags []keyValue `json:"tags"`
		} `json:"registered_model"`
	}
	err := c.get(ctx, "registered-models/get", url.Values{"name": {name}}, &out)
	if errors.Is(err, ErrNotFound) {
		return nil, nil
	}
	return toMap(out.Model.Tags), err
}

// ModelAliases returns the aliases of a registered model with the versions that they
// name. A model that does not exist has none; that is no error.
func (c *Client) ModelAliases(ctx context.Context, name string) (map[string]int, error) {
	var out struct {
		Model struct {
			Aliases []struct{ Alias, Version string }
		} `json:"registered_model"`
	}
	err := c.get(ctx, "registered-models/get", url.Values{"name": {name}}, &out)
	if errors.Is(err, ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	aliases := map[string]int{}
	for _, a := range out.Model.Aliases {
		if aliases[a.Alias], err = strconv.Atoi(a.Version); err != nil {
			return nil, fmt.Errorf("model %q: MLflow gave the version number %q of the alias %s", name, a.Version, a.Alias)
		}
	}
	return aliases, nil
}

// DeleteVersion deletes a version with its tags and aliases; its run stays.
func (c *Client) DeleteVersion(ctx context.Context, name string, number int) error {
	return c.remove(ctx, "model-versions/delete", map[string]any{"name": name, "version": strconv.Itoa(number)})
}

// SetModelTag sets a tag of a registered model.
func (c *Client) SetModelTag(ctx context.Context, name, key, value string) error {
	return c.post(ctx, "registered-models/set-tag", map[string]any{"name": name, "key": key, "value": value}, nil)
}

// DeleteModelTag removes a tag of a registered model. It is no error if there is
// none.
func (c *Client) DeleteModelTag(ctx context.Context, name, key string) error {
	return c.remove(ctx, "registered-models/delete-tag", map[string]any{"name": name, "key": key})
}

// Version is one version of a registered model.
type Version struct {
	Name          string
	Number        int
	Source        string // as it was registered; see ResolveArtifacts
	RunID         string
	Status        string // "READY" once it can be used
	StatusMessage string
	Description   string
	Created       time.Time // to the millisecond
	Tags          map[string]string
	Aliases       []string // set by GetVersion and GetAlias
}

// version is a Version in MLflow's JSON.
type version struct {
	Name          string     `json:"name"`
	Version       string     `json:"version"`
	Source        string     `json:"source"`
	RunID         string     `json:"run_id"`
	Status        string     `json:"status"`
	StatusMessage string     `json:"status_message"`
	Description   string     `json:"description"`
	Created       int64      `json:"creation_timestamp"`
	Tags          []keyValue `json:"tags"`
	Aliases       []string   `json:"aliases"`
}

func (v version) version() (Version, error) {
	n, err := strconv.Atoi(v.Version)
	if err != nil {
		return Version{}, fmt.Errorf("model %q: MLflow gave the version number %q", v.Name, v.Version)
	}
	return Version{
		Name: v.Name, Number: n, Source: v.Source, RunID: v.RunID,
		Status: v.Status, StatusMessage: v.StatusMessage, Description: v.Description,
		Created: fromMillis(v.Created), Tags: toMap(v.Tags), Aliases: v.Aliases,
	}, nil
}

// oneVersion is the response of calls that return one version.
type oneVersion struct {
	Version version `json:"model_version"`
}

// NewVersion is what CreateVersion needs.
type NewVersion struct {
	Name        string // of the registered model, which must exist
	Source      string // "runs:/<RunID>/<path>"
	RunID       string
	ModelID     string // of a logged model, with a source "models:/<ModelID>"
	Description string
	Tags        map[string]string
}

// CreateVersion registers a version. Like CreateRun it is retried only if the server
// could not be reached at all: a caller that must not register twice gives the
// version a unique tag and looks for it with SearchVersions first.
//
// MLflow checks that Source and RunID name the same run, but not that the run
// exists or that it has the artifacts.
func (c *Client) CreateVersion(ctx context.Context, n NewVersion) (Version, error) {
	in := map[string]any{"name": n.Name, "source": n.Source, "tags": fromMap(n.Tags)}
	// MLflow treats an empty run_id or model_id as if it were set.
	for k, v := range map[string]string{"run_id": n.RunID, "model_id": n.ModelID, "description": n.Description} {
		if v != "" {
			in[k] = v
		}
	}
	var out oneVersion
	err := c.do(ctx, request{
		method: http.MethodPost, path: api + "model-versions/create", in: in, once: true, read: decoder(&out),
	})
	if err != nil {
		return Version{}, err
	}
	return out.Version.version()
}

// GetVersion returns a version with its tags and aliases, or ErrNotFound.
func (c *Client) GetVersion(ctx context.Context, name string, number int) (Version, error) {
	var out oneVersion
	q := url.Values{"name": {name}, "version": {strconv.Itoa(number)}}
	if err := c.get(ctx, "model-versions/get", q, &out); err != nil {
		return Version{}, err
	}
	return out.Version.version()
}

// SearchVersions returns the versions that match an MLflow filter, such as
// "name = 'readmission' AND tags.best_model = 'true'" (see Quote), in the given
// order ("version_number DESC"; none: MLflow's own), at most limit of them
// (0: all). A model that does not exist has no versions; that is no error.
func (c *Client) SearchVersions(ctx context.Context, filter string, order []string, limit int) ([]Version, error) {
	const page = 1000
	var versions []Version
	token := ""
	for {
		q := url.Values{"filter": {filter}, "order_by": order}
		q.Set("max_results", strconv.Itoa(pageSize(page, limit, len(versions))))
		if token != "" {
			q.Set("page_token", token)
		}
		var out struct {
			Versions []version `json:"model_versions"`
			Token    string    `json:"next_page_token"`
		}
		if err := c.get(ctx, "model-versions/search", q, &out); err != nil {
			return nil, err
		}
		for _, v := range out.Versions {
			version, err := v.version()
			if err != nil {
				return nil, err
			}
			versions = append(versions, version)
		}
		if token = out.Token; token == "" || limit > 0 && len(versions) >= limit {
			return versions, nil
		}
	}
}

// SetDescription sets what MLflow's page says of a version, in Markdown: at most
// MaxDescription characters.
func (c *Client) SetDescription(ctx context.Context, name string, number int, text string) error {
	return c.do(ctx, request{method: http.MethodPatch, path: api + "model-versions/update", in: map[string]any{
		"name": name, "version": strconv.Itoa(number), "description": text,
	}})
}

// SetVersionTag sets a tag of a version.
func (c *Client) SetVersionTag(ctx context.Context, name string, number int, key, value string) error {
	return c.post(ctx, "model-versions/set-tag", map[string]any{
		"name": name, "version": strconv.Itoa(number), "key": key, "value": value,
	}, nil)
}

// DeleteVersionTag removes a tag of a version. It is no error if there is none.
func (c *Client) DeleteVersionTag(ctx context.Context, name string, number int, key string) error {
	return c.remove(ctx, "model-versions/delete-tag", map[string]any{
		"name": name, "version": strconv.Itoa(number), "key": key,
	})
}

// GetAlias returns the version that an alias points to. A model that does not
// exist and an alias that is not set are both ErrNotFound.
func (c *Client) GetAlias(ctx context.Context, name, alias string) (Version, error) {
	if name == "" || alias == "" {
		return Version{}, fmt.Errorf("reading alias %q of model %q: a name is empty", alias, name)
	}
	var out oneVersion
	err := c.get(ctx, "registered-models/alias", url.Values{"name": {name}, "alias": {alias}}, &out)
	if err != nil {
		// An alias that is not set is "400 INVALID_PARAMETER_VALUE: Registered
		// model alias x not found." The same code for a name that can't be an alias
		// means that it isn't set either.
		var e *Error
		if errors.As(err, &e) && e.Status == http.StatusBadRequest && e.Code == codeInvalid {
			e.missing = true
		}
		return Version{}, err
	}
	return out.Version.version()
}

// SetAlias moves an alias to a version. MLflow rejects "latest" and names like "v1".
func (c *Client) SetAlias(ctx context.Context, name, alias string, number int) error {
	return c.post(ctx, "registered-models/alias", map[string]any{
		"name": name, "alias": alias, "version": strconv.Itoa(number),
	}, nil)
}

// DeleteAlias removes an alias. It is no error if there is none.
func (c *Client) DeleteAlias(ctx context.Context, name, alias string) error {
	return c.remove(ctx, "registered-models/alias", map[string]any{"name": name, "alias": alias})
}

// downloadURI returns where MLflow says a version's artifacts are. It may be a
// runs:/ or models:/ URI; ResolveArtifacts follows it.
func (c *Client) downloadURI(ctx context.Context, name string, number int) (string, error) {
	var out struct {
		URI string `json:"artifact_uri"`
	}
	q := url.Values{"name": {name}, "version": {strconv.Itoa(number)}}
	err := c.get(ctx, "model-versions/get-download-uri", q, &out)
	return out.URI, err
}

// ResolveArtifacts returns the path in the artifact proxy below which a version's
// files are, for DownloadArtifact. It follows runs:/<run>/<path>,
// models:/<logged model>, models:/<name>/<version> and mlflow-artifacts:/<path>. Any
// other location (s3:// or a file path, from a server without the proxy) is an
// error that names it.
func (c *Client) ResolveArtifacts(ctx context.Context, v Version) (string, error) {
	uri, err := c.downloadURI(ctx, v.Name, v.Number)
	// A version may point to another version; the bound prevents a loop.
	for range 8 {
		if err != nil {
			break
		}
		scheme, rest, _ := strings.Cut(uri, ":")
		head, tail, _ := strings.Cut(strings.TrimLeft(rest, "/"), "/")
		switch {
		case scheme == "runs":
			var run Run
			if run, err = c.GetRun(ctx, head); err == nil {
				uri = joinURI(run.ArtifactURI, tail)
			}
		case scheme == "models" && strings.HasPrefix(head, "m-") && !isNumber(tail):
			var root string
			if root, err = c.loggedModel(ctx, head); err == nil {
				uri = joinURI(root, tail)
			}
		case scheme == "models":
			n, bad := strconv.Atoi(tail)
			if bad != nil {
				return "", fmt.Errorf("version %d of model %q: its artifacts are at %q, which names no version", v.Number, v.Name, uri)
			}
			uri, err = c.downloadURI(ctx, head, n)
		default:
			p, bad := c.ArtifactPath(uri)
			if bad != nil {
				return "", fmt.Errorf("version %d of model %q: %w", v.Number, v.Name, bad)
			}
			return p, nil
		}
	}
	if err != nil {
		return "", fmt.Errorf("finding the artifacts of version %d of model %q: %w", v.Number, v.Name, err)
	}
	return "", fmt.Errorf("version %d of model %q: its artifacts' location is a loop of references, the last %q", v.Number, v.Name, uri)
}

// loggedModel returns where the artifacts of an MLflow 3 logged model are.
func (c *Client) loggedModel(ctx context.Context, id string) (string, error) {
	var out struct {
		Model struct {
			Info struct {
				URI string `json:"artifact_uri"`
			}
		}
	}
	err := c.get(ctx, "logged-models/"+url.PathEscape(id), nil, &out)
	return out.Model.Info.URI, err
}

func isNumber(s string) bool {
	_, err := strconv.Atoi(s)
	return err == nil
}

func joinURI(root, tail string) string {
	if tail = path.Clean("/" + tail); tail == "/" {
		return root
	}
	return strings.TrimRight(root, "/") + tail
}
