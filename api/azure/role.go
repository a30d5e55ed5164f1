package azure

import (
	"fmt"
	"net/http"
	"regexp"
	"strings"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/auth"
	"github.com/wherry-ml/wherry/store"
	"github.com/wherry-ml/wherry/store/azure"
)

// authorization serves Microsoft.Authorization at any scope.
func (s *Service) authorization(c *call, t target) error {
	if c.query.Get("api-version") == "" {
		return badRequest("MissingApiVersionParameter", "The api-version query parameter (?api-version=) is required for all requests.")
	}
	what := ""
	if len(t.types) == 1 {
		what = strings.ToLower(t.types[0])
	}
	get := c.r.Method == http.MethodGet
	switch {
	case what == "" && len(t.types) == 0:
		return s.namespaceCall(c, t, "")
	case what == "register" && c.r.Method == http.MethodPost:
		return s.namespaceCall(c, t, what)
	case what == "roledefinitions" && get && len(t.names) == 0:
		return s.listRoles(c, t)
	case what == "roledefinitions" && get:
		r, ok := roleByID(t.names[0])
		if !ok {
			return notFound("RoleDefinitionDoesNotExist", "The specified role definition with ID '"+t.names[0]+"' does not exist.")
		}
		return c.answer(http.StatusOK, r.document(t))
	case what == "roledefinitions":
		return &fault{Status: http.StatusNotImplemented, Code: "NotImplemented", Message: "wherry does not have custom roles: the built-in ones are there."}
	case what == "roleassignments" && len(t.names) == 0 && get:
		return s.listAssignments(c, t)
	case what == "roleassignments" && len(t.names) == 1:
		return s.assignmentCall(c, t)
	case (what == "locks" || what == "policyassignments") && get && len(t.names) == 0:
		return c.answer(http.StatusOK, Document{"value": []any{}}) // none can be made
	case what == "permissions" && get:
		return &fault{Status: http.StatusNotImplemented, Code: "NotImplemented", Message: "wherry does not list the permissions of a caller."}
	}
	return notFound("InvalidResourceType", "The resource type '"+strings.Join(t.types, "/")+"' could not be found in the namespace 'Microsoft.Authorization'. wherry has roleDefinitions and roleAssignments.")
}

func (r role) document(t target) Document {
	id := "/providers/Microsoft.Authorization/roleDefinitions/" + r.id
	if t.subscription != "" {
		id = "/subscriptions/" + t.subscription + id
	}
	return Document{
		"id": id, "name": r.id, "type": "Microsoft.Authorization/roleDefinitions",
		"properties": Document{
			"roleName": r.name, "type": "BuiltInRole", "description": r.description, "assignableScopes": []string{"/"},
			"permissions": []Document{{"actions": list(r.actions), "notActions": list(r.except), "dataActions": list(r.dataActions), "notDataActions": []string{}}},
			"createdOn":   "2015-02-02T21:55:09.8806423Z", "updatedOn": "2021-11-11T20:13:58.8363229Z", "createdBy": nil, "updatedBy": nil,
		},
	}
}

// list is a list that is written as [] when it is empty.
func list(of []string) []string {
	if of == nil {
		return []string{}
	}
	return of
}

var byName = regexp.MustCompile(`(?i)roleName\s+eq\s+'([^']*)'`)

func (s *Service) listRoles(c *call, t target) error {
	want := ""
	if m := byName.FindStringSubmatch(c.query.Get("$filter")); m != nil {
		want = m[1]
	}
	docs := []Document{}
	for _, r := range roles {
		if want == "" || strings.EqualFold(r.name, want) {
			docs = append(docs, r.document(t))
		}
	}
	return c.answer(http.StatusOK, Document{"value": docs})
}

// scopeOf is the scope with the spelling that ids have, without a slash at its
// end.
func scopeOf(t target) string { return strings.TrimSuffix(t.scope, "/") }

func showAssignment(a azure.Assignment) Document {
	p := Document{}
	for name, v := range a.Document {
		p[name] = v
	}
	p["createdOn"], p["updatedOn"], p["createdBy"], p["updatedBy"] = stamp(a.CreatedAt), stamp(a.CreatedAt), a.CreatedBy, a.CreatedBy
	return Document{"id": a.ID, "name": a.ID[strings.LastIndex(a.ID, "/")+1:], "type": "Microsoft.Authorization/roleAssignments", "properties": p}
}

var (
	principalIs = regexp.MustCompile(`(?i)(?:principalId\s+eq|assignedTo\()\s*'([^']*)'`)
	atScope     = regexp.MustCompile(`(?i)atScope\(\)`)
)

func (s *Service) listAssignments(c *call, t target) error {
	scope := scopeOf(t)
	if err := s.allow(c, "Microsoft.Authorization/roleAssignments/read", scope); err != nil {
		return err
	}
	whose := ""
	if m := principalIs.FindStringSubmatch(c.query.Get("$filter")); m != nil {
		whose = m[1]
	}
	all, err := s.store.Assignments(c.ctx(), scope, whose)
	if err != nil {
		return err
	}
	docs := []Document{}
	for _, a := range all {
		below := len(a.Scope) > len(scope)
		if below && atScope.MatchString(c.query.Get("$filter")) {
			continue
		}
		docs = append(docs, showAssignment(a))
	}
	return c.answer(http.StatusOK, Document{"value": docs})
}

