package azure

import (
	"errors"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/auth"
	"github.com/wherry-ml/wherry/store"
	"github.com/wherry-ml/wherry/store/azure"
)

// graphRoute is a call of Microsoft Graph. area names the permissions that it
// asks of who is no admin: AREA.ReadWrite.All, or for a GET AREA.Read.All.
type graphRoute struct {
	method, path string
	area         string
	do           func(*graphCall) error
}

// graphCall is one request, with what its path names.
type graphCall struct {
	*Service
	*call
	tx   *store.Tx
	kind string // what the first part of the path is, KindApplication …
	id   string // the object's, in lower case
	sub  string // the id behind it
	sent []byte // the request's body: the transaction may run again
}

// body reads the request's document, as often as it is asked for.
func (g *graphCall) body() (Document, error) { return parseBody(g.sent) }

// Areas of Graph's permissions; anyone may read what is about themselves.
const (
	areaNone        = ""
	areaApplication = "Application"
	areaGroup       = "Group"
	areaUser        = "User"
	areaDirectory   = "Directory"
	areaRoles       = "AppRoleAssignment"
)

// graphRoutes lists the calls. applications, servicePrincipals and groups share
// those that they have in common.
func graphRoutes() []graphRoute {
	routes := []graphRoute{
		{"GET", "me", areaNone, (*graphCall).me},
		{"GET", "organization", areaNone, (*graphCall).organization},
		{"GET", "domains", areaNone, (*graphCall).domains},
		{"GET", "users", areaUser, (*graphCall).listUsers},
		{"POST", "users", areaUser, (*graphCall).createUser},
		{"GET", "users/{id}", areaUser, (*graphCall).getUser},
		{"PATCH", "users/{id}", areaUser, (*graphCall).changeUser},
		{"DELETE", "users/{id}", areaUser, (*graphCall).deleteUser},
		{"GET", "directoryObjects/{id}", areaDirectory, (*graphCall).getAny},
		{"POST", "directoryObjects/getByIds", areaNone, (*graphCall).getByIDs},
		{"GET", "applications", areaApplication, (*graphCall).listApplications},
		{"POST", "applications", areaApplication, (*graphCall).createApplication},
		{"GET", "applications/{id}/federatedIdentityCredentials", areaApplication, (*graphCall).listFederations},
		{"POST", "applications/{id}/federatedIdentityCredentials", areaApplication, (*graphCall).createFederation},
		{"GET", "applications/{id}/federatedIdentityCredentials/{sub}", areaApplication, (*graphCall).getFederation},
		{"PATCH", "applications/{id}/federatedIdentityCredentials/{sub}", areaApplication, (*graphCall).changeFederation},
		{"DELETE", "applications/{id}/federatedIdentityCredentials/{sub}", areaApplication, (*graphCall).deleteFederation},
		{"GET", "servicePrincipals", areaApplication, (*graphCall).listServicePrincipals},
		{"POST", "servicePrincipals", areaApplication, (*graphCall).createServicePrincipal},
		{"GET", "servicePrincipals/{id}/appRoleAssignments", areaApplication, (*graphCall).listAppRoles},
		{"POST", "servicePrincipals/{id}/appRoleAssignments", areaRoles, (*graphCall).grantAppRole},
		{"DELETE", "servicePrincipals/{id}/appRoleAssignments/{sub}", areaRoles, (*graphCall).revokeAppRole},
		{"GET", "servicePrincipals/{id}/appRoleAssignedTo", areaApplication, (*graphCall).listAppRoles},
		{"POST", "servicePrincipals/{id}/appRoleAssignedTo", areaRoles, (*graphCall).grantAppRole},
		{"DELETE", "servicePrincipals/{id}/appRoleAssignedTo/{sub}", areaRoles, (*graphCall).revokeAppRole},
		{"GET", "groups", areaGroup, (*graphCall).listGroups},
		{"POST", "groups", areaGroup, (*graphCall).createGroup},
		{"GET", "groups/{id}/members", areaGroup, (*graphCall).listLinked},
		{"POST", "groups/{id}/members/$ref", areaGroup, (*graphCall).link},
		{"DELETE", "groups/{id}/members/{sub}/$ref", areaGroup, (*graphCall).unlink},
	}
	for plural, area := range map[string]string{"applications": areaApplication, "servicePrincipals": areaApplication, "groups": areaGroup} {
		routes = append(
			routes,
			graphRoute{"GET", plural + "/{id}", area, (*graphCall).getObject},
			graphRoute{"PATCH", plural + "/{id}", area, (*graphCall).changeObject},
			graphRoute{"DELETE", plural + "/{id}", area, (*graphCall).deleteObject},
			graphRoute{"GET", plural + "/{id}/owners", area, (*graphCall).listLinked},
			graphRoute{"POST", plural + "/{id}/owners/$ref", area, (*graphCall).link},
			graphRoute{"DELETE", plural + "/{id}/owners/{sub}/$ref", area, (*graphCall).unlink},
		)
		if area == areaApplication {
			routes = append(
				routes,
				graphRoute{"POST", plural + "/{id}/addPassword", area, (*graphCall).addPassword},
				graphRoute{"POST", plural + "/{id}/removePassword", area, (*graphCall).removePassword},
			)
		}
	}
	return routes
}

