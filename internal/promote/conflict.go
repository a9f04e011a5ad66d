package promote

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"mlops/internal/dataset"
	"mlops/internal/registry"
)

// Check returns an error that is ErrRefused where the version in production
// under the spec's model name predicts something else than the spec: it could be
// neither compared with the spec's candidates nor replaced by one of them.
func Check(ctx context.Context, reg *registry.Registry, spec *dataset.Spec) error {
	champion, err := reg.Production(ctx)
	if errors.Is(err, registry.ErrNoVersion) {
		return nil
	}
	if err != nil {
		return err
	}
	stored, err := storedSpec(ctx, reg, champion)
	if err != nil {
		return err
	}
	return conflict(champion, stored, spec)
}

// storedSpec returns the spec of a version, nil where there is no readable one.
func storedSpec(ctx context.Context, reg *registry.Registry, v registry.Version) (*dataset.Spec, error) {
	spec, err := reg.Spec(ctx, v)
	if errors.Is(err, registry.ErrUnusable) {
		return nil, nil
	}
	return spec, err
}

// conflict returns an error where the champion predicts something else than the
// spec. Of a champion whose spec can't be read only the data set is known, by
// its tag.
func conflict(champion registry.Version, stored, spec *dataset.Spec) error {
	if champion.Number == 0 {
		return nil
	}
	var found []string
	switch {
	case stored != nil:
		found = differences(stored, spec)
	case champion.Dataset != "" && champion.Dataset != spec.Name:
		found = []string{differs("data set", champion.Dataset, spec.Name)}
	}
	if len(found) == 0 {
		return nil
	}
	return refusal(fmt.Sprintf("version %d of %s in production predicts something else than this spec: %s; give this spec another name under model:",
		champion.Number, champion.Name, strings.Join(found, "; ")))
}

// differences lists what makes two specs predict different things.
func differences(production, spec *dataset.Spec) []string {
	var found []string
	compare := func(what, a, b string) {
		if a != b {
			found = append(found, differs(what, a, b))
		}
	}
	compare("data set", production.Name, spec.Name)
	compare("task", production.Task, spec.Task)
	compare("target column", production.Target.Column, spec.Target.Column)
	if a, b := production.Target.Classes, spec.Target.Classes; !slices.Equal(a, b) {
		found = append(found, differs("classes", strings.Join(a, ", "), strings.Join(b, ", "))+changed(a, b))
	}
	compare("positive values", sorted(production.Target.Positive), sorted(spec.Target.Positive))
	compare("cohort leaves out", cohort(production), cohort(spec))
	return found
}

// changed says which classes came and went, or that only their order is another one, which
// is that of a model's outputs.
func changed(production, spec []string) string {
	without := func(list, other []string) []string {
		return slices.DeleteFunc(slices.Clone(list), func(c string) bool { return slices.Contains(other, c) })
	}
	added, gone := without(spec, production), without(production, spec)
	switch {
	case len(production) == 0 || len(spec) == 0: // another task, which is said already
		return ""
	case len(added) == 0 && len(gone) == 0:
		return " (the same in another order)"
	}
	var parts []string
	if len(added) > 0 {
		parts = append(parts, "new: "+strings.Join(added, ", "))
	}
	if len(gone) > 0 {
		parts = append(parts, "gone: "+strings.Join(gone, ", "))
	}
	return " (" + strings.Join(parts, "; ") + ")"
}

func differs(what, production, spec string) string {
	return fmt.Sprintf("%s %q in production, %q in the spec", what, production, spec)
}

func sorted(values []string) string {
	return strings.Join(slices.Compact(slices.Sorted(slices.Values(values))), ", ")
}

// cohort names the values that a spec leaves out, however its entries group them.
func cohort(s *dataset.Spec) string {
	values := map[string][]string{}
	for _, e := range s.Cohort {
		values[e.Column] = append(values[e.Column], e.Values...)
	}
	var parts []string
	for _, column := range slices.Sorted(maps.Keys(values)) {
		parts = append(parts, column+" = "+sorted(values[column]))
	}
	return strings.Join(parts, "; ")
}
