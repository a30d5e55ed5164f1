package azure

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/auth"
	"github.com/wherry-ml/wherry/store/azure"
)

// graphRoles are the app roles of Microsoft Graph that mean something here, by
// the ids that they have in every tenant.
var graphRoles = map[string]string{
	"1bfefb4e-e0b5-418b-a88f-73c46d2cc8e9": "Application.ReadWrite.All",
	"18a4783c-866b-4cc7-a460-3d5e5662c884": "Application.ReadWrite.OwnedBy",
	"9a5d68dd-52b0-4cc2-bd40-abcf44ac3a30": "Application.Read.All",
	"06b708a9-e830-4db3-a914-8e69da51d44f": "AppRoleAssignment.ReadWrite.All",
	"7ab1d382-f21e-4acd-a863-ba3e13f7da61": "Directory.Read.All",
	"19dbc75e-c2e2-444c-a770-ec69d8559fc7": "Directory.ReadWrite.All",
	"62a82d76-70ea-41e2-9197-370581804d09": "Group.ReadWrite.All",
	"5b567255-7703-4780-807c-7be8301ae99b": "Group.Read.All",
	"741f803b-c850-494e-b5df-cde7c675a1ca": "User.ReadWrite.All",
	"df021288-bdef-4463-88db-98f22de89214": "User.Read.All",
}

// builtin are service principals of Microsoft's that every tenant has.
var builtin = []struct{ id, app, name string }{
	{"33333333-0000-4000-8000-000000000001", auth.AudienceGraphID, "Microsoft Graph"},
	{"33333333-0000-4000-8000-000000000002", auth.AudienceWorkspace, "AzureDatabricks"},
	{"33333333-0000-4000-8000-000000000003", "e406a681-f3d4-42a8-90b6-c2b029497af1", "Azure Storage"},
}

func builtinDocument(i int) Document {
	b := builtin[i]
	roles := []Document{}
	if b.app == auth.AudienceGraphID {
		ids := make([]string, 0, len(graphRoles))
		for id := range graphRoles {
			ids = append(ids, id)
		}
		slices.Sort(ids)
		for _, id := range ids {
			roles = append(roles, Document{"id": id, "value": graphRoles[id], "displayName": graphRoles[id], "description": graphRoles[id], "isEnabled": true, "allowedMemberTypes": []string{"Application"}})
		}
	}
	return Document{
		"@odata.type": "#microsoft.graph.servicePrincipal", "id": b.id, "appId": b.app, "displayName": b.name, "appDisplayName": b.name, "accountEnabled": true, "servicePrincipalType": "Application",
		"servicePrincipalNames": []string{b.app}, "appRoles": roles, "oauth2PermissionScopes": []any{}, "appOwnerOrganizationId": "f8cdef31-a31e-4b4a-93e4-5f571e91255a",
		"passwordCredentials": []any{}, "keyCredentials": []any{}, "tags": []any{}, "replyUrls": []any{}, "alternativeNames": []any{},
	}
}

// servicePrincipal is a principal as Graph shows it: with what it was told of it.
func (g *graphCall) servicePrincipal(p wherry.Principal) (Document, error) {
	id := auth.ObjectID(p)
	doc := Document{}
	o, err := azure.FindObject(g.tx, id)
	switch {
	case err == nil:
		doc = o.Document
	case wherry.CodeOf(err) != wherry.CodeDoesNotExist:
		return nil, err
	}
	passwords, err := g.passwords(p.ID, id, "")
	if err != nil {
		return nil, err
	}
	fill(doc, Document{
		"appRoleAssignmentRequired": false, "servicePrincipalType": "Application", "alternativeNames": []any{}, "tags": []any{}, "replyUrls": []any{}, "appRoles": []any{}, "oauth2PermissionScopes": []any{},
		"keyCredentials": []any{}, "notificationEmailAddresses": []any{}, "info": Document{}, "signInAudience": "AzureADMyOrg", "addIns": []any{}, "resourceSpecificApplicationPermissions": []any{},
	})
	for _, name := range []string{"description", "notes", "homepage", "loginUrl", "logoutUrl", "preferredSingleSignOnMode", "samlSingleSignOnSettings", "tokenEncryptionKeyId", "samlMetadataUrl", "disabledByMicrosoftStatus"} {
		if _, ok := doc[name]; !ok {
			doc[name] = nil
		}
	}
	doc["@odata.type"], doc["id"], doc["appId"], doc["displayName"], doc["appDisplayName"] = "#microsoft.graph.servicePrincipal", id, p.ApplicationID, p.DisplayName, p.DisplayName
	doc["accountEnabled"], doc["passwordCredentials"], doc["appOwnerOrganizationId"] = p.Active, passwords, g.tenant
	doc["servicePrincipalNames"] = []string{p.ApplicationID}
	return doc, nil
}

