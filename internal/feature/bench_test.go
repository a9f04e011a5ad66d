package feature

import (
	"testing"

	"mlops/internal/dataset"
)

// BenchmarkEncode turns a record of six values into a vector of seven features, of
// every kind.
func BenchmarkEncode(b *testing.B) {
	s, err := dataset.Parse([]byte(spec))
	if err != nil {
		b.Fatal(err)
	}
	fields := [][]byte{[]byte("1.5"), []byte("young"), []byte("k"), []byte("V12"), []byte("Up"), []byte("No"), nil}
	f := NewFitter(s)
	f.Add(fields)
	e, err := f.Encoder()
	if err != nil {
		b.Fatal(err)
	}
	vector := make([]float32, e.Width())
	b.ReportAllocs()
	for b.Loop() {
		e.Encode(vector, fields)
	}
}
