package bulk

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	"mlops/internal/api"
	"mlops/internal/dataset"
	"mlops/internal/postgres"
	"mlops/internal/program"
	"mlops/internal/source"
)

// part is some records, in order.
type part struct {
	records  [][]string
	names    []string // of the records, within the source
	position string   // behind them
}

// input is a table that is scored.
type input interface {
	name() string      // for people
	identity() string  // of its content, or of a table whose rows become more
	columns() []string // of a record
	ignored() []string // columns that aren't sent
	numbers() string   // how they are spelled: scoring.Table.Numbers
	where(record string) string
	seek(ctx context.Context, position string) error
	next(ctx context.Context, n int) (part, error) // no records: the end
	missed(ctx context.Context, r *run) (int64, error)
	close()
}

func open(ctx context.Context, cfg *Config) (input, error) {
	if tableName.MatchString(cfg.From) {
		return openRows(ctx, cfg)
	}
	return openFile(ctx, cfg)
}

// file is a file or an object.
type file struct {
	table  *source.Table
	reader *source.Reader
	sent   []int // fields of a record
	header []string
	left   []string
}

func openFile(ctx context.Context, cfg *Config) (input, error) {
	o := cfg.Open.For(cfg.Spec)
	o.Columns, o.Ignore, o.IgnoreAll = nil, nil, false // those of the file: it may lack the target
	if o.NoHeader {
		return nil, program.Inputf("the data set's tables have no header, so it isn't known which of the columns %s has; score a file with a header", source.Redact(cfg.From))
	}
	o.Logger = cfg.Logger
	t, err := source.Open(ctx, cfg.From, o)
	var wrong *source.Error
	if errors.As(err, &wrong) {
		return nil, program.Input(err)
	}
	if err != nil {
		return nil, err
	}
	f := &file{table: t}
	for i, name := range t.Names {
		known := slices.ContainsFunc(cfg.Spec.Columns, func(c dataset.Column) bool { return c.Header() == name || c.Name == name })
		if !known && cfg.Spec.Source.Leaves(name) {
			f.left = append(f.left, name)
			continue
		}
		f.sent, f.header = append(f.sent, i), append(f.header, name)
	}
	return f, nil
}

func (f *file) name() string      { return f.table.Source }
func (f *file) identity() string  { return f.table.Digest }
func (f *file) columns() []string { return f.header }
func (f *file) ignored() []string { return f.left }

// numbers are spelled as in the data set's tables, but for those of a Parquet file, which
// have no spelling.
func (f *file) numbers() string {
	if f.table.ByRow() {
		return api.NumbersPoint
	}
	return api.NumbersTable
}

func (f *file) where(record string) string {
	if f.table.ByRow() {
		return "row " + record
	}
	return "line " + record
}

func (f *file) seek(_ context.Context, position string) error {
	var at source.Position
	if position != "" {
		if err := json.Unmarshal([]byte(position), &at); err != nil {
			return fmt.Errorf("reading where the run is: %w", err)
		}
	}
	if f.reader != nil {
		f.reader.Close()
	}
	var err error
	f.reader, err = f.table.Records(at)
	return err
}

func (f *file) next(_ context.Context, n int) (p part, err error) {
	for len(p.records) < n {
		rec, err := f.reader.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return p, err
		}
		name := strconv.FormatInt(rec.Line, 10)
		if rec.Reason != "" {
			return p, program.Inputf("%s: %s: %s", f.name(), f.where(name), rec.Reason)
		}
		record := make([]string, len(f.sent))
		for i, j := range f.sent {
			record[i] = string(rec.Fields[j])
		}
		p.records, p.names = append(p.records, record), append(p.names, name)
	}
	at, err := json.Marshal(f.reader.Position())
	p.position = string(at)
	return p, err
}

func (f *file) missed(context.Context, *run) (int64, error) { return 0, nil }

func (f *file) close() {
	if f.reader != nil {
		f.reader.Close()
	}
	f.table.Close()
}

// rows is a table of the database raw, read in the order of its key by a cursor: one
// statement, of which memory holds a part.
type rows struct {
	session *postgres.Session
	table   string
	key     []string // its columns
	kinds   []string // Postgres' types of these
	sent    []string // columns, as Postgres names them
	header  []string // and as the spec does
	left    []string
	spelled string // numbers: as scoring.Table.Numbers
	tx      pgx.Tx
}

