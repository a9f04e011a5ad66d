// Package earlier is the rows of clean that features of earlier rows look back at, as a
// server reads them: through one view per data set, which is all that its role may read.
package earlier

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	"mlops/internal/dataset"
	"mlops/internal/postgres"
)

// View is the name of a data set's view. It starts with an underscore, which no data
// set's name does.
func View(name string) string { return "_" + name + "_earlier" }

// Columns of the view beside the spec's.
const (
	batchColumn = "_batch" // that brought the row
	stateColumn = "_state" // of the ledger, the same in every row; see State
)

// ViewSQL is the query of a data set's view over its table and ledger in clean, whose
// names are quoted: the rows of accepted batches, without the target, which nobody knows
// yet of a record to predict. It has every other column, so that versions of an older
// spec are followed too.
func ViewSQL(spec *dataset.Spec, rows, batches string) string {
	var columns []string
	for i := range spec.Columns {
		if name := spec.Columns[i].Name; name != spec.Target.Column {
			columns = append(columns, quote(postgres.ColumnName(name)))
		}
	}
	return fmt.Sprintf(`SELECT %s, %s, (SELECT string_agg(format('%%s:%%s:%%s', batch, replaced + gone, (extract(epoch FROM processed_at) * 1000000)::bigint), ' ' ORDER BY batch)
		FROM %s WHERE accepted) AS %s FROM %s WHERE _batch IN (SELECT batch FROM %[3]s WHERE accepted)`,
		strings.Join(columns, ", "), batchColumn, batches, stateColumn, rows)
}

// State says which batches are in the view: each one's number, how many rows of others
// it replaced or removed, and when it was cleaned.
type State string

// Last is the last batch of a state; 0 if it has none.
func (s State) Last() int {
	entry := string(s[strings.LastIndexByte(string(s), ' ')+1:])
	batch, _, _ := strings.Cut(entry, ":")
	n, _ := strconv.Atoi(batch) // "" is a state without batches
	return n
}

// adds reports whether whatever is new since a state only adds rows.
func (s State) adds(since State) bool {
	if since == "" || !strings.HasPrefix(string(s), string(since)+" ") {
		return false
	}
	for entry := range strings.FieldsSeq(string(s[len(since):])) {
		if parts := strings.Split(entry, ":"); len(parts) != 3 || parts[1] != "0" {
			return false
		}
	}
	return true
}

// quote makes a name an SQL identifier.
func quote(name string) string { return pgx.Identifier{name}.Sanitize() }

// casts are what an array of texts is cast to, to be compared with a column.
var casts = map[dataset.Type]string{
	dataset.Integer:  "::bigint[]",
	dataset.Number:   "::double precision[]",
	dataset.Category: "",
	dataset.Boolean:  "::boolean[]",
	dataset.Date:     "::timestamp[]",
}

// query is what reads rows of a data set.
type query struct {
	spec    *dataset.Spec
	columns []int // of the spec, in the order of the list
	list    string
	order   string
	view    string
}

// newQuery reads the group, the order and what features of earlier rows look at.
func newQuery(spec *dataset.Spec) query {
	q := query{spec: spec, view: quote(View(spec.Name))}
	wanted := map[string]bool{spec.Group: true, spec.Order: true}
	for i := range spec.Features {
		if f := &spec.Features[i]; f.Earlier != "" {
			for _, name := range f.Columns() {
				wanted[name] = true
			}
		}
	}
	var list []string
	for i := range spec.Columns {
		c := &spec.Columns[i]
		if !wanted[c.Name] {
			continue
		}
		name := "v." + quote(postgres.ColumnName(c.Name)) // not the output column of that name
		switch c.Type {                                   // as training reads them
		case dataset.Date:
			name = fmt.Sprintf(`to_char(%s, 'YYYY-MM-DD"T"HH24:MI:SS.US')`, name)
		default:
			name += "::text"
		}
		q.columns, list = append(q.columns, i), append(list, name)
	}
	q.list = strings.Join(list, ", ")
	group := q.group()
	if spec.Columns[spec.Column(spec.Group)].Type == dataset.Category {
		group += ` COLLATE "C"`
	}
	q.order = fmt.Sprintf("%s, v.%s NULLS LAST", group, quote(postgres.ColumnName(spec.Order)))
	return q
}

func (q *query) group() string { return "v." + quote(postgres.ColumnName(q.spec.Group)) }

func (q *query) sql(where string) string {
	return fmt.Sprintf("SELECT v.%s, %s FROM %s v WHERE %s ORDER BY %s", batchColumn, q.list, q.view, where, q.order)
}

// all reads every row that has a group.
func (q *query) all() string { return q.sql(q.group() + " IS NOT NULL") }

// touched reads all rows of the groups that have a row of a batch after $1.
func (q *query) touched() string {
	return q.sql(fmt.Sprintf("%s IN (SELECT %[1]s FROM %s v WHERE v.%s > $1::integer)", q.group(), q.view, batchColumn))
}

// of reads the rows of the groups $1.
func (q *query) of() string {
	return q.sql(fmt.Sprintf("%s = ANY ($1::text[]%s)", q.group(), casts[q.spec.Columns[q.spec.Column(q.spec.Group)].Type]))
}
