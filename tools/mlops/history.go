package main

import (
	"context"
	"flag"
	"io"
	"os"
	"os/user"
	"strings"
	"time"

	"mlops/internal/demo"
	"mlops/internal/program"
	"mlops/internal/promote"
)

// historyCommands show and change what is in production.
func historyCommands() []command {
	return []command{{
		name:  "history",
		short: "what was in production of the demo's model, when, by whom and why",
		long: `
Lists each promotion, refusal, rollback and pin of the demo's registered model, the
newest first. The same is in the table registry.history of the database clean.`,
		define: func(f *flag.FlagSet) work {
			in := newInputs()
			model := modelFlag(f)
			limit := f.Int("n", 20, "how many `events`; 0: all")
			return func(ctx context.Context, out io.Writer, _ []string) error {
				c, err := in.config()
				if err != nil {
					return err
				}
				if *limit < 0 {
					return program.Inputf("-n %d: want a number of events, or 0 for all", *limit)
				}
				return demo.History(ctx, c, out, *model, *limit)
			}
		},
	}, {
		name:  "rollback",
		short: "put an earlier version of the demo's model back into production",
		long: `
Puts the version before the one in production back, or the one that -to names, which
must have been in production. It is served within seconds. The version that it takes
out is not promoted again by a pipeline; a new training is, if it is better.`,
		define: func(f *flag.FlagSet) work {
			in := newInputs()
			model, why, by := modelFlag(f), whyFlag(f), byFlag(f)
			to := f.Int("to", 0, "`number` of the version (default: the one before)")
			return func(ctx context.Context, out io.Writer, _ []string) error {
				c, err := in.config()
				if err != nil {
					return err
				}
				text, err := reason(*why, "-to", *to)
				if err != nil {
					return err
				}
				return demo.Rollback(ctx, c, out, *model, *to, text, *by)
			}
		},
	}, {
		name:  "adopt",
		short: "put a version that a notebook logged into production",
		long: `
Takes a version that mlflow.xgboost or mlflow.lightgbm logged from a notebook: reads it
as the server does, checks that it can be served, signs its files, moves the alias
production to it and notes who did so and why. It is served within seconds. Without
-version it takes the newest one. A version that can't be served is refused with the
reason; so is one that would refuse requests that are answered today, unless -anyway.`,
		define: func(f *flag.FlagSet) work {
			in := newInputs()
			model, why, by := modelFlag(f), whyFlag(f), byFlag(f)
			version := f.Int("version", 0, "`number` of the version (default: the newest)")
			anyway := f.Bool("anyway", false, "even if a pipeline trained it, or requests that are answered today would be refused")
			return func(ctx context.Context, out io.Writer, _ []string) error {
				c, err := in.config()
				if err != nil {
					return err
				}
				text, err := reason(*why, "-version", *version)
				if err != nil {
					return err
				}
				return demo.Adopt(ctx, c, out, *model, *version, *anyway, text, *by)
			}
		},
	}, {
		name:  "pin",
		short: "keep the version in production, whatever a pipeline finds; -off ends it",
		long: `
Stops automatic promotion of the demo's model: pipelines still train, compare and say
what they would have promoted. A rollback is still possible. -off allows it again.`,
		define: func(f *flag.FlagSet) work {
			in := newInputs()
			model, why, by := modelFlag(f), whyFlag(f), byFlag(f)
			off := f.Bool("off", false, "allow automatic promotion again")
			return func(ctx context.Context, out io.Writer, _ []string) error {
				c, err := in.config()
				if err != nil {
					return err
				}
				text := strings.TrimSpace(*why)
				if *off {
					text = ""
				} else if text == "" {
					return program.Inputf("say why with -why TEXT: the history keeps it; or -off to allow automatic promotion again")
				}
				return demo.Pin(ctx, c, out, *model, text, *by)
			}
		},
	}, {
		name:  "challenge",
		short: "choose the version that the server compares with the one in production; -off ends it",
		long: `
Gives a version of the demo's model the alias challenger. A server with MLOPS_SHADOW
scores a share of the requests by it too, tells nobody, and shows in /model, in its
metrics and in mlops status how the two differ. Without this, each pipeline chooses the
best candidate that it did not promote. The choice holds until that version is in
production; -off leaves it to the next pipeline again.`,
		define: func(f *flag.FlagSet) work {
			in := newInputs()
			model, why, by := modelFlag(f), whyFlag(f), byFlag(f)
			version := f.Int("version", 0, "`number` of the version")
			off := f.Bool("off", false, "leave the choice to the next pipeline")
			return func(ctx context.Context, out io.Writer, _ []string) error {
				c, err := in.config()
				if err != nil {
					return err
				}
				text := strings.TrimSpace(*why)
				switch {
				case *off:
					*version, text = 0, ""
				case *version < 1:
					return program.Inputf("say which version with -version N; or -off to leave the choice to the next pipeline")
				case text == "":
					return program.Inputf("say why with -why TEXT: the history keeps it")
				}
				return demo.Challenge(ctx, c, out, *model, *version, text, *by)
			}
		},
	}, {
		name:  "retain",
		short: "remove versions of the demo's model that need not stay; without -remove, say which",
		long: `
Removes versions with the artifacts of their runs; parameters, metrics and tags of the
runs stay. A version stays that has an alias, is or was in production, is of the newest
training or was logged by a notebook; of the others the newest, and those younger than
some days. Without -remove it only says what would go. The history says what went.`,
		define: func(f *flag.FlagSet) work {
			in := newInputs()
			model, by := modelFlag(f), byFlag(f)
			newest := f.Int("newest", 20, "how many of the `versions` that could go stay")
			days := f.Int("days", 90, "and those that are younger, in `days`")
			remove := f.Bool("remove", false, "remove them")
			return func(ctx context.Context, out io.Writer, _ []string) error {
				c, err := in.config()
				if err != nil {
					return err
				}
				keep := promote.Retention{Newest: *newest, Age: time.Duration(*days) * 24 * time.Hour}
				return demo.Retain(ctx, c, out, *model, keep, *remove, *by)
			}
		},
	}}
}

func modelFlag(f *flag.FlagSet) *string {
	return f.String("model", os.Getenv("MODEL"), "`name` of the registered model, where the demo has several (also: MODEL)")
}

func whyFlag(f *flag.FlagSet) *string {
	return f.String("why", os.Getenv("WHY"), "`why`, for the history (also: WHY)")
}

// reason checks what moves the alias production: why, and the version that a flag names,
// 0 if it names none.
func reason(why, name string, version int) (string, error) {
	if why = strings.TrimSpace(why); why == "" {
		return "", program.Inputf("say why with -why TEXT: the history keeps it")
	}
	if version < 0 {
		return "", program.Inputf("%s %d: versions are numbered from 1 on", name, version)
	}
	return why, nil
}

func byFlag(f *flag.FlagSet) *string {
	name := "unknown"
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	return f.String("by", name, "`who` asks for it, for the history")
}
