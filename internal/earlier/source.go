package earlier

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"

	"mlops/internal/dataset"
	"mlops/internal/postgres"
)

// Row takes a row: its batch, and its cleaned values by column of the spec, good until
// it returns. Columns that no feature of earlier rows looks at are nil.
type Row func(batch int32, fields [][]byte) error

// Source reads the views of one database, over a bounded number of connections. Many
// goroutines may use it.
type Source struct {
	cfg   postgres.Config
	log   *slog.Logger
	conns chan *pgx.Conn // nil ones are not open
	down  atomic.Int64   // until when (Unix, ns) no request is sent, since connecting failed
}

const (
	connectPatience = 2 * time.Second
	downFor         = time.Second
)

// NewSource returns a source with at most so many connections, which are opened when
// they are needed.
func NewSource(cfg postgres.Config, connections int, log *slog.Logger) *Source {
	cfg = cfg.Defaults()
	cfg.Patience = connectPatience
	s := &Source{cfg: cfg, log: slog.New(slog.DiscardHandler), conns: make(chan *pgx.Conn, connections)}
	if log != nil {
		s.log = log
	}
	for range connections {
		s.conns <- nil
	}
	return s
}

// Close closes the connections that nobody uses.
func (s *Source) Close() {
	for {
		select {
		case conn := <-s.conns:
			if conn != nil {
				conn.Close(context.Background())
			}
		default:
			return
		}
	}
}

// ErrDown says that Postgres could not be reached a moment ago.
var ErrDown = errors.New("no try: Postgres could not be reached a moment ago")

// ErrBusy says that no connection was free in time.
var ErrBusy = errors.New("all connections to Postgres are in use")

// do lends a connection to work. One that failed is closed.
func (s *Source) do(ctx context.Context, work func(conn *pgx.Conn) error) error {
	if time.Now().UnixNano() < s.down.Load() {
		return ErrDown
	}
	var conn *pgx.Conn
	select {
	case conn = <-s.conns:
	case <-ctx.Done():
		return ErrBusy
	}
	var err error
	if conn == nil || conn.IsClosed() {
		if conn, err = postgres.Connect(ctx, s.cfg, s.cfg.Clean, slog.New(slog.DiscardHandler)); err != nil {
			s.down.Store(time.Now().Add(downFor).UnixNano())
			s.conns <- nil
			return err
		}
	}
	if err = work(conn); err != nil {
		conn.Close(context.WithoutCancel(ctx))
		conn = nil
	}
	s.conns <- conn
	return err
}

// State returns what is in a data set's view now; it is empty if nothing is.
func (s *Source) State(ctx context.Context, spec *dataset.Spec) (state State, err error) {
	err = s.do(ctx, func(conn *pgx.Conn) error {
		state, err = stateOf(ctx, conn, spec)
		return err
	})
	return state, err
}

func stateOf(ctx context.Context, conn interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}, spec *dataset.Spec) (State, error) {
	var state *string
	err := conn.QueryRow(ctx, fmt.Sprintf("SELECT %s FROM %s LIMIT 1", stateColumn, quote(View(spec.Name)))).Scan(&state)
	switch {
	case errors.Is(err, pgx.ErrNoRows) || err == nil && state == nil:
		return "", nil
	case err != nil:
		return "", fmt.Errorf("reading which rows of %s there are: %w", spec.Name, explain(err, spec))
	}
	return State(*state), nil
}

// explain says what to do about an error that only a person can mend.
func explain(err error, spec *dataset.Spec) error {
	switch postgres.Code(err) {
	case "42P01":
		return fmt.Errorf("the database clean has no view %s yet, which process-data makes: %w", View(spec.Name), err)
	case "42703":
		return fmt.Errorf("the view %s is of another spec, and lacks a column of this version's: %w", View(spec.Name), err)
	case "42501":
		return fmt.Errorf("this role may not read the view %s; process-data grants it to %s: %w", View(spec.Name), postgres.ServeRole, err)
	}
	return err
}

// Change is what came since a state.
type Change struct {
	State State
	Same  bool // nothing did: no row was read
	Whole bool // all rows were read; otherwise those of the groups that got any
}

// Follow reads what came since a state, by group and order: whole groups, or, where more
// than new rows came, everything. A state of "" is one of no rows.
func (s *Source) Follow(ctx context.Context, spec *dataset.Spec, since State, row Row) (c Change, err error) {
	err = s.do(ctx, func(conn *pgx.Conn) error {
		// One view of the data for state and rows.
		return pgx.BeginTxFunc(ctx, conn, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
			if c.State, err = stateOf(ctx, tx, spec); err != nil {
				return err
			}
			if c.Same = c.State == since; c.Same {
				return nil
			}
			q := newQuery(spec)
			if c.State.adds(since) {
				return q.read(ctx, tx, row, q.touched(), since.Last())
			}
			c.Whole = true
			return q.read(ctx, tx, row, q.all())
		})
	})
	return c, err
}

// Groups reads the rows of groups, named by their cleaned values, by group and order.
func (s *Source) Groups(ctx context.Context, spec *dataset.Spec, groups []string, row Row) error {
	return s.do(ctx, func(conn *pgx.Conn) error {
		q := newQuery(spec)
		return q.read(ctx, conn, row, q.of(), groups)
	})
}

func (q *query) read(ctx context.Context, conn interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}, row Row, sql string, args ...any) error {
	failed := func(err error) error {
		return fmt.Errorf("reading earlier rows of %s: %w", q.spec.Name, explain(err, q.spec))
	}
	rows, err := conn.Query(ctx, sql, args...)
	if err != nil {
		return failed(err)
	}
	defer rows.Close()
	fields := make([][]byte, len(q.spec.Columns))
	dates := make([][]byte, len(q.spec.Columns))
	for rows.Next() {
		raw := rows.RawValues()
		var batch int32
		if err := rows.Conn().TypeMap().Scan(rows.FieldDescriptions()[0].DataTypeOID, rows.FieldDescriptions()[0].Format, raw[0], &batch); err != nil {
			return failed(err)
		}
		for i, c := range q.columns {
			fields[c] = raw[1+i]
			if q.spec.Columns[c].Type != dataset.Date || fields[c] == nil {
				continue
			}
			t, ok := dataset.ParseDate(fields[c])
			if !ok {
				return failed(fmt.Errorf("clean has the date %q", fields[c]))
			}
			dates[c] = dataset.AppendDate(dates[c][:0], t)
			fields[c] = dates[c]
		}
		if err := row(batch, fields); err != nil {
			return err
		}
	}
	if err := rows.Err(); err != nil {
		return failed(err)
	}
	return nil
}
