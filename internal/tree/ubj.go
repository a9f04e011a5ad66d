package tree

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// maxDepth bounds how deeply values are nested in a UBJ document; XGBoost's are
// nested nine deep.
const maxDepth = 64

var errCut = errors.New("the file ends within it")

// ubjReader reads universal binary JSON (https://ubjson.org) as XGBoost writes
// it: lengths are 64-bit, arrays of numbers are typed, numbers are big-endian.
// After the first error every method returns zero values.
type ubjReader struct {
	data  []byte // what is still to be read
	size  int    // of the whole
	depth int
	path  []string
	err   error
}

func (r *ubjReader) fail(err error) {
	if r.err == nil {
		at := ""
		for _, p := range r.path {
			at += "/" + p
		}
		r.err = fmt.Errorf("%s at byte %d: %w", at, r.size-len(r.data), err)
	}
}

// bytes takes the next n bytes, which are not copied.
func (r *ubjReader) bytes(n int64) []byte {
	if r.err != nil {
		return nil
	}
	if n < 0 || n > int64(len(r.data)) {
		r.fail(errCut)
		return nil
	}
	b := r.data[:n]
	r.data = r.data[n:]
	return b
}

func (r *ubjReader) byte() byte {
	if b := r.bytes(1); b != nil {
		return b[0]
	}
	return 0
}

// next reports whether the next byte is c, and takes it if so.
func (r *ubjReader) next(c byte) bool {
	if r.err == nil && len(r.data) == 0 {
		r.fail(errCut)
	}
	if r.err != nil || r.data[0] != c {
		return false
	}
	r.data = r.data[1:]
	return true
}

func (r *ubjReader) expect(c byte) {
	if !r.next(c) && r.err == nil {
		r.fail(fmt.Errorf("byte %q, want %q", r.data[0], c))
	}
}

// length reads a length, which has the type L.
func (r *ubjReader) length() int64 {
	r.expect('L')
	if b := r.bytes(8); b != nil {
		return int64(binary.BigEndian.Uint64(b))
	}
	return 0
}

// total returns how many bytes n values of that size take; it fails if that is
// more than is left.
func (r *ubjReader) total(n, size int64) int64 {
	if n < 0 || n > int64(len(r.data)) { // else the product could overflow
		r.fail(errCut)
		return 0
	}
	return n * size
}

// width returns the size in bytes of a number of that type, or 0.
func width(kind byte) int64 {
	switch kind {
	case 'i', 'U', 'C':
		return 1
	case 'I':
		return 2
	case 'l', 'd':
		return 4
	case 'L', 'D':
		return 8
	}
	return 0
}

// number decodes a number of that type from exactly its width in bytes.
func number[T int32 | int64 | float32](r *ubjReader, kind byte, b []byte) T {
	var n int64
	switch kind {
	case 'i', 'C':
		n = int64(int8(b[0]))
	case 'U':
		n = int64(b[0])
	case 'I':
		n = int64(int16(binary.BigEndian.Uint16(b)))
	case 'l':
		n = int64(int32(binary.BigEndian.Uint32(b)))
	case 'L':
		n = int64(binary.BigEndian.Uint64(b))
	case 'd', 'D':
		f := 0.0
		if kind == 'd' {
			f = float64(math.Float32frombits(binary.BigEndian.Uint32(b)))
		} else {
			f = math.Float64frombits(binary.BigEndian.Uint64(b))
		}
		if _, ok := any(T(0)).(float32); !ok {
			r.fail(errors.New("a fraction, want whole numbers"))
		}
		return T(f)
	}
	if v := T(n); int64(v) == n {
		return v
	}
	if _, ok := any(T(0)).(float32); !ok {
		r.fail(fmt.Errorf("number %d is too large", n))
	}
	return T(n)
}

// numbers reads an array of numbers, typed or not.
func numbers[T int32 | int64 | float32](r *ubjReader) []T {
	r.expect('[')
	if r.next('$') {
		kind := r.byte()
		r.expect('#')
		n := r.length()
		size := width(kind)
		if r.err == nil && size == 0 {
			r.fail(fmt.Errorf("an array of type %q, want numbers", kind))
		}
		b := r.bytes(r.total(n, size))
		if r.err != nil {
			return nil
		}
		list := make([]T, n)
		for i := range list {
			list[i] = number[T](r, kind, b[int64(i)*size:])
		}
		return list
	}
	var list []T
	r.items(func() {
		kind := r.byte()
		size := width(kind)
		if r.err == nil && size == 0 {
			r.fail(fmt.Errorf("type %q, want a number", kind))
		}
		if b := r.bytes(size); b != nil {
			list = append(list, number[T](r, kind, b))
		}
	})
	return list
}

// items reads the rest of an untyped array: item is called before each value
// and must read it.
func (r *ubjReader) items(item func()) {
	if r.next('#') {
		n := r.length()
		if n < 0 || n > int64(len(r.data)) { // a value has a byte at least
			r.fail(errCut)
		}
		for i := int64(0); i < n && r.err == nil; i++ {
			item()
		}
		return
	}
	for r.err == nil && !r.next(']') {
		item()
	}
}

// array reads an array of values that are not plain numbers.
func (r *ubjReader) array(item func(i int)) {
	r.expect('[')
	i := 0
	r.items(func() {
		r.path = append(r.path, fmt.Sprint(i))
		item(i)
		r.path = r.path[:len(r.path)-1]
		i++
	})
}

