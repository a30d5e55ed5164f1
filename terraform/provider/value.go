package provider

import (
	"fmt"
	"math/big"
	"reflect"
	"slices"

	"github.com/hashicorp/terraform-plugin-go/tfprotov6"
	"github.com/hashicorp/terraform-plugin-go/tftypes"
)

// Values are the fields of a resource or block: string, bool, int64, float64,
// []any and Values; nil is null, Unknown is known after the apply.
type Values map[string]any

// Unknown is a value that the API will set.
type Unknown struct{}

// read takes what Terraform sent.
func read(v *tfprotov6.DynamicValue, t tftypes.Type) (Values, error) {
	if v == nil {
		return nil, nil
	}
	value, err := v.Unmarshal(t)
	if err != nil {
		return nil, err
	}
	return valuesOf(value)
}

func valuesOf(v tftypes.Value) (Values, error) {
	x, err := fromTerraform(v)
	if err != nil {
		return nil, err
	}
	values, _ := x.(Values)
	return values, nil
}

func fromTerraform(v tftypes.Value) (any, error) {
	switch {
	case !v.IsKnown():
		return Unknown{}, nil
	case v.IsNull():
		return nil, nil
	}
	t := v.Type()
	switch {
	case t.Is(tftypes.String):
		return as[string](v)
	case t.Is(tftypes.Bool):
		return as[bool](v)
	case t.Is(tftypes.Number):
		n := new(big.Float)
		if err := v.As(&n); err != nil {
			return nil, err
		}
		if i, exact := n.Int64(); exact == big.Exact {
			return i, nil
		}
		f, _ := n.Float64()
		return f, nil
	case t.Is(tftypes.List{}), t.Is(tftypes.Set{}), t.Is(tftypes.Tuple{}):
		var items []tftypes.Value
		if err := v.As(&items); err != nil {
			return nil, err
		}
		out := make([]any, len(items))
		for i, item := range items {
			x, err := fromTerraform(item)
			if err != nil {
				return nil, err
			}
			out[i] = x
		}
		return out, nil
	default:
		items := map[string]tftypes.Value{}
		if err := v.As(&items); err != nil {
			return nil, err
		}
		out := Values{}
		for k, item := range items {
			x, err := fromTerraform(item)
			if err != nil {
				return nil, err
			}
			out[k] = x
		}
		return out, nil
	}
}

// write makes what Terraform is given.
func write(v Values, t tftypes.Type) (*tfprotov6.DynamicValue, error) {
	var x any
	if v != nil {
		x = v
	}
	value, err := toTerraform(x, t)
	if err != nil {
		return nil, err
	}
	d, err := tfprotov6.NewDynamicValue(t, value)
	return &d, err
}

func toTerraform(v any, t tftypes.Type) (tftypes.Value, error) {
	switch v := v.(type) {
	case nil:
		return tftypes.NewValue(t, nil), nil
	case Unknown:
		return tftypes.NewValue(t, tftypes.UnknownValue), nil
	case []any:
		var elem tftypes.Type
		switch t := t.(type) {
		case tftypes.List:
			elem = t.ElementType
		case tftypes.Set:
			elem = t.ElementType
		default:
			return tftypes.Value{}, fmt.Errorf("a list where %s belongs", t)
		}
		items := make([]tftypes.Value, len(v))
		for i, item := range v {
			x, err := toTerraform(item, elem)
			if err != nil {
				return tftypes.Value{}, err
			}
			items[i] = x
		}
		return tftypes.NewValue(t, items), nil
	case Values:
		items := map[string]tftypes.Value{}
		if o, ok := t.(tftypes.Object); ok {
			for name, attr := range o.AttributeTypes {
				x, err := toTerraform(v[name], attr)
				if err != nil {
					return tftypes.Value{}, fmt.Errorf("%s: %w", name, err)
				}
				items[name] = x
			}
			return tftypes.NewValue(t, items), nil
		}
		m, ok := t.(tftypes.Map)
		if !ok {
			return tftypes.Value{}, fmt.Errorf("a map where %s belongs", t)
		}
		for name, item := range v {
			x, err := toTerraform(item, m.ElementType)
			if err != nil {
				return tftypes.Value{}, fmt.Errorf("%s: %w", name, err)
			}
			items[name] = x
		}
		return tftypes.NewValue(t, items), nil
	default:
		if err := tftypes.ValidateValue(t, v); err != nil {
			return tftypes.Value{}, err
		}
		return tftypes.NewValue(t, v), nil
	}
}

func as[T any](v tftypes.Value) (any, error) {
	var x T
	err := v.As(&x)
	return x, err
}

// zero reports whether a value says no more than its absence would.
func zero(v any) bool {
	switch v := v.(type) {
	case nil:
		return true
	case []any:
		return len(v) == 0
	case Values:
		for _, x := range v {
			if !zero(x) {
				return false
			}
		}
		return true
	case Unknown:
		return false
	default:
		return reflect.ValueOf(v).IsZero()
	}
}

// equal compares values; sets have no order.
func equal(f *Field, a, b any) bool {
	x, isList := a.([]any)
	y, ok := b.([]any)
	if !isList || !ok || f.Kind != Set && f.Kind != BlockSet {
		return reflect.DeepEqual(a, b)
	}
	if len(x) != len(y) {
		return false
	}
	left := slices.Clone(y)
	for _, item := range x {
		i := slices.IndexFunc(left, func(o any) bool { return reflect.DeepEqual(item, o) })
		if i < 0 {
			return false
		}
		left = slices.Delete(left, i, i+1)
	}
	return true
}
