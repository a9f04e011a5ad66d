package postgres

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	"mlops/internal/host"
)

// VolumeSetting is the server's setting that says where its data lies: the path of a
// folder on the machine that asks, or the size of the volume that it has for itself, such
// as 10Gi. Postgres has no function for free space; without the setting nobody knows.
const VolumeSetting = "mlops.volume"

// Free returns how many bytes are left for data, and whether that is known. Of a volume of
// a known size that is what the databases and the write-ahead log leave; a disk that is
// smaller than the volume claims is not seen.
func Free(ctx context.Context, conn *pgx.Conn) (free int64, known bool, err error) {
	var volume string
	if err := conn.QueryRow(ctx, "SELECT coalesce(current_setting($1, true), '')", VolumeSetting).Scan(&volume); err != nil {
		return 0, false, fmt.Errorf("asking for the size of Postgres' volume: %w", err)
	}
	if strings.HasPrefix(volume, "/") {
		if free, err = host.Free(volume); err != nil {
			return 0, false, nil // another machine's
		}
		return free, true, nil
	}
	size, ok := quantity(volume)
	if !ok {
		return 0, false, nil
	}
	var used int64
	if err := conn.QueryRow(ctx, `SELECT pg_size_bytes(current_setting('max_wal_size')) +
		(SELECT sum(pg_database_size(oid)) FROM pg_database WHERE has_database_privilege(oid, 'CONNECT'))::bigint`).Scan(&used); err != nil {
		return 0, false, fmt.Errorf("asking for the size of the databases: %w", err)
	}
	return max(0, size-used), true, nil
}

// quantity reads a size as Kubernetes writes it: 10Gi, 500M.
func quantity(text string) (int64, bool) {
	digits := strings.TrimRight(text, "kKMGTi")
	n, err := strconv.ParseFloat(digits, 64)
	per, ok := map[string]float64{"": 1, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30, "Ti": 1 << 40}[text[len(digits):]]
	if err != nil || !ok || n <= 0 || n*per > 1<<60 {
		return 0, false
	}
	return int64(n * per), true
}
