package draft_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"mlops/internal/dataset"
	"mlops/internal/draft"
	"mlops/internal/ingest"
	"mlops/internal/inspect"
	"mlops/internal/train"
)

// TestLeaksAreThoseOfTraining drafts a table with columns around the threshold, puts
// all of them back, and lets training inspect the same rows: what the draft leaves out
// is what training stops on.
func TestLeaksAreThoseOfTraining(t *testing.T) {
	t.Parallel()
	// Each column shows the label, but lies in so many of a thousand rows.
	lies := map[string]int{"honest": 0, "nearly": 12, "under": 35, "hardly": 300}
	columns := []string{"honest", "nearly", "under", "hardly"}
	header := "customer,closed,noise," + strings.Join(columns, ",") + ",y\n"
	path := table(t, "t.csv", header+rows(4000, func(i int) string {
		y := yesNo(i)
		// A date that tells: from July on where the answer is yes.
		month := 1 + i%6
		if y == "yes" {
			month += 6
		}
		line := fmt.Sprintf("%d,2023-%02d-%02d,%d", 1+i%900, month, 1+i%28, i*7%101)
		for _, c := range columns {
			said := y == "yes"
			if (i*7919+i/1000)%1000 < lies[c] {
				said = !said
			}
			line += fmt.Sprintf(",%s", map[bool]string{true: "left", false: "stayed"}[said])
		}
		return line + "," + y
	}))
	d, err := draft.Make(t.Context(), path, draft.Options{Target: "y"})
	if err != nil {
		t.Fatal(err)
	}
	summary := d.Summary()
	for _, want := range []string{"4,000 rows, 8 columns", "  AUC  guessed", "honest", "1.00  left out: suspected leak"} {
		if !strings.Contains(summary, want) {
			t.Errorf("the summary lacks %q:\n%s", want, summary)
		}
	}
	left := map[string]bool{}
	for _, line := range strings.Split(string(d.YAML), "\n") {
		if name, why, ok := strings.Cut(strings.TrimPrefix(strings.TrimSpace(line), "# "), ": "); ok && strings.HasPrefix(why, "suspected leak") && !strings.HasPrefix(name, "- ") {
			left[strings.TrimSpace(name)] = true
		}
	}
	if want := map[string]bool{"closed": true, "honest": true, "nearly": true}; fmt.Sprint(left) != fmt.Sprint(want) {
		t.Fatalf("the draft leaves out %v, want %v\n%s", left, want, d.YAML)
	}
	// The same spec with every column a feature, as training sees it. All rows are
	// training rows; the other splits have some of them too, so that nothing else stops.
	back := strings.Replace(string(d.YAML), "features:\n", "features:\n  - {date: closed, part: month}\n  - {days_from: closed, to: 2000-01-01}\n  - {category: honest}\n  - {category: nearly}\n", 1)
	spec, err := dataset.Parse([]byte(back))
	if err != nil {
		t.Fatalf("%v\n%s", err, back)
	}
	data, err := train.Prepare(t.Context(), spec, every(path, spec))
	if err != nil {
		t.Fatal(err)
	}
	found, err := data.Inspect(spec, nil)
	if err != nil {
		t.Fatal(err)
	}
	stopped := map[string]bool{}
	for _, f := range found {
		if f.Level != inspect.Stop {
			continue
		}
		if f.Kind != "leak" {
			t.Errorf("training stops on something else: %s", f)
		}
		for _, name := range []string{"closed", "honest", "nearly", "under", "hardly", "noise"} {
			if strings.Contains(f.Feature, name) {
				stopped[name] = true
			}
		}
	}
	if fmt.Sprint(stopped) != fmt.Sprint(left) {
		t.Errorf("training stops on %v, the draft leaves out %v", stopped, left)
	}
}

// every reads a table's cleaned rows: all as training rows, and each tenth in the other
// splits too.
func every(path string, spec *dataset.Spec) dataset.Rows {
	return func(ctx context.Context, row func(split string, fields [][]byte) error) (err error) {
		i := 0
		_, failed := ingest.Try(ctx, ingest.Config{Spec: spec, Source: path, Logger: slog.New(slog.DiscardHandler)}, func(fields [][]byte) {
			for _, split := range []string{dataset.Train, dataset.Validation, dataset.Test} {
				if err == nil && (split == dataset.Train || i%10 == 0) {
					err = row(split, fields)
				}
			}
			i++
		})
		if failed != nil {
			return failed
		}
		return err
	}
}

