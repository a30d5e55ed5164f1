package azure

import (
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/wherry-ml/wherry/auth"
)

// target is the path of a request to the management API, taken apart:
// /subscriptions/S/resourceGroups/G/providers/NS/type/name/type/name…
type target struct {
	subscription string
	group        string
	// scope is what the last /providers/ stands on, "" for the tenant.
	scope     string
	namespace string // "" if there are no /providers/
	types     []string
	names     []string // one less than types for a list, or an action
	rest      []string // what follows a subscription or group without /providers/
}

func parse(path string) (t target, err error) {
	path = strings.TrimSuffix(path, "/")
	if i := strings.LastIndex(strings.ToLower(path), "/providers/"); i >= 0 {
		t.scope = path[:i]
		parts := strings.Split(path[i+len("/providers/"):], "/")
		t.namespace = parts[0]
		for i, part := range parts[1:] {
			if part == "" {
				return t, badRequest("InvalidResourceId", "The path has an empty part.")
			}
			if i%2 == 0 {
				t.types = append(t.types, part)
			} else {
				t.names = append(t.names, part)
			}
		}
		path = t.scope
	}
	parts := strings.Split(strings.TrimPrefix(path, "/"), "/")
	if len(parts) < 2 || !strings.EqualFold(parts[0], "subscriptions") {
		t.rest = parts
		return t, nil
	}
	if t.subscription = strings.ToLower(parts[1]); !auth.IsGUID(t.subscription) {
		return t, badRequest("InvalidSubscriptionId", "The provided subscription identifier '"+parts[1]+"' is malformed or invalid.")
	}
	if parts = parts[2:]; len(parts) >= 2 && strings.EqualFold(parts[0], "resourceGroups") {
		t.group, parts = parts[1], parts[2:]
	}
	t.rest = parts
	return t, nil
}

// kind is the name of the type that the target is of, for the table.
func (t target) kind() string {
	return strings.ToLower(t.namespace + "/" + strings.Join(t.types, "/"))
}

// parent is the target of the resource that this one is in.
func (t target) parent() target {
	t.types, t.names = t.types[:len(t.types)-1], t.names[:min(len(t.names), len(t.types)-1)]
	return t
}

// id is the resource's id with the spelling that types have in the table.
func (s *Service) id(t target) string {
	id := "/subscriptions/" + t.subscription
	if t.group != "" {
		id += "/resourceGroups/" + t.group
	}
	if t.namespace == "" {
		return id
	}
	types := t.types
	if k := s.kinds[t.kind()]; k != nil {
		types = strings.Split(k.name, "/")[1:]
		t.namespace, _, _ = strings.Cut(k.name, "/")
	}
	id += "/providers/" + t.namespace
	for i, name := range t.names {
		id += "/" + types[i] + "/" + name
	}
	return id
}

var versionFormat = regexp.MustCompile(`^[0-9]{4}-[0-9]{2}-[0-9]{2}(-(preview|alpha|beta|privatepreview))?$`)

// checkVersion refuses an api-version that cannot be: one before the type was
// there or after today. Clients name new ones all the time, and what they rely
// on here has not changed between them.
func checkVersion(c *call, t target, k *kind) error {
	v := c.query.Get("api-version")
	if v == "" {
		return badRequest("MissingApiVersionParameter", "The api-version query parameter (?api-version=) is required for all requests.")
	}
	today := time.Now().UTC().Format(time.DateOnly)
	first := "2014-04-01"
	if k != nil {
		first = k.first
	}
	if versionFormat.MatchString(v) && v >= first && v[:10] <= today {
		return nil
	}
	if k == nil {
		return badRequest("InvalidApiVersionParameter", "The api-version '"+v+"' is invalid. The supported versions are those from '"+first+"' to '"+today+"'.")
	}
	return badRequest("NoRegisteredProviderFound", "No registered resource provider found for API version '"+v+"' for type '"+strings.Join(t.types, "/")+
		"'. The supported api-versions are those from '"+k.first+"' to '"+today+"'.")
}