func (s *Service) assignmentCall(c *call, t target) error {
	scope := scopeOf(t)
	id := scope + "/providers/Microsoft.Authorization/roleAssignments/" + t.names[0]
	verb := verbs[c.r.Method]
	if verb == "" || c.r.Method == http.MethodPatch {
		return methodNotAllowed(c)
	}
	if err := s.allow(c, "Microsoft.Authorization/roleAssignments/"+verb, scope); err != nil {
		return err
	}
	switch c.r.Method {
	case http.MethodPut:
		return s.assign(c, t, scope, id)
	case http.MethodDelete:
		a, err := s.store.Unassign(c.ctx(), id, c.by())
		if wherry.CodeOf(err) == wherry.CodeDoesNotExist {
			return c.empty(http.StatusNoContent)
		}
		if err != nil {
			return err
		}
		return c.answer(http.StatusOK, showAssignment(a))
	}
	a, err := s.store.Assignment(c.ctx(), id)
	if wherry.CodeOf(err) == wherry.CodeDoesNotExist {
		return notFound("RoleAssignmentNotFound", err.Error())
	}
	if err != nil {
		return err
	}
	return c.answer(http.StatusOK, showAssignment(a))
}

func (s *Service) assign(c *call, t target, scope, id string) error {
	in, err := c.body()
	if err != nil {
		return err
	}
	p := object(in, "properties")
	definition, who := text(p, "roleDefinitionId"), strings.ToLower(text(p, "principalId"))
	r, ok := roleByID(definition[strings.LastIndex(definition, "/")+1:])
	switch {
	case !auth.IsGUID(strings.ToLower(t.names[0])):
		return badRequest("InvalidRoleAssignmentId", "The role assignment ID '"+t.names[0]+"' is not valid. The role assignment ID must be a GUID.")
	case !ok:
		return notFound("RoleDefinitionDoesNotExist", "The specified role definition with ID '"+definition+"' does not exist. wherry has the built-in roles that it names in a list of role definitions.")
	case !auth.IsGUID(who):
		return badRequest("InvalidPrincipalId", "A valid principal ID must be provided for role assignment.")
	case text(p, "condition") != "":
		return &fault{Status: http.StatusNotImplemented, Code: "NotImplemented", Message: "wherry does not check conditions of role assignments."}
	}
	if err := s.scopeExists(c, t, scope); err != nil {
		return err
	}
	kind, err := s.principalType(c, who)
	if err != nil {
		return err
	}
	if kind == "" {
		return badRequest("PrincipalNotFound", fmt.Sprintf("Principal %s does not exist in the directory %s. Check that you have the correct principal ID: it is the object id of the service principal, user or group, not its client id.", who, c.tenant))
	}
	doc := Document{"roleDefinitionId": r.document(t)["id"], "principalId": who, "principalType": kind, "scope": scope, "description": p["description"], "condition": nil, "conditionVersion": nil}
	if scope == "" {
		doc["scope"] = "/"
	}
	a, created, err := s.store.Assign(c.ctx(), azure.Assignment{ID: id, Scope: scope, Role: r.id, ObjectID: who, Document: doc}, c.by())
	if wherry.CodeOf(err) == wherry.CodeAlreadyExists {
		return conflict("RoleAssignmentExists", err.Error())
	}
	if err != nil {
		return err
	}
	status := http.StatusOK
	if created {
		status = http.StatusCreated
	}
	return c.answer(status, showAssignment(a))
}

// scopeExists refuses a role on what is not there.
func (s *Service) scopeExists(c *call, t target, scope string) error {
	if t.subscription == "" && scope != "" {
		return badRequest("InvalidScope", "The scope '"+scope+"' is not valid: it is a subscription, a resource group or a resource.")
	}
	on, err := parse(scope + "/")
	if err != nil || scope == "" {
		return err
	}
	if len(on.rest) > 0 {
		return badRequest("InvalidScope", "The scope '"+scope+"' is not valid: it is a subscription, a resource group or a resource.")
	}
	if on.group == "" {
		return nil
	}
	if _, err := s.group(c.ctx(), on); err != nil || on.namespace == "" {
		return err
	}
	k, err := s.find(on)
	if err != nil {
		return err
	}
	if err := s.parentExists(c, on); err != nil {
		return err
	}
	if k.serve != nil { // a container: it may come later, and its account is there
		return nil
	}
	_, err = s.resource(c, on, k, s.id(on))
	return err
}

// principalType is what an object id is in an assignment, "" for nobody's.
func (s *Service) principalType(c *call, id string) (kind string, err error) {
	err = s.DB.Read(c.ctx(), func(tx *store.Tx) error {
		p, err := auth.PrincipalByObject(tx, id)
		switch {
		case err == nil && p.Kind == wherry.KindUser:
			kind = "User"
		case err == nil:
			kind = "ServicePrincipal"
		case wherry.CodeOf(err) == wherry.CodeDoesNotExist:
			g, err := azure.FindObject(tx, id)
			if err == nil && g.Kind == azure.KindGroup {
				kind = "Group"
			}
			if wherry.CodeOf(err) == wherry.CodeDoesNotExist {
				return nil
			}
			return err
		}
		return err
	})
	return kind, err
}