// object reads an object: member is called with each key and must read its value.
func (r *ubjReader) object(member func(key string)) {
	r.expect('{')
	for r.err == nil && !r.next('}') {
		key := string(r.bytes(r.length()))
		r.path = append(r.path, key)
		member(key)
		r.path = r.path[:len(r.path)-1]
	}
}

func (r *ubjReader) string() string {
	r.expect('S')
	return string(r.bytes(r.length()))
}

func (r *ubjReader) int32() int32 {
	kind := r.byte()
	if b := r.bytes(width(kind)); len(b) > 0 {
		return number[int32](r, kind, b)
	}
	r.fail(fmt.Errorf("type %q, want a number", kind))
	return 0
}

// skip reads a value of any type.
func (r *ubjReader) skip() {
	if r.depth++; r.depth > maxDepth {
		r.fail(fmt.Errorf("values are nested more than %d deep", maxDepth))
	}
	defer func() { r.depth-- }()
	if r.err != nil || len(r.data) == 0 {
		r.fail(errCut)
		return
	}
	switch kind := r.data[0]; kind {
	case '{':
		r.object(func(string) { r.skip() })
	case '[':
		r.byte()
		if !r.next('$') {
			r.items(r.skip)
			return
		}
		size := width(r.byte())
		r.expect('#')
		n := r.length()
		if size == 0 {
			r.fail(errors.New("an array of unknown type"))
		}
		r.bytes(r.total(n, size))
	case 'S':
		_ = r.string()
	case 'Z', 'T', 'F':
		r.byte()
	default:
		r.byte()
		if width(kind) == 0 {
			r.fail(fmt.Errorf("unknown type %q", kind))
		}
		r.bytes(width(kind))
	}
}

// readUBJ reads those members of document that are present.
func readUBJ(data []byte) (*document, error) {
	r := &ubjReader{data: data, size: len(data)}
	d := &document{}
	learner := &d.Learner
	r.object(func(key string) {
		if key != "learner" {
			r.skip()
			return
		}
		r.object(func(key string) {
			switch key {
			case "feature_names":
				r.array(func(int) { learner.FeatureNames = append(learner.FeatureNames, r.string()) })
			case "learner_model_param":
				r.strings(map[string]*string{
					"base_score":  &learner.Param.BaseScore,
					"num_feature": &learner.Param.NumFeature,
					"num_class":   &learner.Param.NumClass,
					"num_target":  &learner.Param.NumTarget,
				})
			case "attributes":
				r.strings(map[string]*string{"best_iteration": &learner.Attributes.BestIteration})
			case "objective":
				r.strings(map[string]*string{"name": &learner.Objective.Name})
			case "gradient_booster":
				r.booster(d)
			default:
				r.skip()
			}
		})
	})
	if r.err == nil && len(r.data) > 0 {
		r.fail(fmt.Errorf("%d bytes follow the model", len(r.data)))
	}
	return d, r.err
}

func (r *ubjReader) booster(d *document) {
	booster := &d.Learner.Booster
	r.object(func(key string) {
		switch key {
		case "name":
			booster.Name = r.string()
		case "model":
			r.object(func(key string) {
				switch key {
				case "gbtree_model_param":
					r.strings(map[string]*string{
						"num_trees":         &booster.Model.Param.NumTrees,
						"num_parallel_tree": &booster.Model.Param.NumParallelTrees,
					})
				case "iteration_indptr":
					booster.Model.Begin = numbers[int64](r)
				case "tree_info":
					booster.Model.TreeInfo = numbers[int32](r)
				case "trees":
					r.array(func(int) { booster.Model.Trees = append(booster.Model.Trees, r.tree()) })
				case "cats":
					r.object(func(key string) {
						if key != "enc" {
							r.skip()
							return
						}
						r.array(func(int) {
							var c categoriesDocument
							r.object(func(key string) {
								switch key {
								case "offsets":
									c.Offsets = numbers[int64](r)
								case "values":
									c.Values = numbers[int64](r)
								default:
									r.skip()
								}
							})
							booster.Model.Cats.Enc = append(booster.Model.Cats.Enc, c)
						})
					})
				default:
					r.skip()
				}
			})
		default:
			r.skip()
		}
	})
}

// strings reads an object's members of the given names, which are strings.
func (r *ubjReader) strings(members map[string]*string) {
	r.object(func(key string) {
		if p := members[key]; p != nil {
			*p = r.string()
			return
		}
		r.skip()
	})
}

func (r *ubjReader) tree() treeDocument {
	var t treeDocument
	r.object(func(key string) {
		switch key {
		case "id":
			t.ID = r.int32()
		case "tree_param":
			r.strings(map[string]*string{"size_leaf_vector": &t.Param.LeafSize})
		case "left_children":
			t.Left = numbers[int32](r)
		case "right_children":
			t.Right = numbers[int32](r)
		case "split_indices":
			t.Feature = numbers[int32](r)
		case "split_conditions":
			t.Condition = numbers[float32](r)
		case "default_left":
			t.DefaultLeft = numbers[int32](r)
		case "sum_hessian":
			t.Cover = numbers[float32](r)
		case "split_type":
			t.SplitType = numbers[int32](r)
		case "categories_nodes":
			t.CategoryNodes = numbers[int32](r)
		case "categories_segments":
			t.CategoryBegin = numbers[int64](r)
		case "categories_sizes":
			t.CategoryCount = numbers[int64](r)
		case "categories":
			t.Categories = numbers[int32](r)
		default:
			r.skip()
		}
	})
	if err := t.checkNodes(); err != nil && r.err == nil {
		r.fail(err)
	}
	return t
}
