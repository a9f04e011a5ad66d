package draft_test

import (
	"fmt"
	"strings"
	"testing"

	"mlops/internal/draft"
)

// Columns that say how somebody else split the rows are left out, and those that only look
// so are not; codes and telephones are no amounts.
func TestColumnsOfParts(t *testing.T) {
	t.Parallel()
	path := table(t, "t.csv", "customer,phone,split,fold,is_train,phase,dose,a,y\n"+rows(600, func(i int) string {
		return fmt.Sprintf("C%d,+49 30 %d,%s,%d,%t,%s,(%d),%d,%s", 100_000+i, 8_686_582+i*31, []string{"train", "Test"}[i%7/5], i%5, i%3 == 0, []string{"test", "launch"}[i%2], 100+i%250, uint32(i)*2_654_435_761>>8%50, yesNo(i*13))
	}))
	d, err := draft.Make(t.Context(), path, draft.Options{Target: "y"})
	if err != nil {
		t.Fatal(err)
	}
	used := map[string]bool{}
	for _, f := range d.Spec.Features {
		for _, name := range f.Columns() {
			used[name] = true
		}
	}
	for name, want := range map[string]bool{"split": false, "fold": false, "is_train": false, "phase": true, "a": true} {
		if used[name] != want {
			t.Errorf("%s is a feature: %t, want %t\n%s", name, used[name], want, d.YAML)
		}
	}
	for name, want := range map[string]bool{"customer": false, "phone": false, "dose": true} {
		if got := strings.Contains(d.Summary(), name+": values such as"); got != want {
			t.Errorf("%s is said to look like amounts: %t, want %t\n%s", name, got, want, d.Summary())
		}
	}
}

// A last line with the means of the columns makes no value of an outcome of 0 and 1.
func TestLineOfMeans(t *testing.T) {
	t.Parallel()
	for last, task := range map[string]string{"Mean,24.5,0.517": "binary", "7,24.5,2.5": "regression"} {
		path := table(t, "t.csv", "age,dose,ill\n"+rows(600, func(i int) string { return fmt.Sprintf("%d,%d,%d", 20+i%60, i*7%50, i*i%3%2) })+last+"\n")
		d, err := draft.Make(t.Context(), path, draft.Options{Target: "ill"})
		if err != nil {
			t.Fatal(err)
		}
		if d.Spec.Task != task {
			t.Errorf("%s: task %s, want %s", last, d.Spec.Task, task)
		}
		if stops := d.Preview.Stops(d.Spec); len(stops) > 0 {
			t.Errorf("%s: the draft would not go through: %q", last, stops)
		}
		if task == "binary" && d.Preview.Excluded != 1 {
			t.Errorf("%d rows are left out, want the one of means\n%s", d.Preview.Excluded, d.YAML)
		}
	}
}

// Names of identifiers in compound words and with a hash are the key if every row has its
// own value. Those that repeat are neither key nor group.
func TestKeysInCompounds(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"Fallnummer", "MLS#"} {
		path := table(t, "t.csv", name+",Hausnummer,a,y\n"+rows(600, func(i int) string {
			return fmt.Sprintf("%d,%d,%d,%s", 7_000_000+uint32(i)*7919%100_003, 1+i*37%120, uint32(i)*2_654_435_761>>8%50, yesNo(i*13))
		}))
		d, err := draft.Make(t.Context(), path, draft.Options{Target: "y"})
		if err != nil {
			t.Fatal(err)
		}
		if key := d.Spec.Column(d.Spec.Key); key < 0 || d.Spec.Columns[key].Header() != name || d.Spec.Group != "" {
			t.Errorf("key %q, group %q; want the key %s and no group\n%s", d.Spec.Key, d.Spec.Group, name, d.YAML)
		}
	}
}

// An export in French: units of its words, postal codes with zeros in front beside decimal commas,
// names without their accents, and customers who come again.
func TestExportsInOtherLanguages(t *testing.T) {
	t.Parallel()
	path := table(t, "t.csv", "Client;Code postal;Durée du prêt;Pression;Montant;Défaut\n"+rows(900, func(i int) string {
		return fmt.Sprintf("K%05d;%05d;%d mois;%d,%d bar;%d,50;%s", draw(i, 1, 300), draw(i, 2, 95_000), 12*(1+draw(i, 3, 6)), 4+draw(i, 4, 4), draw(i, 5, 10), draw(i, 6, 9_000), []string{"oui", "non", "non"}[draw(i, 7, 3)])
	}))
	d, err := draft.Make(t.Context(), path, draft.Options{Target: "Défaut"})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`{name: duree_du_pret, from: "Durée du prêt", type: integer, unit: mois`, `name: Pression, type: number, unit: bar`, `name: Code postal, type: category`, `column: defaut`} {
		if !strings.Contains(string(d.YAML), want) {
			t.Errorf("want %q in:\n%s", want, d.YAML)
		}
	}
	if d.Spec.Group != "Client" {
		t.Errorf("group %q, want Client\n%s", d.Spec.Group, d.Summary())
	}
	if text := d.Summary(); strings.Contains(text, "keep the column text") || !strings.Contains(string(d.YAML), "guessed: codes: ") {
		t.Errorf("want Code postal to be codes:\n%s%s", text, d.YAML)
	}
}
