package azure

import (
	"maps"
	"net/http"
	"regexp"
	"strings"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/auth"
	"github.com/wherry-ml/wherry/store"
	"github.com/wherry-ml/wherry/store/azure"
)

// kind is a type of resource: a row of the table.
type kind struct {
	name         string // Microsoft.Storage/storageAccounts
	first, usual string // the first api-version, and one to name
	// tracked: has a location and tags, and is in lists of resources.
	tracked bool
	// single: is there, under this name, as soon as its parent is.
	single string
	// created is the status of a PUT that made one; 0 is 201.
	created int
	// prepare checks and completes what a client wants, and makes what the
	// resource stands for in the same transaction.
	prepare func(x *change) error
	// opened does what is outside of the database, once it is stored.
	opened func(c *call, r azure.Resource) error
	// remove ends what the resource stands for, in the transaction that removes
	// it; removed does what is outside of the database.
	remove  func(tx *store.Tx, r azure.Resource) error
	removed func(c *call, r azure.Resource) error
	// actions are what can be asked of one by POST, by name in lower case.
	actions map[string]func(c *call, r azure.Resource) error
	// serve and list, if set, are in the place of the store: the resource is
	// kept elsewhere.
	serve func(c *call, t target) error
	list  func(c *call, t target) error
}

// change is a resource about to be stored.
type change struct {
	tx       *store.Tx
	c        *call
	t        target
	old      *azure.Resource // nil for a new one
	doc      Document        // what will be stored
	resource *azure.Resource
}

// properties is the part of the document that types differ in.
func (x *change) properties() Document { return object(x.doc, "properties") }

// table lists the types that there are.
func (s *Service) table() []*kind {
	return []*kind{
		s.storageAccountKind(),
		{name: "Microsoft.Storage/storageAccounts/blobServices", first: "2018-02-01", usual: "2023-05-01", single: "default", created: http.StatusOK, prepare: blobServiceDefaults},
		{name: "Microsoft.Storage/storageAccounts/fileServices", first: "2019-04-01", usual: "2023-05-01", single: "default", created: http.StatusOK, prepare: fileServiceDefaults},
		{name: "Microsoft.Storage/storageAccounts/queueServices", first: "2019-06-01", usual: "2023-05-01", single: "default", created: http.StatusOK, prepare: corsDefaults},
		{name: "Microsoft.Storage/storageAccounts/tableServices", first: "2019-06-01", usual: "2023-05-01", single: "default", created: http.StatusOK, prepare: corsDefaults},
		s.containerKind(),
		s.workspaceKind(),
		{name: "Microsoft.Databricks/accessConnectors", first: "2022-04-01-preview", usual: "2024-05-01", tracked: true, prepare: accessConnector},
		s.vaultKind(),
		{name: "Microsoft.ManagedIdentity/userAssignedIdentities", first: "2015-08-31-preview", usual: "2023-01-31", tracked: true, prepare: userIdentity, remove: removeUserIdentity},
		s.federationKind(),
	}
}

// show is a resource as it is answered.
func (s *Service) show(_ *call, r azure.Resource) Document {
	doc := maps.Clone(r.Document)
	doc["id"], doc["name"], doc["type"] = r.ID, r.Name, canonical(s, r.Type)
	return doc
}

// resourceCall serves one resource.
func (s *Service) resourceCall(c *call, t target, k *kind) error {
	id, verb := s.id(t), verbs[c.r.Method]
	if verb == "" {
		return methodNotAllowed(c)
	}
	if err := s.allow(c, k.name+"/"+verb, id); err != nil {
		return err
	}
	if _, err := s.group(c.ctx(), t); err != nil {
		if c.r.Method == http.MethodDelete {
			return c.empty(http.StatusNoContent)
		}
		return err
	}
	if err := s.parentExists(c, t); err != nil {
		return err
	}
	if k.serve != nil {
		return k.serve(c, t)
	}
	switch c.r.Method {
	case http.MethodPut, http.MethodPatch:
		return s.putResource(c, t, k, id)
	case http.MethodDelete:
		err := s.delete(c, id)
		if wherry.CodeOf(err) == wherry.CodeDoesNotExist {
			return c.empty(http.StatusNoContent)
		}
		if err != nil {
			return err
		}
		return c.empty(http.StatusOK)
	}
	r, err := s.resource(c, t, k, id)
	if err != nil {
		return err
	}
	if c.r.Method == http.MethodHead {
		return c.empty(http.StatusNoContent)
	}
	return c.answer(http.StatusOK, s.show(c, r))
}

