package tree

import (
	"fmt"
	"strconv"
)

// categoriesOf returns the categories of each feature, nil if the model has none.
func categoriesOf(enc []categoriesDocument, features int) ([][]string, error) {
	if len(enc) == 0 {
		return nil, nil
	}
	if len(enc) != features {
		return nil, fmt.Errorf("its encoding of categories (cats) is of %d features, want %d", len(enc), features)
	}
	all, some := make([][]string, features), false
	for i, c := range enc {
		if len(c.Offsets) == 0 && len(c.Values) == 0 {
			continue
		}
		some = true
		var err error
		if all[i], err = c.texts(); err != nil {
			return nil, fmt.Errorf("its encoding of categories (cats) of feature %d: %w", i, err)
		}
	}
	if !some {
		return nil, nil
	}
	return all, nil
}

func (c *categoriesDocument) texts() ([]string, error) {
	var texts []string
	if len(c.Offsets) == 0 {
		for _, v := range c.Values {
			texts = append(texts, strconv.FormatInt(v, 10))
		}
		return texts, nil
	}
	bytes := make([]byte, len(c.Values))
	for i, v := range c.Values {
		bytes[i] = byte(v) // XGBoost's bytes have a sign
	}
	if c.Offsets[0] != 0 || c.Offsets[len(c.Offsets)-1] != int64(len(bytes)) {
		return nil, fmt.Errorf("texts from %d to %d of %d bytes", c.Offsets[0], c.Offsets[len(c.Offsets)-1], len(bytes))
	}
	for i, to := range c.Offsets[1:] {
		if from := c.Offsets[i]; from > to || to > int64(len(bytes)) {
			return nil, fmt.Errorf("a text from %d to %d of %d bytes", from, to, len(bytes))
		} else {
			texts = append(texts, string(bytes[from:to]))
		}
	}
	return texts, nil
}
