package draft

// queue hands rows over to another goroutine, in their order, so that reading a table and
// looking at its rows take turns on no single processor.
type queue struct {
	full  chan *rowBatch
	empty chan *rowBatch
	done  chan struct{}
	next  *rowBatch
}

const batchRows = 512

// rowBatch is some rows, one after the other.
type rowBatch struct {
	text  []byte
	ends  []int32 // of each field in text; the complement where it is missing
	width int
}

// newQueue calls take for each row that is put.
func newQueue(take func(fields [][]byte)) *queue {
	q := &queue{full: make(chan *rowBatch, 2), empty: make(chan *rowBatch, 4), done: make(chan struct{}), next: &rowBatch{}}
	for range 3 {
		q.empty <- &rowBatch{}
	}
	go func() {
		defer close(q.done)
		var fields [][]byte
		for b := range q.full {
			start := int32(0)
			for row := 0; row < len(b.ends); row += b.width {
				fields = fields[:0]
				for _, end := range b.ends[row : row+b.width] {
					if end < 0 {
						fields = append(fields, nil)
						continue
					}
					fields = append(fields, b.text[start:end:end])
					start = end
				}
				take(fields)
			}
			q.empty <- b
		}
	}()
	return q
}

// put copies a row.
func (q *queue) put(fields [][]byte) {
	b := q.next
	b.width = len(fields)
	for _, v := range fields {
		b.text = append(b.text, v...)
		end := int32(len(b.text))
		if v == nil {
			end = ^end
		}
		b.ends = append(b.ends, end)
	}
	if len(b.ends) >= batchRows*b.width {
		q.flush()
	}
}

func (q *queue) flush() {
	q.full <- q.next
	q.next = <-q.empty
	q.next.text, q.next.ends = q.next.text[:0], q.next.ends[:0]
}

// close waits until all rows are taken.
func (q *queue) close() {
	if len(q.next.ends) > 0 {
		q.full <- q.next
	}
	close(q.full)
	<-q.done
}
