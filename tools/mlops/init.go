package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"

	"mlops/internal/demo"
	"mlops/internal/draft"
	"mlops/internal/prepare"
	"mlops/internal/profile"
	"mlops/internal/program"
	"mlops/internal/source"
)

// several is a flag that may be given more than once.
type several []string

func (s *several) String() string { return fmt.Sprint([]string(*s)) }

func (s *several) Set(value string) error {
	*s = append(*s, value)
	return nil
}

// drafted are the flags that say what a draft is to predict.
type drafted struct {
	target   string
	task     string
	positive several
	leaks    several
	splitBy  string
}

func (d *drafted) flags(f *flag.FlagSet) {
	f.StringVar(&d.target, "target", os.Getenv("TARGET"), "`column` to predict (also: TARGET; default: guessed if there is one obvious choice)")
	f.StringVar(&d.task, "task", os.Getenv("TASK"), "`task`: binary, multiclass or regression (also: TASK; default: guessed by the target's values)")
	if p := os.Getenv("POSITIVE"); p != "" {
		d.positive = several{p}
	}
	f.StringVar(&d.splitBy, "split-by", os.Getenv("SPLIT_BY"), "`column` that splits the rows by time, the latest to test on, or hash (also: SPLIT_BY; default: by time where rows next to each other in time are alike)")
	f.Var(&d.leaks, "allow-leak", "`column` that may tell the target by itself, since it is known before the outcome is; may be given again")
	f.Var(&d.positive, "positive", "`value` of the target that counts as 1, may be given again (also: POSITIVE; default: guessed)")
}

func initCommand() command {
	return command{
		name:  "init",
		args:  "FILE",
		short: "draft a data set's YAML for a table",
		long: `
Reads the whole table (FILE, a path or URL), infers how it is written, the columns'
types, missing markers, key, group, target, features and candidates, and writes a
YAML with comments that say what was guessed and by what evidence. A file that
exists is not overwritten.`,
		define: func(f *flag.FlagSet) work {
			d := &drafted{}
			d.flags(f)
			out := f.String("out", "", "`file` to write (default: the data set's name with .yaml, in this folder)")
			return func(ctx context.Context, w io.Writer, args []string) error {
				// Flags may follow the file too: mlops init FILE --target COLUMN.
				if len(args) > 1 {
					rest := flag.NewFlagSet("init", flag.ContinueOnError)
					rest.SetOutput(io.Discard)
					d.flags(rest)
					rest.StringVar(out, "out", *out, "")
					if err := rest.Parse(args[1:]); err != nil {
						return program.Inputf("init: %w; see mlops help init", err)
					}
					args = append(args[:1], rest.Args()...)
				}
				if len(args) != 1 {
					return program.Inputf("init takes one table: mlops init FILE [--target COLUMN] [--out SPEC]")
				}
				_, err := initSpec(ctx, w, args[0], d, *out)
				return err
			}
		},
	}
}

// initSpec drafts the YAML of a table and writes it.
func initSpec(ctx context.Context, w io.Writer, table string, what *drafted, out string) (path string, err error) {
	folder := "."
	if out != "" {
		folder = filepath.Dir(out)
	}
	d, err := makeDraft(ctx, table, draft.Options{Target: what.target, Positive: what.positive, Task: what.task, Leaks: what.leaks, SplitBy: what.splitBy, File: out, Schema: schemaFrom(folder)})
	if err != nil {
		return "", err
	}
	if out == "" {
		out = d.Name + ".yaml"
	}
	f, err := os.OpenFile(out, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return "", program.Inputf("%s exists already, and a draft never overwrites a file: name another with --out, or remove it", out)
	}
	if err != nil {
		return "", program.Input(err)
	}
	if _, err := f.Write(d.YAML); err != nil {
		f.Close()
		return "", err
	}
	if err := f.Close(); err != nil {
		return "", err
	}
	page := strings.TrimSuffix(out, filepath.Ext(out)) + ".html"
	if err := writePage(page, d.Profile); err != nil {
		return "", err
	}
	fmt.Fprint(w, d.Summary())
	shown := out
	if rel, err := filepath.Rel(".", out); err == nil {
		shown = rel
	}
	fmt.Fprintf(w, "\nwrote %s, and the profile of the rows to %s\nRead what was guessed, then\n  make check %[3]s %[4]s\n  make demo %[3]s %[4]s\n", shown, page, draft.MakeVariable("SPEC", shown), draft.MakeVariable("DATASET", table))
	return out, nil
}

// draftMemory is from where on the garbage of a draft is collected more eagerly; its
// sketches take about half of it.
const draftMemory = 80 << 20

// makeDraft drafts the YAML of a table. Errors of the table or the target are marked as
// ones that another try can't help.
func makeDraft(ctx context.Context, table string, o draft.Options) (*draft.Draft, error) {
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(draftMemory))
	d, err := draft.Make(ctx, table, o)
	var wrong *source.Error
	var no *draft.Error
	if errors.As(err, &wrong) || errors.As(err, &no) {
		return nil, program.Input(err)
	}
	return d, err
}

// schemaFrom is the path of the specs' JSON Schema from a folder, "" if the
// project is not found.
func schemaFrom(folder string) string {
	root, err := prepare.Root()
	if err != nil {
		return ""
	}
	from, err := filepath.Abs(folder)
	if err != nil {
		return ""
	}
	path, err := filepath.Rel(from, filepath.Join(root, "docs", "reference", "spec.schema.json"))
	if err != nil {
		return ""
	}
	return filepath.ToSlash(path)
}

// writePage writes a profile as a page. It is rewritten with each draft.
func writePage(path string, p *profile.Profile) error {
	f, err := os.Create(path)
	if err != nil {
		return program.Input(err)
	}
	if err := p.HTML(f); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}

// draftForDemo drafts the YAML of DATASET where the user named a target and no
// YAML, and keeps it in the demo's home.
func draftForDemo(ctx context.Context, w io.Writer, c *demo.Config, what *drafted) error {
	d, err := makeDraft(ctx, c.Dataset, draft.Options{Target: what.target, Positive: what.positive, Task: what.task, Leaks: what.leaks, SplitBy: what.splitBy})
	if err != nil {
		return err
	}
	c.Spec = c.State.Path("drafts", d.Name+".yaml")
	if err := os.MkdirAll(filepath.Dir(c.Spec), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(c.Spec, d.YAML, 0o644); err != nil {
		return err
	}
	if err := writePage(c.State.Path("drafts", d.Name+".html"), d.Profile); err != nil {
		return err
	}
	fmt.Fprint(w, d.Summary())
	fmt.Fprintf(w, "\ndrafted %s; copy it, edit it, and continue with SPEC=; the next batch is added by\n  make demo SPEC=YOURS.yaml DATASET=next.csv\n\n", c.Spec)
	return nil
}
