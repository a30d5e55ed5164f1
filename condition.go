package wherry

import (
	"encoding/json"
	"math"
	"strconv"
	"strings"
)

// The operators of a condition task.
const (
	OpEqual          = "EQUAL_TO"
	OpNotEqual       = "NOT_EQUAL"
	OpGreater        = "GREATER_THAN"
	OpGreaterOrEqual = "GREATER_THAN_OR_EQUAL"
	OpLess           = "LESS_THAN"
	OpLessOrEqual    = "LESS_THAN_OR_EQUAL"
)

// Evaluate compares the operands, whose references are resolved: EQUAL_TO and
// NOT_EQUAL compare strings ("12.0" is not "12"), the others numbers. It fails
// on an operand that is not a number where one is needed.
func (c ConditionTask) Evaluate() (bool, error) {
	switch c.Op {
	case OpEqual:
		return c.Left == c.Right, nil
	case OpNotEqual:
		return c.Left != c.Right, nil
	}
	left, err := number(c.Left)
	if err != nil {
		return false, err
	}
	right, err := number(c.Right)
	if err != nil {
		return false, err
	}
	switch c.Op {
	case OpGreater:
		return left > right, nil
	case OpGreaterOrEqual:
		return left >= right, nil
	case OpLess:
		return left < right, nil
	case OpLessOrEqual:
		return left <= right, nil
	}
	return false, Errorf(CodeInvalidParameter, "%q is not an operator of a condition", c.Op)
}

func number(s string) (float64, error) {
	f, err := strconv.ParseFloat(strings.TrimSpace(s), 64)
	if err != nil || math.IsNaN(f) || math.IsInf(f, 0) || strings.ContainsAny(s, "xX_") {
		return 0, Errorf(CodeInvalidParameter, "the condition compares numbers, and %q is none", s)
	}
	return f, nil
}

// Elements reads the inputs of a for_each task, whose references are resolved:
// a JSON array of scalars or objects.
func (f *ForEachTask) Elements(inputs string) ([]json.RawMessage, error) {
	var list []json.RawMessage
	if err := json.Unmarshal([]byte(inputs), &list); err != nil {
		return nil, Errorf(CodeInvalidParameter, "the inputs of a for_each_task are a JSON array; got %s", excerpt(inputs))
	}
	return list, nil
}

func excerpt(s string) string {
	if len(s) > 200 {
		return strings.ToValidUTF8(s[:200], "") + "…"
	}
	return s
}
