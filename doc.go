// Package wherry holds the nouns of the system and the rules that need no
// input or output: jobs, runs, tasks, principals, events and errors. It
// imports the standard library only, and every other package may import it.
package wherry
