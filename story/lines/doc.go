// Package lines tests that a job's run survives its server's death, with the
// built binary and databricks-sdk for Python.
package lines
