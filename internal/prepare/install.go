package prepare

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// installer installs packages into virtual environments. It is an environment of
// its own with pip and, if that could be had, uv.
type installer struct {
	Environments
	tools *Venv
	uv    string   // path; empty: pip installs
	env   []string // by which uv uses the indexes, proxies and certificates that pip is configured for
}

// installer returns an installer, made if there is none yet. pip, which comes with
// Python, installs the uv of the file uv.txt in the folder locks. Without that file
// pip installs everything; likewise if uv fails, and the log says why.
func (e Environments) installer(ctx context.Context, log *slog.Logger, py *Python, locks string) (*installer, error) {
	lock := filepath.Join(locks, "uv.txt")
	text, err := os.ReadFile(lock)
	noUV := errors.Is(err, fs.ErrNotExist)
	if err != nil && !noUV {
		return nil, fmt.Errorf("reading lock file: %w", err)
	}
	i := &installer{Environments: e, tools: e.at(py, text)}
	if !i.tools.complete() {
		if err := os.RemoveAll(i.tools.Dir); err != nil {
			return nil, fmt.Errorf("deleting an unfinished virtual environment: %w", err)
		}
		if err := e.run(ctx, nil, py.Path, "-m", "venv", i.tools.Dir); err != nil {
			return nil, fmt.Errorf("making a virtual environment with pip (if Python lacks ensurepip, Debian's package python3-venv adds it): %w", err)
		}
		if !noUV {
			if err := e.run(ctx, nil, append(i.pip(), "-r", lock)...); ctx.Err() != nil {
				return nil, ctx.Err()
			} else if err != nil {
				log.Warn("uv can't be installed, so pip installs the packages, which takes longer", "reason", err)
				return i, nil
			}
		}
		if err := os.WriteFile(filepath.Join(i.tools.Dir, complete), nil, 0o644); err != nil {
			return nil, fmt.Errorf("finishing the virtual environment of uv: %w", err)
		}
	}
	if noUV {
		return i, nil
	}
	i.uv = filepath.Join(i.tools.Bin(), "uv")
	if err := e.run(ctx, nil, i.uv, "--version"); err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		log.Warn("uv does not run here, so pip installs the packages, which takes longer", "reason", err)
		i.uv = ""
		return i, nil
	}
	var config strings.Builder
	err = e.run(ctx, func(line string) bool { config.WriteString(line + "\n"); return true }, i.tools.Python(), "-m", "pip", "config", "list")
	if err != nil {
		log.Warn("reading pip's configuration, which uv would follow", "error", err)
	}
	i.env = uvEnv(config.String())
	return i, nil
}

// pip is the start of a command that installs locked wheels. global are pip's
// general options.
func (i *installer) pip(global ...string) []string {
	argv := append([]string{i.tools.Python(), "-m", "pip"}, global...)
	return append(argv, "install", "--require-hashes", "--only-binary", ":all:", "--no-input", "--progress-bar", "off", "--disable-pip-version-check")
}

// install installs the lock file's packages into v. total is how many it names; those
// for other systems are left out.
func (i *installer) install(ctx context.Context, log *slog.Logger, v *Venv, lock string, total int) error {
	report := func(done, of int, unit string) { log.Info("progress", "done", done, "total", of, "unit", unit) }
	if i.uv == "" {
		done := 0
		return i.run(ctx, func(line string) bool {
			switch {
			case strings.HasPrefix(line, "Collecting "):
				done++
				report(done, total, "packages")
			case strings.HasPrefix(line, "Installing collected"):
				report(done, done, "packages to unpack")
			}
			return false
		}, append(i.pip("--python", v.Python()), "-r", lock)...)
	}
	begun, done := 0, 0
	err := Command{Env: append(i.env[:len(i.env):len(i.env)], append(i.Environ[:len(i.Environ):len(i.Environ)], "NO_COLOR=1")...),
		Line: func(line string) bool {
			words := strings.Fields(line)
			if len(words) < 2 {
				return false
			}
			if n, err := strconv.Atoi(words[1]); err == nil { // "Prepared 98 packages in 7.02s"
				total = n
			}
			switch words[0] {
			case "Downloading": // uv names the large ones only
				begun++
				report(done, begun, "large packages")
			case "Downloaded":
				done++
				report(done, begun, "large packages")
			case "Prepared":
				report(total, total, "packages to copy")
			case "+":
				return true
			}
			return false
		},
		Argv: []string{i.uv, "pip", "install", "--python", v.Python(), "--require-hashes", "--no-build", "-r", lock},
	}.Run(ctx)
	if err != nil {
		return err
	}
	report(total, total, "packages, compiling MLflow")
	if err := i.compileServer(ctx, log, v); err != nil {
		return err
	}
	report(total, total, "packages")
	return nil
}

