package ingest

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"strconv"
	"time"

	"mlops/internal/dataset"
)

// partOf returns the split that SplitSQL gives a row: fields has one canonical value per
// column of the spec, nil where it is missing. Postgres' text of a value is what is
// hashed.
func partOf(spec *dataset.Spec, salt string, fields [][]byte) string {
	if spec.ByTime() {
		return spec.SplitOf(fields[spec.Column(spec.Split.By)])
	}
	by := append([]byte(salt), ':')
	key, group := spec.Column(spec.Key), spec.Column(spec.Group)
	switch {
	case group >= 0 && fields[group] != nil:
		by = appendAsPostgres(by, spec.Columns[group].Type, fields[group])
	case key >= 0:
		by = appendAsPostgres(by, spec.Columns[key].Type, fields[key])
	default:
		for i, f := range fields {
			if i > 0 {
				by = append(by, 0x1f)
			}
			if f == nil {
				by = append(by, 0x1e)
				continue
			}
			by = appendAsPostgres(by, spec.Columns[i].Type, f)
		}
	}
	sum := sha256.Sum256(by)
	switch place := int(uint64(binary.BigEndian.Uint32(sum[:4])) * 100 >> 32); {
	case place < spec.Split.Train:
		return dataset.Train
	case place < spec.Split.Train+spec.Split.Validation:
		return dataset.Validation
	}
	return dataset.Test
}

// appendAsPostgres appends a value as Postgres casts it to text.
func appendAsPostgres(b []byte, kind dataset.Type, v []byte) []byte {
	switch kind {
	case dataset.Number:
		x, err := strconv.ParseFloat(string(v), 64)
		if err != nil {
			break
		}
		// In the fewest digits, with an exponent below 1e-4 and from 1e15 on.
		text := strconv.AppendFloat(nil, x, 'e', -1, 64)
		if exponent, err := strconv.Atoi(string(text[bytes.IndexByte(text, 'e')+1:])); err == nil && exponent >= -4 && exponent < 15 {
			return strconv.AppendFloat(b, x, 'f', -1, 64)
		}
		return append(b, text...)
	case dataset.Date:
		if t, ok := dataset.ParseDate(v); ok {
			return t.AppendFormat(b, time.DateTime+".999999")
		}
	}
	return append(b, v...)
}
