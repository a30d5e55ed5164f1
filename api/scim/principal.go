package scim

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/api"
	"github.com/wherry-ml/wherry/auth"
	"github.com/wherry-ml/wherry/store"
	"github.com/wherry-ml/wherry/store/azure"
)

type handler = func(w http.ResponseWriter, r *http.Request) error

func (a *API) me(w http.ResponseWriter, r *http.Request) error {
	var doc map[string]any
	if err := a.look(r, func(d *directory) (err error) {
		doc, err = d.principal(wherry.IdentityFrom(r.Context()).Principal, true)
		return err
	}); err != nil {
		return err
	}
	return api.WriteJSON(w, http.StatusOK, selected(doc, r))
}

// selected leaves out what the caller did not ask for. A service principal's
// applicationId need not be asked for: the provider databricks of Terraform asks
// for userName and reads it (terraform-provider-databricks 1.126.0).
func selected(doc map[string]any, r *http.Request) map[string]any {
	q := r.URL.Query()
	for name := range strings.SplitSeq(q.Get("excludedAttributes"), ",") {
		delete(doc, strings.TrimSpace(name))
	}
	if want := q.Get("attributes"); want != "" {
		names := strings.Split(want, ",")
		for name := range doc {
			keep := name == "id" || name == "schemas" || name == "applicationId"
			for _, n := range names {
				n, _, _ = strings.Cut(strings.TrimSpace(n), ".")
				keep = keep || strings.EqualFold(n, name)
			}
			if !keep {
				delete(doc, name)
			}
		}
	}
	return doc
}

func (a *API) list(k kind) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
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
			all, err := auth.Principals(d.tx, k.of)
			if err != nil {
				return err
			}
			all = slices.DeleteFunc(all, func(p wherry.Principal) bool { return !match(document(p, false)) })
			docs, total = nil, len(all)
			for _, p := range cut(page, all) {
				doc, err := d.principal(p, false)
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
}

// page is a part of a list: count documents from start on, counted from 1.
type page struct{ start, count int }

func pageOf(r *http.Request) (p page, err error) {
	if p.start, err = number(r, "startIndex", 1); err != nil {
		return p, err
	}
	p.count, err = number(r, "count", 100)
	return p, err
}

// cut returns what of all is on the page.
func cut[T any](p page, all []T) []T {
	from := min(max(p.start-1, 0), len(all))
	return all[from:min(from+p.count, len(all))]
}

func (p page) write(w http.ResponseWriter, docs []map[string]any, total int) error {
	if docs == nil {
		docs = []map[string]any{}
	}
	return api.WriteJSON(w, http.StatusOK, map[string]any{"schemas": []string{schemaList}, "totalResults": total, "startIndex": p.start, "itemsPerPage": len(docs), "Resources": docs})
}