// namespaces are those that a subscription can have; Terraform registers what
// it finds missing. Types are served of those in the table only.
var namespaces = []string{
	"Microsoft.ADHybridHealthService", "Microsoft.AVS", "Microsoft.ApiManagement", "Microsoft.AppConfiguration", "Microsoft.AppPlatform", "Microsoft.Authorization", "Microsoft.Automation",
	"Microsoft.AzureActiveDirectory", "Microsoft.Billing", "Microsoft.Blueprint", "Microsoft.BotService", "Microsoft.Cache", "Microsoft.Cdn", "Microsoft.CognitiveServices",
	"Microsoft.Compute", "Microsoft.Consumption", "Microsoft.ContainerInstance", "Microsoft.ContainerRegistry", "Microsoft.ContainerService", "Microsoft.CostManagement",
	"Microsoft.CustomProviders", "Microsoft.DBforMariaDB", "Microsoft.DBforMySQL", "Microsoft.DBforPostgreSQL", "Microsoft.DataFactory", "Microsoft.DataLakeAnalytics",
	"Microsoft.DataLakeStore", "Microsoft.DataMigration", "Microsoft.DataProtection", "Microsoft.Databricks", "Microsoft.DesktopVirtualization", "Microsoft.DevTestLab",
	"Microsoft.Devices", "Microsoft.DocumentDB", "Microsoft.EventGrid", "Microsoft.EventHub", "Microsoft.Features", "Microsoft.GuestConfiguration", "Microsoft.HDInsight",
	"Microsoft.HealthcareApis", "Microsoft.KeyVault", "Microsoft.Kusto", "Microsoft.Logic", "Microsoft.MachineLearningServices", "Microsoft.Maintenance", "Microsoft.ManagedIdentity",
	"Microsoft.ManagedServices", "Microsoft.Management", "Microsoft.Maps", "Microsoft.MarketplaceOrdering", "Microsoft.MixedReality", "Microsoft.Network", "Microsoft.NotificationHubs",
	"Microsoft.OperationalInsights", "Microsoft.OperationsManagement", "Microsoft.PolicyInsights", "Microsoft.PowerBIDedicated", "Microsoft.RecoveryServices", "Microsoft.Relay",
	"Microsoft.Resources", "Microsoft.Search", "Microsoft.Security", "Microsoft.SecurityInsights", "Microsoft.ServiceBus", "Microsoft.ServiceFabric", "Microsoft.ServiceLinker",
	"Microsoft.SignalRService", "Microsoft.Sql", "Microsoft.Storage", "Microsoft.StorageCache", "Microsoft.StreamAnalytics", "Microsoft.Web", "Microsoft.App", "Microsoft.AAD",
	"Microsoft.Advisor", "Microsoft.AlertsManagement", "Microsoft.Insights", "Microsoft.Portal", "Microsoft.ResourceHealth", "Microsoft.SerialConsole", "Microsoft.Dashboard",
}

// find returns the table's row for a target, or the error that Azure gives for
// a type it does not know.
func (s *Service) find(t target) (*kind, error) {
	if k := s.kinds[t.kind()]; k != nil {
		return k, nil
	}
	known := slices.ContainsFunc(namespaces, func(n string) bool { return strings.EqualFold(n, t.namespace) })
	if !known {
		return nil, notFound("InvalidResourceNamespace", "The resource namespace '"+t.namespace+"' is invalid.")
	}
	var have []string
	for _, k := range s.kinds {
		have = append(have, k.name)
	}
	slices.Sort(have)
	return nil, notFound("InvalidResourceType", "The resource type '"+strings.Join(t.types, "/")+"' could not be found in the namespace '"+t.namespace+
		"'. wherry has "+strings.Join(have, ", ")+".")
}

// methodNotAllowed is the answer to a method that a path does not have.
func methodNotAllowed(c *call) error {
	return &fault{Status: http.StatusMethodNotAllowed, Code: "HttpMethodNotSupported", Message: "The HTTP method '" + c.r.Method + "' is not supported at '" + c.r.URL.Path + "'."}
}
