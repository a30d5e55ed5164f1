package wherry

import (
	"encoding/json"
	"strconv"
	"strings"
)

// Int64 is an integer that clients may send as a JSON number or as a quoted
// number (the Terraform provider and older SDKs quote ids); it is written as
// a number.
type Int64 int64

// UnmarshalJSON accepts 12 and "12".
func (n *Int64) UnmarshalJSON(b []byte) error {
	s := strings.Trim(string(b), `"`)
	if s == "" || s == "null" {
		return nil
	}
	v, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return Errorf(CodeInvalidParameter, "%s is not an integer", string(b))
	}
	*n = Int64(v)
	return nil
}

// MarshalJSON writes a JSON number.
func (n Int64) MarshalJSON() ([]byte, error) { return json.Marshal(int64(n)) }