func number(r *http.Request, name string, otherwise int) (int, error) {
	s := r.URL.Query().Get(name)
	if s == "" {
		return otherwise, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 0 || n > 1<<30 {
		return 0, wherry.Errorf(wherry.CodeInvalidParameter, "%s must be a number, got %q", name, s)
	}
	return n, nil
}

// filter understands comparisons with eq, ne, co and sw, joined by and: what
// the SDKs and Terraform send.
func filter(s string) (func(map[string]any) bool, error) {
	if s == "" {
		return func(map[string]any) bool { return true }, nil
	}
	var tests []func(map[string]any) bool
	for _, part := range splitFold(s, " and ") {
		fields := strings.SplitN(strings.TrimSpace(part), " ", 3)
		if len(fields) != 3 {
			return nil, wherry.Errorf(wherry.CodeInvalidParameter, "filter %q is not of the form: name eq \"value\"", s)
		}
		name, op, want := fields[0], strings.ToLower(fields[1]), strings.Trim(fields[2], `"'`)
		compare, ok := map[string]func(have string) bool{
			"eq": func(have string) bool { return strings.EqualFold(have, want) },
			"ne": func(have string) bool { return !strings.EqualFold(have, want) },
			"co": func(have string) bool { return strings.Contains(strings.ToLower(have), strings.ToLower(want)) },
			"sw": func(have string) bool { return strings.HasPrefix(strings.ToLower(have), strings.ToLower(want)) },
		}[op]
		if !ok {
			return nil, wherry.Errorf(wherry.CodeInvalidParameter, "filter operator %q is not supported; eq, ne, co and sw are", op)
		}
		tests = append(tests, func(doc map[string]any) bool { return compare(attribute(doc, name)) })
	}
	return func(doc map[string]any) bool {
		return !slices.ContainsFunc(tests, func(t func(map[string]any) bool) bool { return !t(doc) })
	}, nil
}

func splitFold(s, sep string) (parts []string) {
	for lower := strings.ToLower(s); ; lower = strings.ToLower(s) {
		i := strings.Index(lower, sep)
		if i < 0 {
			return append(parts, s)
		}
		parts, s = append(parts, s[:i]), s[i+len(sep):]
	}
}

func attribute(doc map[string]any, name string) string {
	for key, value := range doc {
		if !strings.EqualFold(key, name) {
			continue
		}
		switch v := value.(type) {
		case string:
			return v
		case bool:
			return strconv.FormatBool(v)
		}
	}
	return ""
}

// fetch reads the principal of the path.
func (a *API) fetch(tx *store.Tx, k kind, r *http.Request) (wherry.Principal, error) {
	id, err := strconv.ParseInt(r.PathValue("id"), 10, 64)
	if err != nil {
		return wherry.Principal{}, wherry.Errorf(wherry.CodeDoesNotExist, "%s with id %s does not exist", strings.TrimSuffix(k.path, "s"), r.PathValue("id"))
	}
	return auth.PrincipalByID(tx, k.of, id)
}

func (a *API) get(k kind) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		var doc map[string]any
		if err := a.look(r, func(d *directory) error {
			p, err := a.fetch(d.tx, k, r)
			if err == nil {
				doc, err = d.principal(p, false)
			}
			return err
		}); err != nil {
			return err
		}
		return api.WriteJSON(w, http.StatusOK, selected(doc, r))
	}
}

// input is what a client may set.
type input struct {
	UserName      string         `json:"userName"`
	DisplayName   *string        `json:"displayName"`
	ApplicationID string         `json:"applicationId"`
	Active        *bool          `json:"active"`
	ExternalID    *string        `json:"externalId"`
	Entitlements  []complexValue `json:"entitlements"`
	Roles         []complexValue `json:"roles"`
	Groups        []struct {
		Value   string `json:"value"`
		Display string `json:"display"`
	} `json:"groups"`
}

// maxBody bounds a SCIM document.
const maxBody = 1 << 20

func read(r *http.Request, v any) error {
	b, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, maxBody))
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return wherry.Errorf(wherry.CodeInvalidParameter, "the request is larger than %d bytes", maxBody)
	}
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, v); err != nil {
		return wherry.Errorf(wherry.CodeInvalidParameter, "the request is not a valid SCIM document: %v", err)
	}
	return nil
}

func (in *input) displayName() string {
	if in.DisplayName == nil {
		return ""
	}
	return *in.DisplayName
}

// describe sets of a principal what the document names.
func (in *input) describe(p *wherry.Principal) error {
	if len(in.Roles) > 0 {
		return wherry.NotImplemented("roles of a principal")
	}
	if in.DisplayName != nil {
		p.DisplayName = *in.DisplayName
	}
	if in.Active != nil {
		p.Active = *in.Active
	}
	if in.ExternalID != nil {
		p.ExternalID = *in.ExternalID
	}
	if in.Entitlements == nil {
		return nil
	}
	return entitle(p, plain(in.Entitlements))
}

// entitle makes a principal's entitlements those of the list.
func entitle(p *wherry.Principal, list []string) error {
	for _, name := range list {
		if strings.ContainsFunc(name, unicode.IsSpace) {
			return wherry.Errorf(wherry.CodeInvalidParameter, "entitlement %q is not a valid name", name)
		}
	}
	p.Entitlements = strings.Join(list, " ")
	return nil
}

