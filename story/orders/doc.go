// Package orders tests `wherry run` on the project examples/orders, as it is,
// with the built binary.
package orders
