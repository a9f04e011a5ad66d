package page

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"mlops/internal/api"
	"mlops/internal/card"
)

// aboutView is what about.html shows.
type aboutView struct {
	Title, Heading string
	Model          *api.Model
	Links          []linkView
	Card           *card.Card
	NoCard         string // why there is no card; empty if there is one
	Events         []eventView
	More           int    // older events, which are not listed
	NoEvents       string // why no events are listed; empty if some are
	Stale          string // why there may be newer events
	Challenger     *challengerView
}

type linkView struct{ Name, Address string }

// eventView is a line of the history.
type eventView struct {
	Kind, Change, By, Why, Figures string
	At                             time.Time
}

// challengerView is a version that is compared with the served one.
type challengerView struct {
	Heading, Text string
}

// intervalView is a cell of the card's tables with a figure and its interval, which have a
// line each.
type intervalView struct{ Value, Range string }

var withInterval = regexp.MustCompile(`^(\S+) (\(\S+ to \S+\))$`)

// intervalOf returns a cell's parts, nil if it has no interval.
func intervalOf(cell string) *intervalView {
	m := withInterval.FindStringSubmatch(cell)
	if m == nil {
		return nil
	}
	return &intervalView{m[1], m[2]}
}

// Link is a service that the page about the model leads to, such as MLflow.
type Link struct {
	Name    string
	Address string // a URL, or a port of the host that the visitor asked, such as ":5000" or "https://:5000"; {model} and {version} are replaced
}

// ParseLinks reads links such as "MLflow=https://mlflow.example.com Grafana=:30300".
func ParseLinks(text string) ([]Link, error) {
	var links []Link
	for part := range strings.FieldsSeq(text) {
		name, address, ok := strings.Cut(part, "=")
		l := Link{strings.ReplaceAll(name, "_", " "), address}
		if !ok || name == "" {
			return nil, fmt.Errorf("%q is not NAME=ADDRESS", part)
		}
		if _, err := l.at("localhost", api.Version{}); err != nil {
			return nil, err
		}
		links = append(links, l)
	}
	return links, nil
}

// at is the link's URL for a visitor of a host, about a version.
func (l Link) at(host string, v api.Version) (string, error) {
	address := strings.NewReplacer("{model}", url.PathEscape(v.Name), "{version}", url.PathEscape(v.Number)).Replace(l.Address)
	if strings.HasPrefix(address, ":") {
		address = "http://" + address
	}
	if scheme, rest, ok := strings.Cut(address, "://:"); ok && scheme != "" {
		if name, _, err := net.SplitHostPort(host); err == nil {
			host = name
		}
		if host = strings.Trim(host, "[]"); strings.Contains(host, ":") {
			host = "[" + host + "]"
		}
		address = scheme + "://" + host + ":" + rest
	}
	u, err := url.Parse(address)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return "", fmt.Errorf("address of %s: %q is neither an http or https URL nor a port such as :5000", l.Name, l.Address)
	}
	return u.String(), nil
}

// SetLinks sets where the page about the model leads to.
func (s *Server) SetLinks(links []Link) { s.links = links }

// about is the page about the model: its card, what was in production, and where to
// see more.
func (s *Server) about(w http.ResponseWriter, r *http.Request) {
	m, err := s.inference.Model(r.Context())
	if err != nil {
		s.wait(w, err)
		return
	}
	v := aboutView{Title: "The model · " + heading(&m.Dataset), Heading: heading(&m.Dataset), Model: m, Challenger: challenger(m.Challenger)}
	for _, l := range s.links {
		if address, err := l.at(r.Host, m.Model); err == nil {
			v.Links = append(v.Links, linkView{l.Name, address})
		}
	}
	v.addCard(r.Context(), s.inference)
	v.addEvents(r.Context(), s.inference)
	s.render(w, http.StatusOK, "about.html", v)
}

func (v *aboutView) addCard(ctx context.Context, from *inference) {
	if v.Model.Links.Card == "" {
		v.NoCard = "This version has no model card: it was trained before cards were kept with versions, or a notebook logged it."
		return
	}
	var c card.Card
	if err := from.get(ctx, v.Model.Links.Card, &c); err != nil {
		v.NoCard = "The model card is not here now. " + asProblem(err).Detail
		return
	}
	v.Card = &c
}

func (v *aboutView) addEvents(ctx context.Context, from *inference) {
	var events api.Events
	if v.Model.Links.History == "" {
		v.NoEvents = "The inference server is of a version that does not say what was in production."
		return
	}
	if err := from.get(ctx, v.Model.Links.History, &events); err != nil {
		v.NoEvents = "The history is not here now. " + asProblem(err).Detail
		return
	}
	v.Stale = events.Stale
	if len(events.Events) == 0 {
		if v.NoEvents, v.Stale = "Nothing is known of what was in production before.", ""; events.Missing != "" {
			v.NoEvents = "Nothing is known of what was in production before: " + events.Missing + "."
		}
		return
	}
	v.More = max(0, events.Total-len(events.Events))
	for i := range events.Events {
		e := &events.Events[i]
		view := eventView{Kind: e.Kind, Change: e.Change(), By: e.By, Why: e.Why, At: e.At}
		if e.Figures != nil {
			view.Figures = e.Figures.Words(e.From, e.To)
		}
		v.Events = append(v.Events, view)
	}
}

// challenger says how a challenger compares; nil if none is compared.
func challenger(c *api.Challenger) *challengerView {
	switch {
	case c == nil:
		return nil
	case c.Refused != nil:
		return &challengerView{"Challenger", fmt.Sprintf("Version %s is refused: %s", c.Refused.Version, c.Refused.Reason)}
	case c.Model == nil:
		return &challengerView{"Challenger", "No version has the alias challenger."}
	}
	text := fmt.Sprintf("It scores %s of the requests as well, and nobody is told what it says: %d records so far.", percent(c.Share), c.Records)
	if c.Agreement != nil {
		text += fmt.Sprintf(" It agrees with the version in production on %s of them.", percent(*c.Agreement))
	}
	if d := c.Difference; d != nil {
		text += fmt.Sprintf(" Its outputs differ by %s on average, by at most %s.", figure(d.Absolute), figure(d.Largest))
	}
	if n := c.Dropped + c.Skipped + c.Failed; n > 0 {
		text += fmt.Sprintf(" Not compared: %d.", n)
	}
	return &challengerView{"Challenger: version " + c.Model.Number, text}
}

// card passes the model card on, as a page of its own. It has an address of the page's:
// an Ingress leads those below /model to the inference server, which asks for a key.
func (s *Server) card(w http.ResponseWriter, r *http.Request) {
	resp, err := s.inference.send(r.Context(), http.MethodGet, "/model/card", "", r.Header.Get("Accept"), nil)
	if err != nil {
		asProblem(err).Write(w)
		return
	}
	if strings.HasPrefix(resp.Header.Get("Content-Type"), "text/html") {
		w.Header().Set("Content-Security-Policy", card.Policy)
	}
	w.Header().Add("Vary", "Accept")
	copyResponse(w, resp)
}
