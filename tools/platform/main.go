// Command platform installs the whole platform on Kubernetes and looks after it:
// it is behind `make up`, `down`, `status`, `forward`, `backup` and `restore`, and
// behind `make history`, `rollback`, `pin`, `challenge`, `adopt` and `retain` with ON=cluster.
//
//	platform up        start a cluster if there is none, build images, install, serve a model
//	platform down      stop it; PURGE=1 deletes its data
//	platform status    show one screen
//	platform forward   forward local ports to the services until interrupted
//	platform backup    copy databases and buckets to a folder or a bucket: TO, KEEP, RECIPIENT
//	platform restore   bring such a copy back: FROM, BACKUP, IDENTITY
//	platform key       make an API key for a release: NAME, SCOPE, RATE
//	platform keys      list a release's API keys
//	platform key-revoke  take one away: ID or NAME
//	platform forget    remove one data set's rows, files and schedules; models stay
//	platform history   show what was in production: N
//	platform rollback  put an earlier version of the model back: TO, WHY
//	platform pin       keep the version in production: WHY; OFF=1 ends it
//	platform challenge choose the version to compare with: VERSION, WHY; OFF=1 ends it
//	platform adopt     put a version that a notebook logged into production: VERSION (empty: the newest), WHY, ANYWAY=1
//	platform retain    remove versions that need not stay: NEWEST, DAYS; REMOVE=1 does it
//
// It reads the environment: MLOPS_HOME and MLOPS_CACHE_HOME as `make demo` does,
// KUBECONFIG, YES (1: take the current context without asking), REGISTRY (from
// which the cluster pulls our images; `make up` pushes them there), SPEC (a data
// set's YAML), DATASET (path or URL of its table), SYNTHETIC (1: made-up rows), NAMESPACE
// (of a release, for everything but up and down), MLOPS_HOSTS (as `make demo` does), PURGE, TERM and NO_COLOR.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"mlops/internal/headers"
	"mlops/internal/local"
	"mlops/internal/prepare"
	"mlops/internal/program"
	"mlops/internal/progress"
)

// The release and its namespace.
const (
	releaseName = "mlops"
	namespace   = "mlops"
)

// config is what the commands take from the environment.
type config struct {
	root      string // the project's folder
	state     *local.State
	spec      string // path of the data set's YAML; empty: the chart's own
	dataset   string
	synthetic bool // made-up rows instead of a table
	registry  string
	hosts     []string // names by which our own cluster's API and page may be called
	purge     bool
	yes       bool
	built     bool // the cluster's tool is built
	show      *progress.Reporter
	out       io.Writer // what is shown besides
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "platform:", progress.Printable(err.Error()))
		os.Exit(program.Code(err))
	}
}

func run(ctx context.Context, args []string) error {
	commands := map[string]func(context.Context, *config) error{"up": up, "down": down, "status": status, "forward": forward, "backup": backUp, "restore": restore,
		"key": newKey, "keys": listKeys, "key-revoke": revokeKey,
		"history": showHistory, "rollback": rollback, "pin": pin, "challenge": challenge, "adopt": adopt, "retain": retain, "forget": forget}
	if len(args) != 1 || commands[args[0]] == nil {
		return program.Inputf("usage: platform up|down|status|forward|backup|restore|key|keys|key-revoke|history|rollback|pin|challenge|adopt|retain|forget")
	}
	c, err := configure()
	if err != nil {
		return err
	}
	defer c.show.Close()
	return commands[args[0]](ctx, c)
}

func configure() (*config, error) {
	root, err := prepare.Root()
	if err != nil {
		return nil, err
	}
	home, err := prepare.Home(os.Getenv("MLOPS_HOME"))
	if err != nil {
		return nil, err
	}
	c := &config{root: root, spec: os.Getenv("SPEC"), dataset: os.Getenv("DATASET"), synthetic: os.Getenv("SYNTHETIC") == "1", registry: os.Getenv("REGISTRY"), yes: os.Getenv("YES") == "1",
		hosts: headers.Names(program.EnvOr("MLOPS_HOSTS", "localhost"))}
	switch p := os.Getenv("PURGE"); p {
	case "", "0":
	case "1":
		c.purge = true
	default:
		return nil, program.Inputf("PURGE=%s: want 1", p)
	}
	if c.spec != "" && !filepath.IsAbs(c.spec) {
		c.spec = filepath.Join(root, c.spec)
	}
	if c.state, err = local.OpenState(home, os.Getenv("MLOPS_CACHE_HOME"), os.Environ()); err != nil {
		return nil, err
	}
	c.show, c.out = progress.New(os.Stdout, os.Getenv("TERM"), os.Getenv("NO_COLOR") == ""), progress.Screen(os.Stdout)
	return c, nil
}

// command runs a program in the project's folder; each line that it writes is
// passed to say, if that is not nil. The error has its last lines.
func (c *config) command(ctx context.Context, say func(line string), env []string, argv ...string) (string, error) {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Dir = c.root
	cmd.Env = append(os.Environ(), env...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 0
	var out lines
	out.say = say
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	text := strings.TrimSpace(string(out.all))
	if ctx.Err() != nil {
		return text, context.Cause(ctx)
	}
	if err != nil {
		tail := strings.Split(text, "\n")
		return text, fmt.Errorf("%s: %w\n%s", strings.Join(argv, " "), err, strings.Join(tail[max(0, len(tail)-15):], "\n"))
	}
	return text, nil
}

// lines is what a command wrote, passed on line by line.
type lines struct {
	all  []byte
	told int
	say  func(string)
}

func (l *lines) Write(p []byte) (int, error) {
	l.all = append(l.all, p...)
	for l.say != nil {
		end := strings.IndexByte(string(l.all[l.told:]), '\n')
		if end < 0 {
			break
		}
		if line := strings.TrimSpace(string(l.all[l.told : l.told+end])); line != "" {
			l.say(line)
		}
		l.told += end + 1
	}
	return len(p), nil
}

// find returns the path of a program, or "".
func find(name string) string {
	path, err := exec.LookPath(name)
	if err != nil || errors.Is(err, exec.ErrDot) {
		return ""
	}
	return path
}
