package wherry

// Types of workspace object: the platform's object_type strings.
const (
	ObjectNotebook  = "NOTEBOOK"
	ObjectFile      = "FILE"
	ObjectDirectory = "DIRECTORY"
)

// Languages of notebooks.
const (
	LanguagePython = "PYTHON"
	LanguageSQL    = "SQL"
	LanguageScala  = "SCALA"
	LanguageR      = "R"
)

// Object is a notebook, file or directory of a workspace. Path is the name the
// APIs use, where a notebook has no extension; File is where it is on disk,
// relative to the workspace's tree, where it has one.
type Object struct {
	Type       string `json:"object_type"`
	ID         int64  `json:"object_id,omitempty"`
	ResourceID string `json:"resource_id,omitempty"`
	Path       string `json:"path"`
	Language   string `json:"language,omitempty"` // of notebooks
	Size       int64  `json:"size,omitempty"`     // of files, in bytes
	CreatedAt  int64  `json:"created_at,omitempty"`
	ModifiedAt int64  `json:"modified_at,omitempty"`
	File       string `json:"-"`
}
