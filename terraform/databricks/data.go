package databricks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/wherry-ml/wherry/terraform/provider"
)

func currentMetastore(ctx context.Context, c *Client, s *state) error {
	doc, err := c.do(ctx, "GET", unity+"metastore_summary", nil)
	if err != nil {
		return err
	}
	s.SetID(fmt.Sprint(doc["metastore_id"]))
	s.Values["metastore_info"] = []any{provider.Decode(s.Field("metastore_info").Fields, doc, nil)}
	return nil
}

// names lists what a list of Unity Catalog has, all pages of it.
func names(ctx context.Context, c *Client, path, key, name string) ([]any, error) {
	out := []any{}
	for page := ""; ; {
		doc, err := c.do(ctx, "GET", path+page, nil)
		if err != nil {
			return nil, err
		}
		items, _ := doc[key].([]any)
		for _, item := range items {
			out = append(out, fmt.Sprint(provider.At(item, name)))
		}
		next, _ := doc["next_page_token"].(string)
		if next == "" {
			return out, nil
		}
		page = "&page_token=" + url.QueryEscape(next)
	}
}

func catalogs(ctx context.Context, c *Client, s *state) (err error) {
	s.SetID("_")
	s.Values["ids"], err = names(ctx, c, unity+"catalogs?max_results=1000", "catalogs", "name")
	return err
}

func schemas(ctx context.Context, c *Client, s *state) (err error) {
	s.SetID(s.String("catalog_name"))
	s.Values["ids"], err = names(ctx, c, unity+"schemas?max_results=1000&catalog_name="+url.QueryEscape(s.ID()), "schemas", "full_name")
	return err
}

// sparkVersion picks a runtime: the newest that has all that is asked for.
func sparkVersion(ctx context.Context, c *Client, s *state) error {
	doc, err := c.do(ctx, "GET", clusters+"spark-versions", nil)
	if err != nil {
		return err
	}
	var keys []string
	versions, _ := doc["versions"].([]any)
	for _, v := range versions {
		key, name := fmt.Sprint(provider.At(v, "key")), fmt.Sprint(provider.At(v, "name"))
		has := func(word string) bool { return strings.Contains(key, word) }
		lts := strings.Contains(name, "LTS")
		if has("-ml-") != s.Bool("ml") && s.Values["ml"] != nil || !s.Bool("ml") && has("-ml-") || has("gpu") != s.Bool("gpu") ||
			has("photon") != s.Bool("photon") || s.Bool("long_term_support") && !lts ||
			!strings.Contains(name, s.String("spark_version")) || s.String("scala") != "" && !has("scala"+s.String("scala")) {
			continue
		}
		keys = append(keys, key)
	}
	if len(keys) == 0 {
		return errors.New("no runtime has all that is asked for: GET /api/2.1/clusters/spark-versions lists them")
	}
	if len(keys) > 1 && s.Values["latest"] == false {
		return fmt.Errorf("several runtimes do, and latest is false: %s", strings.Join(keys, ", "))
	}
	slices.SortFunc(keys, func(a, b string) int { return versionOf(b) - versionOf(a) })
	s.SetID(keys[0])
	return nil
}

// versionOf makes of 15.4.x-scala2.12 a number that sorts as releases do.
func versionOf(key string) int {
	parts := strings.SplitN(key, ".", 3)
	if len(parts) < 2 {
		return 0
	}
	major, _ := strconv.Atoi(parts[0])
	minor, _ := strconv.Atoi(parts[1])
	return major*1000 + minor
}

// nodeType picks the smallest machine that is big enough.
func nodeType(ctx context.Context, c *Client, s *state) error {
	doc, err := c.do(ctx, "GET", clusters+"list-node-types", nil)
	if err != nil {
		return err
	}
	least := func(name string) float64 { n, _ := s.Values[name].(int64); return float64(n) }
	best, size := "", 0.0
	types, _ := doc["node_types"].([]any)
	for _, n := range types {
		memory, cores, gpus := numberAt(n, "memory_mb")/1024, numberAt(n, "num_cores"), numberAt(n, "num_gpus")
		category, _ := s.Values["category"].(string)
		if memory < least("min_memory_gb") || cores < least("min_cores") || gpus < least("min_gpus") || gpus > 0 && least("min_gpus") == 0 ||
			s.Bool("local_disk") && numberAt(n, "node_instance_type", "local_disks") == 0 ||
			category != "" && !strings.EqualFold(category, fmt.Sprint(provider.At(n, "category"))) {
			continue
		}
		if weight := cores*1024 + memory; best == "" || weight < size {
			best, size = fmt.Sprint(provider.At(n, "node_type_id")), weight
		}
	}
	if best == "" {
		return errors.New("no node type is big enough: GET /api/2.1/clusters/list-node-types lists them")
	}
	s.SetID(best)
	return nil
}

func numberAt(doc any, path ...string) float64 {
	n, ok := provider.At(doc, path...).(json.Number)
	if !ok {
		return 0
	}
	f, _ := n.Float64()
	return f
}