// join makes a principal's groups those of the document: admins, and those that
// it names. All others are left, as SCIM's PUT has it.
func (in *input) join(d *directory, p wherry.Principal) error {
	ids := []string{}
	for _, g := range in.Groups {
		if in.builtIn(g.Value, g.Display) {
			continue
		}
		if g.Value == "" {
			return wherry.Errorf(wherry.CodeInvalidParameter, "the group %q is named by no id", g.Display)
		}
		ids = append(ids, g.Value)
	}
	have, err := auth.GroupsAbove(d.tx, auth.ObjectID(p))
	if err != nil {
		return err
	}
	for _, g := range have {
		id := strconv.FormatInt(g.ID, 10)
		if i := slices.Index(ids, id); i >= 0 { // through another group counts too
			ids = slices.Delete(ids, i, i+1)
			continue
		}
		if !g.Direct {
			continue
		}
		group, err := d.group(id)
		if err == nil {
			err = d.leave(group, referenceTo(p))
		}
		if err != nil {
			return err
		}
	}
	for _, id := range ids {
		g, err := d.group(id)
		if err == nil {
			err = d.join(g, referenceTo(p))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (in *input) builtIn(value, display string) bool {
	return value == strconv.FormatInt(auth.AdminsID, 10) || value == strconv.FormatInt(auth.UsersID, 10) || auth.BuiltInGroup(display)
}

// admin reports whether the document puts the principal among the admins.
func (in *input) admin() bool {
	for _, g := range in.Groups {
		if g.Value == strconv.FormatInt(auth.AdminsID, 10) || g.Display == auth.AdminsGroup {
			return true
		}
	}
	return false
}

func (a *API) create(k kind) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		var in input
		if err := read(r, &in); err != nil {
			return err
		}
		var doc map[string]any
		err := a.edit(r, func(d *directory) (err error) {
			var p wherry.Principal
			if k.of == wherry.KindUser {
				p, err = auth.CreateUser(d.tx, in.UserName, in.displayName(), in.admin())
			} else {
				p, err = a.addServicePrincipal(d.tx, in)
			}
			if err != nil {
				return err
			}
			if in.DisplayName != nil && *in.DisplayName == "" {
				in.DisplayName = nil // it has been given one
			}
			if err := in.describe(&p); err != nil {
				return err
			}
			if err := auth.UpdatePrincipal(d.tx, p); err != nil {
				return err
			}
			if in.Groups != nil { // one that Graph made may be in some
				if err := in.join(d, p); err != nil {
					return err
				}
			}
			doc, err = d.principal(p, false)
			return err
		})
		if err != nil {
			return err
		}
		return api.WriteJSON(w, http.StatusCreated, doc)
	}
}

// addServicePrincipal makes a service principal, or takes the one that Graph
// made of an application: Terraform makes it there, and then adds it to the
// workspace by its application id.
func (a *API) addServicePrincipal(tx *store.Tx, in input) (wherry.Principal, error) {
	if in.ApplicationID != "" {
		if _, err := azure.ObjectOfApp(tx, azure.KindServicePrincipal, in.ApplicationID); err == nil {
			p, err := auth.PrincipalByClient(tx, in.ApplicationID)
			if err != nil {
				return p, err
			}
			p.Active, p.Admin = true, p.Admin || in.admin()
			return p, auth.UpdatePrincipal(tx, p)
		} else if wherry.CodeOf(err) != wherry.CodeDoesNotExist {
			return wherry.Principal{}, err
		}
	}
	return auth.AddServicePrincipal(tx, in.ApplicationID, in.displayName(), in.admin())
}

func (a *API) replace(k kind) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		var in input
		if err := read(r, &in); err != nil {
			return err
		}
		return a.change(w, r, k, func(d *directory, p *wherry.Principal) error {
			if err := in.describe(p); err != nil || in.Groups == nil {
				return err
			}
			p.Admin = in.admin()
			return in.join(d, *p)
		})
	}
}

// change edits the principal of the path and answers with it.
func (a *API) change(w http.ResponseWriter, r *http.Request, k kind, edit func(*directory, *wherry.Principal) error) error {
	var doc map[string]any
	err := a.edit(r, func(d *directory) error {
		p, err := a.fetch(d.tx, k, r)
		if err != nil {
			return err
		}
		if err := edit(d, &p); err != nil {
			return err
		}
		if err := auth.UpdatePrincipal(d.tx, p); err != nil {
			return err
		}
		doc, err = d.principal(p, false)
		return err
	})
	if err != nil {
		return err
	}
	return api.WriteJSON(w, http.StatusOK, doc)
}

func (a *API) remove(k kind) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		err := a.db.Write(r.Context(), func(tx *store.Tx) error {
			p, err := a.fetch(tx, k, r)
			if err != nil {
				return err
			}
			return auth.RemovePrincipal(tx, p)
		})
		if err == nil {
			w.WriteHeader(http.StatusNoContent)
		}
		return err
	}
}
