package draft_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mlops/internal/dataset"
	"mlops/internal/draft"
)

// What a target is to a model follows from its values: one column of this table each.
func TestTask(t *testing.T) {
	t.Parallel()
	of := func(i int, words ...string) string { return words[uint32(i)*2_654_435_761>>8%uint32(len(words))] }
	path := table(t, "t.csv", "a,b,two,one_zero,species,rating,quality,rings,price,type,code,left,spread\n"+rows(1_000, func(i int) string {
		price := float64(i*7919%1_000) / 7
		quality, left := 3+i%6, of(i, "yes", "no")
		if i%6 == 5 && i > 30 {
			quality = 4 // 8 is rare
		}
		if i%300 == 7 {
			left = "unknown"
		}
		species := of(i, "setosa", "virginica", "versicolor")
		if i%200 == 3 {
			species = "hybrid"
		}
		return fmt.Sprintf("%d,%.2f,%s,%s,%s,%d,%d,%d,%.2f,%s,%d,%s,%s", i%37, price/3, yesNo(i), of(i, "1", "0"), species, 1+i*31%5, quality, i%29,
			price, of(i, "1", "2", "7"), 100+i%40, left, of(i, "1.0", "2.0", "3.0"))
	}))
	for _, c := range []struct {
		target, task, says string
		classes            []string
	}{
		{target: "two", task: dataset.Binary, says: "the target has two values"},
		{target: "one_zero", task: dataset.Binary, says: "the target has two values"},
		{target: "species", task: dataset.Multiclass, classes: []string{"setosa", "versicolor", "virginica"}, says: "5 rows left out"},
		{target: "rating", task: dataset.Multiclass, classes: []string{"1", "2", "3", "4", "5"}, says: "each in at least 40 rows"},
		{target: "quality", task: dataset.Regression, says: "too few for a class of its own"},
		{target: "rings", task: dataset.Regression, says: "whole numbers, 29 different"},
		{target: "price", task: dataset.Regression, says: "not a whole one in every row"},
		{target: "type", task: dataset.Multiclass, classes: []string{"1", "2", "7"}, says: "a name of codes"},
		{target: "left", task: dataset.Binary, says: `"unknown" stands for a missing value (4 cells, first`},
		{target: "spread", task: dataset.Multiclass, classes: []string{"1", "2", "3"}},
	} {
		t.Run(c.target, func(t *testing.T) {
			t.Parallel()
			d, err := draft.Make(t.Context(), path, draft.Options{Target: c.target})
			if err != nil {
				t.Fatal(err)
			}
			if d.Spec.Task != c.task || !slices.Equal(d.Spec.Target.Classes, c.classes) {
				t.Errorf("task %s, classes %q, want %s, %q\n%s", d.Spec.Task, d.Spec.Target.Classes, c.task, c.classes, d.YAML)
			}
			if !strings.Contains(string(d.YAML), c.says) {
				t.Errorf("the draft lacks %q:\n%s", c.says, d.YAML)
			}
			if stops := d.Preview.Stops(d.Spec); len(stops) > 0 {
				t.Errorf("the draft would not go through: %q", stops)
			}
			if c.task == dataset.Multiclass && !strings.Contains(d.Summary(), fmt.Sprintf("TARGET: %d classes", len(c.classes))) {
				t.Errorf("the summary doesn't say how many classes:\n%s", d.Summary())
			}
		})
	}
}

// A column that gives several classes or a value away is left out of the draft.
func TestLeaksOfTasks(t *testing.T) {
	t.Parallel()
	path := table(t, "t.csv", "a,kind,kind_code,price,price_cents,why_red\n"+rows(600, func(i int) string {
		k := uint32(i) * 2_654_435_761 >> 8 % 3
		price := i * 7919 % 1_000
		why := ""
		if k == 0 {
			why = []string{"heat", "rust", "paint"}[i%3]
		}
		return fmt.Sprintf("%d,%s,%d,%d.5,%d,%s", i%37, []string{"red", "green", "blue"}[k], 10+k, price, price*100+50, why)
	}))
	for _, c := range [][2]string{{"kind", "kind_code"}, {"kind", "why_red"}, {"price", "price_cents"}} {
		target, leak := c[0], c[1]
		d, err := draft.Make(t.Context(), path, draft.Options{Target: target})
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range d.Spec.Features {
			if slices.Contains(f.Columns(), leak) {
				t.Errorf("%s: the leak %s is a feature", target, leak)
			}
		}
		if !strings.Contains(string(d.YAML), "suspected leak") {
			t.Errorf("%s: the draft doesn't say why:\n%s", target, d.YAML)
		}
	}
}

