package scim

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/api"
	"github.com/wherry-ml/wherry/auth"
	"github.com/wherry-ml/wherry/store"
	"github.com/wherry-ml/wherry/store/azure"
)

// directory is one transaction's view of groups. A group is a directory object,
// the same that Graph shows; one that is built in is made of the principals.
type directory struct {
	tx *store.Tx
	by string
}

func builtIn(id int64, name string) azure.Object {
	return azure.Object{ID: name, Kind: azure.KindGroup, PrincipalID: id, Document: azure.Document{"displayName": name}}
}

// groups lists all, the built-in ones first.
func (d *directory) groups() ([]azure.Object, error) {
	list, err := azure.Objects(d.tx, azure.KindGroup)
	return append([]azure.Object{builtIn(auth.AdminsID, auth.AdminsGroup), builtIn(auth.UsersID, auth.UsersGroup)}, list...), err
}

// group returns the one with a number.
func (d *directory) group(id string) (azure.Object, error) {
	n, err := strconv.ParseInt(id, 10, 64)
	switch {
	case err != nil:
		return azure.Object{}, noGroup(id)
	case n == auth.AdminsID:
		return builtIn(n, auth.AdminsGroup), nil
	case n == auth.UsersID:
		return builtIn(n, auth.UsersGroup), nil
	}
	o, err := azure.GroupByNumber(d.tx, n)
	if wherry.CodeOf(err) == wherry.CodeDoesNotExist {
		err = noGroup(id)
	}
	return o, err
}

func noGroup(id string) error {
	return wherry.Errorf(wherry.CodeDoesNotExist, "Group with id %s does not exist", id)
}

// reference is a principal or group as it stands in another's document.
type reference struct {
	object string
	who    *wherry.Principal // nil of a group
	number int64
	name   string
}

func referenceTo(p wherry.Principal) reference {
	return reference{auth.ObjectID(p), &p, p.ID, p.DisplayName}
}

func (r reference) document() map[string]string {
	id, path := strconv.FormatInt(r.number, 10), "Groups/"
	if r.who != nil {
		path = kinds[0].path + "/"
		if r.who.Kind == wherry.KindServicePrincipal {
			path = kinds[1].path + "/"
		}
	}
	return map[string]string{"display": r.name, "value": id, "$ref": path + id}
}

// byNumber finds a principal or a group by its number, of which there is one
// sequence.
func (d *directory) byNumber(id string) (reference, error) {
	n, err := strconv.ParseInt(id, 10, 64)
	if err != nil {
		return reference{}, wherry.Errorf(wherry.CodeInvalidParameter, "the member %q is not the id of a user, service principal or group", id)
	}
	for _, k := range kinds {
		p, err := auth.PrincipalByID(d.tx, k.of, n)
		if err == nil {
			return referenceTo(p), nil
		}
		if wherry.CodeOf(err) != wherry.CodeDoesNotExist {
			return reference{}, err
		}
	}
	g, err := d.group(id)
	if wherry.CodeOf(err) == wherry.CodeDoesNotExist {
		err = wherry.Errorf(wherry.CodeInvalidParameter, "there is no user, service principal or group with the id %s", id)
	}
	return reference{object: g.ID, number: g.PrincipalID, name: groupName(g)}, err
}

func groupName(g azure.Object) string {
	name, _ := g.Document["displayName"].(string)
	return name
}

// members lists who is directly in a group.
func (d *directory) members(g azure.Object) (list []reference, err error) {
	if g.PrincipalID >= auth.AdminsID {
		for _, k := range kinds {
			all, err := auth.Principals(d.tx, k.of)
			if err != nil {
				return nil, err
			}
			for _, p := range all {
				if p.Admin || g.PrincipalID == auth.UsersID {
					list = append(list, referenceTo(p))
				}
			}
		}
		return list, nil
	}
	objects, err := azure.Linked(d.tx, g.ID, azure.RelMember)
	if err != nil {
		return nil, err
	}
	for _, object := range objects {
		p, err := auth.PrincipalByObject(d.tx, object)
		if err == nil {
			list = append(list, referenceTo(p))
			continue
		}
		if wherry.CodeOf(err) != wherry.CodeDoesNotExist {
			return nil, err
		}
		if o, err := azure.FindObject(d.tx, object); err == nil && o.Kind == azure.KindGroup {
			list = append(list, reference{object: o.ID, number: o.PrincipalID, name: groupName(o)})
		} else if err != nil && wherry.CodeOf(err) != wherry.CodeDoesNotExist {
			return nil, err
		}
	}
	slices.SortFunc(list, func(a, b reference) int { return int(a.number - b.number) })
	return list, nil
}

