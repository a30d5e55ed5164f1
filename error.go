package wherry

import (
	"errors"
	"fmt"
)

// Codes are the error_code strings of the wire (spec: the workspace API's
// error envelope). Each wire family maps them to its own status numbers.
const (
	CodeInvalidParameter  = "INVALID_PARAMETER_VALUE"
	CodeInvalidState      = "INVALID_STATE"
	CodeBadRequest        = "BAD_REQUEST"
	CodeUnauthenticated   = "UNAUTHENTICATED"
	CodePermissionDenied  = "PERMISSION_DENIED"
	CodeDoesNotExist      = "RESOURCE_DOES_NOT_EXIST"
	CodeNotFound          = "NOT_FOUND"
	CodeFeatureDisabled   = "FEATURE_DISABLED"
	CodeAlreadyExists     = "RESOURCE_ALREADY_EXISTS"
	CodeAborted           = "ABORTED"
	CodeConflict          = "RESOURCE_CONFLICT"
	CodeExhausted         = "RESOURCE_EXHAUSTED"
	CodeLimitExceeded     = "REQUEST_LIMIT_EXCEEDED"
	CodeInternal          = "INTERNAL_ERROR"
	CodeNotImplemented    = "NOT_IMPLEMENTED"
	CodeMaxReadExceeded   = "MAX_READ_SIZE_EXCEEDED"
	CodeCatalogNotFound   = "CATALOG_DOES_NOT_EXIST"
	CodeSchemaNotFound    = "SCHEMA_DOES_NOT_EXIST"
	CodeTableNotFound     = "TABLE_DOES_NOT_EXIST"
	CodeCatalogExists     = "CATALOG_ALREADY_EXISTS"
	CodeSchemaExists      = "SCHEMA_ALREADY_EXISTS"
	CodeTableExists       = "TABLE_ALREADY_EXISTS"
	CodeMaxBlockExceeded  = "MAX_BLOCK_SIZE_EXCEEDED"
	CodeDirectoryNotEmpty = "DIRECTORY_NOT_EMPTY"
)

// Error is an error meant for the caller: its message is shown as it is. Any
// other error is shown as "internal error" and logged.
type Error struct {
	Code    string `json:"error_code"`
	Message string `json:"message"`
}

func (e *Error) Error() string { return e.Message }

// Errorf makes an Error for the caller.
func Errorf(code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// NotImplemented is the error for a feature that this server does not have.
func NotImplemented(feature string) *Error {
	return Errorf(CodeNotImplemented, "%s is not supported by wherry", feature)
}

// CodeOf returns the code of the first Error in err's chain, CodeInternal if
// there is none, and "" for nil.
func CodeOf(err error) string {
	if err == nil {
		return ""
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	return CodeInternal
}