// A small table is split so that every split has rows of each outcome, if any split does.
func TestSplitOfSmallTable(t *testing.T) {
	t.Parallel()
	salted := 0
	for n := range 12 {
		path := table(t, fmt.Sprintf("t%d.csv", n), "a,kind\n"+rows(130, func(i int) string {
			return fmt.Sprintf("%d,%s", (i*31+n)%97, []string{"red", "green", "blue"}[i%3])
		}))
		d, err := draft.Make(t.Context(), path, draft.Options{Target: "kind"})
		if err != nil {
			t.Fatal(err)
		}
		if stops := d.Preview.Stops(d.Spec); len(stops) > 0 {
			t.Errorf("the draft would not go through: %q", stops)
		}
		if !strings.HasSuffix(d.Spec.Split.Salts[0], "-1") {
			salted++
		}
	}
	if salted == 0 {
		t.Error("no table needed another split, so this shows nothing")
	}
}

// A column that the user says is known beforehand stays, though it tells the target.
func TestAllowedLeak(t *testing.T) {
	t.Parallel()
	path := table(t, "t.csv", "sign,y\n"+rows(300, func(i int) string { return map[string]string{"yes": "up", "no": "down"}[yesNo(i)] + "," + yesNo(i) }))
	if _, err := draft.Make(t.Context(), path, draft.Options{Target: "y"}); err == nil || !strings.Contains(err.Error(), "--allow-leak COLUMN") {
		t.Errorf("error %v, want one with the remedy", err)
	}
	if _, err := draft.Make(t.Context(), path, draft.Options{Target: "y", Leaks: []string{"sing"}}); err == nil || !strings.Contains(err.Error(), `no column is called "sing"`) {
		t.Errorf("error %v, want one about the name", err)
	}
	d, err := draft.Make(t.Context(), path, draft.Options{Target: "y", Leaks: []string{"sign"}})
	if err != nil {
		t.Fatal(err)
	}
	if len(d.Spec.Features) != 1 || !slices.Equal(d.Spec.AllowLeak, []string{"sign"}) {
		t.Errorf("features %v, allowed %v\n%s", d.Spec.Features, d.Spec.AllowLeak, d.YAML)
	}
}

// Spellings of one class can't be merged, and so are told.
func TestSpellingsOfClasses(t *testing.T) {
	t.Parallel()
	path := table(t, "t.csv", "a,kind\n"+rows(900, func(i int) string {
		return fmt.Sprintf("%d,%s", i%37, []string{"good", "bad", "Bad", "average"}[uint32(i)*2_654_435_761>>8%4])
	}))
	d, err := draft.Make(t.Context(), path, draft.Options{Target: "kind"})
	if err != nil {
		t.Fatal(err)
	}
	if want := `"Bad" and "bad" differ only in how they are spelled`; !strings.Contains(d.Summary(), want) {
		t.Errorf("the summary lacks %q:\n%s", want, d.Summary())
	}
}

// Codes are written in more than one way, so numbers with a name of codes stay text if a
// few of them are no numbers; of other numbers, what can't be read is no class.
func TestCodesThatAreNoNumbers(t *testing.T) {
	t.Parallel()
	path := table(t, "t.csv", "a,zip_code,grade\n"+rows(1_000, func(i int) string {
		zip, grade := fmt.Sprint(98101+uint32(i)*2_654_435_761>>8%3), fmt.Sprint(1+uint32(i)*2_654_435_761>>12%3)
		if i%200 == 3 {
			zip, grade = zip+"-4820", "n.n."
		}
		return fmt.Sprintf("%d,%s,%s", i%37, zip, grade)
	}))
	for _, c := range []struct {
		target  string
		classes []string
		says    []string
	}{
		{"zip_code", []string{"98101", "98102", "98103"}, []string{`995 of 1,000 values are numbers; the others keep the column text, for example line 5: "9810`}},
		{"grade", []string{"1", "2", "3"}, []string{`zip_code, type: category`, `5 can't be read and will be rejected`}},
	} {
		d, err := draft.Make(t.Context(), path, draft.Options{Target: c.target})
		if err != nil {
			t.Errorf("%s: %v", c.target, err)
			continue
		}
		if !slices.Equal(d.Spec.Target.Classes, c.classes) {
			t.Errorf("%s: classes %q, want %q", c.target, d.Spec.Target.Classes, c.classes)
		}
		for _, s := range c.says {
			if !strings.Contains(string(d.YAML)+d.Summary(), s) {
				t.Errorf("%s: the draft lacks %q:\n%s\n%s", c.target, s, d.YAML, d.Summary())
			}
		}
	}
}

