package live

import (
	"errors"
	"fmt"
	"mime/multipart"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"mlops/loadtest"
)

// readForm makes a plan of what the page sends.
func (s *Server) readForm(r *http.Request) (loadtest.Plan, error) {
	if err := r.ParseMultipartForm(8 << 20); err != nil && !errors.Is(err, http.ErrNotMultipart) {
		var large *http.MaxBytesError
		if errors.As(err, &large) {
			return loadtest.Plan{}, fmt.Errorf("records of more than %d MiB can't be sent", maxUpload>>20)
		}
		return loadtest.Plan{}, fmt.Errorf("reading the form: %w", err)
	}
	if r.MultipartForm != nil {
		defer func() { _ = r.MultipartForm.RemoveAll() }() // the system clears what is left
	}
	if text := r.FormValue("plan"); strings.TrimSpace(text) != "" {
		plan, err := loadtest.ReadPlan(strings.NewReader(text))
		if err == nil {
			err = s.readPlanRecords(r, &plan)
		}
		if err != nil {
			return plan, err
		}
		return plan, s.allow(&plan)
	}
	var errs []error
	number := func(name string) float64 {
		text := strings.TrimSpace(r.FormValue(name))
		if text == "" {
			return 0
		}
		v, err := strconv.ParseFloat(text, 64)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %q is not a number", name, text))
		}
		return v
	}
	span := func(name string) (d loadtest.Span) {
		if err := d.UnmarshalText([]byte(strings.TrimSpace(r.FormValue(name)))); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", name, err))
		}
		return d
	}
	plan := loadtest.Plan{
		Model: r.FormValue("model"), Arrivals: r.FormValue("arrivals"), Think: span("think"), Pacing: span("pacing"), Timeout: span("timeout"), Connections: int(number("connections")),
		Thresholds: loadtest.Thresholds{P99: span("p99"), Rate: number("least")},
	}
	if strings.TrimSpace(r.FormValue("errors")) != "" {
		plan.Thresholds.Errors = new(number("errors") / 100)
	}
	whole := span("duration")
	name := r.FormValue("shape")
	if whole == 0 && name != "" && name != "constant" {
		errs = append(errs, errors.New("duration: this shape needs one, such as 5m"))
	} else if shape, err := loadtest.Shape(name, number("level"), time.Duration(whole)); err != nil {
		errs = append(errs, err)
	} else {
		plan.Shape = shape
	}
	target := loadtest.Target{URL: s.options.URL, Body: r.FormValue("body")}
	if s.options.Any {
		if u := r.FormValue("url"); u != "" {
			target.URL = u
		}
		target.Method = r.FormValue("method")
		for line := range strings.Lines(r.FormValue("headers")) {
			if line = strings.TrimSpace(line); line == "" {
				continue
			}
			name, value, found := strings.Cut(line, ":")
			if !found {
				errs = append(errs, fmt.Errorf("headers: %q is not Name: value", line))
				continue
			}
			if target.Headers == nil {
				target.Headers = map[string]string{}
			}
			target.Headers[strings.TrimSpace(name)] = strings.TrimSpace(value)
		}
	}
	switch files := uploads(r); {
	case len(files) > 1:
		errs = append(errs, errors.New("records: choose one file; a plan can name several"))
	case len(files) == 1:
		if err := s.readRecords(files[0], &target); err != nil {
			errs = append(errs, err)
		}
	}
	plan.Targets = []loadtest.Target{target}
	if err := s.allow(&plan); err != nil {
		errs = append(errs, err)
	}
	return plan, errors.Join(errs...)
}

// uploads are the files that were chosen; a browser sends an empty one if none was.
func uploads(r *http.Request) []*multipart.FileHeader {
	if r.MultipartForm == nil {
		return nil
	}
	return slices.DeleteFunc(r.MultipartForm.File["records"], func(f *multipart.FileHeader) bool { return f.Size == 0 })
}

// readPlanRecords gives the targets of a plan the files that they name: those of the form,
// and never one of this machine.
func (s *Server) readPlanRecords(r *http.Request, plan *loadtest.Plan) error {
	var errs []error
	used := map[string]bool{}
	files := uploads(r)
	for i := range plan.Targets {
		t := &plan.Targets[i]
		for _, f := range files {
			if name := path.Base(t.Records); t.Records != "" && name == f.Filename {
				used[name] = true
				errs = append(errs, s.readRecords(f, t))
				t.Records = ""
			}
		}
	}
	for _, f := range files {
		if !used[f.Filename] {
			errs = append(errs, fmt.Errorf("records: no target of the plan has records: %s", f.Filename))
		}
	}
	return errors.Join(errs...)
}

func (s *Server) readRecords(header *multipart.FileHeader, target *loadtest.Target) error {
	file, err := header.Open()
	if err != nil {
		return fmt.Errorf("%s: %w", header.Filename, err)
	}
	defer file.Close()
	var note string
	if target.Bodies, note, err = loadtest.ReadRecords(file, target.Body); err != nil {
		return fmt.Errorf("%s: %w", header.Filename, err)
	}
	if note != "" {
		s.log.Warn(note, "file", header.Filename)
	}
	target.Body = ""
	return nil
}

// allow refuses what a browser may not ask for: files of this machine, more load than
// the page was started for and, unless any URL is allowed, other servers.
func (s *Server) allow(p *loadtest.Plan) error {
	var errs []error
	own, err := url.Parse(s.options.URL)
	if err != nil {
		return err
	}
	for i := range p.Targets {
		t := &p.Targets[i]
		if t.Records != "" {
			errs = append(errs, fmt.Errorf("target %d: records: choose the file %s in the form too; the page reads none of its own machine", i+1, path.Base(t.Records)))
		}
		u, err := url.Parse(t.URL)
		if err == nil && !s.options.Any && (u.Host != own.Host || u.Scheme != own.Scheme) {
			errs = append(errs, fmt.Errorf("target %d: url: this page loads %s://%s only; start it with -any-target for others", i+1, own.Scheme, own.Host))
		}
	}
	for i, g := range p.Shape {
		if top := max(g.Level, g.From, g.To); top > s.options.Most {
			errs = append(errs, fmt.Errorf("shape, segment %d: %v is more than the %v that this page was started for", i+1, top, s.options.Most))
		}
	}
	return errors.Join(errs...)
}
