package provider

import (
	"context"
	"errors"
	"fmt"
	"maps"

	"github.com/hashicorp/terraform-plugin-go/tfprotov6"
	"github.com/hashicorp/terraform-plugin-go/tftypes"
)

// UpgradeResourceState implements tfprotov6.ResourceServer: fields that the
// table does not know are left out, those that the state lacks are null.
func (s *server[C]) UpgradeResourceState(_ context.Context, r *tfprotov6.UpgradeResourceStateRequest) (*tfprotov6.UpgradeResourceStateResponse, error) {
	out := &tfprotov6.UpgradeResourceStateResponse{}
	t := s.Tables[r.TypeName]
	v, err := r.RawState.UnmarshalWithOpts(objectType(t.Fields), tfprotov6.UnmarshalOpts{
		ValueFromJSONOpts: tftypes.ValueFromJSONOpts{IgnoreUndefinedAttributes: true},
	})
	if err != nil {
		out.Diagnostics = failed("the state of a "+r.TypeName, err)
		return out, nil
	}
	values, err := valuesOf(v)
	if err == nil {
		out.UpgradedState, err = s.write(t, values)
	}
	if err != nil {
		out.Diagnostics = failed("the state of a "+r.TypeName, err)
	}
	return out, nil
}

// UpgradeResourceIdentity implements tfprotov6.ResourceServer.
func (s *server[C]) UpgradeResourceIdentity(context.Context, *tfprotov6.UpgradeResourceIdentityRequest) (*tfprotov6.UpgradeResourceIdentityResponse, error) {
	return nil, errors.New("resources have no identity schema")
}

// MoveResourceState implements tfprotov6.ResourceServer.
func (s *server[C]) MoveResourceState(_ context.Context, r *tfprotov6.MoveResourceStateRequest) (*tfprotov6.MoveResourceStateResponse, error) {
	return &tfprotov6.MoveResourceStateResponse{Diagnostics: failed("moved", fmt.Errorf("a %s cannot become a %s here", r.SourceTypeName, r.TargetTypeName))}, nil
}

// ReadResource implements tfprotov6.ResourceServer.
func (s *server[C]) ReadResource(ctx context.Context, r *tfprotov6.ReadResourceRequest) (*tfprotov6.ReadResourceResponse, error) {
	out := &tfprotov6.ReadResourceResponse{NewState: r.CurrentState, Private: r.Private}
	t, h := s.Tables[r.TypeName], s.Resources[r.TypeName]
	values, err := read(r.CurrentState, objectType(t.Fields))
	if err != nil || values == nil {
		if err != nil {
			out.Diagnostics = failed("read "+r.TypeName, err)
		}
		return out, nil
	}
	c, err := s.client()
	state := &State{Table: t, Values: values}
	if err == nil {
		err = h.Read(ctx, c, state)
	}
	if errors.Is(err, ErrGone) { // the plan shows that it is to be made again
		state.Values, err = nil, nil
	}
	if err == nil {
		out.NewState, err = s.write(t, state.Values)
	}
	if err != nil {
		out.Diagnostics = failed(fmt.Sprintf("read %s %s", r.TypeName, state.ID()), err)
	}
	return out, nil
}

func (s *server[C]) client() (c C, err error) {
	if s.connect == nil {
		return c, errors.New("the provider is not configured")
	}
	return s.connect()
}

func (s *server[C]) write(t *Table, v Values) (*tfprotov6.DynamicValue, error) {
	if v != nil {
		v = withBlocks(t.Fields, v)
	}
	return write(v, objectType(t.Fields))
}

// withBlocks gives blocks that are not there the form that Terraform wants: an
// empty list, never null.
func withBlocks(fields []*Field, v Values) Values {
	out := maps.Clone(v)
	for _, f := range fields {
		if !f.isBlock() {
			continue
		}
		switch x := out[f.Name].(type) {
		case nil:
			if f.Kind != Single {
				out[f.Name] = []any{}
			}
		case Values:
			out[f.Name] = withBlocks(f.Fields, x)
		case []any:
			items := make([]any, len(x))
			for i, item := range x {
				if b, ok := item.(Values); ok {
					item = withBlocks(f.Fields, b)
				}
				items[i] = item
			}
			out[f.Name] = items
		}
	}
	return out
}

// PlanResourceChange implements tfprotov6.ResourceServer.
func (s *server[C]) PlanResourceChange(_ context.Context, r *tfprotov6.PlanResourceChangeRequest) (*tfprotov6.PlanResourceChangeResponse, error) {
	out := &tfprotov6.PlanResourceChangeResponse{PlannedState: r.ProposedNewState, PlannedPrivate: r.PriorPrivate}
	t, h := s.Tables[r.TypeName], s.Resources[r.TypeName]
	prior, err1 := read(r.PriorState, objectType(t.Fields))
	proposed, err2 := read(r.ProposedNewState, objectType(t.Fields))
	config, err3 := read(r.Config, objectType(t.Fields))
	if err := errors.Join(err1, err2, err3); err != nil || proposed == nil {
		if err != nil {
			out.Diagnostics = failed("plan "+r.TypeName, err)
		}
		return out, nil
	}
	p := &planner{}
	state := &State{Table: t, Values: p.block(t.Fields, config, prior, tftypes.NewAttributePath()), Prior: prior}
	if prior != nil {
		state.replaceAll(p, h.Update == nil)
		volatile(t.Fields, state.Values, prior)
	}
	var err error
	if h.Plan != nil {
		err = h.Plan(state)
	}
	if err == nil {
		out.PlannedState, err = s.write(t, state.Values)
	}
	if err != nil {
		out.Diagnostics = failed("plan "+r.TypeName, err)
	}
	out.RequiresReplace = p.replace
	return out, nil
}

