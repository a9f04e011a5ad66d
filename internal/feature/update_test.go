package feature

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"mlops/internal/dataset"
)

// TestSnapshotUpdates brings rows in batches: a snapshot that takes over the groups that
// each batch touches is the one of all rows, also written and read again.
func TestSnapshotUpdates(t *testing.T) {
	t.Parallel()
	for seed := range uint64(8) {
		rng := rand.New(rand.NewPCG(seed, 5))
		s := visitsSpec(t, dataset.Integer)
		var rows [][][]byte
		for range 400 {
			row := visit(t, s, rng)
			if row[0] != nil && rng.IntN(3) > 0 { // many groups, of which a batch touches few
				row[0] = fmt.Append(nil, "h", rng.IntN(300))
			}
			rows = append(rows, row)
		}
		f := NewFitter(s)
		for _, r := range sorted(s, rows) {
			if err := f.Add(r); err != nil {
				t.Fatal(err)
			}
		}
		e, err := f.Encoder()
		if err != nil {
			t.Fatal(err)
		}
		build := func(rows [][][]byte) *Snapshot {
			b := e.NewSnapshotBuilder(1 << 20)
			for _, r := range sorted(s, rows) {
				if err := b.AddRow(r); err != nil {
					t.Fatal(err)
				}
			}
			snapshot, err := b.Snapshot()
			if err != nil {
				t.Fatal(err)
			}
			return snapshot
		}
		there := 100
		got, layered := build(rows[:there]), false
		for there < len(rows) {
			batch := rows[there:min(len(rows), there+1+rng.IntN(60))]
			there += len(batch)
			touched := map[string]bool{}
			for _, r := range batch {
				touched[string(r[0])] = true
			}
			var groups [][][]byte
			for _, r := range rows[:there] {
				if touched[string(r[0])] {
					groups = append(groups, r)
				}
			}
			got = got.With(build(groups))
			layered = layered || got.over != nil
			want := build(rows[:there])
			if got.Groups() != want.Groups() || got.Rows() != want.Rows() {
				t.Fatalf("seed %d, %d rows came: %d groups and %d rows, want %d and %d", seed, there, got.Groups(), got.Rows(), want.Groups(), want.Rows())
			}
			for _, r := range rows {
				if r[0] == nil {
					continue
				}
				a, b := e.NewPast(), e.NewPast()
				got.Before(a, make([]float32, e.Room()-e.Width()), r[0], s.Place(r[1]))
				want.Before(b, make([]float32, e.Room()-e.Width()), r[0], s.Place(r[1]))
				if !samePast(a, b) {
					t.Fatalf("seed %d, %d rows came: before %s of %s there is %+v, want %+v", seed, there, r[1], r[0], a, b)
				}
			}
			text, err := got.Write()
			if err != nil {
				t.Fatal(err)
			}
			if again, err := e.ReadSnapshot(bytes.NewReader(text), 1<<20); err != nil || again.Rows() != want.Rows() || again.Groups() != want.Groups() {
				t.Fatalf("seed %d: written and read again: %v", seed, err)
			}
		}
		if !layered {
			t.Errorf("seed %d: no batch was small enough to lie over the others", seed)
		}
	}
}

func samePast(a, b *Past) bool {
	if a.rows != b.rows {
		return false
	}
	for i := range a.slots {
		x, y := a.slots[i], b.slots[i]
		if math.Float32bits(x.last) == math.Float32bits(y.last) || x.last != x.last && y.last != y.last {
			x.last, y.last = 0, 0
		}
		if x != y {
			return false
		}
	}
	return true
}
