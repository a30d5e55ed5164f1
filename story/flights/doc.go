// Package flights tests the long story: the built binary, `wherry up` and
// `wherry demo` as a newcomer types them, with the server killed in the middle.
package flights
