package deployments

import (
	"context"
	"net/url"
	"path"
	"slices"
	"strings"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/api"
	"github.com/wherry-ml/wherry/bundle/deployment"
	"github.com/wherry-ml/wherry/store/deployments"
)

func urlQuery(s string) string { return url.QueryEscape(s) }

func (s *Service) standIns(ctx context.Context, _ *api.Empty) (*struct {
	StandIns []deployments.StandIn `json:"stand_ins"`
}, error,
) {
	list, err := s.store.StandIns(ctx, wherry.IdentityFrom(ctx).WorkspaceID)
	return &struct {
		StandIns []deployments.StandIn `json:"stand_ins"`
	}{list}, err
}

// planStandIns finds what the bundle takes for granted and is not there.
func (s *Service) planStandIns(ctx context.Context, c *caller, in *deployment.Request, p *plan) error {
	rows, err := s.store.StandIns(ctx, c.WorkspaceID)
	if err != nil {
		return err
	}
	made := map[string]deployments.StandIn{}
	for _, row := range rows {
		made[row.Kind+" "+row.Name] = row
	}
	seen := map[string]bool{}
	for _, want := range wanted(in) {
		key := want.Kind + " " + want.Name
		if seen[key] {
			continue
		}
		seen[key] = true
		row, ours := made[key]
		if ours && want.Kind == deployment.StandInCluster {
			p.clusters[want.Name] = row.ResourceID
		}
		there, err := exists(ctx, c, want, row)
		if err != nil {
			return err
		}
		if there && !ours {
			continue
		}
		if !there {
			if !in.StandIns {
				continue // the resource's own API will say what is missing
			}
			if want.Kind == deployment.StandInCluster {
				p.clusters[want.Name] = unknown
			}
			p.wants = append(p.wants, want)
		}
		p.StandIns = append(p.StandIns, deployment.StandIn{Kind: want.Kind, Name: want.Name, At: want.At, New: !there})
	}
	return nil
}

// wanted lists what the bundle's resources and sources name and the bundle does
// not make itself: parents first.
func wanted(in *deployment.Request) (list []deployment.Want) {
	own := map[string]bool{}
	for _, r := range in.Resources {
		if kinds[r.Type].securable != "" || r.Type == "secret_scopes" {
			own[strings.ToLower(kinds[r.Type].name(r.Config))] = true
		}
	}
	add := func(kind, name, at string) {
		if name != "" && !strings.Contains(name, "${") && !own[strings.ToLower(name)] {
			list = append(list, deployment.Want{Kind: kind, Name: name, At: at})
		}
	}
	for _, r := range in.Resources {
		catalog, schema := text(r.Config["catalog_name"]), text(r.Config["schema_name"])
		add(deployment.StandInCatalog, catalog, r.At)
		if schema != "" && !strings.Contains(catalog, "${") {
			add(deployment.StandInSchema, catalog+"."+schema, r.At)
		}
	}
	for _, w := range in.Wants {
		parts := strings.Split(w.Name, ".")
		if w.Kind == deployment.StandInSchema || w.Kind == deployment.StandInVolume {
			add(deployment.StandInCatalog, parts[0], w.At)
		}
		if w.Kind == deployment.StandInVolume && len(parts) == 3 {
			add(deployment.StandInSchema, parts[0]+"."+parts[1], w.At)
		}
		add(w.Kind, w.Name, w.At)
	}
	for _, r := range in.Resources {
		for _, task := range tasksOf(r.Config) { // a cluster of the bundle is a reference, which add leaves out
			add(deployment.StandInCluster, text(task["existing_cluster_id"]), r.At)
		}
		if r.Type == "experiments" {
			if dir := path.Dir(text(r.Config["name"])); dir != "/" && dir != "." {
				add(deployment.StandInFolder, dir, r.At)
			}
		}
		runAs, _ := r.Config["run_as"].(map[string]any)
		for _, who := range append([]map[string]any{runAs}, r.Permissions...) {
			add(deployment.StandInPrincipal, text(who["user_name"]), r.At)
			add(deployment.StandInPrincipal, text(who["service_principal_name"]), r.At)
		}
	}
	return list
}

