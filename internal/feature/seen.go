package feature

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"mlops/internal/dataset"
)

// Seen is what the training rows had. A model version stores it, so that a record
// that is nothing like them can be told.
type Seen struct {
	Rows    int          `json:"rows"`
	Fewest  int          `json:"fewest"`  // columns with a value that 99 of 100 rows have at least
	Columns []SeenColumn `json:"columns"` // those that the features use, in the spec's order
}

// SeenColumn is what the training rows had in one column.
type SeenColumn struct {
	Name    string   `json:"name"`
	Missing int      `json:"missing"`          // rows without a value
	Min     *float64 `json:"min,omitempty"`    // of a number
	Max     *float64 `json:"max,omitempty"`    // of a number
	Levels  int      `json:"levels,omitempty"` // how many values a category had, those folded as rare included
	Hashes  Hashes   `json:"hashes,omitempty"` // of these values; none if there are more than maxHashes

	// Typical stands for a value that a record doesn't give: the median of a number
	// or a date, the most frequent value of a category, canonical. It is nil for a column that
	// training saw without a value often enough to learn what that means, and where
	// TypicalFolded is set: then the most frequent value is itself folded as rare.
	Typical       *string `json:"typical,omitempty"`
	TypicalFolded bool    `json:"typical_folded,omitempty"`
}

// maxHashes is how many values of a category are kept: 8 bytes each. Of a column
// with more, such as a name or an address, no value is told to be unseen.
const maxHashes = 20_000

// Hashes are the 64-bit hashes of a column's values, ascending. A rare value may
// point to a person, so its text is not kept.
type Hashes []uint64

// MarshalText writes 8 bytes per hash, big-endian, in base64.
func (h Hashes) MarshalText() ([]byte, error) {
	b := make([]byte, 0, 8*len(h))
	for _, x := range h {
		b = binary.BigEndian.AppendUint64(b, x)
	}
	return base64.StdEncoding.AppendEncode(nil, b), nil
}

// UnmarshalText reads what MarshalText wrote.
func (h *Hashes) UnmarshalText(text []byte) error {
	b, err := base64.StdEncoding.AppendDecode(nil, text)
	if err != nil {
		return err
	}
	if len(b)%8 != 0 {
		return errors.New("cut within a hash")
	}
	*h = make(Hashes, 0, len(b)/8)
	for ; len(b) > 0; b = b[8:] {
		*h = append(*h, binary.BigEndian.Uint64(b))
	}
	if !slices.IsSorted(*h) {
		return errors.New("hashes are not in order")
	}
	return nil
}

func (h Hashes) has(value []byte) bool {
	_, found := slices.BinarySearch(h, hash(value))
	return found
}

// hash is FNV-1a (draft-eastlake-fnv), 64 bits.
func hash(value []byte) uint64 {
	h := uint64(0xcbf29ce484222325)
	for _, b := range value {
		h = (h ^ uint64(b)) * 0x100000001b3
	}
	return h
}

// byLevel reports whether a column's values count as levels: those of a category or
// a boolean, and of a number that a feature takes as a category.
func byLevel(spec *dataset.Spec, column int) bool {
	c := &spec.Columns[column]
	return c.Type == dataset.Category || c.Type == dataset.Boolean || slices.ContainsFunc(spec.Features, func(f dataset.Feature) bool { return f.LooksAtRow() && f.Category == c.Name })
}

// byRange reports whether a column's values are compared with the training range:
// a number's are, a date's not, since dates go on. A number that features take only as a category has levels instead.
func byRange(spec *dataset.Spec, column int) bool {
	c := &spec.Columns[column]
	return (c.Type == dataset.Integer || c.Type == dataset.Number) && slices.ContainsFunc(spec.Features, func(f dataset.Feature) bool {
		return f.LooksAtRow() && f.Category == "" && slices.Contains(f.Columns(), c.Name)
	})
}

// byDay reports whether a feature looks at a date by itself: at a part of it, or at the
// days to a fixed one. The days between two columns need both.
func byDay(spec *dataset.Spec, column int) bool {
	c := &spec.Columns[column]
	return c.Type == dataset.Date && slices.ContainsFunc(spec.Features, func(f dataset.Feature) bool {
		_, fixed := f.ToDate()
		return f.LooksAtRow() && (f.Date == c.Name || f.DaysFrom == c.Name && fixed)
	})
}

// fewestOf is the number of values that 99 of 100 rows have at least; rows is how
// many rows there are by their number of values.
func fewestOf(rows []int, total int) int {
	below := 0
	for n, k := range rows {
		if below += k; 100*below > total {
			return n
		}
	}
	return 0
}

// check returns an error if what a version stores does not belong to its spec.
func (s *Seen) check(spec *dataset.Spec, used func(column int) bool) error {
	if s.Rows < 1 || s.Fewest < 0 || s.Fewest > len(s.Columns) {
		return fmt.Errorf("it has seen %d rows of at least %d values in %d columns", s.Rows, s.Fewest, len(s.Columns))
	}
	at := 0
	for c := range spec.Columns {
		if !used(c) {
			continue
		}
		if at == len(s.Columns) || s.Columns[at].Name != spec.Columns[c].Name {
			return fmt.Errorf("it has not seen column %q, or not in its place", spec.Columns[c].Name)
		}
		k := &s.Columns[at]
		if k.Missing < 0 || k.Missing > s.Rows || k.Levels < 0 || (k.Min == nil) != (k.Max == nil) || k.Min != nil && *k.Min > *k.Max {
			return fmt.Errorf("what it has seen of column %q can't be", k.Name)
		}
		at++
	}
	if at != len(s.Columns) {
		return fmt.Errorf("it has seen column %q, which no feature uses", s.Columns[at].Name)
	}
	return nil
}

// MarshalJSON writes the fitted features and what training saw.
func (e *Encoder) MarshalJSON() ([]byte, error) {
	return json.MarshalIndent(stored{e.Features, e.Seen}, "", " ")
}

// stored is an encoder as a model version has it.
type stored struct {
	Features []Feature `json:"features"`
	Seen     *Seen     `json:"seen,omitempty"`
}

// Read returns the encoder for a spec and the JSON that MarshalJSON wrote.
func Read(spec *dataset.Spec, text []byte) (*Encoder, error) {
	var s stored
	if err := json.Unmarshal(text, &s); err != nil {
		return nil, fmt.Errorf("reading encoder: %w", err)
	}
	if len(s.Features) == 0 {
		return nil, errors.New("reading encoder: no features")
	}
	return New(spec, s.Features, s.Seen)
}
