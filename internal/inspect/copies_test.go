package inspect

import (
	"math/rand/v2"
	"strings"
	"testing"

	"mlops/internal/dataset"
)

// Copies in training and test make a model of noise look good; rows of few different
// values agree by chance, and are no copies.
func TestCopies(t *testing.T) {
	t.Parallel()
	spec := &dataset.Spec{Task: dataset.Binary, Target: dataset.Target{Column: "outcome"}}
	random := rand.New(rand.NewPCG(1, 2))
	type row struct {
		x []float32
		y float32
	}
	measures := func(int) []float32 {
		return []float32{float32(random.NormFloat64()), float32(random.NormFloat64()), float32(random.IntN(3)), float32(random.IntN(100))}
	}
	codes := func(int) []float32 {
		return []float32{float32(random.IntN(2)), float32(random.IntN(3)), float32(random.IntN(4)), float32(random.IntN(5))}
	}
	coarse := func(int) []float32 { // ages, and answers from 1 to 5
		return []float32{float32(20 + random.IntN(40)), float32(random.IntN(5)), float32(random.IntN(5)), float32(random.IntN(5))}
	}
	// People who answer three questions alike, so that leaving one out changes little.
	alike := func(int) []float32 {
		a := float32(random.IntN(40))
		return []float32{a, float32(int(a) % 8), float32(int(a) % 3), float32(int(a) / 10)}
	}
	for _, c := range []struct {
		name   string
		make   func(int) []float32
		copies int
		noise  float32
		want   Level
	}{
		{"each row five times", measures, 5, 0, Stop},
		{"copies with a little noise", measures, 5, 0.001, Stop},
		{"each row twice", measures, 2, 0, Stop},
		{"each row once", measures, 1, 0, ""},
		{"answers that go together", alike, 1, 0, ""},
		{"codes that agree by chance", codes, 1, 0, ""},
		{"answers that agree by chance", coarse, 1, 0, ""},
	} {
		var all []row
		for i := range 2000 / c.copies {
			x, y := c.make(i), float32(random.IntN(2))
			for range c.copies {
				other := append([]float32(nil), x...)
				if c.noise > 0 {
					other[0] += c.noise * float32(random.NormFloat64())
					other[1] += c.noise * float32(random.NormFloat64())
				}
				all = append(all, row{other, y})
			}
		}
		random.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		part := func(rows []row) (p Part) {
			for _, r := range rows {
				p.X, p.Y = append(p.X, r.x...), append(p.Y, r.y)
			}
			return p
		}
		features := []Feature{{Name: "a", Columns: []string{"a"}}, {Name: "b", Columns: []string{"b"}}, {Name: "c", Columns: []string{"c"}, Codes: 3}, {Name: "d", Columns: []string{"d"}}}
		found := copied(spec, features, part(all[:1500]), part(all[1500:]))
		level := Level("")
		if found != nil {
			level = found.Level
		}
		if level != c.want {
			t.Errorf("%s: found %v, want level %q", c.name, found, c.want)
		}
		allowing := *spec
		allowing.AllowCopies = true
		if found := copied(&allowing, features, part(all[:1500]), part(all[1500:])); found != nil {
			t.Errorf("%s: found %v where the spec allows copies", c.name, found)
		}
		if found != nil && (found.Value < 0.4 || !strings.Contains(found.Text, "of the 500 test rows")) {
			t.Errorf("%s: %+v", c.name, found)
		}
	}
}
