// Package apikey lets in callers that present a key: it makes keys, reads the file of
// their hashes, and is the middleware that checks them.
//
// A key is mlops_ID_SECRET: 8 hexadecimal digits that name it, and 256 random bits. A
// server knows only the SHA-256 of it. A slow hash such as bcrypt protects passwords,
// which can be guessed; nobody guesses 256 random bits, and bcrypt would cost each
// request more than a hundred times what scoring a record does.
package apikey

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Scope is what a key may be used for. A key may have several; none includes another.
type Scope string

// The scopes.
const (
	Predict Scope = "predict" // ask for predictions
	Read    Scope = "read"    // read what is served, and see the page
	Operate Scope = "operate" // everything else, such as what would change the server
)

// Scopes are all scopes.
var Scopes = []Scope{Predict, Read, Operate}

const (
	prefix     = "mlops_"
	idSize     = 8
	secretSize = 43 // base64 of 32 bytes
	keySize    = len(prefix) + idSize + 1 + secretSize
)

// Key is what a server knows of a key: a line of the file.
type Key struct {
	ID     string
	Scopes []Scope
	Rate   Rate
	Hash   [sha256.Size]byte
	Name   string // whose it is, or what for
}

// New makes a key. The text is the key itself, which exists nowhere else.
func New(name string, scopes []Scope, rate Rate) (text string, k Key, err error) {
	if err := checkName(name); err != nil {
		return "", Key{}, err
	}
	if len(scopes) == 0 {
		return "", Key{}, errors.New("a key without a scope opens nothing")
	}
	var id [idSize / 2]byte
	var secret [32]byte
	rand.Read(id[:]) // never fails
	rand.Read(secret[:])
	k = Key{ID: hex.EncodeToString(id[:]), Scopes: scopes, Rate: rate, Name: name}
	text = prefix + k.ID + "_" + base64.RawURLEncoding.EncodeToString(secret[:])
	k.Hash = sha256.Sum256([]byte(text))
	return text, k, nil
}

// String is the key's line in the file.
func (k Key) String() string {
	return fmt.Sprintf("%s %s %s sha256:%x %s", k.ID, k.ScopeList(), k.Rate, k.Hash, k.Name)
}

// ScopeList is the scopes, joined by commas.
func (k Key) ScopeList() string {
	words := make([]string, len(k.Scopes))
	for i, s := range k.Scopes {
		words[i] = string(s)
	}
	return strings.Join(words, ",")
}

// parseKey reads a line of the file.
func parseKey(line string) (k Key, err error) {
	fields := strings.Fields(line)
	if len(fields) != 5 {
		return k, fmt.Errorf("%d fields, want 5: id, scopes, rate, hash and name", len(fields))
	}
	if id, err := hex.DecodeString(fields[0]); err != nil || len(id) != idSize/2 || fields[0] != strings.ToLower(fields[0]) {
		return k, fmt.Errorf("the id is not %d lower-case hexadecimal digits", idSize)
	}
	k.ID, k.Name = fields[0], fields[4]
	if k.Scopes, err = ParseScopes(fields[1]); err != nil {
		return k, err
	}
	if k.Rate, err = ParseRate(fields[2]); err != nil {
		return k, err
	}
	sum, ok := strings.CutPrefix(fields[3], "sha256:")
	hash, err := hex.DecodeString(sum)
	if !ok || err != nil || len(hash) != len(k.Hash) {
		return k, errors.New("the hash is not sha256: and 64 hexadecimal digits; `mlops key new` prints the line")
	}
	k.Hash = [sha256.Size]byte(hash)
	return k, checkName(k.Name)
}

var nameForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

func checkName(name string) error {
	if strings.HasPrefix(name, prefix) { // never print it
		return errors.New("the name is a key; name whom it is for, such as partner-a")
	}
	if !nameForm.MatchString(name) {
		return fmt.Errorf("the name %q is not one of letters, digits, dots, dashes and underscores, at most 64", name)
	}
	return nil
}

// ParseScopes reads scopes that are separated by commas.
func ParseScopes(text string) (list []Scope, err error) {
	for word := range strings.SplitSeq(text, ",") {
		s := Scope(strings.TrimSpace(word))
		if !slices.Contains(Scopes, s) {
			return nil, fmt.Errorf("the scope %q is unknown; use predict, read or operate, several joined by commas", word)
		}
		if !slices.Contains(list, s) {
			list = append(list, s)
		}
	}
	return list, nil
}

// Rate is how many requests a key may send: that many within a period at once, and
// evenly after that. The zero value is no limit.
type Rate struct {
	Requests int
	Period   time.Duration
}

var periods = map[string]time.Duration{"s": time.Second, "m": time.Minute, "h": time.Hour}

// ParseRate reads a rate such as 100/s, 1000/m or 5000/h; "-" is no limit.
func ParseRate(text string) (Rate, error) {
	if text == "-" {
		return Rate{}, nil
	}
	number, unit, _ := strings.Cut(text, "/")
	n, err := strconv.Atoi(number)
	period := periods[unit]
	if err != nil || period == 0 || n < 1 || n > 1_000_000 {
		return Rate{}, fmt.Errorf("the rate %q is not one such as 100/s, 1000/m or 5000/h (1 to 1,000,000), or - for no limit", text)
	}
	return Rate{n, period}, nil
}

func (r Rate) String() string {
	for unit, period := range periods {
		if r.Period == period {
			return strconv.Itoa(r.Requests) + "/" + unit
		}
	}
	return "-"
}