// replaceAll replaces the resource for a change of any field that the API has,
// if there is no update.
func (s *State) replaceAll(p *planner, noUpdate bool) {
	if !noUpdate {
		return
	}
	for _, f := range s.Fields {
		if !f.New && f.Path != nil && s.Changed(f.Name) {
			p.replace = append(p.replace, tftypes.NewAttributePath().WithAttributeName(f.Name))
		}
	}
}

// ApplyResourceChange implements tfprotov6.ResourceServer.
func (s *server[C]) ApplyResourceChange(ctx context.Context, r *tfprotov6.ApplyResourceChangeRequest) (*tfprotov6.ApplyResourceChangeResponse, error) {
	out := &tfprotov6.ApplyResourceChangeResponse{NewState: r.PriorState, Private: r.PlannedPrivate}
	t, h := s.Tables[r.TypeName], s.Resources[r.TypeName]
	prior, err1 := read(r.PriorState, objectType(t.Fields))
	planned, err2 := read(r.PlannedState, objectType(t.Fields))
	c, err3 := s.client()
	if err := errors.Join(err1, err2, err3); err != nil {
		out.Diagnostics = failed("apply "+r.TypeName, err)
		return out, nil
	}
	if planned == nil {
		state := &State{Table: t, Values: prior}
		if err := h.Delete(ctx, c, state); err != nil && !errors.Is(err, ErrGone) {
			out.Diagnostics = failed(fmt.Sprintf("delete %s %s", t.Name, state.ID()), err)
			return out, nil
		}
		out.NewState, _ = s.write(t, nil) // null of any type can be written
		return out, nil
	}
	values, err := s.change(ctx, c, h, &State{Table: t, Values: maps.Clone(planned), Prior: prior}, planned)
	if err != nil {
		what := "create " + t.Name
		if prior != nil {
			what = fmt.Sprintf("update %s %v", t.Name, prior["id"])
		}
		out.Diagnostics = failed(what, err)
	}
	if values != nil || prior == nil {
		if out.NewState, err = s.write(t, values); err != nil {
			out.Diagnostics = failed("apply "+t.Name, err)
		}
	}
	return out, nil
}

// change creates or updates, and returns the new state. With an error it is
// what is known of a resource that was made half, or nil for the state before.
func (s *server[C]) change(ctx context.Context, c C, h Handler[C], state *State, planned Values) (Values, error) {
	var err error
	switch {
	case state.Prior == nil:
		err = h.Create(ctx, c, state)
	case h.Update != nil:
		err = h.Update(ctx, c, state)
	}
	if err != nil {
		if state.Prior != nil || state.ID() == "" {
			return nil, err
		}
		planned["id"] = state.ID()
		half, _ := settle(planned, nil).(Values) // values settle to values
		return half, err
	}
	after := &State{Table: state.Table, Values: maps.Clone(state.Values)}
	if err := h.Read(ctx, c, after); err != nil {
		if errors.Is(err, ErrGone) {
			err = errors.New("the API took it, and does not have it when asked again")
		}
		planned["id"] = state.ID()
		half, _ := settle(planned, nil).(Values)
		return half, err
	}
	done, _ := settle(planned, after.Values).(Values)
	return done, nil
}

// ImportResourceState implements tfprotov6.ResourceServer.
func (s *server[C]) ImportResourceState(_ context.Context, r *tfprotov6.ImportResourceStateRequest) (*tfprotov6.ImportResourceStateResponse, error) {
	out := &tfprotov6.ImportResourceStateResponse{}
	t, h := s.Tables[r.TypeName], s.Resources[r.TypeName]
	state := &State{Table: t, Values: Values{}}
	for _, f := range t.Fields {
		if f.Default != nil && f.Path == nil {
			state.Values[f.Name] = f.Default
		}
	}
	state.SetID(r.ID)
	var err error
	if h.Import != nil {
		err = h.Import(state)
	}
	var v *tfprotov6.DynamicValue
	if err == nil {
		v, err = s.write(t, state.Values)
	}
	if err != nil {
		out.Diagnostics = failed("import "+r.TypeName, err)
		return out, nil
	}
	out.ImportedResources = []*tfprotov6.ImportedResource{{TypeName: r.TypeName, State: v}}
	return out, nil
}

// ReadDataSource implements tfprotov6.DataSourceServer.
func (s *server[C]) ReadDataSource(ctx context.Context, r *tfprotov6.ReadDataSourceRequest) (*tfprotov6.ReadDataSourceResponse, error) {
	out := &tfprotov6.ReadDataSourceResponse{}
	t := s.Tables["data."+r.TypeName]
	values, err := read(r.Config, objectType(t.Fields))
	state := &State{Table: t, Values: values}
	var c C
	if err == nil {
		c, err = s.client()
	}
	if err == nil {
		err = s.Data[r.TypeName](ctx, c, state)
	}
	if errors.Is(err, ErrGone) {
		err = errors.New("there is no such thing")
	}
	if err == nil {
		out.State, err = s.write(t, state.Values)
	}
	if err != nil {
		out.Diagnostics = failed("data "+r.TypeName, err)
	}
	return out, nil
}
