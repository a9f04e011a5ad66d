package overview

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"mlops/internal/dataset"
	"mlops/internal/ingest"
	"mlops/internal/mlflow"
	"mlops/internal/program"
	"mlops/internal/registry"
)

// Removal is what goes when a data set is forgotten, for the one who is asked.
type Removal struct {
	Spec  *dataset.Spec
	Place string        // where it is removed from
	Rows  ingest.Counts // what the databases hold of it
	Goes  []string      // what else goes
	Stays []string      // what stays, and who uses it
}

// Ask says what will go and what stays, and asks for the data set's name unless yes is
// set. Any other answer is an error.
func (r *Removal) Ask(in io.Reader, out io.Writer, yes bool) error {
	fmt.Fprintf(out, "This removes the data set %s from %s:\n  %d rows and %d rejected lines from raw\n  %d rows and %d rejected ones from clean\n",
		r.Spec.Name, r.Place, r.Rows.Raw, r.Rows.RawRejected, r.Rows.Clean, r.Rows.Rejected)
	for _, what := range r.Goes {
		fmt.Fprintf(out, "  %s\n", what)
	}
	for _, what := range r.Stays {
		fmt.Fprintln(out, what)
	}
	if yes {
		return nil
	}
	fmt.Fprintf(out, "Type %s to continue: ", r.Spec.Name)
	answer, err := bufio.NewReader(in).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("reading the answer: %w", err)
	}
	if strings.TrimSpace(answer) != r.Spec.Name {
		return program.Inputf("nothing was removed; in a script use -yes (make: YES=1)")
	}
	return nil
}

// MadeOf says which versions of the model were trained on rows of a data set. They stay
// when it is forgotten.
func MadeOf(ctx context.Context, client *mlflow.Client, spec *dataset.Spec) (string, error) {
	reg := registry.New(client, spec.Model)
	all, err := reg.Versions(ctx)
	if err != nil && !errors.Is(err, mlflow.ErrNotFound) {
		return "", err
	}
	n := 0
	for _, v := range all {
		if v.Dataset == spec.Name {
			n++
		}
	}
	said := fmt.Sprintf("The versions of %s that were trained on its rows (%d) stay, with their runs", spec.Model, n)
	v, err := reg.Production(ctx)
	switch {
	case errors.Is(err, registry.ErrNoVersion):
		return said + "; none is in production.", nil
	case err != nil:
		return "", err
	case v.Dataset == spec.Name:
		return fmt.Sprintf("%s; version %d is in production and is served as before, but can't be compared with a next one until rows are loaded again.", said, v.Number), nil
	}
	return said + ".", nil
}