// exists asks the API that knows. A server without that API has nothing to
// stand in for.
func exists(ctx context.Context, c *caller, w deployment.Want, row deployments.StandIn) (bool, error) {
	full := url.PathEscape(w.Name)
	paths := map[string]string{
		deployment.StandInCatalog: "/api/2.1/unity-catalog/catalogs/" + full, deployment.StandInSchema: "/api/2.1/unity-catalog/schemas/" + full,
		deployment.StandInVolume: "/api/2.1/unity-catalog/volumes/" + full, deployment.StandInFolder: "/api/2.0/workspace/get-status?path=" + urlQuery(w.Name),
	}
	switch w.Kind {
	case deployment.StandInCluster:
		id := w.Name
		if row.ResourceID != "" {
			id = row.ResourceID
		}
		err := c.call(ctx, "GET", "/api/2.1/clusters/get?cluster_id="+urlQuery(id), nil, nil)
		if missing(err) || err != nil && strings.Contains(err.Error(), "does not exist") {
			return false, nil
		}
		return err == nil, err
	case deployment.StandInScope:
		found, err := findScope(ctx, c, map[string]any{"name": w.Name})
		return found != "", err
	case deployment.StandInPrincipal:
		return principalExists(ctx, c, w.Name)
	}
	err := c.call(ctx, "GET", paths[w.Kind], nil, nil)
	if missing(err) {
		return false, nil
	}
	return err == nil, err
}

func principalExists(ctx context.Context, c *caller, name string) (bool, error) {
	if name == c.UserName {
		return true, nil
	}
	kind, attribute := scimKind(name)
	var out struct {
		Total     int   `json:"totalResults"`
		Resources []any `json:"Resources"`
	}
	err := c.call(ctx, "GET", "/api/2.0/preview/scim/v2/"+kind+"?filter="+urlQuery(attribute+` eq "`+name+`"`), nil, &out)
	if missing(err) {
		return true, nil // no such API: nothing can be made
	}
	return len(out.Resources) > 0, err
}

func scimKind(name string) (kind, attribute string) {
	if strings.Contains(name, "@") {
		return "Users", "userName"
	}
	return "ServicePrincipals", "applicationId"
}

// madeMeanwhile are the answers where another deploy was first.
var madeMeanwhile = []string{wherry.CodeAlreadyExists, wherry.CodeCatalogExists, wherry.CodeSchemaExists}

// makeStandIns makes what planStandIns found missing.
func (s *Service) makeStandIns(ctx context.Context, c *caller, in *deployment.Request, p *plan) error {
	for _, w := range p.wants {
		id, err := makeStandIn(ctx, c, w, in.ClusterSpecs[w.Name])
		if err != nil && !slices.Contains(madeMeanwhile, wherry.CodeOf(err)) {
			return about(deployment.Resource{Type: "stand-in for " + w.Kind, Key: w.Name, At: w.At}, err)
		}
		if w.Kind == deployment.StandInCluster {
			p.clusters[w.Name] = id
		}
		if err := s.store.PutStandIn(ctx, deployments.StandIn{WorkspaceID: c.WorkspaceID, Kind: w.Kind, Name: w.Name, ResourceID: id, CreatedBy: c.UserName}); err != nil {
			return err
		}
	}
	return nil
}

const standInComment = "made by wherry as a stand-in: a bundle takes it for granted"

func makeStandIn(ctx context.Context, c *caller, w deployment.Want, spec map[string]any) (id string, err error) {
	parts := strings.Split(w.Name, ".")
	switch w.Kind {
	case deployment.StandInCatalog:
		return w.Name, c.call(ctx, "POST", "/api/2.1/unity-catalog/catalogs", map[string]any{"name": w.Name, "comment": standInComment}, nil)
	case deployment.StandInSchema:
		return w.Name, c.call(ctx, "POST", "/api/2.1/unity-catalog/schemas", map[string]any{"catalog_name": parts[0], "name": parts[1], "comment": standInComment}, nil)
	case deployment.StandInVolume:
		return w.Name, c.call(ctx, "POST", "/api/2.1/unity-catalog/volumes",
			map[string]any{"catalog_name": parts[0], "schema_name": parts[1], "name": parts[2], "volume_type": "MANAGED", "comment": standInComment}, nil)
	case deployment.StandInScope:
		return w.Name, c.call(ctx, "POST", "/api/2.0/secrets/scopes/create", map[string]any{"scope": w.Name}, nil)
	case deployment.StandInFolder:
		return w.Name, c.call(ctx, "POST", "/api/2.0/workspace/mkdirs", map[string]any{"path": w.Name}, nil)
	case deployment.StandInPrincipal:
		kind, attribute := scimKind(w.Name)
		var out struct {
			ID string `json:"id"`
		}
		err = c.call(ctx, "POST", "/api/2.0/preview/scim/v2/"+kind, map[string]any{attribute: w.Name, "displayName": w.Name, "active": true}, &out)
		return out.ID, err
	}
	if spec == nil {
		spec = map[string]any{"spark_version": "17.3.x-cpu-ml-scala2.13", "node_type_id": "Standard_DS3_v2", "num_workers": 0}
	}
	spec["cluster_name"] = "stand-in for " + w.Name
	var out struct {
		ID string `json:"cluster_id"`
	}
	err = c.call(ctx, "POST", "/api/2.1/clusters/create", spec, &out)
	return out.ID, err
}
