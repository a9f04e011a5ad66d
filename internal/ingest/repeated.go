package ingest

import (
	"fmt"
	"hash/maphash"
	"maps"
	"slices"

	"mlops/internal/inspect"
	"mlops/internal/progress"
)

const (
	// mostContents and mostContentCells bound how many different rows are remembered, and of
	// how many cells, to find those that come again.
	mostContents     = 50_000
	mostContentCells = 1_000_000
	// leastRepeated is from how many rows on it is said that rows come again.
	leastRepeated = 5
	// leastMultiplied is of how many different rows each has to come several times for a
	// table to be said to be several copies of one.
	leastMultiplied = 20
	// timesChance is how many times as many pairs of equal rows have to be there as chance
	// would make by any column.
	timesChance = 10
)

// Repeated is rows of a table without a key that are equal to earlier ones in every column,
// and not by chance.
type Repeated struct {
	Rows  int64 // that are there again; of a large table about that many
	About bool
	Times int64 // every row comes a multiple of this often; 1: not all do

	Line, First int64 // one of them, and the row that it is equal to
	ByRow       bool  // the source numbers rows, as a Parquet file does
}

// String says it for people, with what to do.
func (r *Repeated) String() string {
	at, about := "line", ""
	if r.ByRow {
		at = "row"
	}
	if r.About {
		about = "about "
	}
	all := ""
	if r.Times > 1 {
		all = fmt.Sprintf(" (each comes %d times, or a multiple of it)", r.Times)
	}
	return fmt.Sprintf("%s%s rows are equal to earlier ones in every column%s, for example %s %s to %[4]s %[6]s: each counts as a row of its own in training and in the figures. If they were written twice, remove them from the table; if they are right, allow_copies: true",
		about, progress.Count(r.Rows), all, at, progress.Count(r.Line), progress.Count(r.First))
}

// rowSet is the rows of a table, by what stands in them. Of a large one only those are
// remembered whose hash is divisible by a number: all rows of a content are, or none.
type rowSet struct {
	columns int
	of      map[uint64]*content
	share   uint64
	looked  int64    // rows whose content is remembered
	cells   []uint64 // of the row that is taken in

	line, first int64 // an example of a row that comes again
}

type content struct {
	line  int64 // of the first row
	rows  int64
	cells []uint64 // hashes, the sum of which is the row's
}

func newRowSet(columns int) *rowSet {
	return &rowSet{columns: columns, of: map[uint64]*content{}, share: 1}
}

// add takes one row in.
func (c *rowSet) add(fields [][]byte, line int64) {
	sum := uint64(0)
	c.cells = c.cells[:0]
	for i, f := range fields {
		cell := cellHash(i, f)
		c.cells, sum = append(c.cells, cell), sum+cell
	}
	if sum%c.share != 0 {
		return
	}
	c.looked++
	if was := c.of[sum]; was != nil {
		if was.rows++; c.line == 0 {
			c.line, c.first = line, was.line
		}
		return
	}
	c.of[sum] = &content{line: line, rows: 1, cells: slices.Clone(c.cells)}
	for len(c.of) > min(mostContents, mostContentCells/max(1, c.columns)) {
		c.share *= 2
		maps.DeleteFunc(c.of, func(sum uint64, of *content) bool {
			if sum%c.share == 0 {
				return false
			}
			c.looked -= of.rows
			return true
		})
	}
}

func cellHash(column int, cell []byte) uint64 {
	return inspect.Scatter(maphash.Bytes(seed, cell) + uint64(column)*0x9e3779b97f4a7c15)
}

// repeated is nil if hardly any rows come again, or if they may do so by chance, as most rows
// of a table with few different ones do.
func (c *rowSet) repeated() *Repeated {
	again := c.looked - int64(len(c.of))
	if again*int64(c.share) < leastRepeated || again*1000 < c.looked {
		return nil
	}
	r := &Repeated{Rows: again * int64(c.share), About: c.share > 1, Times: c.times(), Line: c.line, First: c.first}
	if r.Times == 1 && (2*again > c.looked || c.byChance()) {
		return nil
	}
	return r
}

// times is what every row comes a multiple of.
func (c *rowSet) times() int64 {
	times := int64(0)
	for _, of := range c.of {
		a, b := times, of.rows
		for b != 0 {
			a, b = b, a%b
		}
		if times = a; times == 1 {
			return 1
		}
	}
	if len(c.of) < leastMultiplied {
		return 1
	}
	return times
}

// byChance reports whether that many pairs of equal rows may be so by chance: if any column
// were independent of the others, its values would be the same in some of the pairs of rows
// that agree in all others, as often as in any two rows. Columns depend on each other, so
// far fewer pairs are enough.
func (c *rowSet) byChance() bool {
	if c.columns < 3 {
		return true // too few columns to tell
	}
	type group struct{ rows, squares float64 }
	equal, all := 0.0, 0.0
	for _, of := range c.of {
		rows := float64(of.rows)
		equal, all = equal+rows*(rows-1), all+rows
	}
	for i := range c.columns {
		without, values := make(map[uint64]group, len(c.of)), map[uint64]float64{}
		for sum, of := range c.of {
			g, rows := without[sum-of.cells[i]], float64(of.rows)
			without[sum-of.cells[i]] = group{g.rows + rows, g.squares + rows*rows}
			values[of.cells[i]] += rows
		}
		near, same := 0.0, 0.0
		for _, g := range without {
			near += g.rows*g.rows - g.squares
		}
		for _, rows := range values {
			same += rows / all * rows / all
		}
		if timesChance*near*float64(c.share)*same > equal {
			return true
		}
	}
	return false
}