// A code for unknown beside 0 and 1 makes no amount of them, and a count of hardly any twos
// stays one.
func TestOutcomeWithCodes(t *testing.T) {
	t.Parallel()
	for rare, task := range map[string]string{"9": dataset.Binary, "2": dataset.Regression} {
		d, err := draft.Make(t.Context(), table(t, "event.csv", "x,z,event\n"+rows(1500, func(i int) string {
			event := fmt.Sprintf("%d.0", draw(i, 1, 2))
			if i%250 == 7 {
				event = rare
			}
			return fmt.Sprintf("0.%03d,%d,%s", draw(i, 2, 1000), draw(i, 3, 90), event)
		})), draft.Options{Target: "event"})
		if err != nil {
			t.Fatal(err)
		}
		if d.Spec.Task != task {
			t.Errorf("with %s in 6 rows: task %s, want %s", rare, d.Spec.Task, task)
		}
	}
}

// A name that ends like that of an identifier makes none of amounts below 0, and the last
// level of a scale is a level.
func TestAmountsAndBounds(t *testing.T) {
	t.Parallel()
	d, err := draft.Make(t.Context(), table(t, "jobs.csv", "balance number,price index,exp,hired\n"+rows(1500, func(i int) string {
		exp := fmt.Sprintf("%d yrs", draw(i, 1, 9))
		if i%10 == 3 {
			exp = "10+ yrs"
		}
		return fmt.Sprintf("%d,%d,%s,%s", i*7919%1500*600-400_000, i*6007%1500*40+3, exp, yesNo(i))
	})), draft.Options{Target: "hired"})
	if err != nil {
		t.Fatal(err)
	}
	if d.Spec.Key != "" || !strings.Contains(string(d.YAML), "{number: balance number}") || !strings.Contains(string(d.YAML), "{number: price index}") {
		t.Errorf("amounts are left out:\n%s", d.YAML)
	}
	if !strings.Contains(string(d.YAML), "{name: exp, type: category") {
		t.Errorf("the scale is no category:\n%s", d.YAML)
	}
	if !slices.ContainsFunc(d.Profile.Warnings, func(w string) bool {
		return strings.Contains(w, `exp: 1,350 of 1,500 values are numbers; the others keep the column text, for example line 5: "10+ yrs"`)
	}) {
		t.Errorf("warnings %q, want one of 10+ yrs", d.Profile.Warnings)
	}
}

// Five amounts of 1e9 among hundreds are what a regression's figures are about.
func TestExtremeTargets(t *testing.T) {
	t.Parallel()
	for far, want := range map[string]bool{"1000000000": true, "900": false} {
		d, err := draft.Make(t.Context(), table(t, "claims.csv", "age,size,claim\n"+rows(1500, func(i int) string {
			claim := fmt.Sprintf("%d.5", 100+draw(i, 1, 700))
			if i%300 == 5 {
				claim = far
			}
			return fmt.Sprintf("%d,%d,%s", draw(i, 2, 60), draw(i, 3, 900), claim)
		})), draft.Options{Target: "claim"})
		if err != nil {
			t.Fatal(err)
		}
		const says = "claim: 5 rows of 1,500 are so far from the others (the farthest 1e+09"
		if got := slices.ContainsFunc(d.Profile.Warnings, func(w string) bool { return strings.HasPrefix(w, says) }); got != want {
			t.Errorf("with %s: %q", far, d.Profile.Warnings)
		}
	}
}

