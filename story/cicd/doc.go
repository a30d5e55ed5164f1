// Package cicd takes a new project from its first commit to production with the
// built binary, and then breaks it in each way that must turn red. It takes half
// an hour, so it runs only where WHERRY_TEST_STORY is set.
package cicd
