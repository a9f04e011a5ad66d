package feature

// overShare is how small a part of a snapshot the groups that replace others may be: a
// larger one is merged.
const overShare = 8

// With returns a snapshot in which the groups of newer, whole, are in the place of those
// that s has of them. Both stay as they are, so lookups in s go on. As long as the newer
// groups are few they lie over the others, and cost no more than themselves.
func (s *Snapshot) With(newer *Snapshot) *Snapshot {
	newer = newer.flat()
	if s.over != nil {
		newer = merge(s.over, newer)
	}
	base := *s
	base.over, base.replaced, base.hidden = nil, 0, 0
	if len(newer.places)*overShare > len(base.places) {
		return merge(&base, newer)
	}
	for i, j := 0, 0; i < len(base.keys) && j < len(newer.keys); {
		switch {
		case base.keys[i] < newer.keys[j]:
			i++
		case base.keys[i] > newer.keys[j]:
			j++
		default:
			base.replaced++
			base.hidden += int(base.starts[i+1] - base.starts[i])
			i, j = i+1, j+1
		}
	}
	base.over = newer
	return &base
}

// flat returns the snapshot with nothing over it.
func (s *Snapshot) flat() *Snapshot {
	if s.over == nil {
		return s
	}
	base := *s
	base.over = nil
	return merge(&base, s.over)
}

// merge returns the groups of both; those of newer win. Neither has anything over it.
func merge(older, newer *Snapshot) *Snapshot {
	type run struct {
		of       *Snapshot
		from, to uint32
	}
	out := newSnapshot(len(older.keys)+len(newer.keys), len(older.places)+len(newer.places), len(older.values))
	var runs []run
	add := func(of *Snapshot, i int) {
		from, to := of.starts[i], of.starts[i+1]
		out.addGroup(of.keys[i], of.places[from:to])
		if n := len(runs); n > 0 && runs[n-1].of == of && runs[n-1].to == from {
			runs[n-1].to = to
			return
		}
		runs = append(runs, run{of, from, to})
	}
	i, j := 0, 0
	for i < len(older.keys) || j < len(newer.keys) {
		switch {
		case j == len(newer.keys) || i < len(older.keys) && older.keys[i] < newer.keys[j]:
			add(older, i)
			i++
		case i < len(older.keys) && older.keys[i] == newer.keys[j]:
			i++
		default:
			add(newer, j)
			j++
		}
	}
	out.pack(func(slot int, column []float32) []float32 {
		for _, r := range runs {
			values := &r.of.values[slot]
			for row := r.from; row < r.to; row++ {
				column = append(column, values.at(int(row)))
			}
		}
		return column
	})
	return out
}
