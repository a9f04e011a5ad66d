package demo

import (
	"context"
	"log/slog"

	"github.com/jackc/pgx/v5"

	"mlops/internal/local"
	"mlops/internal/postgres"
)

// Raw connects to the demo's database of rows as they were loaded; nil if the demo is not
// running.
func Raw(ctx context.Context, state *local.State) (*pgx.Conn, error) {
	record, err := state.Record("postgres")
	if err != nil || record == nil || !record.Alive() {
		return nil, err
	}
	secrets, err := state.Secrets()
	if err != nil {
		return nil, err
	}
	pg := postgres.Config{ConnString: secrets.StepsURL(record.Port, "raw")}.Defaults()
	return postgres.Connect(ctx, pg, pg.Raw, slog.New(slog.DiscardHandler))
}
