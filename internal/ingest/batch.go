package ingest

import (
	"fmt"
	"io"
	"strconv"

	"mlops/internal/dataset"
	"mlops/internal/source"
)

// rawBatch turns the records of one batch into COPY's text.
type rawBatch struct {
	spec   *dataset.Spec
	reader *source.Reader

	separator byte

	left  int
	read  int64
	id    int32
	key   int  // column, -1 where there is none
	whole bool // each row carries its text as well

	planned bool    // only the lines of fresh bring something new
	fresh   []int32 // in their order, those passed cut off
	known   int64   // the others

	keyText []byte // of the record at hand

	keep    int64 // how many rejected lines are kept one by one
	lost    int64 // rejected lines
	written int64 // rows about them
	more    map[rejection]*counted

	rows, rejected []byte
}

// counted are rejected lines beyond those that are kept one by one.
type counted struct {
	lines int64
	line  int64 // of the first
	text  string
	as    rejection // of the first
}

// maxKey bounds a key's bytes: an index takes no longer ones than some 2,700.
const maxKey = 1000

func (b *rawBatch) next() (chunk, error) {
	b.rows, b.rejected = b.rows[:0], b.rejected[:0]
	for len(b.rows) < chunkSize && len(b.rejected) < chunkSize {
		if b.left == 0 {
			b.count()
			return chunk{b.rows, b.rejected}, io.EOF
		}
		rec, err := b.reader.Next()
		if err != nil {
			b.count()
			return chunk{b.rows, b.rejected}, err // io.EOF among them
		}
		b.left--
		b.read++
		if bad := b.judge(rec); bad != (rejection{}) {
			b.reject(rec, bad)
			continue
		}
		if b.planned {
			for len(b.fresh) > 0 && int64(b.fresh[0]) < rec.Line {
				b.fresh = b.fresh[1:]
			}
			if len(b.fresh) == 0 || int64(b.fresh[0]) != rec.Line {
				b.known++
				continue
			}
		}
		b.appendRow(rec)
	}
	return chunk{b.rows, b.rejected}, nil
}

// reject keeps a rejected line, or counts it where there are many.
func (b *rawBatch) reject(rec *source.Record, bad rejection) {
	if b.lost++; b.lost <= b.keep {
		b.write(&counted{1, rec.Line, source.Cut(rec.Text), bad})
		return
	}
	kind := rejection{column: bad.column, kind: bad.kind}
	if c := b.more[kind]; c != nil {
		c.lines++
		return
	}
	if b.more == nil {
		b.more = map[rejection]*counted{}
	}
	b.more[kind] = &counted{1, rec.Line, source.Cut(rec.Text), bad}
}

// count writes a row for each reason of the lines that are only counted.
func (b *rawBatch) count() {
	for _, c := range b.more {
		b.write(c)
	}
	b.more = nil
}

func (b *rawBatch) write(c *counted) {
	b.written++
	b.rejected = appendRejected(b.rejected, b.id, c.line, c.as.reason, c.text, c.as.column, c.as.kind, c.as.value, strconv.FormatInt(c.lines, 10))
}

// rawRejected are the columns of a rejected line, as appendRejected writes them.
const rawRejected = `_batch, line, reason, text, "column", kind, value, rows`

// maxKept is how many rejected lines of a source are kept one by one. Beyond, a batch
// keeps the first line of each reason and counts the others, so that a file of nothing
// but rubbish does not fill the disk.
const maxKept int64 = 100_000

// rejection says why a line is no row: in words, and as reports group it.
type rejection struct{ reason, column, kind, value string }

// judge returns why a record is rejected, or the zero rejection. Where it is
// not, and has a key, the key is in b.keyText, in its canonical form: it is what
// the row is known by in whatever spelling it comes again.
func (b *rawBatch) judge(rec *source.Record) rejection {
	if rec.Reason != "" {
		r := rejection{reason: rec.Reason, kind: kindOf(rec.Reason), value: example(rec.Text)}
		if rec.Reason == source.InvalidUTF8 {
			var name string
			name, r.value = source.GuessEncoding(rec.Text)
			if r.value, r.kind = example([]byte(r.value)), looksLike+name; name == "windows-1252" {
				r.kind += " (Latin-1)"
			}
		}
		return r
	}
	if b.key < 0 {
		return rejection{}
	}
	field := rec.Fields[b.key]
	if len(field) > maxKey {
		return rejection{fmt.Sprintf("the key has %d bytes, more than %d", len(field), maxKey), b.keyName(), keyLong, example(field)}
	}
	// A key of another type than the column's is there all the same; what is
	// wrong with it is said when the row is cleaned.
	switch v, err := b.spec.Cell(b.key, field); {
	case err != nil:
		b.keyText = field
	case v == nil:
		return rejection{"the key is missing", b.keyName(), keyMissing, example(field)}
	default:
		b.keyText = v
	}
	return rejection{}
}

func (b *rawBatch) keyName() string { return b.spec.Columns[b.key].Name }

func (b *rawBatch) appendRow(rec *source.Record) {
	if rec.Plain && (b.key < 0 || len(b.keyText) == len(rec.Fields[b.key])) {
		b.rows = appendPlain(b.rows, rec.Text, b.separator)
	} else {
		for i, f := range rec.Fields {
			if i > 0 {
				b.rows = append(b.rows, '\t')
			}
			if i == b.key {
				f = b.keyText
			}
			b.rows = appendField(b.rows, f)
		}
	}
	b.rows = append(b.rows, '\t')
	b.rows = strconv.AppendInt(b.rows, int64(b.id), 10)
	b.rows = append(b.rows, '\t')
	b.rows = strconv.AppendInt(b.rows, rec.Line, 10)
	if b.whole {
		b.rows = append(b.rows, '\t')
		b.rows = appendField(b.rows, []byte(source.Cut(rec.Text)))
	}
	b.rows = append(b.rows, '\n')
}
