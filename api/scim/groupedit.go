package scim

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/api"
	"github.com/wherry-ml/wherry/auth"
	"github.com/wherry-ml/wherry/store/azure"
)

// complexValue is SCIM's form of one value of several.
type complexValue struct {
	Value string `json:"value"`
}

// groupInput is what a client may set of a group.
type groupInput struct {
	DisplayName  string         `json:"displayName"`
	ExternalID   string         `json:"externalId"`
	Members      []complexValue `json:"members"`
	Entitlements []complexValue `json:"entitlements"`
	Roles        []complexValue `json:"roles"`
}

func plain(list []complexValue) []string {
	out := make([]string, 0, len(list))
	for _, v := range list {
		if v.Value != "" && !slices.Contains(out, v.Value) { // the provider databricks sends "" for none
			out = append(out, v.Value)
		}
	}
	return out
}

func (in *groupInput) fields() (scimFields, error) {
	if len(in.Roles) > 0 {
		return scimFields{}, wherry.NotImplemented("roles of a group")
	}
	return scimFields{ExternalID: in.ExternalID, Entitlements: plain(in.Entitlements)}, nil
}

func (a *API) createGroup(w http.ResponseWriter, r *http.Request) error {
	var in groupInput
	if err := read(r, &in); err != nil {
		return err
	}
	fields, err := in.fields()
	if err != nil {
		return err
	}
	var doc map[string]any
	err = a.edit(r, func(d *directory) error {
		g := azure.NewGroup(azure.Document{"mailNickname": nickname(in.DisplayName), "mailEnabled": false, "securityEnabled": true})
		if err := d.rename(&g, in.DisplayName); err != nil {
			return err
		}
		if g.PrincipalID, err = d.tx.NextID("principal"); err != nil {
			return err
		}
		if err := d.put(g, fields); err != nil {
			return err
		}
		if err := d.addMembers(g, plain(in.Members)); err != nil {
			return err
		}
		doc, err = d.reread(g)
		return err
	})
	if err != nil {
		return err
	}
	return api.WriteJSON(w, http.StatusCreated, doc)
}

// nickname is what Graph asks of each group: its name without what an address
// cannot have.
func nickname(name string) string {
	return strings.Map(func(c rune) rune {
		if c > ' ' && c < 0x7f && !strings.ContainsRune(`@()\[]";:<>,`, c) {
			return c
		}
		return '-'
	}, name)
}

// reread is the document as it is stored.
func (d *directory) reread(g azure.Object) (map[string]any, error) {
	if g.PrincipalID < auth.AdminsID {
		var err error
		if g, err = azure.GroupByNumber(d.tx, g.PrincipalID); err != nil {
			return nil, err
		}
	}
	return d.document(g)
}

func (a *API) replaceGroup(w http.ResponseWriter, r *http.Request) error {
	var in groupInput
	if err := read(r, &in); err != nil {
		return err
	}
	fields, err := in.fields()
	if err != nil {
		return err
	}
	return a.changeGroup(w, r, func(d *directory, g *azure.Object, f *scimFields) error {
		if err := d.setName(g, in.DisplayName); err != nil {
			return err
		}
		*f = fields
		return d.setMembers(*g, plain(in.Members))
	})
}

// setName renames a group; a built-in one keeps its name.
func (d *directory) setName(g *azure.Object, name string) error {
	if g.PrincipalID >= auth.AdminsID {
		if !strings.EqualFold(name, groupName(*g)) {
			return wherry.Errorf(wherry.CodeInvalidParameter, "the group %s is built in and keeps its name", groupName(*g))
		}
		return nil
	}
	return d.rename(g, name)
}

// changeGroup edits the group of the path, and answers with what it became.
func (a *API) changeGroup(w http.ResponseWriter, r *http.Request, change func(*directory, *azure.Object, *scimFields) error) error {
	var doc map[string]any
	err := a.edit(r, func(d *directory) error {
		g, err := d.group(r.PathValue("id"))
		if err != nil {
			return err
		}
		f, err := fieldsOf(g)
		if err != nil {
			return err
		}
		if err := change(d, &g, &f); err != nil {
			return err
		}
		switch {
		case g.PrincipalID < auth.AdminsID:
			if err := d.put(g, f); err != nil {
				return err
			}
		case f.ExternalID != "" || len(f.Entitlements) > 0:
			return wherry.NotImplemented("entitlements of the built-in group " + groupName(g))
		}
		doc, err = d.reread(g)
		return err
	})
	if err != nil {
		return err
	}
	return api.WriteJSON(w, http.StatusOK, doc)
}

func (a *API) patchGroup(w http.ResponseWriter, r *http.Request) error {
	var in operations
	if err := read(r, &in); err != nil {
		return err
	}
	return a.changeGroup(w, r, func(d *directory, g *azure.Object, f *scimFields) error {
		return in.each(func(op, path string, value json.RawMessage) error { return d.apply(g, f, op, path, value) })
	})
}

// apply does one operation of a patch.
func (d *directory) apply(g *azure.Object, f *scimFields, op, path string, value json.RawMessage) error {
	switch strings.ToLower(path) {
	case "members":
		ids, err := listed(path, value)
		switch {
		case err != nil:
			return err
		case op == "add":
			return d.addMembers(*g, ids)
		case op == "replace" || len(value) == 0: // without a value all of them leave
			return d.setMembers(*g, ids)
		}
		return d.dropMembers(*g, ids)
	case "entitlements":
		list, err := listed(path, value)
		if err != nil {
			return err
		}
		f.Entitlements = merged(op, f.Entitlements, list, len(value) == 0)
		return nil
	case "displayname", "externalid":
		return d.applyText(g, f, op, path, value)
	case "schemas", "id": // of the document; a group keeps its own
		return nil
	}
	return wherry.NotImplemented("changing " + path + " of a group by SCIM")
}

func (d *directory) applyText(g *azure.Object, f *scimFields, op, path string, value json.RawMessage) error {
	var text string
	if op != "remove" {
		if err := json.Unmarshal(value, &text); err != nil {
			return wherry.Errorf(wherry.CodeInvalidParameter, "%s cannot be %s", path, value)
		}
	}
	if strings.EqualFold(path, "displayName") {
		return d.setName(g, text)
	}
	f.ExternalID = text
	return nil
}