// server compiles what MLflow's server needs. uv, unlike pip, leaves Python's
// bytecode to the first import, but services must not write into an environment
// that others share. Compiling all packages takes longer than installing them.
const server = `
import compileall, os, warnings
warnings.simplefilter("ignore")
import mlflow.cli, mlflow.server.fastapi_app, mlflow.store.tracking.sqlalchemy_store, mlflow.store.model_registry.sqlalchemy_store, psycopg2, uvicorn.workers
for package in "server", "store", "tracing":
    compileall.compile_dir(os.path.join(os.path.dirname(mlflow.__file__), package), quiet=2)
`

func (i *installer) compileServer(ctx context.Context, log *slog.Logger, v *Venv) error {
	err := Command{Env: append(i.Environ[:len(i.Environ):len(i.Environ)], "PYTHONDONTWRITEBYTECODE=", "MLFLOW_DISABLE_TELEMETRY=true", "DO_NOT_TRACK=true"),
		Argv: []string{v.Python(), "-c", server}}.Run(ctx)
	if err != nil && ctx.Err() == nil {
		// Another lock file than the demo's, without MLflow; or it starts slower.
		log.Debug("compiling what MLflow's server imports", "error", err)
	}
	return ctx.Err()
}

// uvEnv translates pip's configuration, as `pip config list` prints it, into the
// variables of uv, which does not read it. A variable that the user has set comes
// after these and wins.
func uvEnv(config string) []string {
	rank := map[string]int{"global": 1, "install": 2, ":env:": 3}
	values, ranks := map[string]string{}, map[string]int{}
	for line := range strings.Lines(config) {
		name, value, ok := strings.Cut(strings.TrimSpace(line), "=")
		dot := strings.LastIndexByte(name, '.')
		if !ok || dot < 0 || rank[name[:dot]] <= ranks[name[dot+1:]] {
			continue
		}
		values[name[dot+1:]], ranks[name[dot+1:]] = unrepr(value), rank[name[:dot]]
	}
	var env []string
	set := func(key, variable, separator string) {
		if words := strings.Fields(values[key]); len(words) > 0 {
			env = append(env, variable+"="+strings.Join(words, separator))
		}
	}
	set("index-url", "UV_DEFAULT_INDEX", " ")
	set("extra-index-url", "UV_INDEX", " ")
	set("find-links", "UV_FIND_LINKS", ",")
	set("trusted-host", "UV_INSECURE_HOST", " ")
	set("timeout", "UV_HTTP_TIMEOUT", " ")
	set("cert", "SSL_CERT_FILE", " ")
	if proxy := values["proxy"]; proxy != "" {
		env = append(env, "ALL_PROXY="+proxy)
	}
	if off, _ := strconv.ParseBool(values["no-index"]); off || values["no-index"] == "yes" {
		env = append(env, "UV_NO_INDEX=1")
	}
	// Hashes decide what is installed; like pip, take it from wherever it is.
	return append(env, "UV_INDEX_STRATEGY=unsafe-best-match")
}

// unrepr reads Python's repr of a string.
func unrepr(text string) string {
	if n := len(text); n >= 2 && (text[0] == '\'' || text[0] == '"') && text[n-1] == text[0] {
		text = text[1 : n-1]
	}
	return strings.NewReplacer(`\n`, "\n", `\\`, `\`, `\'`, `'`).Replace(text)
}