// scimFields are what SCIM keeps with a group and Graph does not know.
type scimFields struct {
	ExternalID   string   `json:"externalId,omitempty"`
	Entitlements []string `json:"entitlements,omitempty"`
}

func fieldsOf(g azure.Object) (f scimFields, err error) {
	if kept, ok := g.Document[azure.SCIMField]; ok {
		var b []byte
		if b, err = json.Marshal(kept); err == nil {
			err = json.Unmarshal(b, &f)
		}
	}
	return f, err
}

// document is a group's wire form.
func (d *directory) document(g azure.Object) (map[string]any, error) {
	f, err := fieldsOf(g)
	if err != nil {
		return nil, err
	}
	members, err := d.members(g)
	if err != nil {
		return nil, err
	}
	above, err := auth.GroupsAbove(d.tx, g.ID)
	if err != nil {
		return nil, err
	}
	shown := make([]map[string]string, 0, len(members))
	for _, m := range members {
		shown = append(shown, m.document())
	}
	meta := "Group"
	if g.PrincipalID >= auth.AdminsID {
		meta = "WorkspaceGroup"
	}
	doc := map[string]any{
		"schemas": []string{schemaGroup}, "id": strconv.FormatInt(g.PrincipalID, 10), "displayName": groupName(g), "meta": map[string]string{"resourceType": meta},
		"members": shown, "groups": inGroups(above),
	}
	if f.ExternalID != "" {
		doc["externalId"] = f.ExternalID
	}
	if len(f.Entitlements) > 0 {
		doc["entitlements"] = values(f.Entitlements...)
	}
	return doc, nil
}

func inGroups(list []auth.Group) []map[string]string {
	out := make([]map[string]string, 0, len(list))
	for _, g := range list {
		how := "indirect"
		if g.Direct {
			how = "direct"
		}
		id := strconv.FormatInt(g.ID, 10)
		out = append(out, map[string]string{"display": g.Name, "type": how, "value": id, "$ref": "Groups/" + id})
	}
	return out
}

// rename checks a group's new name: SCIM has each once.
func (d *directory) rename(g *azure.Object, name string) error {
	if name = strings.TrimSpace(name); name == "" || len(name) > 256 || strings.ContainsAny(name, "\x00\n") {
		return wherry.Errorf(wherry.CodeInvalidParameter, "displayName %q is not a valid name of a group", name)
	}
	all, err := d.groups()
	if err != nil {
		return err
	}
	for _, other := range all {
		if other.PrincipalID != g.PrincipalID && strings.EqualFold(groupName(other), name) {
			return wherry.Errorf(wherry.CodeAlreadyExists, "Group with name %s already exists", name)
		}
	}
	g.Document["displayName"] = name
	return nil
}

// join adds a member; one that is there already stays.
func (d *directory) join(g azure.Object, m reference) error {
	switch {
	case g.PrincipalID == auth.UsersID && m.who != nil:
		return nil // everyone is
	case g.PrincipalID == auth.AdminsID && m.who != nil:
		m.who.Admin = true
		return auth.UpdatePrincipal(d.tx, *m.who)
	case g.PrincipalID >= auth.AdminsID:
		return wherry.NotImplemented("a group as a member of " + groupName(g) + ", which is built in; add its members")
	case m.who == nil && m.number >= auth.AdminsID:
		return wherry.NotImplemented("the built-in group " + m.name + " as a member of another; add its members")
	case m.object == g.ID:
		return wherry.Errorf(wherry.CodeInvalidParameter, "group %s cannot be its own member", m.name)
	}
	above, err := auth.GroupsAbove(d.tx, g.ID)
	if err != nil {
		return err
	}
	if m.who == nil && slices.ContainsFunc(above, func(a auth.Group) bool { return a.ID == m.number }) {
		return wherry.Errorf(wherry.CodeInvalidParameter, "group %s is in %s already: they cannot be in each other", groupName(g), m.name)
	}
	if err := azure.Link(d.tx, g.ID, azure.RelMember, m.object); wherry.CodeOf(err) != wherry.CodeAlreadyExists {
		return err
	}
	return nil
}