// resource returns a resource, with its defaults if it is one that is there as
// soon as its parent is.
func (s *Service) resource(c *call, t target, k *kind, id string) (azure.Resource, error) {
	r, err := s.store.Get(c.ctx(), id)
	name := t.names[len(t.names)-1]
	switch {
	case wherry.CodeOf(err) != wherry.CodeDoesNotExist:
		return r, err
	case k.single != "" && strings.EqualFold(k.single, name):
		r = azure.Resource{ID: id, Subscription: t.subscription, Group: t.group, Type: k.name, Name: name, Document: Document{"properties": Document{}}}
		return r, k.prepare(&change{c: c, t: t, doc: r.Document, resource: &r})
	}
	return r, notFound("ResourceNotFound", "The Resource '"+strings.TrimPrefix(id, groupID(t)+"/providers/")+"' under resource group '"+t.group+"' was not found. For more details please go to https://aka.ms/ARMResourceNotFoundFix")
}

// parentExists refuses a child of what is not there.
func (s *Service) parentExists(c *call, t target) error {
	for up := t; len(up.types) > 1; {
		up = up.parent()
		k := s.kinds[up.kind()]
		if k == nil || k.single != "" {
			continue
		}
		if _, err := s.store.Get(c.ctx(), s.id(up)); wherry.CodeOf(err) == wherry.CodeDoesNotExist {
			return notFound("ParentResourceNotFound", "Failed to perform '"+verbs[c.r.Method]+"' on resource(s) of type '"+strings.Join(t.types, "/")+"', because the parent resource '"+s.id(up)+"' could not be found.")
		} else if err != nil {
			return err
		}
	}
	return nil
}

// resourceName is what every resource's name must be; some types are stricter.
var resourceName = regexp.MustCompile(`^[-\w.()]{1,128}$`)

func (s *Service) putResource(c *call, t target, k *kind, id string) error {
	in, err := c.body()
	if err != nil {
		return err
	}
	if name := t.names[len(t.names)-1]; !resourceName.MatchString(name) {
		return badRequest("InvalidResourceName", "The resource name '"+name+"' is invalid: 1 to 128 letters, digits, and . _ - ( ).")
	}
	patch := c.r.Method == http.MethodPatch
	r, created, err := s.store.Put(c.ctx(), id, c.by(), func(tx *store.Tx, old *azure.Resource) (azure.Resource, error) {
		r := azure.Resource{ID: id, Subscription: t.subscription, Group: t.group, Type: k.name, Name: t.names[len(t.names)-1]}
		if old == nil && patch && k.single == "" {
			return r, notFound("ResourceNotFound", "The Resource '"+id+"' was not found.")
		}
		var have Document
		if old != nil {
			r, have = *old, old.Document
		}
		doc, err := merged(have, in, patch, k.tracked)
		if err != nil {
			return r, err
		}
		r.Document = doc
		x := &change{tx: tx, c: c, t: t, old: old, doc: doc, resource: &r}
		if err := s.identity(x); err != nil {
			return r, err
		}
		return r, k.prepare(x)
	})
	if err != nil {
		return err
	}
	if k.opened != nil {
		if err := k.opened(c, r); err != nil {
			return err
		}
	}
	status := http.StatusOK
	if created {
		if status = http.StatusCreated; k.created != 0 {
			status = k.created
		}
	}
	return c.answer(status, s.show(c, r))
}

// given are the members that a client sets.
var given = []string{"tags", "sku", "kind", "identity", "properties", "extendedLocation", "zones", "managedBy"}

// merged is the document that comes of what is there and what a client sends:
// PUT replaces it, PATCH changes the members it names.
func merged(have, in Document, patch, tracked bool) (Document, error) {
	doc := Document{"properties": Document{}}
	if patch {
		doc = maps.Clone(have)
		if doc == nil {
			doc = Document{"properties": Document{}}
		}
	}
	for _, name := range given {
		v, ok := in[name]
		if !ok || v == nil && name != "tags" {
			continue
		}
		if sub, is := v.(map[string]any); is && patch && name == "properties" {
			properties := maps.Clone(object(doc, "properties"))
			maps.Copy(properties, sub)
			v = properties
		}
		if _, is := v.(map[string]any); !is && v != nil && (name == "properties" || name == "identity" || name == "tags" || name == "sku") {
			return nil, badRequest("InvalidRequestContent", "The request content was invalid: '"+name+"' must be an object.")
		}
		doc[name] = v
	}
	if !tracked {
		return doc, nil
	}
	where, was := location(text(in, "location")), text(have, "location")
	switch {
	case patch || where == "" && was != "":
		where = was
	case where == "":
		return nil, badRequest("LocationRequired", "The location property is required for this definition.")
	case was != "" && was != where:
		return nil, conflict("InvalidResourceLocation", "The resource already exists in location '"+was+"'. A resource with the same name cannot be created in location '"+where+"'. Please select a new resource name.")
	}
	doc["location"] = where
	if doc["tags"] == nil {
		doc["tags"] = Document{}
	}
	return doc, nil
}

