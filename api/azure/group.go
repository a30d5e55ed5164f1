package azure

import (
	"context"
	"net/http"
	"regexp"
	"strconv"
	"strings"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/store"
	"github.com/wherry-ml/wherry/store/azure"
)

// groupType is the type of resource groups.
const groupType = "Microsoft.Resources/resourceGroups"

var groupName = regexp.MustCompile(`^[-\w._()]{1,90}$`)

func groupID(t target) string {
	return "/subscriptions/" + t.subscription + "/resourceGroups/" + t.group
}

func noGroup(name string) error {
	return notFound("ResourceGroupNotFound", "Resource group '"+name+"' could not be found.")
}

func (s *Service) groupCall(c *call, t target, what string) error {
	id := groupID(t)
	if what == "resources" && c.r.Method == http.MethodGet {
		if _, err := s.group(c.ctx(), t); err != nil {
			return err
		}
		return s.listResources(c, azure.Query{Subscription: t.subscription, Group: t.group}, id)
	}
	if what != "" {
		return methodNotAllowed(c)
	}
	verb, ok := verbs[c.r.Method]
	if !ok {
		return methodNotAllowed(c)
	}
	if err := s.allow(c, "Microsoft.Resources/subscriptions/resourceGroups/"+verb, id); err != nil {
		return err
	}
	switch c.r.Method {
	case http.MethodPut, http.MethodPatch:
		return s.putGroup(c, t, id)
	case http.MethodDelete:
		return s.deleteGroup(c, t, id)
	}
	r, err := s.group(c.ctx(), t)
	switch {
	case err != nil:
		return err
	case c.r.Method == http.MethodHead:
		return c.empty(http.StatusNoContent)
	}
	return c.answer(http.StatusOK, s.show(c, r))
}

// verbs are the last part of an action, by method.
var verbs = map[string]string{
	http.MethodGet: "read", http.MethodHead: "read", http.MethodPut: "write", http.MethodPatch: "write", http.MethodDelete: "delete",
}

// group returns the resource group of a target.
func (s *Service) group(ctx context.Context, t target) (azure.Resource, error) {
	r, err := s.store.Get(ctx, groupID(t))
	if wherry.CodeOf(err) == wherry.CodeDoesNotExist {
		return r, noGroup(t.group)
	}
	return r, err
}

func (s *Service) putGroup(c *call, t target, id string) error {
	in, err := c.body()
	if err != nil {
		return err
	}
	if !groupName.MatchString(t.group) || strings.HasSuffix(t.group, ".") {
		return badRequest("InvalidResourceGroupName", "The resource group name '"+t.group+"' is invalid: 1 to 90 letters, digits, and . _ - ( ), not ending with a period.")
	}
	patch := c.r.Method == http.MethodPatch
	r, created, err := s.store.Put(c.ctx(), id, c.by(), func(_ *store.Tx, old *azure.Resource) (azure.Resource, error) {
		r := azure.Resource{ID: id, Subscription: t.subscription, Group: t.group, Type: groupType, Name: t.group, Document: Document{}}
		switch {
		case old == nil && patch:
			return r, noGroup(t.group)
		case old != nil:
			r = *old
		}
		where := location(text(in, "location"))
		switch have := text(r.Document, "location"); {
		case patch:
			where = have
		case where == "":
			return r, badRequest("LocationRequired", "The location property is required for this definition.")
		case have != "" && have != where:
			return r, conflict("InvalidResourceGroupLocation", "Invalid resource group location '"+where+"'. The Resource group already exists in location '"+have+"'.")
		}
		doc := Document{"location": where, "properties": Document{"provisioningState": "Succeeded"}}
		for _, name := range []string{"tags", "managedBy"} {
			if v, ok := in[name]; ok && v != nil {
				doc[name] = v
			} else if have, ok := r.Document[name]; ok && (patch || name == "managedBy") {
				doc[name] = have
			}
		}
		r.Document = doc
		return r, nil
	})
	if err != nil {
		return err
	}
	status := http.StatusOK
	if created {
		status = http.StatusCreated
	}
	return c.answer(status, s.show(c, r))
}

