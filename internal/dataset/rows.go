package dataset

import "context"

// Names of the splits, as they stand in the column split.
const (
	Train      = "train"
	Validation = "validation"
	Test       = "test"
)

// Rows calls row for each cleaned row of a data set, in an order that does not
// change while the data does not. fields holds one cleaned value a column of the
// spec, nil where it is missing; row must not keep it.
type Rows func(ctx context.Context, row func(split string, fields [][]byte) error) error
