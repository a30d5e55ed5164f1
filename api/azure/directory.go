package azure

import (
	"net/http"
	"strings"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/auth"
	"github.com/wherry-ml/wherry/store/azure"
)

// find returns the application or group of the path.
func (g *graphCall) find() (azure.Object, error) {
	o, err := azure.FindObject(g.tx, g.id)
	if err == nil && o.Kind != g.kind {
		return o, g.missing(g.id)
	}
	return o, err
}

// any is a directory object of any kind, by its id.
func (g *graphCall) any(id string) (Document, error) {
	for i, b := range builtin {
		if b.id == id {
			return builtinDocument(i), nil
		}
	}
	p, err := auth.PrincipalByObject(g.tx, id)
	switch {
	case err == nil && p.Kind == wherry.KindUser:
		return user(p), nil
	case err == nil:
		return g.servicePrincipal(p)
	case wherry.CodeOf(err) != wherry.CodeDoesNotExist:
		return nil, err
	}
	o, err := azure.FindObject(g.tx, id)
	switch {
	case err != nil:
		return nil, err
	case o.Kind == azure.KindApplication:
		return g.application(o)
	case o.Kind == azure.KindGroup:
		return group(o), nil
	}
	return nil, g.missing(id)
}

func (g *graphCall) getAny() error {
	doc, err := g.any(g.id)
	if err != nil {
		return err
	}
	return g.answer(http.StatusOK, g.selected(doc))
}

// getByIDs answers with those that are there.
func (g *graphCall) getByIDs() error {
	in, err := g.body()
	if err != nil {
		return err
	}
	docs := []Document{}
	for _, id := range texts(in["ids"]) {
		if id = strings.ToLower(id); !g.who.Admin && id != g.object {
			if err := g.permitted(graphRoute{method: http.MethodGet, area: areaDirectory}); err != nil {
				return err
			}
		}
		doc, err := g.any(id)
		if wherry.CodeOf(err) == wherry.CodeDoesNotExist {
			continue
		}
		if err != nil {
			return err
		}
		docs = append(docs, doc)
	}
	return g.answer(http.StatusOK, Document{"value": docs})
}

// getObject serves one application, service principal or group.
func (g *graphCall) getObject() error {
	for i, b := range builtin {
		if b.id == g.id && g.kind == azure.KindServicePrincipal {
			return g.answer(http.StatusOK, g.selected(builtinDocument(i)))
		}
	}
	var doc Document
	if g.kind == azure.KindServicePrincipal {
		p, err := g.findServicePrincipal()
		if err != nil {
			return err
		}
		if doc, err = g.servicePrincipal(p); err != nil {
			return err
		}
		return g.answer(http.StatusOK, g.selected(doc))
	}
	o, err := g.find()
	if err != nil {
		return err
	}
	if doc, err = g.any(o.ID); err != nil {
		return err
	}
	return g.answer(http.StatusOK, g.selected(doc))
}

func (g *graphCall) changeObject() error {
	in, err := g.body()
	if err != nil {
		return err
	}
	if g.kind == azure.KindServicePrincipal {
		if err := g.changeServicePrincipal(in); err != nil {
			return err
		}
		return g.empty(http.StatusNoContent)
	}
	o, err := g.find()
	if err != nil {
		return err
	}
	if name := text(in, "displayName"); name != "" && o.Kind == azure.KindApplication {
		p, err := auth.PrincipalByID(g.tx, wherry.KindServicePrincipal, o.PrincipalID)
		if err != nil {
			return err
		}
		p.DisplayName = name
		if err := auth.UpdatePrincipal(g.tx, p); err != nil {
			return err
		}
	} else if name != "" {
		if err := freeName(name); err != nil {
			return err
		}
		o.Document["displayName"] = name
	}
	for name, v := range kept(in) {
		o.Document[name] = v
	}
	if err := azure.PutObject(g.tx, o, g.by()); err != nil {
		return err
	}
	return g.empty(http.StatusNoContent)
}

