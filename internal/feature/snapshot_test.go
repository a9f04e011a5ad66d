package feature

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"mlops/internal/dataset"
)

// TestSnapshotFindsWhatStreamSaw looks every row's earlier ones up, before and after
// writing: the vector is the stream's, bit for bit.
func TestSnapshotFindsWhatStreamSaw(t *testing.T) {
	t.Parallel()
	for seed := range uint64(12) {
		rng := rand.New(rand.NewPCG(seed, 2))
		s := visitsSpec(t, []dataset.Type{dataset.Integer, dataset.Number, dataset.Date}[seed%3])
		var came [][][]byte
		for range 10 + rng.IntN(900) {
			row := visit(t, s, rng)
			if seed%2 == 0 && row[2] != nil {
				row[2] = fmt.Append(nil, rng.Float32()*1000) // more than a byte's
			}
			came = append(came, row)
		}
		rows := sorted(s, came)
		f := NewFitter(s)
		for _, r := range rows {
			if err := f.Add(r); err != nil {
				t.Fatal(err)
			}
		}
		e, err := f.Encoder()
		if err != nil {
			t.Fatal(err)
		}
		stream, builder := e.Stream(), e.NewSnapshotBuilder(1<<20)
		stream.Visit = builder.Add
		want := make([][]float32, len(rows))
		for i, r := range rows {
			want[i] = make([]float32, e.Width())
			if err := stream.Encode(want[i], r); err != nil {
				t.Fatal(err)
			}
		}
		snapshot, err := builder.Snapshot()
		if err != nil {
			t.Fatal(err)
		}
		text, err := snapshot.Write()
		if err != nil {
			t.Fatal(err)
		}
		again, err := e.ReadSnapshot(bytes.NewReader(text), 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		if again.Groups() != 40 && len(rows) > 500 || again.Rows() != snapshot.Rows() {
			t.Errorf("%d groups and %d rows, want 40 and %d", again.Groups(), again.Rows(), snapshot.Rows())
		}
		p, work := e.NewPast(), make([]float32, e.Room())
		for i, r := range rows {
			for _, from := range []*Snapshot{snapshot, again} {
				p.Reset()
				if r[0] != nil {
					from.Before(p, make([]float32, e.Room()-e.Width()), r[0], s.Place(r[1]))
				}
				e.encode(work, r)
				e.Complete(work, p)
				for j := range want[i] {
					if math.Float32bits(work[j]) != math.Float32bits(want[i][j]) {
						t.Fatalf("seed %d, row %d: %s is %g, in the stream %g", seed, i, e.Features[j].Name, work[j], want[i][j])
					}
				}
			}
		}
		for n := 0; n < len(text); n += 1 + len(text)/97 {
			if _, err := e.ReadSnapshot(bytes.NewReader(text[:n]), 1<<20); err == nil {
				t.Fatalf("%d of %d bytes were read", n, len(text))
			}
			broken := bytes.Clone(text)
			broken[n] ^= 0x55
			if got, err := e.ReadSnapshot(bytes.NewReader(broken), 1<<20); err == nil {
				if same, err := got.Write(); err != nil || !bytes.Equal(same, text) { // some bits of gzip mean nothing
					t.Fatalf("a wrong byte %d was read as other rows: %v", n, err)
				}
			}
		}
	}
}

func TestSnapshotBounds(t *testing.T) {
	t.Parallel()
	s := visitsSpec(t, dataset.Integer)
	e, err := NewFitter(s).Encoder()
	if err != nil {
		t.Fatal(err)
	}
	values := make([]float32, e.Room()-e.Width())
	small, large := e.NewSnapshotBuilder(500), e.NewSnapshotBuilder(1<<20)
	for i := range int64(100) {
		for _, b := range []*SnapshotBuilder{small, large} {
			if err := b.Add([]byte("g"), i, values); err != nil {
				t.Fatal(err)
			}
		}
	}
	if got, err := small.Snapshot(); got != nil || err != nil {
		t.Errorf("a snapshot beyond its bound: %v, %v; want none", got, err)
	}
	whole, err := large.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	if per := float64(whole.Bytes()) / 100; per > 8+float64(len(values))+10 {
		t.Errorf("%.1f bytes a row of %d equal values", per, len(values))
	}
	text, err := whole.Write()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.ReadSnapshot(bytes.NewReader(text), 500); err == nil || !strings.Contains(err.Error(), "above 500 bytes") {
		t.Errorf("got %v, want that it is too large", err)
	}
}
