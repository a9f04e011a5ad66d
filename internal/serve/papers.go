package serve

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/renameio/v2"

	"mlops/internal/api"
	"mlops/internal/card"
	"mlops/internal/model"
	"mlops/internal/registry"
)

// Papers are what the registry has about versions for people.
type Papers interface {
	// Card returns the text of a version's model card, model.FileCard.
	Card(ctx context.Context, v registry.Version) ([]byte, error)
	// Events returns what was in production, as the gate left it with the version, or
	// registry.ErrNoEvents.
	Events(ctx context.Context, v registry.Version) (api.Events, error)
}

// Paths of what is here for people.
const (
	pathCard   = "/model/card"
	pathEvents = "/model/history"
)

const (
	papersTimeout = 5 * time.Second  // for the registry to send a card or a history
	cardEvery     = 30 * time.Second // between tries to fetch a card
	eventsEvery   = 5 * time.Second  // a history is asked for again at most so often
)

// papers are what the server holds for people.
type papers struct {
	mu      sync.Mutex // one fetch at a time
	asked   time.Time  // when the events were last asked for
	of      registry.Version
	events  api.Events
	trouble string // why the last try failed
}

// paper is the card of a served version.
type paper struct {
	card  atomic.Pointer[card.Card]
	mu    sync.Mutex
	tried time.Time
}