// However a table says yes and no, they are two outcomes.
func TestSpellingsOfYesAndNo(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name               string
		words              []string // of the rows, in turn
		task               string   // named by the user
		want               string
		positive, negative []string
		missing, left      []string // read as missing; left out by the cohort
		says               string
	}{
		{"words and letters", []string{"Yes", "no", "Y", "N", "yes", "NO"}, "", dataset.Binary, []string{"Y", "Yes", "yes"}, []string{"N", "NO", "no"}, nil, nil, `"Y" (100 rows), "Yes" (100 rows) and "yes" (100 rows) count as one outcome`},
		{"and those not known", []string{"Yes", "no", "Y", "N", "yes", "no", "tbd"}, "", dataset.Binary, []string{"Y", "Yes", "yes"}, []string{"N", "no"}, []string{"tbd"}, nil, `missing in sold: "tbd" (85 cells`},
		{"truths and numbers", []string{"TRUE", "false", "1", "0", "true", "0"}, "", dataset.Binary, []string{"1", "TRUE", "true"}, []string{"0", "false"}, nil, nil, ""},
		{"German", []string{"ja", "Nein", "J", "N"}, "", dataset.Binary, []string{"J", "ja"}, []string{"N", "Nein"}, nil, nil, ""},
		{"with something else", []string{"Yes", "no", "Y", "N", "yes", "no", "perhaps"}, "", dataset.Binary, []string{"Y", "Yes", "yes"}, []string{"N", "no"}, nil, []string{"perhaps"}, `"perhaps" (85 rows) say neither yes nor no`},
		{"yes, no and unknown", []string{"yes", "no", "no", "yes", "unknown"}, "", dataset.Binary, []string{"yes"}, []string{"no"}, []string{"unknown"}, nil, `missing in sold: "unknown"`},
		{"classes, says the user", []string{"yes", "no", "no", "yes", "unknown"}, dataset.Multiclass, dataset.Multiclass, nil, nil, nil, nil, ""},
		{"three answers", []string{"yes", "no", "perhaps"}, "", dataset.Multiclass, nil, nil, nil, nil, ""},
		{"letters", []string{"A", "B", "N", "Y"}, "", dataset.Multiclass, nil, nil, nil, nil, ""},
		{"capitals alone", []string{"yes", "no", "Yes"}, "", dataset.Binary, []string{"Yes", "yes"}, []string{"no"}, nil, nil, `"Yes" (200 rows) and "yes" (200 rows) count as one outcome`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			path := table(t, "t.csv", "a,b,sold\n"+rows(600, func(i int) string {
				return fmt.Sprintf("%d,%d,%s", draw(i, 50, 97), draw(i, 51, 50), tt.words[i%len(tt.words)])
			}))
			d, err := draft.Make(t.Context(), path, draft.Options{Target: "sold", Task: tt.task})
			if err != nil {
				t.Fatal(err)
			}
			if d.Spec.Task != tt.want {
				t.Fatalf("the task is %s, want %s", d.Spec.Task, tt.want)
			}
			if stops := d.Preview.Stops(d.Spec); len(stops) > 0 {
				t.Errorf("the draft would not go through: %q", stops)
			}
			var left []string
			for _, e := range d.Spec.Cohort {
				left = append(left, e.Values...)
			}
			column := d.Spec.Columns[d.Spec.Column("sold")]
			if diff := cmp.Diff([][]string{tt.positive, tt.negative, tt.missing, tt.left}, [][]string{d.Spec.Target.Positive, d.Spec.Target.Negative, column.Missing, left}); diff != "" {
				t.Errorf("positive, negative, missing and left out (-want +got):\n%s", diff)
			}
			if !strings.Contains(d.Summary(), tt.says) {
				t.Errorf("the summary doesn't say %q:\n%s", tt.says, d.Summary())
			}
		})
	}
}

// A draft of many classes goes through, whatever a hash does to the smaller ones.
func TestManyClasses(t *testing.T) {
	t.Parallel()
	for _, n := range []int{2_000, 6_000} {
		path := table(t, "t.csv", "a,b,kind\n"+rows(n, func(i int) string {
			k := draw(i, 60, 100)
			return fmt.Sprintf("%d,%d,sp%02d", k+draw(i, 61, 40), draw(i, 62, 97), k)
		}))
		d, err := draft.Make(t.Context(), path, draft.Options{Target: "kind"})
		if n == 2_000 { // 20 rows a class
			if err == nil {
				t.Errorf("%d rows of 100 classes were drafted", n)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if stops := d.Preview.Stops(d.Spec); len(stops) > 0 {
			t.Errorf("the draft would not go through: %q", stops)
		}
		if n := len(d.Spec.Target.Classes); n < 90 || d.Spec.Split.Test != 20 {
			t.Errorf("%d of 100 classes are left, and the test has %d %%", n, d.Spec.Split.Test)
		}
		left := 0
		for _, e := range d.Spec.Cohort {
			left += len(e.Values)
		}
		if left+len(d.Spec.Target.Classes) != 100 {
			t.Errorf("%d classes, and %d left out", len(d.Spec.Target.Classes), left)
		}
	}
}
