// Package loadtest sends prediction requests to an inference server as many
// concurrent users would, and counts every one of them exactly once.
//
// There are two kinds of load: users, each a closed loop that sends its next request
// when it has a response (by default 15, 25, 35, 50 and 100 users), and a fixed rate,
// whose requests begin at their time whatever the server does. Every user has a
// connection of its own.
//
// What a figure means:
//
//   - A request is counted once, when it ends: as a success or as one failure of one
//     kind. No request is ever sent twice. (That is why this package speaks HTTP
//     itself: net/http's Transport silently repeats a request whose idle connection
//     turns out to be closed.) If the server closed a connection between two requests,
//     it is reopened before the next one, as every client does; opened connections
//     are counted too.
//   - A request succeeds if the response is a 200 with a prediction for each record.
//   - Latency is that of successful requests, from the start to the last byte,
//     including opening the connection if necessary. At a fixed rate, the start is
//     when the request was due, so waits in this program count.
//   - Requests per second are those that succeeded within the stage, divided by its
//     duration. Requests still open at a stage's end are waited for and counted.
package loadtest

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Preset is the default number of users of each stage.
var Preset = []int{15, 25, 35, 50, 100}

const (
	maxUsers = 10_000
	maxTotal = 24 * time.Hour // of all stages
)

// Config says what to send. The zero value of a field means its default.
type Config struct {
	Target string // base URL of the server; default http://localhost:8000
	Key    string // API key to send; empty: none

	Users []int     // users of each stage; default Preset
	Rates []float64 // instead of Users: requests per second of each stage
	Most  int       // with Rates: the maximum number of connections; default 100

	Duration time.Duration // of a stage; default 30 s
	Think    time.Duration // a user's wait between a response and the next request
	Timeout  time.Duration // of a request; default 10 s

	Bodies []Body // sent in turn; default the samples of the server's GET /model

	// Path and Answer are for other kinds of servers: where requests go (default
	// /predict), and how to check the body of a 200 (default: as the API says). Answer
	// returns the version that answered, which may be empty, or an error unless there
	// is a prediction for each record.
	Path   string
	Answer func(body []byte, records int) (version string, err error)

	// MaxErrors is the share of failed requests at which a stage is no longer
	// sustained; 0 allows no failure.
	MaxErrors float64
	P99       time.Duration // a stage with a higher 99th percentile fails; 0 for no limit

	Share Share // of a load that several workers send; the zero value is all of it

	OnStage func(Stage) // called after each stage, if set
}

// Check returns what is wrong with a Config, like Run.
func (c Config) Check() error {
	_, err := c.defaults()
	return err
}

// defaults fills in unset fields and returns what is wrong.
func (c Config) defaults() (Config, error) {
	if c.Target == "" {
		c.Target = "http://localhost:8000"
	}
	if len(c.Users) == 0 && len(c.Rates) == 0 {
		c.Users = Preset
	}
	if c.Most == 0 {
		c.Most = 100
	}
	if c.Duration == 0 {
		c.Duration = 30 * time.Second
	}
	if c.Timeout == 0 {
		c.Timeout = 10 * time.Second
	}
	if c.Path == "" {
		c.Path = "/predict"
	}
	var errs []error
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if u, err := url.Parse(c.Target); err != nil {
		wrong("target: %w", err)
	} else if (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || u.RawQuery != "" || u.User != nil {
		wrong("target %q is not the base URL of a server, such as http://localhost:8000", u.Redacted())
	}
	if strings.ContainsFunc(c.Key, func(r rune) bool { return r <= ' ' || r > '~' }) {
		wrong("the API key has characters that no key has; is there a line end?")
	}
	if len(c.Users) > 0 && len(c.Rates) > 0 {
		wrong("give either users or rates, not both")
	}
	if len(c.Rates) > 0 && c.Think != 0 {
		wrong("a fixed rate has no think time")
	}
	if n := slices.Max(append([]int{c.Most}, c.Users...)); n > maxUsers {
		wrong("%d connections are more than the maximum of %d", n, maxUsers)
	}
	if slices.Min(append([]int{c.Most}, c.Users...)) < 1 {
		wrong("a stage needs at least one user")
	}
	for _, r := range c.Rates {
		if !(r > 0 && r <= 1e6) {
			wrong("a rate of %v requests per second is not between 0 and a million", r)
		}
	}
	if c.Duration < 0 || c.Timeout < 0 || c.Think < 0 || c.P99 < 0 {
		wrong("a duration can't be negative")
	}
	if n := time.Duration(len(c.Users) + len(c.Rates)); c.Duration > maxTotal/n {
		wrong("all stages together may last at most %s", maxTotal)
	}
	if !(c.MaxErrors >= 0 && c.MaxErrors <= 1) {
		wrong("the share of errors must be between 0 and 1, not %v", c.MaxErrors)
	}
	if err := c.Share.check(&c); err != nil {
		errs = append(errs, err)
	}
	return c, errors.Join(errs...)
}