func openRows(ctx context.Context, cfg *Config) (input, error) {
	r := &rows{table: cfg.From, session: postgres.NewSession(cfg.Postgres, cfg.Postgres.Raw, "", cfg.Logger)}
	err := r.session.Do(ctx, "looking at the table "+r.table, func(ctx context.Context, conn *pgx.Conn) error { return r.describe(ctx, conn, cfg) })
	if err != nil {
		r.session.Close()
		return nil, err
	}
	return r, nil
}

// numeric are Postgres' types of numbers, which it writes with a decimal point.
var numeric = []string{"smallint", "integer", "bigint", "numeric", "real", "double precision"}

func (r *rows) describe(ctx context.Context, conn *pgx.Conn, cfg *Config) error {
	r.key, r.kinds, r.sent, r.header, r.left, r.spelled = nil, nil, nil, nil, nil, ""
	got, err := conn.Query(ctx, `SELECT a.attname::text, format_type(a.atttypid, a.atttypmod), coalesce(array_position(i.indkey::int[], a.attnum::int), 0)
		FROM pg_attribute a LEFT JOIN pg_index i ON i.indrelid = a.attrelid AND i.indisprimary
		WHERE a.attrelid = to_regclass($1) AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum`, quote("public", r.table))
	if err != nil {
		return err
	}
	type column struct {
		name, kind string
		place      int // in the primary key, from 1; 0: not in it
	}
	all, err := pgx.CollectRows(got, func(row pgx.CollectableRow) (c column, err error) {
		return c, row.Scan(&c.name, &c.kind, &c.place)
	})
	switch {
	case err != nil:
		return err
	case len(all) == 0:
		return program.Inputf("the database %s has no table %s; a file needs its address (s3://, https://, file://)", cfg.Postgres.Raw, r.table)
	}
	key := []string{}
	for place := 1; ; place++ {
		i := slices.IndexFunc(all, func(c column) bool { return c.place == place })
		if i < 0 {
			break
		}
		key = append(key, all[i].name)
	}
	// Our own tables have no primary key: a batch and a line name a row, and later batches
	// have higher numbers.
	has := func(name string) bool { return slices.ContainsFunc(all, func(c column) bool { return c.name == name }) }
	if len(key) == 0 && has("_batch") && has("_line") {
		key = []string{"_batch", "_line"}
		r.spelled = api.NumbersTable
	}
	if len(key) == 0 {
		return program.Inputf("the table %s has no primary key, so that a run could not be continued without repeating or losing rows; add one: ALTER TABLE %s ADD COLUMN _row bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY", r.table, quote(r.table))
	}
	for _, k := range key {
		i := slices.IndexFunc(all, func(c column) bool { return c.name == k })
		r.key, r.kinds = append(r.key, k), append(r.kinds, all[i].kind)
	}
	for _, c := range all {
		name, known := c.name, false
		for i := range cfg.Spec.Columns {
			if of := cfg.Spec.Columns[i].Name; postgres.ColumnName(of) == c.name {
				name, known = of, true
			}
		}
		switch {
		case known || !strings.HasPrefix(c.name, "_") && !slices.Contains(key, c.name) && !cfg.Spec.Source.Leaves(c.name):
			r.sent, r.header = append(r.sent, c.name), append(r.header, name)
			if kind, _, _ := strings.Cut(c.kind, "("); slices.Contains(numeric, kind) {
				r.spelled = api.NumbersPoint
			}
		case !strings.HasPrefix(c.name, "_") && !slices.Contains(key, c.name):
			r.left = append(r.left, c.name)
		}
	}
	if len(r.sent) == 0 {
		return program.Inputf("the table %s has none of the data set's columns", r.table)
	}
	var may bool
	if err := conn.QueryRow(ctx, "SELECT has_table_privilege($1, 'SELECT')", quote("public", r.table)).Scan(&may); err != nil {
		return err
	}
	if !may {
		return program.Inputf("the role %s may not read the table %s; in the database %s: GRANT SELECT ON %s TO %s", conn.Config().User, r.table, cfg.Postgres.Raw, quote(r.table), quote(conn.Config().User))
	}
	return nil
}

