// Package tables tests that the server's catalog is the only one, with the
// built binary and two clusters' real Spark.
package tables
