package feature

import (
	"encoding/binary"
	"math/bits"
)

// usual are the values of a column that the spec or the training rows name, with
// what each does to a vector: all of a column's features in one look-up, its
// missing markers too, where Set asks a map for each feature. That takes a fifth
// off the handler's time. A value is found by its ends, which for up to 16 bytes
// are all of it. The table is at most a quarter full.
type usual struct {
	shift   uint // from a hash to a place
	entries []entry
}

// An entry fills a line of the processor's cache.
type entry struct {
	first, last uint64 // its ends
	length      int32
	odd         Oddity
	text        string // of values that are longer than their ends
	effects     []effect
}

// effect is what a value does to one feature.
type effect struct {
	feature int32
	counts  bool    // adds its value
	value   float32 // what the feature becomes, where it doesn't count
}

// ends are a value's first and last bytes and its length, 0 for none.
type ends struct {
	first, last uint64
	length      int32
}

func endsOf(v []byte) ends {
	switch n := len(v); {
	case n >= 8:
		return ends{binary.LittleEndian.Uint64(v), binary.LittleEndian.Uint64(v[n-8:]), int32(n)}
	case n >= 4:
		return ends{uint64(binary.LittleEndian.Uint32(v)), uint64(binary.LittleEndian.Uint32(v[n-4:])), int32(n)}
	case n > 0:
		return ends{uint64(v[0]) | uint64(v[n/2])<<8, uint64(v[n-1]), int32(n)}
	}
	return ends{}
}

func (e ends) hash() uint64 {
	return (e.first + bits.RotateLeft64(e.last, 29) + uint64(e.length)) * 0x9E3779B97F4A7C15
}

// whole is the longest value that its ends tell from all others.
const whole = 16

// find returns the entry of a value, nil if it is not there.
func (u *usual) find(value []byte) *entry {
	if len(u.entries) == 0 || len(value) == 0 {
		return nil
	}
	ends := endsOf(value)
	for at := ends.hash() >> u.shift; ; at++ {
		e := &u.entries[at&uint64(len(u.entries)-1)]
		switch {
		case e.first == ends.first && e.last == ends.last && e.length == ends.length && (ends.length <= whole || e.text == string(value)):
			return e
		case e.length == 0:
			return nil
		}
	}
}

// newUsual makes the table of a column.
func (e *Encoder) newUsual(column int) usual {
	spec, ops, l := e.spec, e.columns[column], &e.limits[column]
	values := map[string]bool{}
	for _, m := range spec.Columns[column].Markers() {
		values[m] = true
	}
	for i := range ops {
		for v := range ops[i].codes {
			values[v] = true
		}
	}
	found := map[string]entry{}
	for v := range values {
		cleaned, err := spec.Value(column, []byte(v))
		if err != nil || v == "" || cleaned != nil && string(cleaned) != v {
			continue
		}
		if effects, known := e.effectsOf(ops, l, cleaned); known {
			odd := Missing
			if cleaned != nil {
				odd = l.odd(l.value(cleaned))
			}
			ends := endsOf([]byte(v))
			found[v] = entry{ends.first, ends.last, ends.length, odd, v, effects}
		}
	}
	log := bits.Len(uint(4*len(found) + 1))
	u := usual{shift: uint(64 - log), entries: make([]entry, 1<<log)}
	for _, v := range found {
		at := ends{v.first, v.last, v.length}.hash() >> u.shift
		for u.entries[at].length != 0 {
			at = (at + 1) & uint64(len(u.entries)-1)
		}
		u.entries[at] = v
	}
	return u
}

// effectsOf says what Set does with a cleaned value, nil if it is missing, and
// whether every feature of the column knows it.
func (e *Encoder) effectsOf(ops []op, l *limit, value []byte) (effects []effect, known bool) {
	if value == nil {
		return nil, true
	}
	for i := range ops {
		o := &ops[i]
		if o.kind == days {
			return nil, false // it depends on another column too
		}
		x, counts, ok := o.of(l.value(value))
		if !ok && e.behind(o) {
			if o.folds {
				effects = append(effects, effect{int32(o.feature), false, o.other})
			}
			continue
		}
		if !ok {
			return nil, false
		}
		if counts {
			if x -= o.typical; x == 0 {
				continue
			}
		}
		effects = append(effects, effect{int32(o.feature), counts, x})
	}
	return effects, true
}

// SetUsual does what Spec.Value and Set do together, for a value that it knows
// as it stands in the request; any other, and any of a column that a prediction
// ignores, it leaves to them.
func (e *Encoder) SetUsual(vector []float32, column int, value []byte) (odd Oddity, known bool) {
	found := e.usual[column].find(value)
	if found == nil {
		return 0, false
	}
	for i := range found.effects {
		if f := &found.effects[i]; f.counts {
			vector[f.feature] += f.value
		} else {
			vector[f.feature] = f.value
		}
	}
	return found.odd, true
}
