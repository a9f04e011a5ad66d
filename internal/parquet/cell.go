package parquet

import (
	"encoding/hex"
	"math"
	"math/big"
	"strconv"
	"time"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/format"
)

// cellOf returns what writes a value of a Parquet type as a CSV file has it, as pandas
// writes it where there is a choice; nil where the type is binary. decimal stands
// between a number's whole and its fraction.
func cellOf(t parquet.Type, decimal string) func([]byte, parquet.Value) []byte {
	if decimal == "" {
		decimal = "."
	}
	var logical format.LogicalTypeValue
	if l := t.LogicalType(); l != nil {
		logical = l.Value
	}
	switch l := logical.(type) {
	case *format.DateType:
		return func(b []byte, v parquet.Value) []byte {
			return appendTime(b, time.Unix(int64(v.Int32())*86400, 0))
		}
	case *format.TimestampType:
		unit := l.Unit.Value.Duration()
		return func(b []byte, v parquet.Value) []byte {
			per := int64(time.Second / unit)
			whole, rest := v.Int64()/per, v.Int64()%per
			return appendTime(b, time.Unix(whole, rest*int64(unit)))
		}
	case *format.TimeType:
		unit := l.Unit.Value.Duration()
		return func(b []byte, v parquet.Value) []byte {
			n := v.Int64()
			if v.Kind() == parquet.Int32 {
				n = int64(v.Int32())
			}
			return time.Unix(0, n*int64(unit)).UTC().AppendFormat(b, "15:04:05.999999999")
		}
	case *format.DecimalType:
		return func(b []byte, v parquet.Value) []byte { return appendDecimal(b, v, int(l.Scale), decimal) }
	case *format.IntType:
		if !l.IsSigned && t.Kind() == parquet.Int32 {
			return func(b []byte, v parquet.Value) []byte { return strconv.AppendUint(b, uint64(v.Uint32()), 10) }
		}
		if !l.IsSigned {
			return func(b []byte, v parquet.Value) []byte { return strconv.AppendUint(b, v.Uint64(), 10) }
		}
	case *format.UUIDType:
		return func(b []byte, v parquet.Value) []byte {
			u := v.ByteArray()
			for i, part := range [][]byte{u[:4], u[4:6], u[6:8], u[8:10], u[10:]} {
				if i > 0 {
					b = append(b, '-')
				}
				b = hex.AppendEncode(b, part)
			}
			return b
		}
	case *format.StringType, *format.EnumType, *format.JsonType:
		return func(b []byte, v parquet.Value) []byte { return append(b, v.ByteArray()...) }
	case nil:
	default:
		return nil
	}
	switch t.Kind() {
	case parquet.Boolean:
		return func(b []byte, v parquet.Value) []byte {
			if v.Boolean() {
				return append(b, "True"...)
			}
			return append(b, "False"...)
		}
	case parquet.Int32:
		return func(b []byte, v parquet.Value) []byte { return strconv.AppendInt(b, int64(v.Int32()), 10) }
	case parquet.Int64:
		return func(b []byte, v parquet.Value) []byte { return strconv.AppendInt(b, v.Int64(), 10) }
	case parquet.Int96: // a timestamp of older programs: nanoseconds of a Julian day
		return func(b []byte, v parquet.Value) []byte {
			w := v.Int96()
			const julian1970 = 2440588
			return appendTime(b, time.Unix((int64(w[2])-julian1970)*86400, int64(uint64(w[1])<<32|uint64(w[0]))))
		}
	case parquet.Float:
		return func(b []byte, v parquet.Value) []byte { return appendFloat(b, float64(v.Float()), 32, decimal) }
	case parquet.Double:
		return func(b []byte, v parquet.Value) []byte { return appendFloat(b, v.Double(), 64, decimal) }
	case parquet.ByteArray: // text, of programs that don't say so
		return func(b []byte, v parquet.Value) []byte { return append(b, v.ByteArray()...) }
	}
	return nil
}

// appendTime writes a day, and the time of day where there is one.
func appendTime(b []byte, t time.Time) []byte {
	t = t.UTC()
	if t.Hour() == 0 && t.Minute() == 0 && t.Second() == 0 && t.Nanosecond() == 0 {
		return t.AppendFormat(b, time.DateOnly)
	}
	return t.AppendFormat(b, "2006-01-02 15:04:05.999999999")
}

// appendFloat writes a number in the fewest digits that give it again, 39 as 39.0. Not
// a number is how many programs keep a missing value.
func appendFloat(b []byte, x float64, bits int, decimal string) []byte {
	if math.IsNaN(x) {
		return b
	}
	if math.IsInf(x, 0) {
		return append(b, map[bool]string{true: "inf", false: "-inf"}[x > 0]...)
	}
	from := len(b)
	if a := math.Abs(x); a != 0 && (a < 1e-4 || a >= 1e16) {
		b = strconv.AppendFloat(b, x, 'e', -1, bits)
	} else if b = strconv.AppendFloat(b, x, 'f', -1, bits); x == math.Trunc(x) {
		b = append(b, ".0"...)
	}
	return withDecimal(b, from, decimal)
}

// withDecimal puts the decimal separator in the place of the point behind from.
func withDecimal(b []byte, from int, decimal string) []byte {
	for i := from; i < len(b); i++ {
		if b[i] == '.' {
			b[i] = decimal[0]
		}
	}
	return b
}

// appendDecimal writes a number that is kept as a whole one of hundredths or the like.
func appendDecimal(b []byte, v parquet.Value, scale int, decimal string) []byte {
	var n big.Int
	switch v.Kind() {
	case parquet.Int32:
		n.SetInt64(int64(v.Int32()))
	case parquet.Int64:
		n.SetInt64(v.Int64())
	default: // big-endian two's complement
		raw := v.ByteArray()
		n.SetBytes(raw)
		if len(raw) > 0 && raw[0] >= 0x80 {
			n.Sub(&n, new(big.Int).Lsh(big.NewInt(1), uint(8*len(raw))))
		}
	}
	if n.Sign() < 0 {
		b = append(b, '-')
		n.Neg(&n)
	}
	digits := n.String()
	for len(digits) <= scale {
		digits = "0" + digits
	}
	b = append(b, digits[:len(digits)-scale]...)
	if scale > 0 {
		b = append(append(b, decimal[0]), digits[len(digits)-scale:]...)
	}
	return b
}
