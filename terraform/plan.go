package terraform

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/wherry-ml/wherry/store/drift"
)

// Plan is what wherry reads of `terraform show -json` of a plan file.
type Plan struct {
	Changes []Change `json:"resource_changes"`
	Drifted []Change `json:"resource_drift"`
}

// Change is what a plan does to a resource, or what was done to it.
type Change struct {
	Address string `json:"address"`
	Mode    string `json:"mode"` // managed or data
	Type    string `json:"type"`
	Change  struct {
		Actions []string       `json:"actions"`
		Before  map[string]any `json:"before"`
		After   map[string]any `json:"after"`
	} `json:"change"`
}

// Protected are the types whose delete or replace asks for an approval: what is
// in them is gone with them.
var Protected = []string{
	"azurerm_storage_account", "azurerm_storage_container", "azurerm_storage_data_lake_gen2_filesystem", "azurerm_databricks_workspace", "azurerm_key_vault",
	"databricks_catalog",
}

// ReadPlan reads the JSON of a plan.
func ReadPlan(b []byte) (*Plan, error) {
	p := &Plan{}
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.UseNumber()
	if err := dec.Decode(p); err != nil {
		return nil, fmt.Errorf("read the plan: %w", err)
	}
	return p, nil
}

// Digest names what the plan does.
func (p *Plan) Digest() string { return digest(p.Changes) }

func digest(v any) string {
	b, _ := json.Marshal(v) // came from JSON
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// Empty reports whether the plan changes no resource.
func (p *Plan) Empty() bool {
	return !slices.ContainsFunc(p.Changes, func(c Change) bool { return c.Mode == "managed" && !c.does("no-op") && !c.does("read") })
}

func (c Change) does(action string) bool { return slices.Contains(c.Change.Actions, action) }

// Concerns are the reasons to ask before the plan is applied, one line each:
// what was changed or deleted behind Terraform's back and the plan would put
// back, and what it deletes or replaces of the protected types.
func (p *Plan) Concerns() (out []string) {
	planned := map[string]Change{}
	for _, c := range p.Changes {
		planned[c.Address] = c
	}
	// While a workspace is to be replaced its address is not known, and its
	// provider looks for what was in it somewhere else.
	moving := slices.ContainsFunc(p.Changes, func(c Change) bool { return c.Type == "azurerm_databricks_workspace" && c.does("delete") })
	for _, d := range p.Drifted {
		c, ok := planned[d.Address]
		if !ok || c.does("no-op") {
			continue
		}
		if d.does("delete") {
			how := " was deleted behind Terraform's back"
			if moving && strings.HasPrefix(d.Type, "databricks_") {
				how = " was deleted behind Terraform's back, or is lost with the workspace that the plan replaces"
			}
			out = append(out, d.Address+how+": the plan makes it again")
			continue
		}
		if fields := d.undone(c); len(fields) > 0 {
			out = append(out, fmt.Sprintf("%s was changed behind Terraform's back (%s): the plan undoes that", d.Address, strings.Join(fields, ", ")))
		}
	}
	for _, c := range p.Changes {
		if !slices.Contains(Protected, c.Type) || !c.does("delete") {
			continue
		}
		if c.does("create") {
			out = append(out, c.Address+" would be replaced: what is in it is lost")
		} else {
			out = append(out, c.Address+" would be deleted: what is in it is lost")
		}
	}
	return out
}

// undone are the attributes that were changed and that the plan changes again.
func (c Change) undone(planned Change) (fields []string) {
	for _, name := range slices.Sorted(maps.Keys(c.Change.After)) {
		drifted := !reflect.DeepEqual(c.Change.Before[name], c.Change.After[name])
		if drifted && !reflect.DeepEqual(planned.Change.Before[name], planned.Change.After[name]) {
			fields = append(fields, name)
		}
	}
	return fields
}

// module is a module's part of `terraform show -json` of a state.
type module struct {
	Resources []struct {
		Address   string         `json:"address"`
		Mode      string         `json:"mode"`
		Type      string         `json:"type"`
		Values    map[string]any `json:"values"`
		Sensitive map[string]any `json:"sensitive_values"`
	} `json:"resources"`
	Children []module `json:"child_modules"`
}

// ReadState reads the JSON of a state (`terraform show -json`): its resources
// with a digest of what is not sensitive in them.
func ReadState(b []byte) ([]drift.InfraResource, error) {
	var state struct {
		Values struct {
			Root module `json:"root_module"`
		} `json:"values"`
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.UseNumber()
	if err := dec.Decode(&state); err != nil {
		return nil, fmt.Errorf("read the state: %w", err)
	}
	return state.Values.Root.resources([]drift.InfraResource{}), nil
}

func (m module) resources(out []drift.InfraResource) []drift.InfraResource {
	for _, r := range m.Resources {
		if r.Mode != "managed" {
			continue
		}
		for name, v := range r.Sensitive {
			if v == true {
				delete(r.Values, name)
			}
		}
		id, _ := r.Values["id"].(string)
		out = append(out, drift.InfraResource{Address: r.Address, Type: r.Type, ID: id, Digest: digest(r.Values)})
	}
	for _, child := range m.Children {
		out = child.resources(out)
	}
	return out
}