// A total and a price that is one of several are said in the draft and by a check, whose
// columns no single one and no few trees give away.
func TestFormulas(t *testing.T) {
	t.Parallel()
	path := table(t, "t.csv", "weekday_price,holiday_price,night_price,days,paid\n"+rows(900, func(i int) string {
		prices := [3]int{20 + i*7919%4001, 20 + i*104729%4003, 20 + i*1299709%4007}
		return fmt.Sprintf("%d.5,%d.25,%d.75,%d,%d%s", prices[0], prices[1], prices[2], i%9, prices[i*31%3], []string{".5", ".25", ".75"}[i*31%3])
	}))
	d, err := draft.Make(t.Context(), path, draft.Options{Target: "paid"})
	if err != nil {
		t.Fatal(err)
	}
	if d.Together == nil || !strings.Contains(d.Together.Text, "paid is the same as ") || !strings.Contains(d.Summary(), "suspected leak: paid is the same as ") {
		t.Fatalf("found %v\n%s", d.Together, d.Summary())
	}
	related := draft.NewRelated(d.Spec)
	if _, err := ingest.Try(t.Context(), ingest.Config{Spec: d.Spec, Source: path, Logger: slog.New(slog.DiscardHandler)}, related.Add); err != nil {
		t.Fatal(err)
	}
	warnings, err := related.Warnings()
	if err != nil || !strings.Contains(strings.Join(warnings, "\n"), d.Together.Text) {
		t.Errorf("a check warns of %q (%v), want %q too", warnings, err, d.Together.Text)
	}
}

// Two tables put together, of which one has its outcomes exchanged, are told by the draft and by a check.
func TestHalves(t *testing.T) {
	t.Parallel()
	path := table(t, "t.csv", "a,b,ill\n"+rows(1600, func(i int) string {
		a := draw(i, 0, 99)
		return fmt.Sprintf("%d,%d,%s", a, i*7919%89, []string{"no", "yes"}[map[bool]int{true: 1}[(a+i*31%20 > 60) != (i >= 800)]])
	}))
	d, err := draft.Make(t.Context(), path, draft.Options{Target: "ill"})
	if err != nil {
		t.Fatal(err)
	}
	const want = "ill of the second half goes against the first half of the rows"
	if !strings.Contains(d.Summary(), "! "+want) {
		t.Errorf("the draft does not say %q:\n%s", want, d.Summary())
	}
	related := draft.NewRelated(d.Spec)
	if _, err := ingest.Try(t.Context(), ingest.Config{Spec: d.Spec, Source: path, Logger: slog.New(slog.DiscardHandler)}, related.Add); err != nil {
		t.Fatal(err)
	}
	warnings, err := related.Warnings()
	if err != nil || !strings.Contains(strings.Join(warnings, "\n"), want) {
		t.Errorf("a check warns of %q (%v), want %q too", warnings, err, want)
	}
}

// What belongs to a leak or to the target by its name is no feature either, whether or
// not it predicts the target by itself.
func TestCompanionsOfLeaks(t *testing.T) {
	t.Parallel()
	path := table(t, "t.csv", "lead,reservation_status,reservation_status_date,ReservationStatusDate2,status_of_guest,Churn Reason,churned_friends,Churn\n"+rows(900, func(i int) string {
		y := yesNo(i)
		return fmt.Sprintf("%d,%s,2023-%02d-%02d,%d,%s,%s,%d,%s", draw(i, 1, 90), map[string]string{"yes": "out", "no": "gone"}[y], 1+i*5%12, 1+i*3%28, i*11%50, []string{"a", "b", "c"}[i*5%3], []string{"price", "other"}[i*3%2], i*13%7, y)
	}))
	d, err := draft.Make(t.Context(), path, draft.Options{Target: "Churn"})
	if err != nil {
		t.Fatal(err)
	}
	var features []string
	for _, f := range d.Spec.Features {
		features = append(features, f.Columns()...)
	}
	if got, want := strings.Join(features, " "), "lead ReservationStatusDate2 status_of_guest churned_friends"; got != want {
		t.Errorf("features %s, want %s\n%s", got, want, d.YAML)
	}
}

