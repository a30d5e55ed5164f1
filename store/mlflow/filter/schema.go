package filter

// Entities that a clause may speak of.
const (
	Attribute = "attribute"
	Metric    = "metric"
	Param     = "parameter"
	Tag       = "tag"
	Dataset   = "dataset"
)

// Schema says what may be searched in one kind of thing.
type Schema struct {
	entities map[string]string // as written → one of the constants
	strings  map[string]string // attribute as written → its name
	numbers  map[string]string // numeric attribute as written → its name
	lists    map[string]bool   // attributes that take IN and NOT IN; nil means all strings, params and tags too
	order    map[string]string // attributes that may be ordered by
	nullTags bool              // IS NULL and IS NOT NULL for tags (and params)
	// bareNumbers lets a numeric attribute be compared with a quoted number.
	quotedNumbers bool
}

var all = map[string]string{
	"attribute": Attribute, "attributes": Attribute, "attr": Attribute, "run": Attribute,
	"metric": Metric, "metrics": Metric,
	"parameter": Param, "parameters": Param, "param": Param, "params": Param,
	"tag": Tag, "tags": Tag,
	"dataset": Dataset, "datasets": Dataset,
}

var tagged = map[string]string{"attribute": Attribute, "tag": Tag, "tags": Tag}

func names(list ...string) map[string]string {
	m := map[string]string{}
	for _, n := range list {
		m[n] = n
	}
	return m
}

func with(m map[string]string, pairs ...string) map[string]string {
	for i := 0; i < len(pairs); i += 2 {
		m[pairs[i]] = pairs[i+1]
	}
	return m
}

// The searchable kinds.
var (
	Runs = Schema{
		entities: all,
		strings: with(names("run_id", "run_name", "user_id", "status", "artifact_uri"),
			"run name", "run_name", "Run name", "run_name", "Run Name", "run_name"),
		numbers: with(names("start_time", "end_time"), "created", "start_time", "Created", "start_time"),
		lists:   map[string]bool{"run_id": true},
		order: with(names("run_id", "run_name", "user_id", "status", "artifact_uri", "start_time", "end_time"),
			"created", "start_time", "Created", "start_time", "run name", "run_name", "Run name", "run_name", "Run Name", "run_name"),
		nullTags: true,
	}
	Experiments = Schema{
		entities: tagged,
		strings:  names("name", "experiment_id"),
		numbers:  names("creation_time", "last_update_time"),
		lists:    map[string]bool{"experiment_id": true},
		order:    names("name", "experiment_id", "creation_time", "last_update_time"),
		nullTags: true,
	}
	RegisteredModels = Schema{
		entities: tagged,
		strings:  names("name"),
		numbers:  map[string]string{},
		lists:    map[string]bool{"name": true},
		order: with(names("name", "creation_timestamp", "last_updated_timestamp"),
			"timestamp", "last_updated_timestamp"),
	}
	ModelVersions = Schema{
		entities:      tagged,
		strings:       names("name", "run_id", "source_path"),
		numbers:       names("version_number", "creation_timestamp", "last_updated_timestamp"),
		lists:         map[string]bool{"name": true, "run_id": true},
		order:         names("name", "version_number", "creation_timestamp", "last_updated_timestamp"),
		quotedNumbers: true,
	}
	LoggedModels = Schema{
		entities: map[string]string{"attributes": Attribute, "metrics": Metric, "params": Param, "tags": Tag},
		strings:  names("name", "model_id", "model_type", "source_run_id", "status", "experiment_id"),
		numbers: with(names("creation_timestamp_ms", "last_updated_timestamp_ms"),
			"creation_timestamp", "creation_timestamp_ms", "creation_time", "creation_timestamp_ms",
			"last_updated_timestamp", "last_updated_timestamp_ms"),
		order: with(names("name", "model_id", "model_type", "source_run_id", "status", "creation_timestamp_ms", "last_updated_timestamp_ms"),
			"creation_timestamp", "creation_timestamp_ms", "creation_time", "creation_timestamp_ms",
			"last_updated_timestamp", "last_updated_timestamp_ms"),
	}
)