// deleteObject removes one for good; an application with its service principal.
func (g *graphCall) deleteObject() error {
	if g.kind == azure.KindServicePrincipal {
		if err := g.deleteServicePrincipal(); err != nil {
			return err
		}
		return g.empty(http.StatusNoContent)
	}
	o, err := g.find()
	if err != nil {
		return err
	}
	if o.Kind == azure.KindApplication {
		p, err := auth.PrincipalByID(g.tx, wherry.KindServicePrincipal, o.PrincipalID)
		if err == nil {
			err = azure.DropObject(g.tx, azure.Object{ID: auth.ObjectID(p), Kind: azure.KindServicePrincipal}, g.by())
		}
		if err == nil {
			err = auth.RemovePrincipal(g.tx, p)
		}
		if err != nil && wherry.CodeOf(err) != wherry.CodeDoesNotExist { // SCIM may have removed it
			return err
		}
	}
	if err := azure.DropObject(g.tx, o, g.by()); err != nil {
		return err
	}
	return g.empty(http.StatusNoContent)
}

// relation is the one in the path: owners or members.
func (g *graphCall) relation() string {
	if strings.Contains(strings.ToLower(g.r.URL.Path), "/members") {
		return azure.RelMember
	}
	return azure.RelOwner
}

func (g *graphCall) listLinked() error {
	ids, err := azure.Linked(g.tx, g.id, g.relation())
	if err != nil {
		return err
	}
	docs := []Document{}
	for _, id := range ids {
		doc, err := g.any(id)
		if wherry.CodeOf(err) == wherry.CodeDoesNotExist {
			continue // removed elsewhere
		}
		if err != nil {
			return err
		}
		docs = append(docs, doc)
	}
	return g.answerDocs(docs)
}

// reference is the id at the end of a link to a directory object.
func reference(link string) string { return strings.ToLower(link[strings.LastIndex(link, "/")+1:]) }

func (g *graphCall) link() error {
	in, err := g.body()
	if err != nil {
		return err
	}
	if err := g.linkTo(g.id, g.relation(), reference(text(in, "@odata.id"))); err != nil {
		return err
	}
	return g.empty(http.StatusNoContent)
}

func (g *graphCall) linkTo(id, rel, target string) error {
	for _, one := range []string{id, target} {
		if _, err := g.any(one); err != nil {
			return err
		}
	}
	return azure.Link(g.tx, id, rel, target)
}

