package feature

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"sort"
)

// Snapshot has, of every row of a data set that has a group, what later rows of the
// group look at. It finds a group by a 64-bit hash, and does not keep its name. It
// does not change once made, so many goroutines may use it.
type Snapshot struct {
	keys   []uint64 // hashes of the groups, ascending
	starts []uint32 // of each group's rows, and after the last one how many rows there are
	places []int64  // of each row; ascending within a group
	values []packed // by value that features look at

	over     *Snapshot // groups that take the place of those here; nil: none
	replaced int       // groups here that over has too
	hidden   int       // rows of those
}

// packed is one value per row. Most have few different ones, so that a row takes a
// byte or two.
type packed struct {
	different []float32
	bytes     []uint8  // of each row, where different has up to 256
	words     []uint16 // of each row, up to 65,536
	raw       []float32
}

func (p *packed) at(row int) float32 {
	switch {
	case p.bytes != nil:
		return p.different[p.bytes[row]]
	case p.words != nil:
		return p.different[p.words[row]]
	}
	return p.raw[row]
}

// SnapshotBuilder collects rows for a Snapshot.
type SnapshotBuilder struct {
	e      *Encoder
	work   []float32
	most   int64 // bytes
	slots  int
	group  []byte
	begun  bool
	groups []groupRows
	places []int64
	values []float32 // slots of each row
	full   bool
}

// groupRows is where a builder has a group's rows.
type groupRows struct {
	key      uint64
	from, to int
}

// NewSnapshotBuilder returns a builder that gives up once it holds more than most
// bytes.
func (e *Encoder) NewSnapshotBuilder(most int64) *SnapshotBuilder {
	return &SnapshotBuilder{e: e, most: most, slots: len(e.blank) - e.Width()}
}

// Add takes the next row of those sorted by group and order; it is what a Stream's
// Visit takes.
func (b *SnapshotBuilder) Add(group []byte, place int64, values []float32) error {
	if b.full {
		return nil
	}
	if !b.begun || string(group) != string(b.group) {
		b.group, b.begun = append(b.group[:0], group...), true
		b.groups = append(b.groups, groupRows{hash(group), len(b.places), len(b.places)})
	}
	b.places, b.values = append(b.places, place), append(b.values, values...)
	b.groups[len(b.groups)-1].to = len(b.places)
	if int64(len(b.places))*8+int64(len(b.values))*4+int64(len(b.groups))*24 > b.most || len(b.places) > math.MaxInt32 {
		*b = SnapshotBuilder{full: true}
	}
	return nil
}

// AddRow is Add for a row's cleaned values by column of the spec; those that no feature of
// earlier rows looks at may be nil. A row without a group is passed over.
func (b *SnapshotBuilder) AddRow(fields [][]byte) error {
	if b.full {
		return nil
	}
	spec := b.e.spec
	group := fields[spec.Column(spec.Group)]
	if group == nil {
		return nil
	}
	if b.work == nil {
		b.work = make([]float32, b.e.Room())
	}
	b.e.encode(b.work, fields)
	return b.Add(group, spec.Place(fields[spec.Column(spec.Order)]), b.work[b.e.Width():])
}

// errTwins says that a snapshot can't tell two groups apart.
var errTwins = errors.New("two groups have the same 64-bit hash: a snapshot can't tell them apart")

// Snapshot returns what was added, or nil if that was too much.
func (b *SnapshotBuilder) Snapshot() (*Snapshot, error) {
	if b.full {
		return nil, nil
	}
	slices.SortFunc(b.groups, func(x, y groupRows) int { return cmp.Compare(x.key, y.key) })
	s := newSnapshot(len(b.groups), len(b.places), b.slots)
	for i, g := range b.groups {
		if i > 0 && b.groups[i-1].key == g.key {
			return nil, errTwins
		}
		s.addGroup(g.key, b.places[g.from:g.to])
	}
	s.pack(func(slot int, column []float32) []float32 {
		for _, g := range b.groups {
			for row := g.from; row < g.to; row++ {
				column = append(column, b.values[row*b.slots+slot])
			}
		}
		return column
	})
	return s, nil
}

