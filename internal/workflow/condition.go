package workflow

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	wfv1 "github.com/argoproj/argo-workflows/v3/pkg/apis/workflow/v1alpha1"
	"github.com/argoproj/argo-workflows/v3/util/expr/argoexpr"
	exprenv "github.com/argoproj/argo-workflows/v3/util/expr/env"
	"github.com/argoproj/argo-workflows/v3/util/intstr"
	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/parser"

	"mlops/internal/progress"
)

// condition is what a task's depends says: an expression over the results of
// other tasks. The zero value is always met.
type condition struct {
	expression string
	tasks      []string // that it names, sorted
}

// results are the words that depends knows about a task.
type results struct {
	Succeeded, Failed, Errored, Skipped, Omitted bool
}

// taskWord is a task's name, or one with a result: "load", "load.Skipped".
var taskWord = regexp.MustCompile(`[A-Za-z0-9][-A-Za-z0-9]*(\.[A-Za-z]+)?`)

// parseDepends reads a task's depends, or its older form dependencies, which means
// that all of those tasks have succeeded or were skipped; so does a bare name in
// depends.
func parseDepends(depends string, dependencies []string) (condition, error) {
	if depends != "" && len(dependencies) > 0 {
		return condition{}, errors.New("want one of depends and dependencies")
	}
	if depends == "" {
		depends = strings.Join(dependencies, " && ")
	}
	if depends == "" {
		return condition{}, nil
	}
	names := map[string]bool{}
	env := map[string]results{}
	var wrong error
	// Argo's names have dashes, which an expression would read as minus.
	expression := taskWord.ReplaceAllStringFunc(depends, func(word string) string {
		name, result, found := strings.Cut(word, ".")
		names[name] = true
		env[name] = results{}
		switch result {
		case "Succeeded", "Failed", "Errored", "Skipped", "Omitted":
			return fmt.Sprintf("tasks[%q].%s", name, result)
		}
		if found {
			wrong = fmt.Errorf("%q: the local runner can't honour the result %q", word, result)
		}
		return fmt.Sprintf("(tasks[%q].Succeeded || tasks[%q].Skipped)", name, name)
	})
	if wrong != nil {
		return condition{}, wrong
	}
	c := condition{expression: expression, tasks: slices.Sorted(maps.Keys(names))}
	if _, err := c.met(env); err != nil {
		return condition{}, fmt.Errorf("%q: %w", depends, err)
	}
	return c, nil
}

// met evaluates the condition with the code that Argo uses for it.
func (c condition) met(tasks map[string]results) (bool, error) {
	if c.expression == "" {
		return true, nil
	}
	return argoexpr.EvalBool(c.expression, map[string]any{"tasks": tasks})
}

// evalWhen evaluates a when whose {{ }} are filled in. Argo does that with
// govaluate, which guesses whether a word without quotes is a string or a
// number; so only the unambiguous part is honoured: quoted strings and
// true/false, compared by == and !=, joined by && and ||, and negated by !.
func evalWhen(when string) (bool, error) {
	if when == "" {
		return true, nil
	}
	tree, err := parser.Parse(when)
	if err != nil {
		return false, fmt.Errorf("when %q: %w", when, err)
	}
	value, err := evalNode(tree.Node)
	if err != nil {
		return false, fmt.Errorf("when %q: %w", when, err)
	}
	met, ok := value.(bool)
	if !ok {
		return false, fmt.Errorf("when %q is not true or false", when)
	}
	return met, nil
}

// checkWhen evaluates a when with a word in the place of each reference, so that
// what can't be honoured shows before anything runs.
func checkWhen(when string) error {
	_, err := evalWhen(reference.ReplaceAllString(when, "x"))
	return err
}

var reference = regexp.MustCompile(`{{[^}]*}}`)

func evalNode(node ast.Node) (any, error) {
	switch n := node.(type) {
	case *ast.StringNode:
		return n.Value, nil
	case *ast.BoolNode:
		return n.Value, nil
	case *ast.UnaryNode:
		if n.Operator == "!" {
			v, err := evalBool(n.Node)
			return !v, err
		}
		return nil, fmt.Errorf("the local runner can't honour %q", n.Operator)
	case *ast.BinaryNode:
		switch n.Operator {
		case "&&", "||":
			left, err := evalBool(n.Left)
			if err != nil {
				return nil, err
			}
			right, err := evalBool(n.Right)
			if err != nil {
				return nil, err
			}
			if n.Operator == "&&" {
				return left && right, nil
			}
			return left || right, nil
		case "==", "!=":
			left, err := evalNode(n.Left)
			if err != nil {
				return nil, err
			}
			right, err := evalNode(n.Right)
			if err != nil {
				return nil, err
			}
			return (left == right) == (n.Operator == "=="), nil
		}
		return nil, fmt.Errorf("the local runner can't honour %q", n.Operator)
	}
	return nil, fmt.Errorf("the local runner can't honour %s: want quoted strings, true, false and the operators ==, !=, &&, ||, ! between them", node)
}

