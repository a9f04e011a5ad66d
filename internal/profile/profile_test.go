package profile_test

import (
	"bytes"
	"fmt"
	"math"
	"strings"
	"testing"

	"mlops/internal/dataset"
	"mlops/internal/profile"
)

func parse(t *testing.T) *dataset.Spec {
	t.Helper()
	spec, err := dataset.Parse([]byte(`
name: t
model: t
task: binary
key: id
columns:
  - {name: id, type: integer}
  - {name: amount, type: number}
  - {name: "tells", type: integer}
  - {name: shop, type: category}
  - {name: y, type: category}
target: {column: y, positive: ["yes"], labels: {positive: "yes", negative: "no"}}
split: {salts: [s], train: 60, validation: 20, test: 20}
features: [{number: amount}, {number: tells}, {category: shop}]
threshold: {maximize: f1}
candidates: [{name: one, rounds: 3}]
`))
	if err != nil {
		t.Fatal(err)
	}
	return spec
}

// rows adds n rows: amount is missing in every tenth, tells is the target.
func rows(b *profile.Builder, n int) {
	for i := range n {
		y, tells, amount := "no", "0", []byte(fmt.Sprint(float64(i%100)/4))
		if i%4 == 0 {
			y, tells = "yes", "1"
		}
		if i%10 == 0 {
			amount = nil
		}
		shop := "<b>&\"north"
		if i%100 == 1 {
			shop = fmt.Sprintf("person %d", i)
		}
		b.Add([][]byte{[]byte(fmt.Sprint(i)), amount, []byte(tells), []byte(shop), []byte(y)})
	}
}

func TestProfile(t *testing.T) {
	t.Parallel()
	b := profile.New(parse(t), 20)
	rows(b, 20_000)
	p := b.Profile()
	if p.Rows != 20_000 || p.Positive != 5_000 || p.Labeled != 20_000 {
		t.Errorf("rows %d, positive %d, labeled %d", p.Rows, p.Positive, p.Labeled)
	}
	amount, tells, shop := p.Columns[1], p.Columns[2], p.Columns[3]
	if amount.Missing != 2_000 || amount.Min != 0.25 || amount.Max != 24.75 || amount.Distinct != 90 {
		t.Errorf("amount: %+v", amount)
	}
	if math.Abs(amount.Mean-12.5) > 1e-9 || math.Abs(amount.Median-12.5) > 0.5 {
		t.Errorf("mean %g, median %g, want 12.5", amount.Mean, amount.Median)
	}
	var sum int64
	for _, bar := range amount.Bars {
		sum += bar.Rows
	}
	if math.Abs(float64(sum-18_000)) > 20 {
		t.Errorf("the histogram has %d rows, want about 18,000", sum)
	}
	if tells.Alone != 1 || len(tells.Warnings) != 1 || !strings.Contains(tells.Warnings[0], "predicts the target by itself") {
		t.Errorf("tells: AUC %g, warnings %q", tells.Alone, tells.Warnings)
	}
	if len(shop.Bars) != 1 || shop.Others.Rows != 200 {
		t.Errorf("shop: levels of single rows are named: %+v", shop.Bars)
	}
	var page bytes.Buffer
	if err := p.HTML(&page); err != nil {
		t.Fatal(err)
	}
	for _, no := range []string{"<b>", "person 1", "http://", "https://", "<script", "ZgotmplZ"} {
		if strings.Contains(page.String(), no) {
			t.Errorf("the page contains %q", no)
		}
	}
	for _, want := range []string{"&lt;b&gt;&amp;&#34;north", "predicts the target by itself", "<svg", "10.0% missing"} {
		if !strings.Contains(page.String(), want) {
			t.Errorf("the page lacks %q", want)
		}
	}
}

func TestNoRows(t *testing.T) {
	t.Parallel()
	p := profile.New(parse(t), 20).Profile()
	var page bytes.Buffer
	if err := p.HTML(&page); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(page.String(), "no row has a target") {
		t.Error("the page doesn't say that there are no rows")
	}
}
