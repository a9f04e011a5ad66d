package serve

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mlops/internal/dataset"
)

// A table that the load reads can be scored as it is: with the columns that the spec
// ignores, and numbers in its own spelling.
func TestOwnSpelling(t *testing.T) {
	t.Parallel()
	text := strings.Replace(tinySpec, "missing: [", "source: {decimal: \",\", thousands: \".\", ignore: [\"\", note]}\nmissing: [", 1)
	e := encoderOf(t, text)
	tests := []struct {
		reason, body string
		numbers      dataset.Spelling
		sizes        []float32
		err          string // within the errors
	}{
		{"ignored columns", ";size;note\n0;1,5;\"a; b\"\n1;2.500,5;\n", dataset.EitherSpelling, []float32{1.5, 2500.5}, ""},
		{"a decimal point", "size\n1.5\n2500.5\n", dataset.EitherSpelling, []float32{1.5, 2500.5}, ""},
		{"either", "size\n2.500\n", dataset.EitherSpelling, nil, `"2.500" is 2.5 with a decimal point, but 2500 as the table spells numbers`},
		{"the table's", "size\n2.500\n", dataset.TableSpelling, []float32{2500}, ""},
		{"a point", "size\n2.500\n", dataset.PointSpelling, []float32{2.5}, ""},
		{"a point where the table's is said", "size\n2.5\n", dataset.TableSpelling, nil, `"2.5" is not a number`},
		{"no number", "size;count\n2,5x;1\n", dataset.EitherSpelling, nil, `"2,5x" is not a number`},
		{"the key is not looked at", "id;size\n1.x;2,5\n", dataset.TableSpelling, []float32{2.5}, ""},
		{"an unknown column", "size;weight\n2,5;1\n", dataset.EitherSpelling, nil, "there is no column with this name"},
	}
	for _, test := range tests {
		d := decoder{table: true, numbers: test.numbers}
		var vectors [][]float32
		err := d.decode([]byte(test.body), e, func() []float32 {
			vectors = append(vectors, make([]float32, e.Width()))
			return vectors[len(vectors)-1]
		})
		if test.err != "" {
			if err == nil || !strings.Contains(err.Error(), test.err) {
				t.Errorf("%s: error %v, want %q", test.reason, err, test.err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", test.reason, err)
			continue
		}
		var sizes []float32
		for _, v := range vectors {
			sizes = append(sizes, v[0])
		}
		if diff := cmp.Diff(test.sizes, sizes); diff != "" {
			t.Errorf("%s: sizes (-want +got):\n%s", test.reason, diff)
		}
	}
}

// A spec that ignores all other columns still tells a name that is nearly one of its own.
func TestIgnoreAll(t *testing.T) {
	t.Parallel()
	e := encoderOf(t, strings.Replace(tinySpec, "missing: [", "source: {ignore: all}\nmissing: [", 1))
	vector := make([]float32, e.Width())
	next := func() []float32 { return vector }
	d := decoder{table: true}
	if err := d.decode([]byte("size,anything\n1,2\n"), e, next); err != nil {
		t.Error(err)
	}
	if err := d.decode([]byte("Size,anything\n1,2\n"), e, next); err == nil || !strings.Contains(err.Error(), `did you mean "size"?`) {
		t.Errorf("a misspelt name: %v", err)
	}
}
