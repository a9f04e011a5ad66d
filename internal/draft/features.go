package draft

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"mlops/internal/dataset"
	"mlops/internal/progress"
)

var idName = regexp.MustCompile(`(?i)(^|[_ .-])(id|uid|uuid|guid|key|nr|nbr|no|num|number|rownames?|serial|account|customer|patient|client|member|user|mrn|ssn|kunde|kundin|mitglied|nutzer|konto|cliente|paziente|paciente|usuario|compte|élève|schüler)\.?$|(kunden|patienten|mitglieds|schüler|personal|konto|fall|akten|geräte|maschinen|haushalts|betriebs)[-_ ]?(nummer|nr\.?|kennung)$|^(Unnamed: 0|id[_ .-].*|((row|rec|record|obs|observation|case|sample)[_ .-]?)?index)$|(?-i:[a-z](Id|ID|Nr|No|Number|Key)$)`)

// keyName are names of identifiers that are the key if every row has its own value, and say
// nothing otherwise: a Hausnummer is no group.
var keyName = regexp.MustCompile(`(?i)(nummer|kennung|numéro|número|#)$`)

// ofOne are texts that stand for one person or thing: e-mail addresses, UUIDs and digests.
var ofOne = regexp.MustCompile(`^([^@\s]+@[^@\s]+\.[A-Za-z]{2,}|[0-9a-fA-F]{8}-([0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}|[0-9a-f]{32}|[0-9a-f]{40}|[0-9a-f]{64})$`)

// identifies reports whether a column has a name of identifiers, and no number below 0,
// which none is, or values that are identifiers whatever its name is.
func (c *column) identifies() bool {
	if !idName.MatchString(c.name) {
		ones := 0
		for v := range c.counts {
			if !ofOne.MatchString(v) {
				return false
			}
			ones++
		}
		return ones > 1
	}
	for v := range c.counts {
		if _, number := dataset.ParseNumber([]byte(v)); number && v[0] == '-' {
			return false
		}
	}
	return true
}

// whyIdentifier says by what a column is one of identifiers.
func (c *column) whyIdentifier() string {
	if idName.MatchString(c.name) {
		return "a name of identifiers"
	}
	return "each is an identifier, such as an e-mail address"
}

// smallest is from how many rows on a column that counts them does so by intent.
const smallest = 20

// chooseKeys finds the column that identifies a row, and the one whose rows
// belong together.
func (d *Draft) chooseKeys() {
	for _, c := range d.columns {
		if c == d.target || c.out != "" || c.drop != "" || c.kind == dataset.Number || c.kind == dataset.Date {
			continue
		}
		named := c.identifies() || c.unique && keyName.MatchString(c.name)
		switch {
		case d.key == nil && c.unique && c.present == d.Rows && c.exact && (named || c == d.columns[0] && c.kind == dataset.Category && c.words == c.measured):
			d.key, c.out = c, "it is the key: every row has its own value"
			d.whyKey = fmt.Sprintf("%s, as many different values", progress.Counted(d.Rows, "row"))
		case named && c.unique:
			c.out = "an identifier: nearly every row has a value of its own"
		case c.counting && d.Rows >= smallest:
			c.out = "it counts the rows, each is one more than the one before"
		}
	}
	for _, c := range d.columns {
		if c == d.target || c.out != "" || c.drop != "" || c.kind == dataset.Number || c.kind == dataset.Date || !c.identifies() {
			continue
		}
		// Many values, and most of them come again: customers, patients, devices. A few rows may have
		// none, such as a line of totals.
		if c.values >= 50 && c.values*50 >= d.Rows && c.present*100 >= d.Rows*99 && d.group == nil {
			d.group, c.out = c, "it is the group"
			d.whyGroup = fmt.Sprintf("%s different values in %s, and %s: the rows of one must not be in two splits", progress.Count(c.values), progress.Counted(d.Rows, "row"), c.whyIdentifier())
		} else if c.kind == dataset.Integer && c.values > 200 {
			c.out = "an identifier by its name"
		}
	}
}

// foldBelow is how many training rows a level needs to count as one.
func (d *Draft) foldBelow() int64 {
	switch {
	case d.Rows < 2_000:
		return 5
	case d.Rows < 20_000:
		return 10
	case d.Rows < 200_000:
		return 30
	}
	return 100
}

// chooseFeatures leaves out what a model can't learn from.
func (d *Draft) chooseFeatures() {
	for _, c := range d.columns {
		switch {
		case c.out != "":
		case c.drop != "":
			c.out = c.drop
		case c.values == 1 && c.present == c.rows:
			c.out = "constant: every row has the same value"
		case c.partOfData():
			c.out = "it says in which part of the data a row was put, and the platform splits the rows itself"
		case c.kind == dataset.Category:
			d.judgeText(c)
		case c.unique && c.kind == dataset.Integer && c.present == d.Rows && d.Rows > 100 && c.identifies():
			c.out = "an identifier: every row has its own value"
		}
	}
}

// Words and names of the parts that a table was split into.
var (
	partWords = []string{"train", "training", "test", "testing", "val", "valid", "validation", "dev", "eval", "holdout", "hold-out", "oot"}
	foldName  = regexp.MustCompile(`(?i)^(cv|k)?[-_. ]?folds?([-_. ]?(id|no|nr|number))?$`)
	inPart    = regexp.MustCompile(`(?i)^(is|in)[-_. ]?(train|training|test|val|valid|validation|holdout)([-_. ]?set)?$`)
)

// partOfData reports whether a column says in which part of a split its row was.
func (c *column) partOfData() bool {
	switch {
	case c.full || c.values < 2:
		return false
	case c.kind == dataset.Integer && foldName.MatchString(c.name):
		return c.values <= 20
	case inPart.MatchString(c.name):
		return c.values == 2
	case c.kind != dataset.Category:
		return false
	}
	for v := range c.counts {
		missing := slices.ContainsFunc(c.missing, func(m marked) bool { return m.value == v })
		if !missing && !slices.Contains(partWords, strings.ToLower(strings.TrimSpace(v))) {
			return false
		}
	}
	return true
}

// judgeText decides whether a category is one.
func (d *Draft) judgeText(c *column) {
	if c.values <= 40 || c.present == 0 {
		return
	}
	words := float64(c.words) / float64(max(1, c.measured))
	length := float64(c.length) / float64(max(1, c.measured))
	fold := d.foldBelow()
	var common, levels int64
	for _, k := range c.counts {
		if k.n >= fold {
			common += k.n
			levels++
		}
	}
	share := float64(common) / float64(c.present)
	switch {
	case c.unique || c.values*10 > c.present*9:
		c.out = "text that is different in nearly every row"
	case words >= 4 || length > 60:
		c.out = fmt.Sprintf("free text: %.0f words a row", words)
	case share < 0.2:
		c.out = fmt.Sprintf("%s different values, and most come in fewer than %d rows", progress.Count(c.values), fold)
	}
}
