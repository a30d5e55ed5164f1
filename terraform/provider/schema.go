package provider

import (
	"github.com/hashicorp/terraform-plugin-go/tfprotov6"
	"github.com/hashicorp/terraform-plugin-go/tftypes"
)

// schemaOf is the table as Terraform is told it.
func schemaOf(fields []*Field, about string) *tfprotov6.Schema {
	return &tfprotov6.Schema{Block: blockOf(fields, about)}
}

func blockOf(fields []*Field, about string) *tfprotov6.SchemaBlock {
	b := &tfprotov6.SchemaBlock{Description: about}
	for _, f := range fields {
		if !f.isBlock() {
			a := &tfprotov6.SchemaAttribute{Name: f.Name, Type: f.terraformType(), Required: f.Required, Optional: f.Optional, Computed: f.Computed, Sensitive: f.Sensitive}
			if f.Kind == Nested {
				a.Type, a.NestedType = nil, &tfprotov6.SchemaObject{Nesting: tfprotov6.SchemaObjectNestingModeSingle, Attributes: blockOf(f.Fields, "").Attributes}
			}
			b.Attributes = append(b.Attributes, a)
			continue
		}
		n := &tfprotov6.SchemaNestedBlock{TypeName: f.Name, Block: blockOf(f.Fields, ""), Nesting: tfprotov6.SchemaNestedBlockNestingModeList}
		switch f.Kind {
		case One:
			n.MaxItems = 1
		case BlockSet:
			n.Nesting = tfprotov6.SchemaNestedBlockNestingModeSet
		case Single:
			n.Nesting = tfprotov6.SchemaNestedBlockNestingModeSingle
		}
		if f.Required && f.Kind != Single {
			n.MinItems = 1
		}
		b.BlockTypes = append(b.BlockTypes, n)
	}
	return b
}

// terraformType is the field's type in Terraform's values.
func (f *Field) terraformType() tftypes.Type {
	switch f.Kind {
	case Bool:
		return tftypes.Bool
	case Int, Float:
		return tftypes.Number
	case Map:
		return tftypes.Map{ElementType: tftypes.String}
	case List:
		return tftypes.List{ElementType: tftypes.String}
	case Ints:
		return tftypes.List{ElementType: tftypes.Number}
	case Set:
		return tftypes.Set{ElementType: tftypes.String}
	case Block, One, Objects:
		return tftypes.List{ElementType: objectType(f.Fields)}
	case ObjectMap:
		return tftypes.Map{ElementType: objectType(f.Fields)}
	case BlockSet:
		return tftypes.Set{ElementType: objectType(f.Fields)}
	case Single, Nested:
		return objectType(f.Fields)
	default:
		return tftypes.String
	}
}

func objectType(fields []*Field) tftypes.Object {
	o := tftypes.Object{AttributeTypes: map[string]tftypes.Type{}}
	for _, f := range fields {
		o.AttributeTypes[f.Name] = f.terraformType()
	}
	return o
}