var kindOf = map[string]string{"applications": azure.KindApplication, "serviceprincipals": azure.KindServicePrincipal, "groups": azure.KindGroup, "users": "user"}

// byAppID is the other way to name an application: applications(appId='…').
var byAppID = regexp.MustCompile(`(?i)^(applications|servicePrincipals)\(appId='([^']*)'\)$`)

// graph serves graph.microsoft.com, at v1.0 and beta alike.
func (s *Service) graph(c *call) error {
	version, path, _ := strings.Cut(strings.Trim(c.r.URL.Path, "/"), "/")
	if version != "v1.0" && version != "beta" {
		return badRequest("BadRequest", "Invalid version: v1.0 and beta are there.")
	}
	parts := strings.Split(path, "/")
	g := &graphCall{Service: s, call: c}
	if m := byAppID.FindStringSubmatch(parts[0]); m != nil {
		parts = append([]string{m[1], "appId=" + m[2]}, parts[1:]...)
	}
	g.kind = kindOf[strings.ToLower(parts[0])]
	allowed := false
	for _, route := range s.routes {
		if !g.matches(route.path, parts) {
			continue
		}
		if allowed = true; route.method == c.r.Method {
			return g.run(route)
		}
	}
	if allowed {
		return &fault{Status: http.StatusMethodNotAllowed, Code: "Request_BadRequest", Message: "Specified HTTP method is not allowed for the request target."}
	}
	return &fault{Status: http.StatusNotImplemented, Code: "NotImplemented", Message: "wherry does not have the Graph call " + c.r.Method + " " + path + "."}
}

func (g *graphCall) matches(pattern string, parts []string) bool {
	want := strings.Split(pattern, "/")
	if len(want) != len(parts) {
		return false
	}
	for i, w := range want {
		switch {
		case w == "{id}":
			g.id = strings.ToLower(parts[i])
		case w == "{sub}":
			g.sub = strings.ToLower(parts[i])
		case !strings.EqualFold(w, parts[i]):
			return false
		}
	}
	return true
}

// run calls a route in one transaction. What it answers is written when that
// is committed.
func (g *graphCall) run(route graphRoute) error {
	answer := *g.call
	late := &lateWriter{ResponseWriter: g.w}
	answer.w = late
	g.call = &answer
	in := g.DB.Write
	if g.r.Method == http.MethodGet {
		in = g.DB.Read
	}
	var err error
	if g.sent, err = g.read(); err != nil {
		return err
	}
	err = in(g.ctx(), func(tx *store.Tx) error {
		g.tx, late.status, late.body = tx, 0, nil
		if err := g.resolve(); err != nil {
			return err
		}
		if err := g.permitted(route); err != nil {
			return err
		}
		return route.do(g)
	})
	if e, ok := errors.AsType[*wherry.Error](err); ok {
		return graphFault(e)
	}
	if err != nil {
		return err
	}
	return late.flush()
}

// lateWriter keeps an answer until it is known to hold.
type lateWriter struct {
	http.ResponseWriter
	status int
	body   []byte
}

func (l *lateWriter) WriteHeader(status int) { l.status = status }

func (l *lateWriter) Write(b []byte) (int, error) {
	l.body = append(l.body, b...)
	return len(b), nil
}

func (l *lateWriter) flush() error {
	l.ResponseWriter.WriteHeader(l.status)
	_, err := l.ResponseWriter.Write(l.body)
	if l.status == http.StatusNoContent {
		return nil
	}
	return err
}

func graphFault(e *wherry.Error) error {
	switch e.Code {
	case wherry.CodeDoesNotExist:
		return notFound("Request_ResourceNotFound", e.Message)
	case wherry.CodeAlreadyExists:
		return badRequest("Request_BadRequest", e.Message)
	case wherry.CodePermissionDenied:
		return &fault{Status: http.StatusForbidden, Code: "Authorization_RequestDenied", Message: e.Message}
	case wherry.CodeNotImplemented:
		return &fault{Status: http.StatusNotImplemented, Code: "NotImplemented", Message: e.Message}
	}
	return badRequest("Request_BadRequest", e.Message)
}

// resolve turns a client id in the place of an object id into that.
func (g *graphCall) resolve() error {
	app, ok := strings.CutPrefix(g.id, "appid=")
	if !ok {
		return nil
	}
	if g.kind == azure.KindServicePrincipal {
		p, err := g.servicePrincipalOf(app)
		g.id = p
		return err
	}
	o, err := azure.ObjectOfApp(g.tx, g.kind, app)
	g.id = o.ID
	return err
}

