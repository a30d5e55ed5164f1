package scim

import (
	"encoding/json"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"github.com/wherry-ml/wherry"
)

// operations is a SCIM patch.
type operations struct {
	Operations []struct {
		Op    string          `json:"op"`
		Path  string          `json:"path"`
		Value json.RawMessage `json:"value"`
	} `json:"Operations"`
}

// each does what a patch asks for, attribute by attribute. A path that picks one
// value of several, as entitlements[value eq "x"], is told as that value.
func (in *operations) each(do func(op, path string, value json.RawMessage) error) error {
	for _, o := range in.Operations {
		op := strings.ToLower(o.Op)
		if op != "add" && op != "replace" && op != "remove" {
			return wherry.Errorf(wherry.CodeInvalidParameter, "op is %q: add, replace and remove are there", o.Op)
		}
		changes := map[string]json.RawMessage{o.Path: o.Value}
		if o.Path == "" {
			changes = nil // else Unmarshal adds to what is there
			if err := json.Unmarshal(o.Value, &changes); err != nil {
				return wherry.Errorf(wherry.CodeInvalidParameter, "an operation without a path needs an object as value")
			}
		}
		for path, value := range changes {
			if m := valueFilter.FindStringSubmatch(path); m != nil {
				if op != "remove" {
					return wherry.NotImplemented("the SCIM operation " + op + " of " + path)
				}
				b, err := json.Marshal([]complexValue{{m[2]}})
				if err != nil {
					return err
				}
				path, value = m[1], b
			}
			if err := do(op, path, value); err != nil {
				return err
			}
		}
	}
	return nil
}

// valueFilter is how a patch names one value to remove.
var valueFilter = regexp.MustCompile(`(?i)^(members|entitlements)\s*\[\s*value\s+eq\s+"([^"]*)"\s*\]$`)

func (a *API) patch(k kind) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		var in operations
		if err := read(r, &in); err != nil {
			return err
		}
		return a.change(w, r, k, func(_ *directory, p *wherry.Principal) error {
			return in.each(func(op, path string, value json.RawMessage) error { return apply(p, op, path, value) })
		})
	}
}

// apply sets one attribute; the others are not supported, and said so.
func apply(p *wherry.Principal, op, name string, value json.RawMessage) error {
	name = strings.ToLower(name)
	if name == "entitlements" {
		list, err := listed(name, value)
		if err != nil {
			return err
		}
		return entitle(p, merged(op, strings.Fields(p.Entitlements), list, len(value) == 0))
	}
	if op == "remove" {
		if name != "externalid" {
			return wherry.NotImplemented("the SCIM operation remove of " + name)
		}
		value = json.RawMessage(`""`)
	}
	var err error
	switch name {
	case "active":
		if json.Unmarshal(value, &p.Active) != nil { // Terraform quotes it
			var s string
			if err = json.Unmarshal(value, &s); err == nil {
				p.Active = strings.EqualFold(s, "true")
			}
		}
	case "displayname":
		err = json.Unmarshal(value, &p.DisplayName)
	case "externalid":
		err = json.Unmarshal(value, &p.ExternalID)
	default:
		return wherry.NotImplemented("changing " + name + " by SCIM")
	}
	if err != nil {
		return wherry.Errorf(wherry.CodeInvalidParameter, "%s cannot be %s", name, value)
	}
	return nil
}

// listed are the values of a patch: a list, or one of them.
func listed(path string, value json.RawMessage) ([]string, error) {
	if len(value) == 0 {
		return nil, nil
	}
	var list []complexValue
	if err := json.Unmarshal(value, &list); err == nil {
		return plain(list), nil
	}
	var one complexValue
	if err := json.Unmarshal(value, &one); err != nil {
		return nil, wherry.Errorf(wherry.CodeInvalidParameter, "%s cannot be %s: a list of {\"value\": …} is expected", path, value)
	}
	return plain([]complexValue{one}), nil
}

// merged is what a list of values becomes by an operation.
func merged(op string, have, given []string, all bool) []string {
	switch {
	case op == "replace" || op == "remove" && all:
		return given
	case op == "remove":
		return slices.DeleteFunc(slices.Clone(have), func(v string) bool { return slices.Contains(given, v) })
	}
	for _, v := range given {
		if !slices.Contains(have, v) {
			have = append(slices.Clone(have), v)
		}
	}
	return have
}