// identity makes the managed identity that a resource is to have, keeps the one
// that it has, and ends the one that it no longer wants.
func (s *Service) identity(x *change) error {
	want := object(x.doc, "identity")
	kinds := text(want, "type")
	had := ""
	if x.old != nil {
		had = text(object(x.old.Document, "identity"), "principalId")
	}
	if !strings.Contains(kinds, "SystemAssigned") && had != "" {
		if err := removePrincipal(x.tx, had); err != nil {
			return err
		}
	}
	if kinds == "" || kinds == "None" {
		delete(x.doc, "identity")
		return nil
	}
	id := Document{"type": kinds}
	if strings.Contains(kinds, "SystemAssigned") {
		if had == "" {
			p, err := auth.AddServicePrincipal(x.tx, "", x.resource.Name, false)
			if err != nil {
				return err
			}
			had = auth.ObjectID(p)
		}
		id["principalId"], id["tenantId"] = had, x.c.tenant
	}
	if users := object(want, "userAssignedIdentities"); len(users) > 0 {
		full := Document{}
		for name := range users {
			r, err := azure.Find(x.tx, name)
			if err != nil {
				return badRequest("FailedIdentityOperation", "The managed identity '"+name+"' does not exist.")
			}
			p := object(r.Document, "properties")
			full[name] = Document{"principalId": text(p, "principalId"), "clientId": text(p, "clientId")}
		}
		id["userAssignedIdentities"] = full
	}
	x.doc["identity"] = id
	return nil
}

// removeIdentity ends the managed identity of a resource that is gone.
func removeIdentity(tx *store.Tx, r azure.Resource) error {
	return removePrincipal(tx, text(object(r.Document, "identity"), "principalId"))
}

// removePrincipal ends a principal by its object id, if it is there.
func removePrincipal(tx *store.Tx, object string) error {
	if object == "" {
		return nil
	}
	p, err := auth.PrincipalByObject(tx, object)
	if wherry.CodeOf(err) == wherry.CodeDoesNotExist {
		return nil
	}
	if err != nil {
		return err
	}
	return auth.RemovePrincipal(tx, p)
}

func (s *Service) listKind(c *call, t target, k *kind) error {
	scope := groupID(t)
	if t.group == "" {
		scope = "/subscriptions/" + t.subscription
	} else if _, err := s.group(c.ctx(), t); err != nil {
		return err
	}
	if err := s.parentExists(c, t); err != nil {
		return err
	}
	if k.list != nil {
		if err := s.allow(c, k.name+"/read", s.id(t.parent())); err != nil {
			return err
		}
		return k.list(c, t)
	}
	list, err := s.store.List(c.ctx(), azure.Query{Subscription: t.subscription, Group: t.group, Type: k.name})
	if err != nil {
		return err
	}
	if len(t.types) > 1 {
		parent, inside := strings.ToLower(s.id(t.parent())+"/"), []azure.Resource{}
		for _, r := range list {
			if strings.HasPrefix(strings.ToLower(r.ID), parent) {
				inside = append(inside, r)
			}
		}
		list = inside
	}
	return s.answerList(c, list, scope)
}

// action serves a POST: on a resource (…/storageAccounts/NAME/listKeys), or on a
// namespace (…/Microsoft.Storage/checkNameAvailability).
func (s *Service) action(c *call, t target) error {
	name := strings.ToLower(t.types[len(t.types)-1])
	if len(t.types) == 1 {
		if name == "checknameavailability" && t.group == "" {
			return s.checkName(c, t)
		}
		return notFound("InvalidResourceType", "There is no action '"+t.types[0]+"' in the namespace '"+t.namespace+"'.")
	}
	on := t.parent()
	k, err := s.find(on)
	if err != nil {
		return err
	}
	if err := checkVersion(c, on, k); err != nil {
		return err
	}
	id := s.id(on)
	if err := s.allow(c, k.name+"/"+name+"/action", id); err != nil {
		return err
	}
	do := k.actions[name]
	if do == nil {
		return &fault{Status: http.StatusNotImplemented, Code: "NotImplemented", Message: "wherry does not have the action '" + t.types[len(t.types)-1] + "' of " + k.name + "."}
	}
	if _, err := s.group(c.ctx(), on); err != nil {
		return err
	}
	r, err := s.resource(c, on, k, id)
	if err != nil {
		return err
	}
	return do(c, r)
}
