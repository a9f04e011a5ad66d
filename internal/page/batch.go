package page

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net/http"
	"path"
	"strconv"
	"strings"

	"mlops/internal/api"
	"mlops/internal/program"
	"mlops/internal/scoring"
)

// maxUpload is how many bytes a file may have that comes without the page's script,
// which sends larger ones in parts.
const maxUpload = 8 << 20

// batchView is what batch.html shows.
type batchView struct {
	Title, Heading string
	Model          api.Version
	Columns        []string // that a file may have
	Required       []string
	Encoding       string // of a file that is not UTF-8; empty: there is no other
	Problem        string
}

// scoredPart is some of a file's records with their predictions, for the page's script.
type scoredPart struct {
	Columns []string   `json:"columns"`
	Given   int        `json:"given"` // how many of the columns are the file's own
	Rows    [][]string `json:"rows"`
	CSV     string     `json:"csv"` // the same as text, the header first
}

// batch is the page for files.
func (s *Server) batch(w http.ResponseWriter, r *http.Request) {
	m, err := s.inference.Model(r.Context())
	if err != nil {
		s.wait(w, err)
		return
	}
	s.render(w, http.StatusOK, "batch.html", newBatch(m, ""))
}

func newBatch(m *api.Model, problem string) batchView {
	d := &m.Dataset
	v := batchView{Title: "A file · " + heading(d), Heading: heading(d), Model: m.Model, Encoding: d.Encoding(), Problem: problem}
	for _, c := range d.Columns {
		v.Columns = append(v.Columns, c.Name)
		if c.Required {
			v.Required = append(v.Required, c.Name)
		}
	}
	return v
}

// scoreBatch scores a file: a whole one that a form uploads, which comes back as a file,
// or a part of one that the page's script sends, which comes back as JSON.
func (s *Server) scoreBatch(w http.ResponseWriter, r *http.Request) {
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	switch {
	case err == nil && kind == "multipart/form-data":
		s.scoreUpload(w, r)
	case err == nil && kind == "text/csv":
		s.scorePart(w, r)
	default:
		p := api.Problem{Title: "The request is not a file", Status: http.StatusUnsupportedMediaType, Detail: "send text/csv, or a form with a file"}
		p.Write(w)
	}
}

func (s *Server) scoreUpload(w http.ResponseWriter, r *http.Request) {
	m, err := s.inference.Model(r.Context())
	if err != nil {
		s.wait(w, err)
		return
	}
	fail := func(status int, problem string) { s.render(w, status, "batch.html", newBatch(m, problem)) }
	file, header, err := r.FormFile("file")
	switch {
	case tooLarge(err):
		fail(http.StatusRequestEntityTooLarge, fmt.Sprintf("Without JavaScript a file may have at most %d MiB. `mlops predict FILE` takes files of any size.", maxUpload>>20))
		return
	case err != nil || header.Size == 0:
		fail(http.StatusBadRequest, "Choose a file that is not empty.")
		return
	}
	defer file.Close()
	var out bytes.Buffer
	t := scoring.Table{Sheet: true, Name: header.Filename, Client: s.inference.client, Encoding: m.Dataset.Encoding()}
	if _, err := t.Score(r.Context(), file, &out); err != nil {
		status, text := s.batchError(err)
		fail(status, text)
		return
	}
	w.Header().Set("Content-Type", "text/csv; charset=utf-8")
	w.Header().Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": "scored-" + path.Base(header.Filename)}))
	w.Write(out.Bytes())
}

func (s *Server) scorePart(w http.ResponseWriter, r *http.Request) {
	fail := func(status int, title, detail string) {
		p := api.Problem{Title: title, Status: status, Detail: detail}
		p.Write(w)
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		fail(http.StatusBadRequest, "The request can't be read", "it is too long, or the connection ended early")
		return
	}
	line, _ := strconv.Atoi(r.URL.Query().Get("line"))
	var out bytes.Buffer
	t := scoring.Table{Sheet: true, Name: "the file", Client: s.inference.client, Line: line}
	if _, err := t.Score(r.Context(), bytes.NewReader(body), &out); err != nil {
		status, text := s.batchError(err)
		fail(status, "The file can't be scored", text)
		return
	}
	first, _, _ := bytes.Cut(body, []byte{'\n'})
	separator := rune(api.Separator(first))
	read := func(text []byte) ([][]string, error) {
		rows := csv.NewReader(bytes.NewReader(text))
		rows.Comma, rows.LazyQuotes, rows.FieldsPerRecord = separator, true, -1
		return rows.ReadAll()
	}
	own, err := read(first)
	var rows [][]string
	if err == nil {
		rows, err = read(out.Bytes())
	}
	if err != nil || len(own) != 1 || len(rows) < 2 {
		fail(http.StatusUnprocessableEntity, "The file can't be shown", fmt.Sprintf("its records are not CSV as RFC 4180 has it: %v", err))
		return
	}
	text, err := json.Marshal(scoredPart{rows[0], len(own[0]), rows[1:], out.String()})
	if err != nil {
		panic(err) // strings
	}
	w.Header().Set("Content-Type", api.MediaType)
	w.Write(text)
}

// batchError is what a person reads about a file that could not be scored.
func (s *Server) batchError(err error) (status int, text string) {
	if program.Code(err) == program.BadInput {
		return http.StatusUnprocessableEntity, strings.TrimSpace(err.Error())
	}
	if p := api.AsProblem(err); p != nil {
		return p.Status, sentence(strings.TrimSuffix(p.Title+": "+p.Detail, ": "))
	}
	s.log.Warn("a file could not be scored", "error", err)
	return http.StatusBadGateway, "The inference server does not respond; it may be starting, restarting or busy."
}

// uploadLimit is how many bytes a request's body may have.
func uploadLimit(r *http.Request) int64 {
	if r.URL.Path == "/batch" && strings.HasPrefix(r.Header.Get("Content-Type"), "multipart/") {
		return maxUpload
	}
	return maxBody
}
