package dataset

// Excluded reports whether the cohort leaves a row out. fields holds one
// cleaned value a column, nil where it is missing.
func (s *Spec) Excluded(fields [][]byte) bool {
	for i := range s.Cohort {
		c := s.columns[s.Cohort[i].Column]
		if v := fields[c]; v != nil && s.Columns[c].Excludes(v) >= 0 {
			return true
		}
	}
	return false
}

// Excludes returns the index of the cohort's first rule that leaves out rows with
// a cleaned value of the column, -1 if there is none.
func (c *Column) Excludes(value []byte) int {
	if rule, ok := c.excluded[string(value)]; ok {
		return rule
	}
	return -1
}

// InCohort reports whether a rule of the cohort looks at the column.
func (c *Column) InCohort() bool { return len(c.excluded) > 0 }

// Ignored reports whether a record to predict may hold the column without its
// being looked at: the key, the group and the target.
func (s *Spec) Ignored(column int) bool {
	switch s.Columns[column].Name {
	case s.Key, s.Group, s.Target.Column, s.Weights.Column:
		return true
	}
	return false
}
