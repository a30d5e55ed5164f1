package catalog

import (
	"context"
	"strings"
	"time"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/api"
	store "github.com/wherry-ml/wherry/store/catalog"
)

// Vendor signs a query string that lets whoever has it read, and write if
// asked, below account/container/path until a time.
type Vendor func(ctx context.Context, at string, write bool) (signature string, until time.Time, err error)

// usesLocations is who may use external locations: whoever may use the
// catalog, since grants are not enforced. This is the one place that says so.
const usesLocations = api.Write

type pathInput struct {
	URL       string `json:"url"`
	Operation string `json:"operation"`
	DryRun    bool   `json:"dry_run"`
}

type delegation struct {
	Token string `json:"sas_token"`
}

type pathOutput struct {
	Delegation *delegation `json:"azure_user_delegation_sas,omitempty"`
	Expiration int64       `json:"expiration_time,omitempty"` // ms
	URL        string      `json:"url"`                       // what the signature is good for, with all below
}

// pathCredentials gives out a signature for the external location that a path
// lies in. Spark asks for one at its first access of a location.
func (s *Service) pathCredentials(ctx context.Context, in *pathInput) (*pathOutput, error) {
	write := false
	switch in.Operation {
	case "PATH_READ":
	case "PATH_READ_WRITE", "PATH_CREATE_TABLE":
		write = true
	default:
		return nil, wherry.Errorf(wherry.CodeInvalidParameter, "operation must be PATH_READ, PATH_READ_WRITE or PATH_CREATE_TABLE, not %q", in.Operation)
	}
	if store.LakePath(in.URL) == "" {
		return nil, wherry.Errorf(wherry.CodeInvalidParameter, "%q is not a path in a storage account: abfss://CONTAINER@ACCOUNT.dfs.core.windows.net/PATH is expected", in.URL)
	}
	location, err := s.store.Covering(ctx, in.URL)
	if err != nil {
		return nil, err
	}
	if location == nil {
		return nil, wherry.Errorf(wherry.CodePermissionDenied, "[NO_PARENT_EXTERNAL_LOCATION_FOR_PATH] No external location covers '%s'. Make one on it or on a folder above it "+
			"(Terraform's databricks_external_location or POST %sexternal-locations), or set fs.azure.account.* for its account.", in.URL, prefix)
	}
	if write && string(location.Doc["read_only"]) == "true" {
		return nil, wherry.Errorf(wherry.CodePermissionDenied, "'%s' cannot be written to: its external location '%s' is read-only", in.URL, location.Name)
	}
	top := store.LakePath(location.Location)
	out := &pathOutput{URL: lakeURL(top)}
	if in.DryRun {
		return out, nil
	}
	if s.Vend == nil {
		return nil, wherry.NotImplemented("credential vending (temporary path credentials)")
	}
	token, until, err := s.Vend(ctx, top, write)
	if err != nil {
		return nil, err
	}
	out.Delegation, out.Expiration = &delegation{token}, until.UnixMilli()
	return out, nil
}

// lakeURL writes account/container/path in the one form that Spark compares.
func lakeURL(at string) string {
	account, rest, _ := strings.Cut(at, "/")
	container, p, _ := strings.Cut(rest, "/")
	return strings.TrimRight("abfss://"+container+"@"+account+".dfs.core.windows.net/"+p, "/")
}