// linkBound adds the owners and members that a new object is to have.
func (g *graphCall) linkBound(id string, in Document) error {
	for name, rel := range map[string]string{"owners@odata.bind": azure.RelOwner, "members@odata.bind": azure.RelMember} {
		for _, link := range texts(in[name]) {
			err := g.linkTo(id, rel, reference(link))
			if wherry.CodeOf(err) == wherry.CodeAlreadyExists {
				continue
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

func (g *graphCall) unlink() error {
	if err := azure.Unlink(g.tx, g.id, g.relation(), g.sub); err != nil {
		return err
	}
	return g.empty(http.StatusNoContent)
}

// freeName refuses the names of the groups that are built in.
func freeName(name string) error {
	if auth.BuiltInGroup(strings.TrimSpace(name)) {
		return badRequest("Request_BadRequest", "The group "+name+" is built in: admins are who administers here, users is everyone.")
	}
	return nil
}

func group(o azure.Object) Document {
	doc := o.Document
	delete(doc, azure.SCIMField)
	fill(doc, Document{"groupTypes": []any{}, "securityEnabled": true, "mailEnabled": false, "proxyAddresses": []any{}, "visibility": "Private"})
	for _, name := range []string{"description", "mail", "isAssignableToRole", "membershipRule", "membershipRuleProcessingState", "onPremisesSyncEnabled", "preferredLanguage", "theme"} {
		if _, ok := doc[name]; !ok {
			doc[name] = nil
		}
	}
	doc["@odata.type"], doc["id"], doc["createdDateTime"], doc["deletedDateTime"] = "#microsoft.graph.group", o.ID, instant(o.CreatedAt), nil
	return doc
}

func (g *graphCall) listGroups() error {
	all, err := azure.Objects(g.tx, azure.KindGroup)
	if err != nil {
		return err
	}
	docs := []Document{}
	for _, o := range all {
		docs = append(docs, group(o))
	}
	return g.answerDocs(docs)
}

func (g *graphCall) createGroup() error {
	in, err := g.body()
	if err != nil {
		return err
	}
	if text(in, "displayName") == "" || text(in, "mailNickname") == "" {
		return badRequest("Request_BadRequest", "A group needs displayName and mailNickname.")
	}
	if err := freeName(text(in, "displayName")); err != nil {
		return err
	}
	o := azure.NewGroup(kept(in))
	o.Document["displayName"] = text(in, "displayName")
	if o.PrincipalID, err = g.tx.NextID("principal"); err != nil {
		return err
	}
	if err := azure.PutObject(g.tx, o, g.by()); err != nil {
		return err
	}
	if err := g.linkBound(o.ID, in); err != nil {
		return err
	}
	if o, err = azure.FindObject(g.tx, o.ID); err != nil {
		return err
	}
	return g.answer(http.StatusCreated, group(o))
}

func user(p wherry.Principal) Document {
	return Document{
		"@odata.type": "#microsoft.graph.user", "id": auth.ObjectID(p), "userPrincipalName": p.UserName, "displayName": p.DisplayName, "mail": p.UserName, "accountEnabled": p.Active,
		"mailNickname": strings.Split(p.UserName, "@")[0], "givenName": nil, "surname": nil, "jobTitle": nil, "userType": "Member", "businessPhones": []any{}, "onPremisesImmutableId": nil,
	}
}

func (g *graphCall) listUsers() error {
	all, err := auth.Principals(g.tx, wherry.KindUser)
	if err != nil {
		return err
	}
	docs := []Document{}
	for _, p := range all {
		docs = append(docs, user(p))
	}
	return g.answerDocs(docs)
}

// findUser returns the user of the path, by object id or by name.
func (g *graphCall) findUser() (wherry.Principal, error) {
	p, err := auth.PrincipalByObject(g.tx, g.id)
	if wherry.CodeOf(err) == wherry.CodeDoesNotExist {
		p, err = auth.PrincipalByName(g.tx, g.id)
	}
	if err == nil && p.Kind != wherry.KindUser {
		return p, g.missing(g.id)
	}
	return p, err
}

func (g *graphCall) getUser() error {
	p, err := g.findUser()
	if err != nil {
		return err
	}
	return g.answer(http.StatusOK, g.selected(user(p)))
}

// createUser adds a user, who signs in with tokens: a password is not kept.
func (g *graphCall) createUser() error {
	in, err := g.body()
	if err != nil {
		return err
	}
	p, err := auth.CreateUser(g.tx, strings.ToLower(text(in, "userPrincipalName")), text(in, "displayName"), false)
	if err == nil && in["accountEnabled"] == false {
		p.Active = false
		err = auth.UpdatePrincipal(g.tx, p)
	}
	if err != nil {
		return err
	}
	return g.answer(http.StatusCreated, user(p))
}

func (g *graphCall) changeUser() error {
	in, err := g.body()
	if err != nil {
		return err
	}
	p, err := g.findUser()
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
	return g.empty(http.StatusNoContent)
}

func (g *graphCall) deleteUser() error {
	p, err := g.findUser()
	if err != nil {
		return err
	}
	if err := auth.RemovePrincipal(g.tx, p); err != nil {
		return err
	}
	return g.empty(http.StatusNoContent)
}