// Columns that are filled in once the outcome is known, and one that is the target in
// other words, do not tell it well enough by themselves.
func TestFilledInAfterwards(t *testing.T) {
	t.Parallel()
	path := table(t, "t.csv", "fare,boat,body,seldom,is_recid,amount_paid,recid\n"+rows(3000, func(i int) string {
		y, boat, body, seldom := yesNo(i), "", "", ""
		is := map[string]int{"yes": 1, "no": 0}[y]
		if (y == "yes") == (i%20 != 3) {
			boat = fmt.Sprint(i * 7 % 12)
		}
		if y == "no" && i%5 == 0 {
			body = fmt.Sprint(i)
		}
		if i%100 == 7 {
			seldom = "x"
		}
		if i%40 == 1 {
			is = 1 - is
		}
		return fmt.Sprintf("%d,%s,%s,%s,%d,%d,%s", i*7%101, boat, body, seldom, is, i*31%977, y)
	}))
	d, err := draft.Make(t.Context(), path, draft.Options{Target: "recid"})
	if err != nil {
		t.Fatal(err)
	}
	var features []string
	for _, f := range d.Spec.Features {
		features = append(features, f.Columns()...)
	}
	if got, want := strings.Join(features, " "), "fare seldom amount_paid"; got != want {
		t.Errorf("features %s, want %s\n%s", got, want, d.YAML)
	}
	for _, want := range []string{"body: suspected leak: all ", "boat: suspected leak: it has a value in 95% of the rows that are yes and in 5% of the others", "is_recid: suspected leak: it is named like the target"} {
		if !strings.Contains(string(d.YAML), want) {
			t.Errorf("the draft lacks %q", want)
		}
	}
}

// What all columns are called by says nothing of one: none of these is left out for
// its name.
func TestColumnsWithOneName(t *testing.T) {
	t.Parallel()
	near := func(i int) int { // tells the label, but not well enough by itself
		if (yesNo(i) == "yes") == (i%20 != 3) {
			return 8 + i%4
		}
		return i % 7
	}
	for _, header := range []string{"", "column_1,column_2,column_3,column_4,column_5\n", "gene_a,gene_b,gene_c,gene_d,gene_y\n"} {
		path := table(t, "t.csv", header+rows(900, func(i int) string {
			return fmt.Sprintf("%d,%d.5,%d.25,%d,%s", near(i), i*7%13, i*11%17, near(i), map[string]string{"yes": "4", "no": "2"}[yesNo(i)])
		}))
		target := "column_5"
		if strings.HasPrefix(header, "gene") {
			target = "gene_y"
		}
		d, err := draft.Make(t.Context(), path, draft.Options{Target: target})
		if err != nil {
			t.Fatal(err)
		}
		if len(d.Spec.Features) != 4 {
			t.Errorf("header %q: %d features, want 4\n%s", header, len(d.Spec.Features), d.YAML)
		}
	}
}

func TestTablesThatCannotBe(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, content, target, want string }{
		{"only the target", "y\n" + rows(50, yesNo), "y", "no column besides the target"},
		{"parted by blanks", "a b c y\n" + rows(50, func(i int) string { return fmt.Sprintf("%d %d x %s", i, i%3, yesNo(i)) }), "y", "parted by blanks"},
		{"too many columns", strings.Repeat("a,", 1100) + "y\n" + rows(5, func(i int) string { return strings.Repeat("1,", 1100) + yesNo(i) }), "y", "1,101 columns"},
		{"another name", "a,diameter narrowing\n" + rows(50, func(i int) string { return fmt.Sprintf("%d,%s", i%7, yesNo(i)) }), "Diameter_Narrowing", `did you mean "diameter narrowing"`},
	} {
		_, err := draft.Make(t.Context(), table(t, "t.csv", c.content), draft.Options{Target: c.target})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one with %q", c.name, err, c.want)
		}
	}
}