// newSnapshot returns a snapshot with room for groups and rows.
func newSnapshot(groups, rows, slots int) *Snapshot {
	return &Snapshot{keys: make([]uint64, 0, groups), starts: make([]uint32, 1, groups+1), places: make([]int64, 0, rows), values: make([]packed, slots)}
}

// addGroup adds the next group in the order of the keys.
func (s *Snapshot) addGroup(key uint64, places []int64) {
	s.keys, s.places = append(s.keys, key), append(s.places, places...)
	s.starts = append(s.starts, uint32(len(s.places)))
}

// pack fills in the values once all groups are there. column appends a slot's values of
// all rows to an empty slice.
func (s *Snapshot) pack(column func(slot int, empty []float32) []float32) {
	room := make([]float32, 0, len(s.places))
	for slot := range s.values {
		s.values[slot] = pack(column(slot, room))
	}
}

// pack packs the values of all rows. All that are missing are the same NaN.
func pack(column []float32) packed {
	codes := map[uint32]int{}
	var p packed
	for i, v := range column {
		if v != v {
			v = float32(math.NaN())
			column[i] = v
		}
		if _, there := codes[math.Float32bits(v)]; !there && len(codes) <= math.MaxUint16 {
			codes[math.Float32bits(v)] = len(p.different)
			p.different = append(p.different, v)
		}
	}
	switch {
	case len(p.different) <= math.MaxUint8+1:
		p.bytes = make([]uint8, len(column))
		for i, v := range column {
			p.bytes[i] = uint8(codes[math.Float32bits(v)])
		}
	case len(codes) <= math.MaxUint16:
		p.words = make([]uint16, len(column))
		for i, v := range column {
			p.words[i] = uint16(codes[math.Float32bits(v)])
		}
	default:
		return packed{raw: slices.Clone(column)}
	}
	return p
}

// Groups is how many groups there are, Rows how many rows of them.
func (s *Snapshot) Groups() int {
	if s.over != nil {
		return len(s.keys) - s.replaced + s.over.Groups()
	}
	return len(s.keys)
}

func (s *Snapshot) Rows() int {
	if s.over != nil {
		return len(s.places) - s.hidden + s.over.Rows()
	}
	return len(s.places)
}

// Bytes is how much memory the snapshot takes.
func (s *Snapshot) Bytes() int64 {
	if s.over != nil {
		return s.bytes() + s.over.bytes()
	}
	return s.bytes()
}

func (s *Snapshot) bytes() int64 {
	n := 8*cap(s.keys) + 4*cap(s.starts) + 8*cap(s.places)
	for i := range s.values {
		p := &s.values[i]
		n += 4*cap(p.different) + cap(p.bytes) + 2*cap(p.words) + 4*cap(p.raw)
	}
	return int64(n)
}

// Before adds the rows of a group that are before a place to p. values is room for one
// row's.
func (s *Snapshot) Before(p *Past, values []float32, group []byte, place int64) {
	key := hash(group)
	if s.over != nil {
		if i, found := slices.BinarySearch(s.over.keys, key); found {
			s.over.before(p, values, i, place)
			return
		}
	}
	if i, found := slices.BinarySearch(s.keys, key); found {
		s.before(p, values, i, place)
	}
}

// before is Before for the i-th group.
func (s *Snapshot) before(p *Past, values []float32, i int, place int64) {
	for row := int(s.starts[i]); row < int(s.starts[i+1]) && s.places[row] < place; row++ {
		for slot := range s.values {
			values[slot] = s.values[slot].at(row)
		}
		p.Add(values)
	}
}

// snapshotFormat begins a written snapshot.
const snapshotFormat = "mlops history 1\n"

// Write writes the snapshot, compressed.
func (s *Snapshot) Write() ([]byte, error) {
	s = s.flat()
	var out bytes.Buffer
	z, err := gzip.NewWriterLevel(&out, gzip.BestSpeed)
	if err != nil {
		return nil, err
	}
	order := binary.LittleEndian
	parts := []any{[]byte(snapshotFormat), uint32(len(s.values)), uint32(len(s.keys)), uint32(len(s.places)), s.keys, s.starts, s.places}
	for i := range s.values {
		p := &s.values[i]
		parts = append(parts, uint32(len(p.different)), p.different)
		switch {
		case p.bytes != nil:
			parts = append(parts, uint8(1), p.bytes)
		case p.words != nil:
			parts = append(parts, uint8(2), p.words)
		default:
			parts = append(parts, uint8(4), p.raw)
		}
	}
	for _, part := range parts {
		if err := binary.Write(z, order, part); err != nil {
			return nil, fmt.Errorf("writing earlier rows: %w", err)
		}
	}
	if err := z.Close(); err != nil {
		return nil, fmt.Errorf("writing earlier rows: %w", err)
	}
	return out.Bytes(), nil
}

