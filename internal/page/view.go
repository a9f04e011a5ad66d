package page

import (
	"bytes"
	"embed"
	"encoding/json"
	"fmt"
	"html/template"
	"io/fs"
	"maps"
	"math"
	"net/http"
	"net/url"
	"path"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	"mlops/internal/api"
	"mlops/internal/progress"
)

//go:embed html/*.html
var htmlFiles embed.FS

// maxRounding is the largest difference at which two probabilities count as equal: the
// stored ones were computed by another library in float32.
const maxRounding = 1e-5

// noInterval stands for the interval of a value whose record hardly says anything: the
// version's holds for records like the test rows.
const noInterval = "; how far it may be off isn’t known, since so little is given"

// mostErrors is how many errors a response lists at most. If it lists that many, its
// detail says whether there are more.
const mostErrors = 20

// formView is what form.html shows.
type formView struct {
	Title     string // of the window
	Heading   string // of the data set
	Model     *api.Model
	Signature string
	Groups    []Group
	Hidden    []hiddenField
	Sample    sampleView
	Result    resultView
	Problem   *problemView // shown instead of a prediction
	Asked     string       // the record that was asked about, in JSON; empty before
	Away      bool         // the server did not respond, so that the model is the last one seen
	Metrics   []metricView
	Link      string // a form filled in like this one
	Linked    bool   // the form was filled in by such a link
	Curve     *curve // what the prediction would be for other values; nil if nobody asked
}

type hiddenField struct{ Column, Name, Value string }

// sampleView is the sample that the form started from.
type sampleView struct {
	Number      int // from 1; 0 if the form started empty
	Count, Next int
	Missing     string   // a sample that was requested but doesn't exist
	Probability *float64 // the stored one; nil if there is none to compare with
}

// Value is the sample's number in URLs and in the form.
func (s sampleView) Value() string {
	if s.Number == 0 {
		return "none"
	}
	return strconv.Itoa(s.Number)
}

// resultView is the panel beside the form.
type resultView struct {
	Predicted   bool
	Excluded    string // why the record has no score; empty if it has one
	Positive    bool
	Number      string // large: the probability, or the value
	Of          string // what the number is; of a binary task the form says it
	Probability float64
	Label       string
	Difference  string // from the stored probability
	Answered    api.Version
	Warnings    []problemLine
	Reasons     []reasonView
	Scale       string // of the reasons
	Against     string // how it compares with the average
	Experience  string // what the label has meant for test rows
	Position    string // where the output lies among those of the test rows
}

// State says which of the panel's contents is shown.
func (v *formView) State() string {
	switch {
	case v.Problem != nil:
		return "problem"
	case v.Result.Excluded != "":
		return "excluded"
	case v.Result.Predicted:
		return "predicted"
	}
	return "waiting"
}

// Required reports whether a field of the form needs a value.
func (v *formView) Required() bool {
	return slices.ContainsFunc(v.Model.Dataset.Columns, func(c api.Column) bool { return c.Required && c.Form != "" })
}

type problemView struct {
	Title, Detail string
	Errors        []problemLine
}

// problemLine is one invalid value, or one unlike the training rows. ID is empty if its
// column isn't on the form, Label if it is about the whole record.
type problemLine struct{ ID, Label, Detail string }

type metricView struct{ Name, Value string }

// newForm is the view of a form that holds the record and started from the sample.
func newForm(m *api.Model, sample sampleView, record api.Record, errs []api.FieldError) *formView {
	d := &m.Dataset
	var start api.Record
	if sample.Number > 0 {
		start = m.Samples[sample.Number-1].Record
	}
	v := &formView{
		Title:     heading(d),
		Heading:   heading(d),
		Model:     m,
		Signature: signature(d),
		Groups:    groups(m, record, start, errs),
		Sample:    sample,
		Link:      link(d, sample, record, start),
		Metrics:   testMetrics(m.Metrics),
	}
	for _, c := range d.Columns {
		if value := known(d, c, record[c.Name]); value != "" && hidden(d, c) {
			v.Hidden = append(v.Hidden, hiddenField{c.Name, valuePrefix + c.Name, value})
		}
	}
	return v
}

// link is the address of a form with these values: the sample it starts from, and what
// differs from it.
func link(d *api.Dataset, sample sampleView, record, start api.Record) string {
	q := url.Values{"sample": {sample.Value()}}
	for _, c := range d.Columns {
		if value := known(d, c, record[c.Name]); c.Name != d.Target.Column && value != known(d, c, start[c.Name]) {
			q.Set(valuePrefix+c.Name, value)
		}
	}
	return "/?" + q.Encode()
}