// deleteGroup deletes a group with all that is in it.
func (s *Service) deleteGroup(c *call, t target, id string) error {
	if err := s.delete(c, id); wherry.CodeOf(err) == wherry.CodeDoesNotExist {
		return noGroup(t.group)
	} else if err != nil {
		return err
	}
	return c.empty(http.StatusOK)
}

// delete removes a resource with all below it, and what each stands for.
func (s *Service) delete(c *call, id string) error {
	removed, err := s.store.Delete(c.ctx(), id, c.by(), func(tx *store.Tx, r azure.Resource) error {
		if k := s.kinds[strings.ToLower(r.Type)]; k != nil && k.remove != nil {
			if err := k.remove(tx, r); err != nil {
				return err
			}
		}
		return removeIdentity(tx, r)
	})
	if err != nil {
		return err
	}
	for _, r := range removed {
		if k := s.kinds[strings.ToLower(r.Type)]; k != nil && k.removed != nil {
			if err := k.removed(c, r); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *Service) listGroups(c *call, t target) error {
	list, err := s.store.List(c.ctx(), azure.Query{Subscription: t.subscription, Type: groupType})
	if err != nil {
		return err
	}
	return s.answerList(c, list, "/subscriptions/"+t.subscription)
}

// answerList shows those of a list that the caller may read. Who may read none
// of a scope is told so, rather than that there is nothing.
func (s *Service) answerList(c *call, list []azure.Resource, scope string) error {
	docs := []Document{}
	top := len(list)
	if n, err := strconv.Atoi(c.query.Get("$top")); err == nil && n > 0 {
		top = n
	}
	match := filter(c.query.Get("$filter"))
	for _, r := range list {
		if len(docs) == top {
			break
		}
		may, err := s.permits(c.ctx(), c.who.Principal, canonical(s, r.Type)+"/read", r.ID, false)
		if err != nil {
			return err
		}
		if doc := s.show(c, r); may && match(doc) {
			docs = append(docs, doc)
		}
	}
	if len(docs) == 0 {
		if err := s.allow(c, "Microsoft.Resources/subscriptions/resources/read", scope); err != nil {
			return err
		}
	}
	return c.answer(http.StatusOK, Document{"value": docs})
}

var filterPart = regexp.MustCompile(`(?i)^\s*(resourceType|name|location|resourceGroup|tagName|tagValue)\s+eq\s+'([^']*)'\s*$`)

// filter reads what clients ask of lists: comparisons by eq, joined by and. One
// that it cannot read lets everything through.
func filter(f string) func(Document) bool {
	wanted := map[string]string{}
	for part := range strings.SplitSeq(f, " and ") {
		if m := filterPart.FindStringSubmatch(part); m != nil {
			wanted[strings.ToLower(m[1])] = m[2]
		}
	}
	return func(d Document) bool {
		for name, want := range wanted {
			have := map[string]string{"resourcetype": text(d, "type"), "name": text(d, "name"), "location": text(d, "location"), "resourcegroup": groupOf(text(d, "id"))}[name]
			switch name {
			case "tagname":
				if _, ok := object(d, "tags")[want]; !ok {
					return false
				}
				continue
			case "tagvalue":
				have = text(object(d, "tags"), wanted["tagname"])
			}
			if !strings.EqualFold(have, want) {
				return false
			}
		}
		return true
	}
}

// groupOf is the resource group in an id.
func groupOf(id string) string {
	parts := strings.Split(id, "/")
	if len(parts) > 4 && strings.EqualFold(parts[3], "resourceGroups") {
		return parts[4]
	}
	return ""
}

// canonical is the spelling of a type.
func canonical(s *Service, name string) string {
	if strings.EqualFold(name, groupType) {
		return groupType
	}
	if k := s.kinds[strings.ToLower(name)]; k != nil {
		return k.name
	}
	return name
}

// listResources lists the resources of a group or subscription: those that
// stand by themselves.
func (s *Service) listResources(c *call, q azure.Query, scope string) error {
	all, err := s.store.List(c.ctx(), q)
	if err != nil {
		return err
	}
	top := []azure.Resource{}
	for _, r := range all {
		if k := s.kinds[r.Type]; k != nil && k.tracked {
			top = append(top, r)
		}
	}
	return s.answerList(c, top, scope)
}
