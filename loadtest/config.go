// Package loadtest sends predictions to an inference server as many users at
// once would, and counts exactly what came back.
//
// Two kinds of load: users, each a closed loop that asks again when it has its
// answer (the preset of 15, 25, 35, 50 and 100), and a fixed rate, whose requests
// begin at their time whatever the server does. Every user has a connection of
// its own.
//
// What a figure means:
//
//   - A request is counted once, when it ended: well, or as one failure of one
//     kind. Nothing is ever sent a second time. (That is why this package speaks
//     HTTP itself: net/http's Transport repeats a request whose kept connection
//     turned out to be closed, without a word.) A connection that the server
//     closed while no request was on its way is opened anew before the next one
//     is sent, as every client does; connections opened are counted too.
//   - It ended well if the answer is a 200 that holds a prediction for each
//     record sent.
//   - Latency is that of the requests that ended well, from the start to the last
//     byte, with opening the connection where that was needed. With a fixed rate
//     the start is the time at which the request should have begun, so a wait in
//     this program counts.
//   - Requests a second are those that ended well within the stage, over its
//     duration. Requests under way at a stage's end are waited for and counted.
package loadtest

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"time"
)

// Preset are the users of the stages where nothing else is asked for.
var Preset = []int{15, 25, 35, 50, 100}

const (
	maxUsers = 10_000
	maxWhole = 24 * time.Hour // of all stages
)

// Config says what to send. The zero value of a field means its default.
type Config struct {
	Target string // base URL of the server; default http://localhost:8000

	Users []int     // users of each stage; default Preset
	Rates []float64 // instead of Users: requests a second of each stage
	Most  int       // with Rates: the most connections at once; default 100

	Duration time.Duration // of a stage; default 30 s
	Think    time.Duration // what a user waits between an answer and the next request
	Timeout  time.Duration // of a request; default 10 s

	Bodies []Body // sent in turn; default the samples that the server's GET /model shows

	// Path and Answer are for servers of another kind: where requests go (default
	// /predict), and what reads the body of a 200 (default: as the API says). It
	// returns the version that answered, which may be empty, or an error if there is
	// not a prediction for each record.
	Path   string
	Answer func(body []byte, records int) (version string, err error)

	// MaxErrors is the share of failed requests from which on a stage is not
	// held; 0 lets none fail.
	MaxErrors float64
	P99       time.Duration // a stage with a higher 99th percentile does not pass; 0 for no limit

	OnStage func(Stage) // called after each stage, where set
}

// Check returns what is wrong with a Config, as Run would.
func (c Config) Check() error {
	_, err := c.defaults()
	return err
}

// defaults fills in what is not set and returns what is wrong.
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
	if len(c.Users) > 0 && len(c.Rates) > 0 {
		wrong("either users or rates, not both")
	}
	if len(c.Rates) > 0 && c.Think != 0 {
		wrong("with a fixed rate there is no think time")
	}
	if n := slices.Max(append([]int{c.Most}, c.Users...)); n > maxUsers {
		wrong("%d connections are more than %d", n, maxUsers)
	}
	if slices.Min(append([]int{c.Most}, c.Users...)) < 1 {
		wrong("a stage needs at least one user")
	}
	for _, r := range c.Rates {
		if !(r > 0 && r <= 1e6) {
			wrong("a rate of %v requests a second is not between 0 and a million", r)
		}
	}
	if c.Duration < 0 || c.Timeout < 0 || c.Think < 0 || c.P99 < 0 {
		wrong("a duration can't be negative")
	}
	if n := time.Duration(len(c.Users) + len(c.Rates)); c.Duration > maxWhole/n {
		wrong("all stages together may last %s at most", maxWhole)
	}
	if !(c.MaxErrors >= 0 && c.MaxErrors <= 1) {
		wrong("the share of errors lies between 0 and 1, not at %v", c.MaxErrors)
	}
	return c, errors.Join(errs...)
}