// leave removes a member; one that is not there is no error (RFC 7644, 3.5.2.2).
func (d *directory) leave(g azure.Object, m reference) error {
	switch {
	case g.PrincipalID == auth.UsersID:
		return wherry.Errorf(wherry.CodeInvalidParameter, "everyone is in users: remove %s itself, or set active to false", m.name)
	case g.PrincipalID == auth.AdminsID && m.who != nil:
		m.who.Admin = false
		return auth.UpdatePrincipal(d.tx, *m.who)
	case g.PrincipalID == auth.AdminsID:
		return nil
	}
	if err := azure.Unlink(d.tx, g.ID, azure.RelMember, m.object); wherry.CodeOf(err) != wherry.CodeDoesNotExist {
		return err
	}
	return nil
}

// setMembers makes the members those with the given numbers.
func (d *directory) setMembers(g azure.Object, ids []string) error {
	have, err := d.members(g)
	if err != nil {
		return err
	}
	for _, m := range have {
		if !slices.Contains(ids, strconv.FormatInt(m.number, 10)) {
			if err := d.leave(g, m); err != nil {
				return err
			}
		}
	}
	return d.addMembers(g, ids)
}

func (d *directory) addMembers(g azure.Object, ids []string) error {
	for _, id := range ids {
		m, err := d.byNumber(id)
		if err == nil {
			err = d.join(g, m)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (d *directory) dropMembers(g azure.Object, ids []string) error {
	for _, id := range ids {
		m, err := d.byNumber(id)
		if err == nil {
			err = d.leave(g, m)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// put stores a group's own document.
func (d *directory) put(g azure.Object, f scimFields) error {
	g.Document = maps.Clone(g.Document)
	delete(g.Document, azure.SCIMField)
	if f.ExternalID != "" || len(f.Entitlements) > 0 {
		g.Document[azure.SCIMField] = f
	}
	return azure.PutObject(d.tx, g, d.by)
}

func (a *API) removeGroup(w http.ResponseWriter, r *http.Request) error {
	err := a.edit(r, func(d *directory) error {
		g, err := d.group(r.PathValue("id"))
		if err != nil {
			return err
		}
		if g.PrincipalID >= auth.AdminsID {
			return wherry.Errorf(wherry.CodeInvalidParameter, "the group %s is built in and stays", groupName(g))
		}
		return azure.DropObject(d.tx, g, d.by)
	})
	if err == nil {
		w.WriteHeader(http.StatusNoContent)
	}
	return err
}

func (a *API) edit(r *http.Request, do func(*directory) error) error {
	return a.db.Write(r.Context(), func(tx *store.Tx) error {
		return do(&directory{tx: tx, by: wherry.IdentityFrom(r.Context()).UserName})
	})
}

func (a *API) look(r *http.Request, do func(*directory) error) error {
	return a.db.Read(r.Context(), func(tx *store.Tx) error { return do(&directory{tx: tx}) })
}

func (a *API) groups(w http.ResponseWriter, r *http.Request) error {
	match, err := filter(r.URL.Query().Get("filter"))
	if err != nil {
		return err
	}
	page, err := pageOf(r)
	if err != nil {
		return err
	}
	var docs []map[string]any
	total := 0
	err = a.look(r, func(d *directory) error {
		all, err := d.groups()
		if err != nil {
			return err
		}
		all = slices.DeleteFunc(all, func(g azure.Object) bool {
			f, err := fieldsOf(g)
			return err != nil || !match(map[string]any{"displayName": groupName(g), "id": strconv.FormatInt(g.PrincipalID, 10), "externalId": f.ExternalID})
		})
		docs, total = nil, len(all)
		for _, g := range cut(page, all) {
			doc, err := d.document(g)
			if err != nil {
				return err
			}
			docs = append(docs, selected(doc, r))
		}
		return nil
	})
	if err != nil {
		return err
	}
	return page.write(w, docs, total)
}

func (a *API) group(w http.ResponseWriter, r *http.Request) error {
	var doc map[string]any
	if err := a.look(r, func(d *directory) error {
		g, err := d.group(r.PathValue("id"))
		if err == nil {
			doc, err = d.document(g)
		}
		return err
	}); err != nil {
		return err
	}
	return api.WriteJSON(w, http.StatusOK, selected(doc, r))
}