func (r *rows) name() string      { return "table " + r.table }
func (r *rows) identity() string  { return "table " + r.table }
func (r *rows) columns() []string { return r.header }
func (r *rows) ignored() []string { return r.left }
func (r *rows) numbers() string   { return r.spelled }
func (r *rows) where(record string) string {
	return fmt.Sprintf("row (%s) = (%s)", strings.Join(r.key, ","), record)
}

// condition says that a row's key stands in relation (such as >) to a position.
func (r *rows) condition(relation string, position string) (sql string, args []any, err error) {
	var values []string
	if err := json.Unmarshal([]byte(position), &values); err != nil || len(values) != len(r.key) {
		return "", nil, fmt.Errorf("the run is at %s, which is no key of the table %s (%s)", position, r.table, strings.Join(r.key, ", "))
	}
	keys, places := make([]string, len(values)), make([]string, len(values))
	for i, v := range values {
		keys[i], places[i] = quote(r.key[i]), fmt.Sprintf("$%d::text::%s", i+1, r.kinds[i])
		args = append(args, v)
	}
	return fmt.Sprintf("(%s) %s (%s)", strings.Join(keys, ", "), relation, strings.Join(places, ", ")), args, nil
}

func (r *rows) seek(ctx context.Context, position string) error {
	r.rollback()
	where, args := "true", []any(nil)
	if position != "" {
		var err error
		if where, args, err = r.condition(">", position); err != nil {
			return err
		}
	}
	key := make([]string, len(r.key))
	values := make([]string, 0, len(r.key)+len(r.sent))
	for i, k := range r.key {
		key[i] = quote("t", k) // and not the text that is selected, which has the same name
		values = append(values, quote("t", k)+"::text")
	}
	for _, c := range r.sent {
		values = append(values, "coalesce("+quote("t", c)+"::text, '')")
	}
	return r.session.Do(ctx, "reading the table "+r.table, func(ctx context.Context, conn *pgx.Conn) error {
		tx, err := conn.BeginTx(ctx, pgx.TxOptions{AccessMode: pgx.ReadOnly, IsoLevel: pgx.RepeatableRead})
		if err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, fmt.Sprintf("DECLARE records NO SCROLL CURSOR FOR SELECT %s FROM %s t WHERE %s ORDER BY %s",
			strings.Join(values, ", "), quote("public", r.table), where, strings.Join(key, ", ")), args...); err != nil {
			tx.Rollback(ctx)
			return err
		}
		r.tx = tx
		return nil
	})
}

func (r *rows) next(ctx context.Context, n int) (p part, err error) {
	got, err := r.tx.Query(ctx, fmt.Sprintf("FETCH FORWARD %d FROM records", n))
	if err != nil {
		return p, fmt.Errorf("reading the table %s: %w", r.table, err)
	}
	defer got.Close()
	var last []string
	for got.Next() {
		fields := make([]string, len(r.key)+len(r.sent))
		for i, v := range got.RawValues() {
			fields[i] = string(v)
		}
		last = fields[:len(r.key):len(r.key)]
		p.records, p.names = append(p.records, fields[len(r.key):]), append(p.names, strings.Join(last, ","))
	}
	if err := got.Err(); err != nil {
		return p, fmt.Errorf("reading the table %s: %w", r.table, err)
	}
	if last != nil {
		at, err := json.Marshal(last)
		if err != nil {
			return p, err
		}
		p.position = string(at)
	}
	return p, nil
}

// missed counts the rows that came after others with higher keys had been scored.
func (r *rows) missed(ctx context.Context, of *run) (missed int64, err error) {
	r.rollback()
	where, args, err := r.condition("<=", of.position)
	if err != nil {
		return 0, err
	}
	err = r.session.Do(ctx, "counting the rows of the table "+r.table, func(ctx context.Context, conn *pgx.Conn) error {
		return conn.QueryRow(ctx, fmt.Sprintf("SELECT greatest(count(*) - $%d, 0) FROM %s WHERE %s", len(args)+1, quote("public", r.table), where), append(args, of.records)...).Scan(&missed)
	})
	return missed, err
}

func (r *rows) rollback() {
	if r.tx != nil {
		r.tx.Rollback(context.Background())
		r.tx = nil
	}
}

func (r *rows) close() {
	r.rollback()
	r.session.Close()
}
