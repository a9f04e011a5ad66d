package promote

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"time"

	"mlops/internal/history"
	"mlops/internal/progress"
	"mlops/internal/registry"
)

// Retention says which versions stay besides those that always do.
type Retention struct {
	Newest int           // of the versions that could go, so many stay
	Age    time.Duration // and those that are younger
}

// Fate is what becomes of a version.
type Fate struct {
	Version registry.Version
	Kept    string // why it stays; empty: it goes
}

// Decide says what becomes of each version, the oldest first. A version stays that has
// an alias, is or was in production by its tags or by the history, is of the newest
// training, or was not trained by a pipeline; so does one whose run has another version
// that stays.
func (p Retention) Decide(all []registry.Version, aliases map[int][]string, was map[int]bool, now time.Time) []Fate {
	fates := make([]Fate, len(all))
	newest := ""
	for _, v := range all {
		if v.Training != "" {
			newest = v.Training
		}
	}
	spare := 0
	for i := len(all) - 1; i >= 0; i-- {
		v := all[i]
		f := &fates[i]
		f.Version = v
		switch names := aliases[v.Number]; {
		case len(names) > 0:
			slices.Sort(names)
			f.Kept = "has the alias " + strings.Join(names, ", ")
		case v.WasProduction() || was[v.Number]:
			f.Kept = "was in production"
		case v.Training == "":
			f.Kept = "was not trained by a pipeline"
		case v.Training == newest:
			f.Kept = "is of the newest training"
		case spare < p.Newest:
			spare++
			f.Kept = fmt.Sprintf("is among the newest %d others", p.Newest)
		case now.Sub(v.Created) < p.Age:
			f.Kept = fmt.Sprintf("is younger than %s", progress.Counted(int64(p.Age/(24*time.Hour)), "day"))
		}
	}
	staying := map[string]int{}
	for _, f := range fates {
		if f.Kept != "" {
			staying[f.Version.RunID] = f.Version.Number
		}
	}
	for i := range fates {
		if other, ok := staying[fates[i].Version.RunID]; ok && fates[i].Kept == "" {
			fates[i].Kept = fmt.Sprintf("has the run of version %d, which stays", other)
		}
	}
	return fates
}

// RetainConfig is what Retain needs.
type RetainConfig struct {
	Registry  *registry.Registry
	History   *history.Log
	Retention Retention
	Remove    bool // else it is only said what would go
	By        string
	Now       time.Time
	Log       *slog.Logger
}

// Retained is what Retain did, or would do.
type Retained struct {
	Model   string             `json:"model"`
	Removed []registry.Removed `json:"removed"` // or would be
	Bytes   int64              `json:"bytes"`   // of their runs' artifacts
	Kept    map[string]int     `json:"kept"`    // versions by why they stay
	Done    bool               `json:"done"`    // false: nothing was removed
}

// Words says it in a sentence.
func (r *Retained) Words() string {
	if len(r.Removed) == 0 {
		return "no version can go"
	}
	numbers := make([]int, len(r.Removed))
	for i, v := range r.Removed {
		numbers[i] = v.Number
	}
	verb := "would go"
	if r.Done {
		verb = "went"
	}
	return fmt.Sprintf("%s (%s) %s, with %s of artifacts", progress.Counted(int64(len(numbers)), "version"), ranges(numbers), verb, size(r.Bytes))
}

// Retain removes the versions that need not stay, with their runs' artifacts, or says
// which those are. Parameters, metrics and tags of the runs stay.
//
// It may be killed at any moment and run again: each run first ends what an earlier one
// began. What went is noted in the history before the removals count as settled.
func Retain(ctx context.Context, c RetainConfig) (Retained, error) {
	out := Retained{Model: c.Registry.Model(), Kept: map[string]int{}, Removed: []registry.Removed{}, Done: c.Remove}
	if c.Retention.Newest < 0 || c.Retention.Age < 0 {
		return out, refusal("the number of versions and the age to keep must not be negative")
	}
	current, err := c.Registry.Production(ctx)
	if err != nil && !errors.Is(err, registry.ErrNoVersion) {
		return out, err
	}
	if c.Remove {
		if out.Removed, err = c.Registry.Unfinished(ctx); err != nil {
			return out, err
		}
	}
	fates, err := fatesOf(ctx, c)
	if err != nil {
		return out, err
	}
	for _, f := range fates {
		if f.Kept != "" {
			out.Kept[f.Kept]++
			continue
		}
		gone := registry.Removed{Number: f.Version.Number, RunID: f.Version.RunID}
		if c.Remove {
			gone, err = c.Registry.Remove(ctx, f.Version)
		} else {
			gone.Bytes, err = c.Registry.Size(ctx, f.Version)
		}
		if err != nil {
			return out, err
		}
		c.Log.Info("retention", "model", out.Model, "version", gone.Number, "run_id", gone.RunID, "bytes", gone.Bytes, "removed", c.Remove)
		out.Removed = append(out.Removed, gone)
	}
	for _, v := range out.Removed {
		out.Bytes += v.Bytes
	}
	if !c.Remove || len(out.Removed) == 0 {
		return out, nil
	}
	e := history.Event{Model: out.Model, Kind: history.Removed, By: c.By, From: current.Number, To: current.Number, Why: out.Words()}
	if err := c.History.Add(ctx, e); err != nil {
		return out, err
	}
	if err := c.Registry.SettleRemoved(ctx, out.Removed); err != nil {
		return out, err
	}
	share(ctx, c.Registry, c.History, c.Log)
	return out, nil
}

func fatesOf(ctx context.Context, c RetainConfig) ([]Fate, error) {
	was, err := c.History.InProduction(ctx, c.Registry.Model())
	if err != nil {
		return nil, err
	}
	aliases, err := c.Registry.Aliases(ctx)
	if err != nil {
		return nil, err
	}
	all, err := c.Registry.Versions(ctx)
	if err != nil {
		return nil, err
	}
	return c.Retention.Decide(all, aliases, was, c.Now), nil
}

// ranges lists numbers in order, those that follow one another as "3-7".
func ranges(numbers []int) string {
	slices.Sort(numbers)
	var parts []string
	for i := 0; i < len(numbers); {
		j := i
		for j+1 < len(numbers) && numbers[j+1] == numbers[j]+1 {
			j++
		}
		part := strconv.Itoa(numbers[i])
		if j > i {
			part += "-" + strconv.Itoa(numbers[j])
		}
		parts, i = append(parts, part), j+1
	}
	return strings.Join(parts, ", ")
}

// size is a number of bytes for people.
func size(n int64) string {
	switch {
	case n < 1e3:
		return progress.Counted(n, "byte")
	case n < 1e6:
		return fmt.Sprintf("%.1f kB", float64(n)/1e3)
	case n < 1e9:
		return fmt.Sprintf("%.1f MB", float64(n)/1e6)
	}
	return fmt.Sprintf("%.1f GB", float64(n)/1e9)
}
