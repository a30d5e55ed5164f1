package mlflow

import (
	"encoding/json"
	"strings"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/store/mlflow"
)

func unmarshal(b []byte, into any) error { return json.Unmarshal(b, into) }

// looseString is text that clients may send as a number (ids, versions).
type looseString string

// UnmarshalJSON accepts "12" and 12.
func (s *looseString) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '"' {
		return json.Unmarshal(b, (*string)(s))
	}
	if t := string(b); t != "null" {
		*s = looseString(t)
	}
	return nil
}

// view is a ViewType, by name or number.
type view string

// UnmarshalJSON accepts "ALL" and 3.
func (v *view) UnmarshalJSON(b []byte) error {
	switch t := strings.Trim(string(b), `"`); t {
	case "1":
		*v = mlflow.ActiveOnly
	case "2":
		*v = mlflow.DeletedOnly
	case "3":
		*v = mlflow.AnyStage
	case "null":
	default:
		*v = view(t)
	}
	return nil
}

// runRef names a run by run_id, or by run_uuid as old clients do.
type runRef struct {
	RunID   string `json:"run_id"`
	RunUUID string `json:"run_uuid"`
}

func (r *runRef) id() (string, error) {
	if r.RunID != "" {
		return r.RunID, nil
	}
	if r.RunUUID != "" {
		return r.RunUUID, nil
	}
	return "", wherry.Errorf(wherry.CodeInvalidParameter, "Missing value for required parameter 'run_id'. See the API docs for more information about request parameters.")
}