// permitted refuses who is neither an admin, nor has the permission, nor asks
// about themselves or what they own.
func (g *graphCall) permitted(route graphRoute) error {
	if g.who.Admin || route.area == areaNone {
		return nil
	}
	want := []string{route.area + ".ReadWrite.All", "Directory.ReadWrite.All"}
	if route.method == http.MethodGet {
		if g.id == g.object {
			return nil
		}
		want = append(want, route.area+".Read.All", "Directory.Read.All")
	}
	owns := g.id == ""
	if g.id != "" {
		owners, err := azure.Linked(g.tx, g.id, azure.RelOwner)
		if err != nil {
			return err
		}
		owns = slices.Contains(owners, g.object)
	}
	if owns && route.area == areaApplication && (g.id != "" || route.method == http.MethodPost) {
		want = append(want, "Application.ReadWrite.OwnedBy")
	}
	have, err := azure.AppRoles(g.tx, g.object)
	if err != nil {
		return err
	}
	for _, grant := range have {
		if grant.ObjectID == g.object && slices.Contains(want, graphRoles[grant.Role]) {
			return g.notAdmins(route)
		}
	}
	return &fault{Status: http.StatusForbidden, Code: "Authorization_RequestDenied", Message: "Insufficient privileges to complete the operation: it needs one of " + strings.Join(want, ", ") + ", or an admin."}
}

// notAdmins keeps who is no admin from changing one, and so becoming one.
func (g *graphCall) notAdmins(route graphRoute) error {
	if route.method == http.MethodGet || g.id == "" {
		return nil
	}
	p, err := auth.PrincipalByObject(g.tx, g.id)
	if o, found := azure.FindObject(g.tx, g.id); found == nil && o.AppID != "" {
		p, err = auth.PrincipalByClient(g.tx, o.AppID)
	}
	if err == nil && p.Admin {
		return &fault{Status: http.StatusForbidden, Code: "Authorization_RequestDenied", Message: "Insufficient privileges to complete the operation: only admins change an admin."}
	}
	if wherry.CodeOf(err) == wherry.CodeDoesNotExist {
		return nil
	}
	return err
}

var eq = regexp.MustCompile(`(?i)^\s*\(?\s*(\w+)\s+eq\s+'((?:[^']|'')*)'\s*\)?\s*$`)

// matching reads $filter: comparisons by eq, joined by and, or by or; anything
// else is refused rather than ignored.
func matching(f string) (func(Document) bool, error) {
	if f == "" {
		return func(Document) bool { return true }, nil
	}
	sep := " and "
	if strings.Contains(f, " or ") {
		sep = " or "
	}
	var tests []func(Document) bool
	for part := range strings.SplitSeq(f, sep) {
		m := eq.FindStringSubmatch(part)
		if m == nil {
			return nil, &fault{Status: http.StatusNotImplemented, Code: "NotImplemented", Message: "wherry understands filters of the form: name eq 'value', joined by and, or by or."}
		}
		name, want := m[1], strings.ReplaceAll(m[2], "''", "'")
		tests = append(tests, func(d Document) bool { return strings.EqualFold(text(d, name), want) })
	}
	return func(d Document) bool {
		if sep == " or " {
			return slices.ContainsFunc(tests, func(t func(Document) bool) bool { return t(d) })
		}
		return !slices.ContainsFunc(tests, func(t func(Document) bool) bool { return !t(d) })
	}, nil
}

// answerDocs writes those of a list that $filter asks for.
func (g *graphCall) answerDocs(all []Document) error {
	match, err := matching(g.query.Get("$filter"))
	if err != nil {
		return err
	}
	docs := []Document{}
	for _, d := range all {
		if match(d) {
			docs = append(docs, g.selected(d))
		}
	}
	return g.answer(http.StatusOK, Document{"@odata.context": "https://graph.microsoft.com/v1.0/$metadata#" + strings.Trim(g.r.URL.Path, "/"), "value": docs})
}

// selected leaves out what $select does not name.
func (g *graphCall) selected(d Document) Document {
	want := g.query.Get("$select")
	if want == "" {
		return d
	}
	out := Document{"id": d["id"]}
	for name := range strings.SplitSeq(want, ",") {
		name = strings.TrimSpace(name)
		if v, ok := d[name]; ok {
			out[name] = v
		}
	}
	if kind, ok := d["@odata.type"]; ok {
		out["@odata.type"] = kind
	}
	return out
}

func (g *graphCall) me() error {
	doc, err := g.any(g.object)
	if err != nil {
		return err
	}
	return g.answer(http.StatusOK, g.selected(doc))
}

func (g *graphCall) organization() error {
	return g.answer(http.StatusOK, Document{"value": []Document{{"id": g.tenant, "displayName": "wherry", "verifiedDomains": []Document{domain()}}}})
}

// domain is the one that users of this installation are in.
func domain() Document {
	return Document{"id": "localhost", "name": "localhost", "isDefault": true, "isInitial": true, "isVerified": true, "isRoot": true, "isAdminManaged": true, "authenticationType": "Managed", "supportedServices": []string{}, "type": "Managed"}
}

func (g *graphCall) domains() error {
	return g.answer(http.StatusOK, Document{"value": []Document{domain()}})
}
