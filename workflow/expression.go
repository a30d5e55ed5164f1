package workflow

import (
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"

	"github.com/nektos/act/pkg/exprparser"
	"github.com/nektos/act/pkg/model"
	"gopkg.in/yaml.v3"
)

// evaluator evaluates the expressions of a job before it begins, with what it
// needs known and without secrets, which GitHub does not give there either.
type evaluator struct {
	interpreter exprparser.Interpreter
}

// evaluator of a job of a run; leg is nil before the expansion of its matrix.
func (r *Run) evaluator(m *model.Workflow, key string, leg *Job) evaluator {
	needs := map[string]exprparser.Needs{}
	job := m.Jobs[key]
	for _, n := range job.Needs() {
		if up := m.Jobs[n]; up != nil {
			needs[n] = exprparser.Needs{Outputs: up.Outputs, Result: up.Result}
		}
	}
	inputs := map[string]any{}
	for k, v := range r.Event.Inputs {
		inputs[k] = v
	}
	var matrix map[string]any
	strategy := map[string]any{}
	if leg != nil {
		matrix, strategy = leg.Matrix, leg.Strategy()
	}
	status := "success"
	if r.Cancel {
		status = "cancelled"
	}
	return evaluator{exprparser.NewInterpeter(&exprparser.EvaluationEnvironment{
		Github: r.github(key), Env: map[string]string{}, Job: &model.JobContext{Status: status}, Steps: map[string]*model.StepResult{},
		Runner: map[string]any{}, Vars: r.Vars, Strategy: strategy, Matrix: matrix, Needs: needs, Inputs: inputs,
		HashFiles: func([]reflect.Value) (any, error) {
			return "", fmt.Errorf("hashFiles can not be used before a job has begun")
		},
	}, exprparser.Config{Run: &model.Run{Workflow: m, JobID: key}, Context: "job"})}
}

// evaluate is one expression. What the engine can not bear, such as a lone brace
// in the text of format(), is an error of the expression: whoever pushes a
// workflow must not end the server.
func (e evaluator) evaluate(text string, check exprparser.DefaultStatusCheck) (v any, err error) {
	defer func() {
		if p := recover(); p != nil {
			v, err = nil, fmt.Errorf("can not be evaluated: %v", p)
		}
	}()
	return e.interpreter.Evaluate(text, check)
}

// condition evaluates an if: of a job; without a status function it holds only
// after success.
func (e evaluator) condition(text string) (bool, error) {
	text = strings.TrimSpace(text)
	if inner, ok := strings.CutPrefix(text, "${{"); ok && strings.Count(text, "${{") == 1 && strings.HasSuffix(inner, "}}") {
		text = strings.TrimSuffix(inner, "}}")
	} else if strings.Contains(text, "${{") {
		return false, fmt.Errorf("if: %s mixes text and an expression: it would always hold", text)
	}
	if strings.TrimSpace(text) == "" {
		text = "success()"
	}
	v, err := e.evaluate(text, exprparser.DefaultStatusCheckSuccess)
	if err != nil {
		return false, fmt.Errorf("if: %s: %w", text, err)
	}
	return exprparser.IsTruthy(v), nil
}

// text replaces the expressions in s.
func (e evaluator) text(s string) (string, error) {
	v, err := e.value(s)
	if err != nil {
		return "", err
	}
	return display(v), nil
}

// value is like text; a string that is one expression keeps its type.
func (e evaluator) value(s string) (any, error) {
	var b strings.Builder
	rest := s
	for {
		before, after, found := strings.Cut(rest, "${{")
		b.WriteString(before)
		if !found {
			return b.String(), nil
		}
		end := closing(after)
		if end < 0 {
			return nil, fmt.Errorf("%s: an expression does not end", s)
		}
		v, err := e.evaluate(strings.TrimSpace(after[:end]), exprparser.DefaultStatusCheckNone)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", s, err)
		}
		rest = after[end+2:]
		if b.Len() == 0 && strings.TrimSpace(rest) == "" {
			return v, nil
		}
		b.WriteString(display(v))
	}
}

// closing is where the }} of an expression begins; one in a string is text.
func closing(s string) int {
	quoted := false
	for i := 0; i+1 < len(s); i++ {
		switch {
		case s[i] == '\'':
			quoted = !quoted
		case !quoted && s[i] == '}' && s[i+1] == '}':
			return i
		}
	}
	return -1
}

// display is a value in a text, as GitHub writes it.
func display(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	case bool:
		return strconv.FormatBool(v)
	case float64:
		if v == math.Trunc(v) && math.Abs(v) < 1e15 {
			return strconv.FormatInt(int64(v), 10)
		}
		return strconv.FormatFloat(v, 'g', 15, 64)
	case int:
		return strconv.Itoa(v)
	}
	switch k := reflect.ValueOf(v).Kind(); k {
	case reflect.Map, reflect.Struct, reflect.Pointer:
		return "Object"
	case reflect.Slice:
		return "Array"
	default:
		return fmt.Sprint(v)
	}
}

// node evaluates all strings of a YAML value.
func (e evaluator) node(n *yaml.Node) error {
	for _, c := range n.Content {
		if err := e.node(c); err != nil {
			return err
		}
	}
	if n.Kind != yaml.ScalarNode || !strings.Contains(n.Value, "${{") {
		return nil
	}
	v, err := e.value(n.Value)
	if err != nil {
		return err
	}
	line, column := n.Line, n.Column
	*n = yaml.Node{}
	if err := n.Encode(v); err != nil {
		return err
	}
	n.Line, n.Column = line, column
	return nil
}