// A rate of each branch that was computed from the target tells the target of its rows.
func TestComputedFromTarget(t *testing.T) {
	t.Parallel()
	const n = 1_800
	left, sum, rows2 := make([]int, n), make([]float64, 150), make([]float64, 150)
	branch := func(i int) int { return draw(i, 70, 150) }
	for i := range n {
		if draw(i, 71, 100) < 10+branch(i)/3 {
			left[i] = 1
		}
		sum[branch(i)] += float64(left[i])
		rows2[branch(i)]++
	}
	path := table(t, "t.csv", "age,branch,branch_rate,branch_size,left\n"+rows(n, func(i int) string {
		b := branch(i)
		return fmt.Sprintf("%d,B%03d,%.4f,%d,%s", 20+draw(i, 72, 50), b, sum[b]/rows2[b], 10+draw(b, 73, 90), []string{"no", "yes"}[left[i]])
	}))
	d, err := draft.Make(t.Context(), path, draft.Options{Target: "left"})
	if err != nil {
		t.Fatal(err)
	}
	used := map[string]bool{}
	for _, f := range d.Spec.Features {
		for _, c := range f.Columns() {
			used[c] = true
		}
	}
	if used["branch_rate"] || !used["branch_size"] || !used["age"] {
		t.Errorf("features are made of %v", used)
	}
	if want := `it is the share of left = "yes" among the rows with the same branch, in 100% of the rows`; !strings.Contains(string(d.YAML), want) {
		t.Errorf("the draft doesn't say %q:\n%s", want, d.YAML)
	}
}

func TestUnitsOfOneColumn(t *testing.T) {
	t.Parallel()
	path := table(t, "t.csv", "height,weight,dose,ill\n"+rows(900, func(i int) string {
		h, w := 1500+draw(i, 80, 500), 500+draw(i, 81, 500)
		height, weight := fmt.Sprintf("%.1f", float64(h)/10), fmt.Sprintf("%.1f kg", float64(w)/10)
		if draw(i, 82, 4) == 0 {
			height = fmt.Sprintf("%.3f", float64(h)/1000)
		}
		if draw(i, 83, 3) == 0 {
			weight = fmt.Sprintf("%.1f lb", float64(w)/10*2.2046)
		}
		return fmt.Sprintf("%s,%s,%d,%s", height, weight, draw(i, 84, 300), yesNo(i))
	}))
	d, err := draft.Make(t.Context(), path, draft.Options{Target: "ill"})
	if err != nil {
		t.Fatal(err)
	}
	summary := d.Summary()
	for _, want := range []string{"! height may be in two units: ", "times 100, as if they were in another unit", "! weight: numbers in 2 units: kg (", " and lb ("} {
		if !strings.Contains(summary, want) {
			t.Errorf("the summary doesn't say %q:\n%s", want, summary)
		}
	}
	if strings.Contains(summary, "dose may be") {
		t.Errorf("the dose is in one unit:\n%s", summary)
	}
}

// What an earlier model said of the target, and when it came about, go with it by their names,
// whichever word comes first.
func TestNamesThatGoWithTheTarget(t *testing.T) {
	t.Parallel()
	names := []string{"prob_default", "predicted_default", "date_of_default", "DefaultReason", "previous_default", "prob_of_rain"}
	d, err := draft.Make(t.Context(), table(t, "t.csv", strings.Join(names, ",")+",default\n"+rows(900, func(i int) string {
		return fmt.Sprintf("0.%02d,0.%02d,2024-0%d-11,r%d,%d,0.%d,%s", draw(i, 1, 99), draw(i, 2, 99), 1+draw(i, 3, 9), draw(i, 4, 5), draw(i, 5, 2), draw(i, 6, 9), yesNo(i))
	})), draft.Options{Target: "default"})
	if err != nil {
		t.Fatal(err)
	}
	left := map[string]bool{}
	for _, name := range names {
		for line := range strings.Lines(d.Summary()) {
			left[name] = left[name] || strings.HasPrefix(strings.TrimSpace(line), name+" ") && strings.Contains(line, "by its name it goes with default")
		}
		if want := name != "previous_default" && name != "prob_of_rain"; left[name] != want {
			t.Errorf("%s is left out: %t, want %t\n%s", name, left[name], want, d.Summary())
		}
	}
}