func evalBool(node ast.Node) (bool, error) {
	v, err := evalNode(node)
	if err != nil {
		return false, err
	}
	b, ok := v.(bool)
	if !ok {
		return false, fmt.Errorf("%v is not true or false", v)
	}
	return b, nil
}

// retries is a retryStrategy, read.
type retries struct {
	limit      int // second and later tries; -1: no limit
	onFailed   bool
	onErrored  bool
	expression string
	wait       time.Duration
	factor     float64
	cap        time.Duration // 0: none
}

// lastTry is what a retry expression can ask about.
type lastTry struct {
	exitCode int // -1 if it has none
	state    progress.State
	took     time.Duration
	message  string
}

func newRetries(s *wfv1.RetryStrategy) (retries, error) {
	if s == nil {
		return retries{}, nil
	}
	r := retries{limit: -1, expression: s.Expression, factor: 1}
	limit, err := intstr.Int32(s.Limit)
	if err != nil {
		return r, fmt.Errorf("limit: %w", err)
	}
	if limit != nil {
		r.limit = int(*limit)
	}
	// Where there is an expression and no policy, Argo lets the expression
	// decide alone.
	switch policy := s.RetryPolicyActual(); policy {
	case wfv1.RetryPolicyAlways:
		r.onFailed, r.onErrored = true, true
	case wfv1.RetryPolicyOnFailure:
		r.onFailed = true
	case wfv1.RetryPolicyOnError:
		r.onErrored = true
	default:
		return r, fmt.Errorf("retryPolicy: the local runner can't honour %q", policy)
	}
	if b := s.Backoff; b != nil {
		if r.wait, err = wfv1.ParseStringToDuration(b.Duration); err != nil {
			return r, fmt.Errorf("backoff.duration: %w", err)
		}
		factor, err := intstr.Int32(b.Factor)
		if err != nil {
			return r, fmt.Errorf("backoff.factor: %w", err)
		}
		if factor != nil && *factor > 0 {
			r.factor = float64(*factor)
		}
		if b.Cap != "" {
			if r.cap, err = wfv1.ParseStringToDuration(b.Cap); err != nil {
				return r, fmt.Errorf("backoff.cap: %w", err)
			}
		}
	}
	if r.expression != "" {
		if _, err := r.agrees(1, lastTry{exitCode: 1, state: progress.Failed}); err != nil {
			return r, fmt.Errorf("expression: %w", err)
		}
	}
	return r, nil
}

// again says whether to try once more after so many tries, and after what pause:
// duration * factor^(tries-1), at most cap.
func (r retries) again(tries int, last lastTry) (bool, time.Duration, error) {
	if r.limit >= 0 && tries > r.limit {
		return false, 0, nil
	}
	if last.state == progress.Failed && !r.onFailed || last.state == progress.Errored && !r.onErrored {
		return false, 0, nil
	}
	if r.expression != "" {
		ok, err := r.agrees(tries, last)
		if err != nil || !ok {
			return false, 0, err
		}
	}
	pause := float64(r.wait) * math.Pow(r.factor, float64(tries-1))
	if pause > math.MaxInt64/2 {
		pause = math.MaxInt64 / 2
	}
	wait := time.Duration(pause)
	if r.cap > 0 && wait > r.cap {
		wait = r.cap
	}
	return true, wait, nil
}

// agrees evaluates the expression with Argo's code and its names, whose values
// are all strings.
func (r retries) agrees(tries int, last lastTry) (bool, error) {
	status := "Failed"
	if last.state == progress.Errored {
		status = "Error"
	}
	env := exprenv.GetFuncMap(map[string]any{
		"retries":            strconv.Itoa(tries - 1),
		"lastRetry.exitCode": strconv.Itoa(last.exitCode),
		"lastRetry.status":   status,
		"lastRetry.duration": fmt.Sprint(last.took.Seconds()),
		"lastRetry.message":  last.message,
	})
	return argoexpr.EvalBool(r.expression, env)
}