// linked are the values of a record that a link names, put over those it starts from.
func linked(d *api.Dataset, q url.Values, start api.Record) (record api.Record, changed bool) {
	record = maps.Clone(start)
	for _, c := range d.Columns {
		if c.Name == d.Target.Column || !q.Has(valuePrefix+c.Name) {
			continue
		}
		changed = true
		if record == nil {
			record = api.Record{}
		}
		record[c.Name] = q.Get(valuePrefix + c.Name)
	}
	return record, changed
}

// answered puts a prediction into the panel.
func (v *formView) answered(a *api.Predictions) {
	p := a.Predictions[0]
	if p.Excluded != "" {
		v.Result = resultView{Excluded: p.Excluded, Answered: a.Model}
		v.Title = "No score · " + v.Title
		return
	}
	v.Result = resultView{Predicted: true, Answered: a.Model}
	switch r := &v.Result; {
	case p.Probabilities != nil:
		r.Label, r.Number, r.Of = p.Class, percent(p.Probabilities[p.Class]), "probability of “"+p.Class+"”"+others(&p)
	case p.Value != nil:
		r.Number = figure(*p.Value)
		r.Position = position(v.Model.TestOutputs, *p.Value)
		r.Of = fmt.Sprintf("%s, between %s and %s%s", v.Model.Dataset.Target.Column, figure(p.Interval[0]), figure(p.Interval[1]), v.Coverage())
		if slices.ContainsFunc(p.Warnings, func(w api.Warning) bool { return w.Kind == api.HardlyGiven }) {
			r.Of = v.Model.Dataset.Target.Column + noInterval
		}
	default:
		r.Positive, r.Probability, r.Number = p.Label == 1, p.Probability, percent(p.Probability)
		r.Label = v.Model.Dataset.Target.Labels.Word(p.Label)
		r.Position = position(v.Model.TestOutputs, p.Probability)
		if e := v.Experienced(); e != nil {
			r.Against, r.Experience = e.against(p.Probability), v.Below()
			if r.Positive {
				r.Experience = v.Above()
			}
		}
	}
	v.Result.Reasons, v.Result.Scale = reasons(p.Contributions)
	if stored := v.Sample.Probability; stored != nil {
		if v.Result.Difference = points(p.Probability - *stored); math.Abs(p.Probability-*stored) < maxRounding {
			v.Result.Difference = "none"
		}
	}
	for _, w := range p.Warnings {
		v.Result.Warnings = append(v.Result.Warnings, v.line(w.Column, w.Detail))
		if f := v.field(w.Column); f != nil {
			f.Warning = w.Detail
		}
	}
	v.Title = v.Result.Number + " · " + v.Title
}

// Binary reports whether the model tells two outcomes apart, by a threshold.
func (v *formView) Binary() bool { return v.Model.Task == "" || v.Model.Task == api.Binary }

// Experienced is what the test rows say about the label; nil if that isn't known.
func (v *formView) Experienced() *experience {
	if !v.Binary() {
		return nil
	}
	return experienceOf(v.Model)
}

// Above and Below say how often test rows on either side of the threshold were
// positive; empty if that isn't known.
func (v *formView) Above() string {
	return v.often("at or above", func(e *experience) float64 { return e.Above })
}
func (v *formView) Below() string {
	return v.often("below", func(e *experience) float64 { return e.Below })
}

func (v *formView) often(side string, share func(*experience) float64) string {
	e := v.Experienced()
	if e == nil {
		return ""
	}
	return fmt.Sprintf("Of test records %s the threshold, %s were “%s”.", side, percent(share(e)), v.Model.Dataset.Target.Labels.Positive)
}

// Quantiles are the model's test outputs as a list for the page's script.
func (v *formView) Quantiles() string {
	text, err := json.Marshal(v.Model.TestOutputs)
	if err != nil {
		panic(err) // finite numbers
	}
	return string(text)
}

// Coverage says how often the true value is in a regression's interval.
func (v *formView) Coverage() string {
	if v.Model.Interval == nil {
		return ""
	}
	return fmt.Sprintf(" in %.0f of 100 cases", 100*v.Model.Interval.Coverage)
}

// figure is a value with six digits.
func figure(x float64) string { return strconv.FormatFloat(x, 'g', 6, 64) }

