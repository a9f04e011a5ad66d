package draft_test

import (
	"fmt"
	"strings"
	"testing"

	"mlops/internal/draft"
)

// What a spreadsheet made of values is told: days of ranges, short numbers of long ones. Days
// and exponents that are what they look like are not.
func TestTablesFromSpreadsheets(t *testing.T) {
	t.Parallel()
	ranges := []string{"1-2", "3-5", "6-10", "11-20", "21-50", "101-500"}
	for _, c := range []struct {
		column string
		value  func(i int) string
		says   string
	}{
		{"employees", func(i int) string {
			if v := ranges[draw(i, 1, 6)]; v != "3-5" || i%2 == 0 {
				return v
			}
			return "5-Mar"
		}, "cells look like days among other values"},
		{"Mitarbeiter", func(i int) string { return append(ranges, "05. Mrz")[draw(i, 1, 7)] }, "cells look like days among other values"},
		{"gene", func(i int) string {
			if i%40 == 7 {
				return "2-Sep"
			}
			return fmt.Sprintf("BRCA%c", 'A'+draw(i, 1, 24))
		}, "cells look like days among other values"},
		{"employees", func(i int) string { return ranges[draw(i, 1, 6)] }, ""},
		{"day", func(i int) string { return fmt.Sprintf("%d-Mar", 1+draw(i, 1, 28)) }, ""},
		{"when", func(i int) string { return []string{"5-Mar", "6-Mar", "later"}[draw(i, 1, 3)] }, ""},
		{"customer_no", func(i int) string { return fmt.Sprintf("4.%05dE+11", draw(i%300, 1, 9999)) }, "cells are shortened numbers"},
		{"energy", func(i int) string { return fmt.Sprintf("4.%05dE+11", draw(i%300, 1, 9999)) }, ""},
		{"customer_no", func(i int) string { return fmt.Sprint(490_000_000_000 + draw(i%300, 1, 1e9)) }, ""},
	} {
		d, err := draft.Make(t.Context(), table(t, "t.csv", "a,"+c.column+",y\n"+rows(900, func(i int) string {
			return fmt.Sprintf("%d,%s,%s", draw(i, 5, 60), c.value(i), yesNo(i))
		})), draft.Options{Target: "y"})
		if err != nil {
			t.Fatalf("%s: %v", c.column, err)
		}
		text := d.Summary()
		if !strings.Contains(text, c.says) || c.says == "" && strings.Contains(text, "spreadsheet") {
			t.Errorf("%s, such as %s: want %q in:\n%s", c.column, c.value(1), c.says, text)
		}
	}
}

// A date that stands for none is a missing value, so that a column which has it for one outcome
// only is found. Dates that are only far from most others are dates.
func TestDatesThatStandForNone(t *testing.T) {
	t.Parallel()
	german := func(i int) string {
		return fmt.Sprintf("%02d.%02d.20%d", 1+draw(i, 1, 28), 1+draw(i, 2, 12), 21+draw(i, 3, 2))
	}
	iso := func(i int) string {
		return fmt.Sprintf("20%d-%02d-%02d", 21+draw(i, 3, 2), 1+draw(i, 2, 12), 1+draw(i, 1, 28))
	}
	compact := func(i int) string { return strings.ReplaceAll(iso(i), "-", "") }
	born := func(i int) string {
		return fmt.Sprintf("19%d-%02d-%02d", 20+draw(i, 3, 70), 1+draw(i, 2, 12), 1+draw(i, 1, 28))
	}
	for _, c := range []struct {
		column, none string
		date         func(i int) string
		missing      bool
	}{
		{"ended", "31.12.9999", german, true},
		{"ended", "01.01.1900", german, true},
		{"end_date", "9999-12-31", iso, true},
		{"end_date", "1970-01-01", iso, true},
		{"end_date", "99991231", compact, true},
		{"end_date", "2029-12-31", iso, false},
		{"birth_date", "1900-01-01", born, false},
	} {
		d, err := draft.Make(t.Context(), table(t, "t.csv", "a,"+c.column+",y\n"+rows(900, func(i int) string {
			date := c.date(i)
			if yesNo(i) == "no" && i%20 > 0 || i%20 == 1 {
				date = c.none
			}
			return fmt.Sprintf("%d,%s,%s", draw(i, 5, 60), date, yesNo(i))
		})), draft.Options{Target: "y"})
		if err != nil {
			t.Fatalf("%s: %v", c.none, err)
		}
		text, yaml := d.Summary(), string(d.YAML)
		if got := strings.Contains(yaml, fmt.Sprintf("missing: [%q]", c.none)); got != c.missing {
			t.Errorf("%s stands for none: %t, want %t\n%s", c.none, got, c.missing, yaml)
		}
		if !strings.Contains(yaml, "type: date") {
			t.Errorf("%s: no column of dates\n%s", c.none, yaml)
		}
		for _, says := range []string{"seems to stand for no date", "as if filled in afterwards"} {
			if got := strings.Contains(text+yaml, says); got != c.missing {
				t.Errorf("%s: says %q: %t, want %t\n%s%s", c.none, says, got, c.missing, text, yaml)
			}
		}
	}
}
