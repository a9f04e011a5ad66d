// Package bulk scores whole tables with an inference server: a file, an object of S3 or a
// table of the database raw, into a table of the database clean or an object of S3.
//
// A run is known by what it scores, where to, and the version that scores. It notes after
// each part how far it is, together with the part's records, so a run that was killed is
// continued where it was, and one that ended is not repeated: each record is in the target
// once. All of a run's records are scored by one version; if another one is put into
// production meanwhile, the run begins again with that.
package bulk

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"mlops/internal/api"
	"mlops/internal/dataset"
	"mlops/internal/postgres"
	"mlops/internal/program"
	"mlops/internal/source"
)

// Config says what to score, and where to.
type Config struct {
	Spec   *dataset.Spec
	From   string // URL or path of a file, or the name of a table of raw; empty: the data set's own
	To     string // s3://bucket/key, or the name of a table in the schema scored; empty: the data set's name
	Client *api.Client

	Postgres postgres.Config
	S3       source.S3      // of an object that is written
	Open     source.Options // of a file that is read

	Part   int // records per part; 0: 10,000
	Logger *slog.Logger
}

// Report is what a run did.
type Report struct {
	Source  string `json:"source"`
	Target  string `json:"target"`
	Model   string `json:"model"`   // that scored all records: "readmission/3"
	Run     int    `json:"run"`     // number in scored.runs, and in the column _run
	Records int64  `json:"records"` // of the run, those of earlier tries included
	New     int64  `json:"new"`     // of this try; 0: they had all been scored

	Excluded int64 `json:"excluded"` // left out by the cohort, and so without a prediction
	Warned   int64 `json:"warned"`   // with a warning

	Ignored []string `json:"ignored,omitempty"` // columns that are not sent
	Missed  int64    `json:"missed,omitempty"`  // rows of a table that came behind the run with a key before its last one
}

const (
	partRecords = 10_000
	maxRestarts = 3 // of a run, since other versions were put into production
)

// errSwapped says that another version scored than the run's.
var errSwapped = errors.New("another version was put into production")

var tableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_-]*$`)

// Run scores a table. What can't be scored ends it with an error of the kind
// program.Input that names the record.
func Run(ctx context.Context, cfg Config) (Report, error) {
	if cfg.Part == 0 {
		cfg.Part = partRecords
	}
	if cfg.From == "" {
		cfg.From = cfg.Spec.Name
	}
	if cfg.To == "" {
		cfg.To = cfg.Spec.Name
	}
	if cfg.Part < 0 {
		return Report{}, program.Inputf("a part of %d records can't be scored", cfg.Part)
	}
	cfg.Postgres = cfg.Postgres.Defaults()
	in, err := open(ctx, &cfg)
	if err != nil {
		return Report{}, err
	}
	defer in.close()
	session := postgres.NewSession(cfg.Postgres, cfg.Postgres.Clean, "score-batch "+cfg.To, cfg.Logger)
	defer session.Close()
	b := &batch{Config: cfg, in: in, ledger: &ledger{session, cfg.Logger}}
	if b.out, err = b.target(); err != nil {
		return Report{}, err
	}
	for restarts := 0; ; restarts++ {
		report, err := b.run(ctx)
		if !errors.Is(err, errSwapped) || restarts == maxRestarts {
			return report, err
		}
		cfg.Logger.Warn("starting again, so that one version scores all records", "reason", err.Error())
	}
}

// batch is one call of Run.
type batch struct {
	Config
	in     input
	out    target
	ledger *ledger
}

// target is where scored records go.
type target interface {
	// begin makes ready for a run. It moves the run to its beginning if the target has lost
	// what it had, and says whether nothing is left to put (over). names are the columns;
	// nil: no record is left.
	begin(ctx context.Context, r *run, names []string) (over bool, err error)
	// put adds a part, and notes in the ledger that the run is at p.
	put(ctx context.Context, r *run, rows [][]string, p progress) error
	// end completes the target.
	end(ctx context.Context, r *run) error
	// takeBack removes what a run that will never end has put.
	takeBack(ctx context.Context, r *run) error
	// kept reports whether the target of a run that ended is still there.
	kept(ctx context.Context, r *run) (bool, error)
	// grows says that records can be added behind those of a run that ended.
	grows() bool
}

func (b *batch) target() (target, error) {
	if strings.HasPrefix(b.To, "s3://") {
		return newObject(b.To, b.S3, b.ledger)
	}
	if !tableName.MatchString(b.To) {
		return nil, program.Inputf("%q is no target: want s3://bucket/key, or the name of a table (letters, digits, dashes and underscores)", b.To)
	}
	if b.To == "runs" {
		return nil, program.Inputf("the table scored.runs lists the runs; give the target another name")
	}
	return &table{name: b.To, ledger: b.ledger}, nil
}

func (b *batch) run(ctx context.Context) (Report, error) {
	m, err := b.Client.Model(ctx)
	if err != nil {
		return Report{}, fmt.Errorf("looking up the served version: %w", err)
	}
	want := run{source: b.in.name(), identity: b.in.identity(), target: b.To, model: m.Model.Name + "/" + m.Model.Number}
	report := Report{Source: want.source, Target: b.To, Model: want.model, Ignored: b.in.ignored()}
	r, stale, err := b.ledger.begin(ctx, want)
	if err != nil {
		return report, err
	}
	for _, s := range stale {
		if err := b.forget(ctx, s); err != nil {
			return report, err
		}
	}
	fill := func() {
		report.Run, report.Records, report.Excluded, report.Warned = r.id, r.records, r.excluded, r.warned
	}
	if r != nil && r.ended {
		kept, err := b.out.kept(ctx, r)
		if err != nil {
			return report, err
		}
		if !kept {
			b.Logger.Warn("the target is gone, so it is made again", "target", r.target, "run", r.id)
			if err := b.ledger.remove(ctx, r); err != nil {
				return report, err
			}
			r = nil
		}
	}
	if r != nil && r.ended {
		more, err := b.more(ctx, r)
		if err != nil {
			return report, err
		}
		fill()
		switch {
		case !more:
			b.Logger.Info("nothing new to score", "source", r.source, "target", r.target, "model", r.model, "records", r.records)
			report.Missed, err = b.in.missed(ctx, r)
			return report, err
		case !b.out.grows():
			if err := b.ledger.remove(ctx, r); err != nil { // a new object takes its place
				return report, err
			}
			r = nil
		}
	}
	if r == nil {
		if r, err = b.ledger.add(ctx, want); err != nil {
			return report, err
		}
	} else {
		b.Logger.Info("continuing a run", "run", r.id, "records", r.records)
	}
	before := r.records
	err = b.score(ctx, r)
	if errors.Is(err, errSwapped) {
		return report, errors.Join(err, b.forget(ctx, r))
	}
	fill()
	report.New = r.records - before
	if err != nil {
		return report, err
	}
	report.Missed, err = b.in.missed(ctx, r)
	return report, err
}

// more reports whether there are records behind those of a run that ended.
func (b *batch) more(ctx context.Context, r *run) (bool, error) {
	if err := b.in.seek(ctx, r.position); err != nil {
		return false, err
	}
	part, err := b.in.next(ctx, 1)
	return len(part.records) > 0, err
}

// forget takes a run back that will never end.
func (b *batch) forget(ctx context.Context, r *run) error {
	b.Logger.Warn("taking an unfinished run back", "run", r.id, "source", r.source, "model", r.model, "records", r.records)
	if err := b.out.takeBack(ctx, r); err != nil {
		return err
	}
	return b.ledger.remove(ctx, r)
}

// score scores what is left of a run.
func (b *batch) score(ctx context.Context, r *run) error {
	if err := b.in.seek(ctx, r.position); err != nil {
		return err
	}
	f := b.flow(ctx, r)
	defer func() { f.stop() }()
	for begun := false; ; {
		part := f.next(ctx)
		if part.err != nil {
			return part.err
		}
		last := len(part.rows) == 0
		if last && r.records == 0 {
			return program.Inputf("%s has no record", r.source)
		}
		if !begun {
			begun = true
			at := r.position
			if over, err := b.out.begin(ctx, r, part.columns); err != nil || over {
				return errors.Join(err, b.ended(ctx, r, over))
			}
			if r.position != at { // the target has lost what it had
				begun = false
				f.stop()
				if err := b.in.seek(ctx, r.position); err != nil {
					return err
				}
				f = b.flow(ctx, r)
				continue
			}
		}
		if last {
			return b.out.end(ctx, r)
		}
		p := progress{position: part.position, records: r.records + int64(len(part.rows)), excluded: r.excluded, warned: r.warned}
		excluded, warnings := named(part.columns, "excluded"), named(part.columns, "warnings")
		if excluded < 0 || warnings < 0 {
			return fmt.Errorf("%s has responded without the columns excluded and warnings: is it an older server?", b.Client.Base())
		}
		for _, row := range part.rows {
			if row[excluded] != "" {
				p.excluded++
			}
			if row[warnings] != "" {
				p.warned++
			}
		}
		if err := b.out.put(ctx, r, part.rows, p); err != nil {
			return err
		}
		f.written()
		b.Logger.Info("progress", "done", r.records, "total", 0, "unit", "rows")
	}
}

func (b *batch) ended(ctx context.Context, r *run, over bool) error {
	if !over {
		return nil
	}
	return b.out.end(ctx, r)
}

// named is the place of a column of the predictions, whose name has a prefix if the table
// has a column of that name; -1: there is none.
func named(names []string, name string) int {
	if i := slices.Index(names, "predicted_"+name); i >= 0 {
		return i
	}
	return slices.Index(names, name)
}

// quote makes a name an SQL identifier.
func quote(names ...string) string { return pgx.Identifier(names).Sanitize() }
