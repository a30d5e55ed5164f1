package azure

import (
	"net/http"
	"slices"
	"strings"

	"github.com/wherry-ml/wherry/store/azure"
)

// management serves management.azure.com.
func (s *Service) management(c *call) error {
	t, err := parse(c.r.URL.Path)
	if err != nil {
		return err
	}
	first := ""
	if len(t.rest) > 0 {
		first = strings.ToLower(t.rest[0])
	}
	switch {
	case strings.EqualFold(t.namespace, "Microsoft.Authorization"):
		return s.authorization(c, t)
	case t.namespace != "":
		return s.provided(c, t)
	}
	if err := checkVersion(c, t, nil); err != nil {
		return err
	}
	switch {
	case t.group != "":
		return s.groupCall(c, t, first)
	case t.subscription != "":
		return s.subscriptionCall(c, t, first)
	case first == "subscriptions" && c.r.Method == http.MethodGet:
		return s.subscriptions(c)
	case first == "tenants" && c.r.Method == http.MethodGet:
		return c.answer(http.StatusOK, Document{"value": []Document{{"id": "/tenants/" + c.tenant, "tenantId": c.tenant, "displayName": "wherry", "countryCode": "", "domains": []string{}}}})
	case first == "providers" && c.r.Method == http.MethodGet && len(t.rest) == 1:
		return c.answer(http.StatusOK, Document{"value": s.providers("")})
	}
	return notFound("InvalidResourceType", "There is nothing at '"+c.r.URL.Path+"'.")
}

// subscriptions lists those that hold something or that the caller has a role
// in; an admin without any sees the first.
func (s *Service) subscriptions(c *call) error {
	whose := c.object
	if c.who.Admin {
		whose = ""
	}
	ids, err := s.store.Subscriptions(c.ctx(), whose)
	if err != nil {
		return err
	}
	if c.who.Admin && !slices.Contains(ids, defaultSubscription) {
		ids = append(ids, defaultSubscription)
	}
	list := []Document{}
	for _, id := range ids {
		list = append(list, subscription(c, id))
	}
	return c.answer(http.StatusOK, Document{"value": list, "count": Document{"type": "Total", "value": len(list)}})
}

// defaultSubscription is there from the start. Any other number is a
// subscription too: a project names its own.
const defaultSubscription = "22222222-2222-2222-2222-222222222222"

func subscription(c *call, id string) Document {
	return Document{
		"id": "/subscriptions/" + id, "subscriptionId": id, "tenantId": c.tenant, "displayName": "wherry", "state": "Enabled", "authorizationSource": "RoleBased",
		"subscriptionPolicies": Document{"locationPlacementId": "Public_2014-09-01", "quotaId": "PayAsYouGo_2014-09-01", "spendingLimit": "Off"},
	}
}

func (s *Service) subscriptionCall(c *call, t target, what string) error {
	read := func(action string) error { return s.allow(c, action, "/subscriptions/"+t.subscription) }
	switch method := c.r.Method; {
	case what == "" && method == http.MethodGet:
		if err := read("Microsoft.Resources/subscriptions/read"); err != nil {
			return err
		}
		return c.answer(http.StatusOK, subscription(c, t.subscription))
	case what == "locations" && method == http.MethodGet:
		if err := read("Microsoft.Resources/subscriptions/locations/read"); err != nil {
			return err
		}
		return c.answer(http.StatusOK, Document{"value": locations(t.subscription)})
	case what == "providers" && method == http.MethodGet:
		if err := read("Microsoft.Resources/subscriptions/providers/read"); err != nil {
			return err
		}
		return c.answer(http.StatusOK, Document{"value": s.providers(t.subscription)})
	case what == "resourcegroups" && method == http.MethodGet:
		return s.listGroups(c, t)
	case what == "resources" && method == http.MethodGet:
		return s.listResources(c, azure.Query{Subscription: t.subscription}, "/subscriptions/"+t.subscription)
	}
	return methodNotAllowed(c)
}

// places are the regions that clients may name; others are taken as they are.
var places = []struct{ name, display string }{
	{"westeurope", "West Europe"},
	{"northeurope", "North Europe"},
	{"germanywestcentral", "Germany West Central"},
	{"francecentral", "France Central"},
	{"uksouth", "UK South"},
	{"swedencentral", "Sweden Central"},
	{"switzerlandnorth", "Switzerland North"},
	{"norwayeast", "Norway East"},
	{"italynorth", "Italy North"},
	{"eastus", "East US"},
	{"eastus2", "East US 2"},
	{"centralus", "Central US"},
	{"southcentralus", "South Central US"},
	{"westus2", "West US 2"},
	{"westus3", "West US 3"},
	{"canadacentral", "Canada Central"},
	{"brazilsouth", "Brazil South"},
	{"australiaeast", "Australia East"},
	{"southeastasia", "Southeast Asia"},
	{"eastasia", "East Asia"},
	{"japaneast", "Japan East"},
	{"koreacentral", "Korea Central"},
	{"centralindia", "Central India"},
	{"uaenorth", "UAE North"},
	{"southafricanorth", "South Africa North"},
}

