package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log/slog"
	"time"

	"mlops/internal/history"
	"mlops/internal/program"
	"mlops/internal/promote"
	"mlops/internal/registry"
	"mlops/internal/step"
)

func retain(ctx context.Context, log *slog.Logger, args []string) error {
	var newest, days int
	var by person
	var remove bool
	err := program.Flags(args, func(f *flag.FlagSet) {
		f.IntVar(&newest, "newest", 20, "how many of the versions that could go stay")
		f.IntVar(&days, "days", 90, "and those that are younger, in days")
		by.nameFlag(f)
		f.BoolVar(&remove, "remove", false, "remove them; without it, only say which would go")
	})
	if err != nil {
		return err
	}
	return locked(ctx, log, func(reg *registry.Registry, events *history.Log) error {
		out, err := promote.Retain(ctx, promote.RetainConfig{
			Registry: reg, History: events, By: by.name, Log: log, Now: time.Now(), Remove: remove,
			Retention: promote.Retention{Newest: newest, Age: time.Duration(days) * 24 * time.Hour},
		})
		if err != nil {
			return err
		}
		log.Info("retained", "model", out.Model, "removed", len(out.Removed), "bytes", out.Bytes, "done", out.Done, "said", out.Words())
		text, err := json.Marshal(out)
		if err != nil {
			return fmt.Errorf("writing the report: %w", err)
		}
		return step.Output("report", string(text))
	})
}