// fetchCard makes sure that the served version's card is here: from the local copy, or
// else from the registry. It is checked against the digest that was signed with the
// version.
func (s *Server) fetchCard(ctx context.Context, now *served, anew bool) error {
	p := &now.paper
	if p.card.Load() != nil || !now.hasCard() {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.card.Load() != nil || !anew && time.Since(p.tried) < cardEvery {
		return nil
	}
	p.tried = time.Now()
	file := filepath.Join(s.folder(now.version), model.FileCard)
	text, err := os.ReadFile(file)
	if err != nil || !now.model.Serving.Genuine(model.FileCard, text) {
		if s.options.Papers == nil {
			return errors.New("the server has no copy of it and nobody to ask")
		}
		ctx, cancel := context.WithTimeout(ctx, papersTimeout)
		defer cancel()
		if text, err = s.options.Papers.Card(ctx, now.version); err != nil {
			return err
		}
		if !now.model.Serving.Genuine(model.FileCard, text) {
			return fmt.Errorf("%s is not the file that training wrote", model.FileCard)
		}
		// The folder may have gone: another version is served by now.
		if err := renameio.WriteFile(file, text, 0o644, renameio.WithTempDir(filepath.Dir(file))); err != nil && !errors.Is(err, os.ErrNotExist) {
			s.log.Warn("can't keep a copy of the model card", "error", err)
		}
	}
	c, err := card.Read(text)
	if err != nil {
		return err
	}
	p.card.Store(&c)
	return nil
}

// hasCard reports whether training left a card with the version.
func (s *served) hasCard() bool {
	_, ok := s.model.Serving.Files[model.FileCard]
	return ok
}

// fetchCards gets the card of each version that is served, so that it is here when the
// registry is not, until the context ends. It has a loop of its own: a registry that is
// slow to send a card delays no promotion.
func (s *Server) fetchCards(ctx context.Context) {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		if now := s.served.Load(); now != nil && s.trouble.Load() == nil {
			if err := s.fetchCard(ctx, now, false); err != nil && ctx.Err() == nil {
				s.log.Warn("the model card could not be fetched", "version", now.version.Number, "error", err)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// showCard responds to GET /model/card: as HTML, Markdown or JSON.
func (s *Server) showCard(w http.ResponseWriter, r *http.Request) {
	now := s.served.Load()
	if now == nil {
		fail(w, s.noModel("No model is loaded"))
		return
	}
	h := w.Header()
	h.Add("Vary", "Accept")
	if !now.hasCard() {
		why := "it was trained before model cards were kept with versions; the next training leaves one"
		if now.model.FromNotebook() {
			why = "a notebook logged it, and left none"
		}
		fail(w, api.Problem{Type: api.NotFound, Status: http.StatusNotFound, Detail: fmt.Sprintf("version %d has no model card: %s", now.version.Number, why)})
		return
	}
	if err := s.fetchCard(r.Context(), now, true); err != nil {
		fail(w, api.Problem{Status: http.StatusServiceUnavailable, Title: "The model card is not here", Detail: fmt.Sprintf("getting the card of version %d: %v", now.version.Number, err)})
		return
	}
	c := now.paper.card.Load()
	var body []byte
	var err error
	switch accepted(r.Header.Values("Accept"), "text/markdown", "text/html", api.MediaType) {
	case "text/html":
		h.Set("Content-Type", "text/html; charset=utf-8")
		h.Set("Content-Security-Policy", card.Policy)
		body, err = c.HTML()
	case api.MediaType:
		h["Content-Type"] = jsonType
		body, err = c.JSON()
	default:
		h.Set("Content-Type", "text/markdown; charset=utf-8")
		body = c.Markdown()
	}
	if err != nil {
		s.log.Error("writing the model card", "error", err)
		fail(w, api.Problem{Status: http.StatusInternalServerError})
		return
	}
	w.Write(body)
}

// accepted returns the media type of those offered that an Accept header likes best; of
// equally liked ones the one offered first, also if the header likes none.
func accepted(header []string, offered ...string) string {
	best, most := offered[0], 0.0
	for _, media := range offered {
		liked, exact := 0.0, -1
		for part := range strings.SplitSeq(strings.Join(header, ","), ",") {
			name, parameters, _ := strings.Cut(part, ";")
			name = strings.ToLower(strings.TrimSpace(name))
			match := -1
			switch {
			case name == media:
				match = 2
			case strings.HasSuffix(name, "/*") && strings.HasPrefix(media, strings.TrimSuffix(name, "*")):
				match = 1
			case name == "*/*":
				match = 0
			}
			if match <= exact {
				continue
			}
			q := 1.0
			for parameter := range strings.SplitSeq(parameters, ";") {
				if value, ok := strings.CutPrefix(strings.TrimSpace(parameter), "q="); ok {
					if x, err := strconv.ParseFloat(value, 64); err == nil {
						q = x
					}
				}
			}
			liked, exact = q, match
		}
		if liked > most {
			best, most = media, liked
		}
	}
	return best
}

// showEvents responds to GET /model/history.
func (s *Server) showEvents(w http.ResponseWriter, r *http.Request) {
	now := s.served.Load()
	if now == nil {
		fail(w, s.noModel("No model is loaded"))
		return
	}
	events := s.eventsOf(r.Context(), now.version)
	if events.Events == nil {
		events.Events = []api.Event{}
	}
	body, err := json.Marshal(events)
	if err != nil {
		fail(w, api.Problem{Status: http.StatusInternalServerError})
		return
	}
	w.Header()["Content-Type"] = jsonType
	w.Write(append(body, '\n'))
}

// eventsOf returns what was in production, asked for if it was not just before. While
// the registry does not respond it is what was last known, also before a restart.
func (s *Server) eventsOf(ctx context.Context, v registry.Version) api.Events {
	p := &s.papers
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.of.Same(v) && time.Since(p.asked) < eventsEvery {
		return p.known()
	}
	if p.of.Number == 0 {
		readJSON(s.eventsCopy(), &p.events)
	}
	p.of, p.asked, p.trouble = v, time.Now(), ""
	if s.options.Papers == nil {
		p.trouble = "the server has nobody to ask"
		return p.known()
	}
	// A visitor who leaves must not make the next one wait for a new try.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), papersTimeout)
	defer cancel()
	events, err := s.options.Papers.Events(ctx, v)
	switch {
	case errors.Is(err, registry.ErrNoEvents) && p.events.Model == v.Name && p.events.Events != nil:
		p.trouble = "the gate has not left the history with version " + strconv.Itoa(v.Number) + " yet"
	case errors.Is(err, registry.ErrNoEvents):
		p.events = api.Events{Model: v.Name, Read: p.asked.UTC(), Missing: "the gate has left no history with this version yet; its next decision does"}
	case err != nil:
		p.trouble = err.Error()
		s.log.Warn("the history of what was in production could not be read", "error", err)
	default:
		p.events = events
		p.events.Read = p.asked.UTC()
		if err := writeJSON(s.eventsCopy(), p.events); err != nil {
			s.log.Warn("can't keep a copy of the history", "error", err)
		}
	}
	return p.known()
}

// known is what is known of the history.
func (p *papers) known() api.Events {
	events := p.events
	if p.trouble != "" {
		if events.Stale = p.trouble; events.Events == nil {
			events.Model, events.Missing = p.of.Name, "it could not be read: "+p.trouble
		}
	}
	return events
}

// eventsCopy is the local copy of the history.
func (s *Server) eventsCopy() string {
	return filepath.Join(s.options.Cache, s.options.Model+".history.json")
}
