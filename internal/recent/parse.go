package recent

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// node is a parsed expression.
type node struct {
	kind  string // number, select, call, aggregate, binary
	value float64
	text  string // name of the metric, the function or the operator

	match  []matcher
	window time.Duration // of a range
	by     []string
	args   []*node

	on    []string // binary: labels to match by; nil: all
	onSet bool
	many  string // left or right: the side that keeps its labels
}

type matcher struct {
	label, op, value string
	pattern          *regexp.Regexp
}

func (m *matcher) holds(l Labels) bool {
	v := l[m.label]
	switch m.op {
	case "=":
		return v == m.value
	case "!=":
		return v != m.value
	case "=~":
		return m.pattern.MatchString(v)
	}
	return !m.pattern.MatchString(v)
}

var token = regexp.MustCompile(`^(?:[a-zA-Z_:][a-zA-Z0-9_:]*|[0-9]+(?:\.[0-9]+)?(?:ms|[smhdw])?|"[^"]*"|=~|!~|!=|==|>=|<=|[-+*/(){}\[\],=<>])`)

type parser struct {
	tokens []string
	i      int
}

var (
	functions  = []string{"rate", "increase", "changes", "histogram_quantile", "time", "vector", "ceil", "round"}
	aggregates = []string{"sum", "max", "min", "count", "topk"}
)

// parse reads an expression. What the dashboards do not use is an error.
func parse(text string) (*node, error) {
	var p parser
	for rest := strings.TrimSpace(text); rest != ""; rest = strings.TrimSpace(rest) {
		t := token.FindString(rest)
		if t == "" {
			return nil, fmt.Errorf("can't read %q", rest)
		}
		p.tokens, rest = append(p.tokens, t), rest[len(t):]
	}
	n, err := p.binary(0)
	if err == nil && p.i < len(p.tokens) {
		err = fmt.Errorf("unexpected %q", p.tokens[p.i])
	}
	return n, err
}

func (p *parser) peek() string {
	if p.i < len(p.tokens) {
		return p.tokens[p.i]
	}
	return ""
}

func (p *parser) take(want string) bool {
	if p.peek() != want {
		return false
	}
	p.i++
	return true
}

func (p *parser) need(want string) error {
	if !p.take(want) {
		return fmt.Errorf("%q where %q was expected", p.peek(), want)
	}
	return nil
}

// levels are the operators, those that bind least first.
var levels = [][]string{{"or"}, {"and", "unless"}, {">", "<", ">=", "<=", "==", "!="}, {"+", "-"}, {"*", "/"}}

func (p *parser) binary(level int) (*node, error) {
	if level == len(levels) {
		return p.primary()
	}
	left, err := p.binary(level + 1)
	for err == nil && slices.Contains(levels[level], p.peek()) {
		n := &node{kind: "binary", text: p.peek()}
		p.i++
		if p.take("on") {
			n.onSet = true
			if n.on, err = p.names(); err != nil {
				return nil, err
			}
		}
		for _, side := range []string{"left", "right"} {
			if p.take("group_" + side) {
				n.many = side
				if p.peek() == "(" {
					if names, err := p.names(); err != nil || len(names) > 0 {
						return nil, fmt.Errorf("group_%s with labels: %v", side, err)
					}
				}
			}
		}
		right, rerr := p.binary(level + 1)
		if rerr != nil {
			return nil, rerr
		}
		n.args = []*node{left, right}
		left = n
	}
	return left, err
}

func (p *parser) names() ([]string, error) {
	names := []string{}
	if err := p.need("("); err != nil {
		return nil, err
	}
	for !p.take(")") {
		if p.peek() == "" {
			return nil, fmt.Errorf("a list without an end")
		}
		names = append(names, p.peek())
		p.i++
		p.take(",")
	}
	return names, nil
}

func (p *parser) primary() (*node, error) {
	t := p.peek()
	p.i++
	switch {
	case t == "(":
		n, err := p.binary(0)
		if err != nil {
			return nil, err
		}
		return n, p.need(")")
	case t != "" && t[0] >= '0' && t[0] <= '9':
		v, err := strconv.ParseFloat(t, 64)
		return &node{kind: "number", value: v}, err
	case slices.Contains(aggregates, t):
		n := &node{kind: "aggregate", text: t}
		if p.take("by") {
			var err error
			if n.by, err = p.names(); err != nil {
				return nil, err
			}
		}
		return n, p.arguments(n)
	case slices.Contains(functions, t) && p.peek() == "(":
		n := &node{kind: "call", text: t}
		return n, p.arguments(n)
	case t != "" && (t[0] == '_' || t[0] == ':' || t[0] >= 'a' && t[0] <= 'z' || t[0] >= 'A' && t[0] <= 'Z') && p.peek() != "(":
		return p.selector(t)
	}
	return nil, fmt.Errorf("can't evaluate %q", t)
}

func (p *parser) arguments(n *node) error {
	if err := p.need("("); err != nil {
		return err
	}
	for !p.take(")") {
		a, err := p.binary(0)
		if err != nil {
			return err
		}
		n.args = append(n.args, a)
		if !p.take(",") && p.peek() != ")" {
			return fmt.Errorf("%q in a list", p.peek())
		}
	}
	want := map[string]int{"time": 0, "histogram_quantile": 2, "topk": 2}
	count, ok := want[n.text]
	if !ok {
		count = 1
	}
	if len(n.args) != count {
		return fmt.Errorf("%s has %d arguments", n.text, len(n.args))
	}
	if ranged := slices.Contains([]string{"rate", "increase", "changes"}, n.text); ranged && (n.args[0].kind != "select" || n.args[0].window == 0) {
		return fmt.Errorf("%s of what is not a range", n.text)
	}
	return nil
}

func (p *parser) selector(name string) (*node, error) {
	n := &node{kind: "select", text: name}
	if p.take("{") {
		for !p.take("}") {
			m := matcher{label: p.peek()}
			p.i++
			m.op = p.peek()
			p.i++
			value, err := strconv.Unquote(p.peek())
			p.i++
			if err != nil || !slices.Contains([]string{"=", "!=", "=~", "!~"}, m.op) {
				return nil, fmt.Errorf("a condition on %s that can't be read", m.label)
			}
			m.value = value
			if strings.HasSuffix(m.op, "~") {
				if m.pattern, err = regexp.Compile("^(?:" + value + ")$"); err != nil {
					return nil, err
				}
			}
			n.match = append(n.match, m)
			p.take(",")
		}
	}
	if p.take("[") {
		d, err := time.ParseDuration(p.peek())
		p.i++
		if err != nil || d <= 0 {
			return nil, fmt.Errorf("the range of %s: %v", name, err)
		}
		n.window = d
		return n, p.need("]")
	}
	return n, nil
}