func locations(subscription string) (list []Document) {
	for _, p := range places {
		list = append(list, Document{
			"id": "/subscriptions/" + subscription + "/locations/" + p.name, "name": p.name, "type": "Region", "displayName": p.display, "regionalDisplayName": p.display,
			"metadata": Document{"regionType": "Physical", "regionCategory": "Recommended"},
		})
	}
	return list
}

// location is a region as Azure stores it: "West Europe" is westeurope.
func location(name string) string { return strings.ToLower(strings.ReplaceAll(name, " ", "")) }

func (s *Service) providers(subscription string) (list []Document) {
	for _, n := range namespaces {
		list = append(list, s.provider(subscription, n))
	}
	return list
}

// provider describes a namespace. All are registered: what is not served is
// refused when it is used.
func (s *Service) provider(subscription, namespace string) Document {
	types := []Document{}
	var places []string
	for _, p := range locations(subscription) {
		places = append(places, text(p, "displayName"))
	}
	for _, k := range s.kinds {
		if ns, rest, _ := strings.Cut(k.name, "/"); strings.EqualFold(ns, namespace) {
			types = append(types, Document{"resourceType": rest, "locations": places, "apiVersions": []string{k.usual}, "defaultApiVersion": k.usual, "capabilities": "SupportsTags, SupportsLocation"})
		}
	}
	slices.SortFunc(types, func(a, b Document) int { return strings.Compare(text(a, "resourceType"), text(b, "resourceType")) })
	d := Document{"namespace": namespace, "registrationState": "Registered", "registrationPolicy": "RegistrationRequired", "resourceTypes": types}
	if subscription != "" {
		d["id"] = "/subscriptions/" + subscription + "/providers/" + namespace
	}
	return d
}

// provided serves what is below /providers/.
func (s *Service) provided(c *call, t target) error {
	if len(t.types) == 0 { // the namespace itself
		return s.namespaceCall(c, t, "")
	}
	if last := strings.ToLower(t.types[0]); t.group == "" && len(t.types) == 1 && (last == "register" || last == "unregister") && c.r.Method == http.MethodPost {
		return s.namespaceCall(c, t, last)
	}
	if strings.EqualFold(t.namespace, "Microsoft.KeyVault") && slices.ContainsFunc(t.types, func(n string) bool { return strings.EqualFold(n, "deletedVaults") }) {
		return s.deletedVaults(c, t)
	}
	if strings.EqualFold(t.namespace, "Microsoft.KeyVault") && t.subscription != "" && t.group == "" && len(t.types) == 2 && strings.EqualFold(t.types[1], "operationResults") {
		return s.purged(c, t)
	}
	if c.r.Method == http.MethodPost && len(t.types) > len(t.names) {
		return s.action(c, t)
	}
	k, err := s.find(t)
	if err != nil {
		return err
	}
	if err := checkVersion(c, t, k); err != nil {
		return err
	}
	if len(t.names) < len(t.types) {
		if c.r.Method != http.MethodGet {
			return methodNotAllowed(c)
		}
		return s.listKind(c, t, k)
	}
	if t.group == "" {
		return notFound("InvalidResourceType", "A resource of type '"+k.name+"' is in a resource group: /subscriptions/ID/resourceGroups/NAME/providers/….")
	}
	return s.resourceCall(c, t, k)
}

func (s *Service) namespaceCall(c *call, t target, what string) error {
	if err := checkVersion(c, t, nil); err != nil {
		return err
	}
	i := slices.IndexFunc(namespaces, func(n string) bool { return strings.EqualFold(n, t.namespace) })
	if i < 0 {
		return notFound("InvalidResourceNamespace", "The resource namespace '"+t.namespace+"' is invalid.")
	}
	action := "Microsoft.Resources/subscriptions/providers/read"
	if what != "" {
		action = namespaces[i] + "/" + what + "/action"
	}
	switch {
	case what == "unregister":
		return &fault{Status: http.StatusNotImplemented, Code: "NotImplemented", Message: "wherry does not unregister resource providers: all are registered."}
	case t.subscription != "":
		if err := s.allow(c, action, "/subscriptions/"+t.subscription); err != nil {
			return err
		}
	}
	return c.answer(http.StatusOK, s.provider(t.subscription, namespaces[i]))
}