// passwords are the secrets that were added to an object, without their values.
// owners are the object's id, and "" if those of wherry's own API count too.
func (g *graphCall) passwords(principal int64, owners ...string) ([]Document, error) {
	list, err := auth.Secrets(g.tx, principal)
	docs := []Document{}
	for _, one := range list {
		if slices.Contains(owners, one.Owner) {
			docs = append(docs, password(one, ""))
		}
	}
	return docs, err
}

func password(one auth.Secret, value string) Document {
	expires := one.Expires
	if expires == 0 {
		expires = time.Date(2299, 12, 31, 0, 0, 0, 0, time.UTC).UnixMilli()
	}
	doc := Document{
		"keyId": one.ID, "displayName": one.DisplayName, "hint": one.Hint, "secretText": nil, "customKeyIdentifier": nil,
		"startDateTime": instant(one.Created), "endDateTime": instant(expires),
	}
	if value != "" {
		doc["secretText"] = value
	}
	if one.DisplayName == "" {
		doc["displayName"] = nil
	}
	return doc
}

func instant(ms int64) string { return time.UnixMilli(ms).UTC().Format("2006-01-02T15:04:05Z") }

// shown reports whether Graph has a service principal for a principal: of one
// that belongs to an application only once it was made.
func (g *graphCall) shown(p wherry.Principal) (bool, error) {
	_, err := azure.FindObject(g.tx, auth.ObjectID(p))
	if wherry.CodeOf(err) != wherry.CodeDoesNotExist {
		return true, err
	}
	_, err = azure.ObjectOfApp(g.tx, azure.KindApplication, p.ApplicationID)
	if wherry.CodeOf(err) == wherry.CodeDoesNotExist {
		return true, nil // made elsewhere: by SCIM, or as a managed identity
	}
	return false, err
}

// servicePrincipalOf is the object id of the one with a client id.
func (g *graphCall) servicePrincipalOf(app string) (string, error) {
	for _, b := range builtin {
		if b.app == app {
			return b.id, nil
		}
	}
	p, err := auth.PrincipalByClient(g.tx, app)
	return auth.ObjectID(p), err
}

func (g *graphCall) listServicePrincipals() error {
	all, err := auth.Principals(g.tx, wherry.KindServicePrincipal)
	if err != nil {
		return err
	}
	var docs []Document
	for _, p := range all {
		ok, err := g.shown(p)
		if err != nil {
			return err
		}
		if !ok {
			continue
		}
		doc, err := g.servicePrincipal(p)
		if err != nil {
			return err
		}
		docs = append(docs, doc)
	}
	for i := range builtin {
		docs = append(docs, builtinDocument(i))
	}
	return g.answerDocs(docs)
}

// findServicePrincipal returns the principal of the path.
func (g *graphCall) findServicePrincipal() (wherry.Principal, error) {
	p, err := auth.PrincipalByObject(g.tx, g.id)
	if err == nil && p.Kind == wherry.KindServicePrincipal {
		var ok bool
		if ok, err = g.shown(p); ok || err != nil {
			return p, err
		}
	}
	if err != nil && wherry.CodeOf(err) != wherry.CodeDoesNotExist {
		return p, err
	}
	return p, g.missing(g.id)
}

func (g *graphCall) missing(id string) error {
	return notFound("Request_ResourceNotFound", "Resource '"+id+"' does not exist or one of its queried reference-property objects are not present.")
}

// createServicePrincipal lets an application sign in.
func (g *graphCall) createServicePrincipal() error {
	in, err := g.body()
	if err != nil {
		return err
	}
	app, err := azure.ObjectOfApp(g.tx, azure.KindApplication, text(in, "appId"))
	if wherry.CodeOf(err) == wherry.CodeDoesNotExist {
		return badRequest("Request_BadRequest", "The appId '"+text(in, "appId")+"' of the service principal does not reference a valid application object.")
	}
	if err != nil {
		return err
	}
	p, err := auth.PrincipalByID(g.tx, wherry.KindServicePrincipal, app.PrincipalID)
	if err != nil {
		return err
	}
	if ok, err := g.shown(p); err != nil {
		return err
	} else if ok {
		return conflict("Request_MultipleObjectsWithSameKeyValue", "The service principal cannot be created, updated, or restored because the service principal name "+p.ApplicationID+" is already in use.")
	}
	p.Active = in["accountEnabled"] != false
	if err := auth.UpdatePrincipal(g.tx, p); err != nil {
		return err
	}
	o := azure.Object{ID: auth.ObjectID(p), Kind: azure.KindServicePrincipal, AppID: p.ApplicationID, PrincipalID: p.ID, Document: kept(in)}
	if err := azure.PutObject(g.tx, o, g.by()); err != nil {
		return err
	}
	if err := g.linkBound(o.ID, in); err != nil {
		return err
	}
	doc, err := g.servicePrincipal(p)
	if err != nil {
		return err
	}
	return g.answer(http.StatusCreated, doc)
}

