// Package examples holds whole projects, written as their users would write
// them for Databricks. `wherry demo` runs flights; the tests run all of them.
package examples

import "embed"

// Flights predicts late arrivals: jobs, notebooks, a package and its tests.
//
//go:embed all:flights
var Flights embed.FS