// others lists the classes after the most probable one, at most two.
func others(p *api.Prediction) string {
	type class struct {
		name string
		p    float64
	}
	var list []class
	for name, q := range p.Probabilities {
		if name != p.Class {
			list = append(list, class{name, q})
		}
	}
	sort.Slice(list, func(i, j int) bool {
		return list[i].p > list[j].p || list[i].p == list[j].p && list[i].name < list[j].name
	})
	text := ""
	for _, c := range list[:min(len(list), 2)] {
		text += fmt.Sprintf(", %s %s", c.name, percent(c.p))
	}
	return text
}

// field returns the form's field of a column, nil if it has none.
func (v *formView) field(column string) *Field {
	for g := range v.Groups {
		for f := range v.Groups[g].Fields {
			if field := &v.Groups[g].Fields[f]; field.Column.Name == column {
				return field
			}
		}
	}
	return nil
}

// Label is what the form calls a column.
func (v *formView) Label(column string) string { return v.line(column, "").Label }

// line is what the panel says of a column.
func (v *formView) line(column, detail string) problemLine {
	if f := v.field(column); f != nil {
		return problemLine{f.ID, f.Label, detail}
	}
	return problemLine{"", column, detail}
}

// failed puts a problem into the panel.
func (v *formView) failed(p *api.Problem) {
	view := &problemView{Title: p.Title, Detail: p.Detail}
	if n := len(p.Errors); n > 0 && n < mostErrors {
		view.Detail = "" // the list says the same
	}
	for _, e := range p.Errors {
		view.Errors = append(view.Errors, v.line(e.Field, e.Detail))
	}
	v.Problem = view
	v.Title = "Error · " + v.Title
}

func heading(d *api.Dataset) string {
	if d.Title == "" {
		return d.Name
	}
	return d.Title
}

// testMetrics are the metrics on the test rows, by name; first the AUC, which decides
// on promotion.
func testMetrics(metrics map[string]float64) []metricView {
	var views []metricView
	for name, x := range metrics {
		short, ok := strings.CutPrefix(name, "test_")
		if !ok {
			continue
		}
		if short = strings.ReplaceAll(short, "_", " "); short == "auc" {
			short = "AUC"
		}
		views = append(views, metricView{short, progress.Figure(x)})
	}
	sort.Slice(views, func(i, j int) bool {
		if a, b := views[i].Name == "AUC", views[j].Name == "AUC"; a != b {
			return a
		}
		return views[i].Name < views[j].Name
	})
	return views
}

// messageView is what message.html shows: a page with one message.
type messageView struct {
	Title, Heading, Text, Detail string
	Retry                        bool // try again by itself
}

// parseTemplates parses the pages. keys returns whether visitors sign in with a key.
func parseTemplates(files *assets, keys func() bool) (*template.Template, error) {
	t := template.New("").Funcs(template.FuncMap{
		"asset":      files.Address,
		"style":      func() template.CSS { return files.style },
		"script":     func() template.JS { return files.script },
		"keys":       keys,
		"percent":    percent,
		"noInterval": func() string { return noInterval },
		"place":      func(p float64) string { return fmt.Sprintf("%.2f%%", 100*min(max(p, 0), 1)) },
		"anchor": func(p float64) string { // keeps the text above a mark inside the drawing
			switch {
			case p < 0.25:
				return "start"
			case p > 0.75:
				return "end"
			}
			return "middle"
		},
		"interval": intervalOf,
		"clock":    func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04") + " UTC" },
		"stamp":    func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
	})
	names, err := fs.Glob(htmlFiles, "html/*.html")
	if err != nil {
		return nil, fmt.Errorf("listing the page's templates: %w", err)
	}
	for _, name := range names {
		text, err := htmlFiles.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("reading the page's templates: %w", err)
		}
		if _, err := t.New(path.Base(name)).Parse(string(indents.ReplaceAll(text, nil))); err != nil {
			return nil, fmt.Errorf("parsing the page's templates: %w", err)
		}
	}
	return t, nil
}

// render writes a page; nothing is written before all of it is rendered.
func (s *Server) render(w http.ResponseWriter, status int, name string, view any) {
	var b bytes.Buffer
	if err := s.templates.ExecuteTemplate(&b, name, view); err != nil {
		s.log.Error("rendering the page", "template", name, "error", err)
		http.Error(w, "The page could not be rendered; its log says why.", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store") // it contains what somebody typed
	w.WriteHeader(status)
	w.Write(b.Bytes())
}