// computed are the members of directory objects that clients do not set, or that
// are kept elsewhere.
var computed = []string{azure.SCIMField, "id", "appId", "displayName", "accountEnabled", "passwordCredentials", "servicePrincipalNames", "appDisplayName", "createdDateTime", "deletedDateTime", "@odata.type", "@odata.context"}

// kept is what a client says of an object, without what is kept elsewhere.
func kept(in Document) Document {
	doc := Document{}
	for name, v := range in {
		if !slices.Contains(computed, name) && !strings.HasSuffix(name, "@odata.bind") {
			doc[name] = v
		}
	}
	return doc
}

// changeServicePrincipal edits a principal and what Graph keeps beside it.
func (g *graphCall) changeServicePrincipal(in Document) error {
	p, err := g.findServicePrincipal()
	if err != nil {
		return err
	}
	if name := text(in, "displayName"); name != "" {
		p.DisplayName = name
	}
	if enabled, ok := in["accountEnabled"].(bool); ok {
		p.Active = enabled
	}
	if err := auth.UpdatePrincipal(g.tx, p); err != nil {
		return err
	}
	o, err := azure.FindObject(g.tx, auth.ObjectID(p))
	if wherry.CodeOf(err) == wherry.CodeDoesNotExist {
		o, err = azure.Object{ID: auth.ObjectID(p), Kind: azure.KindServicePrincipal, AppID: p.ApplicationID, PrincipalID: p.ID, Document: Document{}}, nil
	}
	if err != nil {
		return err
	}
	for name, v := range kept(in) {
		o.Document[name] = v
	}
	return azure.PutObject(g.tx, o, g.by())
}

// deleteServicePrincipal ends the sign-in of an application, or removes a
// principal that belongs to none.
func (g *graphCall) deleteServicePrincipal() error {
	p, err := g.findServicePrincipal()
	if err != nil {
		return err
	}
	id := auth.ObjectID(p)
	if err := azure.DropObject(g.tx, azure.Object{ID: id, Kind: azure.KindServicePrincipal}, g.by()); err != nil {
		return err
	}
	_, err = azure.ObjectOfApp(g.tx, azure.KindApplication, p.ApplicationID)
	if wherry.CodeOf(err) == wherry.CodeDoesNotExist {
		return auth.RemovePrincipal(g.tx, p)
	}
	if err != nil {
		return err
	}
	return auth.SignOut(g.tx, p, id)
}

func (g *graphCall) listAppRoles() error {
	all, err := azure.AppRoles(g.tx, g.id)
	if err != nil {
		return err
	}
	docs := []Document{}
	for _, a := range all {
		mine := strings.HasSuffix(strings.ToLower(g.r.URL.Path), "approleassignments")
		if mine && a.ObjectID == g.id || !mine && a.ResourceID == g.id {
			docs = append(docs, g.appRole(a))
		}
	}
	return g.answerDocs(docs)
}

func (g *graphCall) appRole(a azure.AppRole) Document {
	doc := Document{"id": a.ID, "principalId": a.ObjectID, "resourceId": a.ResourceID, "appRoleId": a.Role, "createdDateTime": instant(a.CreatedAt), "principalType": "ServicePrincipal"}
	if p, err := g.any(a.ObjectID); err == nil {
		doc["principalDisplayName"] = p["displayName"]
	}
	if r, err := g.any(a.ResourceID); err == nil {
		doc["resourceDisplayName"] = r["displayName"]
	}
	return doc
}

func (g *graphCall) grantAppRole() error {
	in, err := g.body()
	if err != nil {
		return err
	}
	a := azure.AppRole{ID: auth.NewGUID(), ObjectID: strings.ToLower(text(in, "principalId")), ResourceID: strings.ToLower(text(in, "resourceId")), Role: strings.ToLower(text(in, "appRoleId")), CreatedAt: nowMilli()}
	for _, id := range []string{a.ObjectID, a.ResourceID} {
		if _, err := g.any(id); err != nil {
			return err
		}
	}
	if a.ResourceID == builtin[0].id && graphRoles[a.Role] == "" {
		return badRequest("Request_BadRequest", "Permission being assigned was not found on application: wherry has those that the service principal of Microsoft Graph lists.")
	}
	if err := azure.GrantRole(g.tx, a); err != nil {
		return err
	}
	return g.answer(http.StatusCreated, g.appRole(a))
}

func (g *graphCall) revokeAppRole() error {
	if err := azure.RevokeRole(g.tx, g.sub); err != nil {
		return err
	}
	return g.empty(http.StatusNoContent)
}