// errSnapshot says that a written snapshot is not one of this encoder.
var errSnapshot = errors.New("the file does not hold earlier rows of this encoder")

// ErrTooMany says that a snapshot takes more memory than it may.
var ErrTooMany = errors.New("too many rows")

// ReadSnapshot reads what Write wrote for an encoder of the same features. It refuses
// more than most bytes.
func (e *Encoder) ReadSnapshot(from io.Reader, most int64) (*Snapshot, error) {
	z, err := gzip.NewReader(from)
	if err != nil {
		return nil, fmt.Errorf("reading earlier rows: %w", err)
	}
	r := &snapshotReader{r: io.LimitReader(z, most)}
	format := make([]byte, len(snapshotFormat))
	r.read(format)
	var slots, groups, rows uint32
	r.read(&slots)
	r.read(&groups)
	r.read(&rows)
	if r.err == nil && (string(format) != snapshotFormat || int(slots) != len(e.blank)-e.Width() || groups > rows) {
		return nil, fmt.Errorf("reading earlier rows: %w", errSnapshot)
	}
	if r.err == nil && int64(rows)*(8+int64(slots))+12*int64(groups) > most {
		return nil, fmt.Errorf("reading earlier rows: %w: above %d bytes", ErrTooMany, most)
	}
	if r.err != nil {
		return nil, fmt.Errorf("reading earlier rows: %w", r.err)
	}
	s := &Snapshot{keys: make([]uint64, groups), starts: make([]uint32, groups+1), places: make([]int64, rows), values: make([]packed, slots)}
	r.read(s.keys)
	r.read(s.starts)
	r.read(s.places)
	for i := range s.values {
		r.packed(&s.values[i], int(rows))
	}
	if r.err == nil {
		_, r.err = io.Copy(io.Discard, r.r) // the checksum is at the end
	}
	if r.err != nil {
		return nil, fmt.Errorf("reading earlier rows: %w", r.err)
	}
	sound := s.starts[0] == 0 && s.starts[groups] == rows && slices.IsSorted(s.starts) &&
		sort.SliceIsSorted(s.keys, func(i, j int) bool { return s.keys[i] < s.keys[j] })
	for i := 0; sound && i < int(groups); i++ {
		sound = slices.IsSorted(s.places[s.starts[i]:s.starts[i+1]]) && (i == 0 || s.keys[i-1] < s.keys[i])
	}
	if !sound {
		return nil, fmt.Errorf("reading earlier rows: %w", errSnapshot)
	}
	return s, nil
}

type snapshotReader struct {
	r   io.Reader
	err error
}

func (r *snapshotReader) read(to any) {
	if r.err == nil {
		r.err = binary.Read(r.r, binary.LittleEndian, to)
	}
}

func (r *snapshotReader) packed(p *packed, rows int) {
	var different uint32
	r.read(&different)
	if r.err == nil && different > math.MaxUint16 {
		r.err = errSnapshot
	}
	if r.err != nil {
		return
	}
	p.different = make([]float32, different)
	r.read(p.different)
	var width uint8
	r.read(&width)
	switch width {
	case 1:
		p.bytes = make([]uint8, rows)
		r.read(p.bytes)
		if rows > 0 && r.err == nil && int(slices.Max(p.bytes)) >= len(p.different) {
			r.err = errSnapshot
		}
	case 2:
		p.words = make([]uint16, rows)
		r.read(p.words)
		if rows > 0 && r.err == nil && int(slices.Max(p.words)) >= len(p.different) {
			r.err = errSnapshot
		}
	case 4:
		p.raw = make([]float32, rows)
		r.read(p.raw)
	default:
		if r.err == nil {
			r.err = errSnapshot
		}
	}
}
