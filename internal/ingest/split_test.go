package ingest

import (
	"crypto/sha256"
	"encoding/binary"
	"strings"

	"mlops/internal/dataset"
)

// splitOf returns the split of a group, as SplitSQL does in Postgres.
func splitOf(salt, group string, shares dataset.Split) string {
	h := sha256.Sum256([]byte(salt + ":" + group))
	percent := int(uint64(binary.BigEndian.Uint32(h[:4])) * 100 >> 32)
	switch {
	case percent < shares.Train:
		return dataset.Train
	case percent < shares.Train+shares.Validation:
		return dataset.Validation
	}
	return dataset.Test
}

// rowGroup is the group of a clean row that has neither group nor key: its
// values, nil where one is missing.
func rowGroup(fields [][]byte) string {
	var b strings.Builder
	for i, f := range fields {
		if i > 0 {
			b.WriteByte(0x1f)
		}
		if f == nil {
			b.WriteByte(0x1e)
		}
		b.Write(f)
	}
	return b.String()
}
