package server

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestUnreachableDatabase: a server whose lease cannot be renewed stops before
// another may take it, whether the database answers with errors or not at all.
func TestUnreachableDatabase(t *testing.T) {
	for name, once := range map[string]func(context.Context) error{
		"errors": func(context.Context) error { return errors.New("connection refused") },
		"silence": func(ctx context.Context) error {
			<-ctx.Done()
			return ctx.Err()
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began, calls := time.Now(), 0
				l := &lease{taken: began}
				err := l.renew(t.Context(), nil, func(ctx context.Context) error {
					if calls++; calls <= 3 {
						return nil // renewed, at 10, 20 and 30 seconds
					}
					return once(ctx)
				})
				if err == nil || !strings.Contains(err.Error(), "could not be reached") || !strings.Contains(err.Error(), "start again") {
					t.Errorf("stopped with %v", err)
				}
				if after := time.Since(began); after != 30*time.Second+25*time.Second {
					t.Errorf("stopped after %s", after)
				}
			})
		})
	}
}

func TestRenewalEndsWithTheServer(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	l := &lease{taken: time.Now()}
	due := make(chan time.Time, 1)
	due <- time.Time{}
	err := l.renew(ctx, due, func(ctx context.Context) error {
		cancel()
		return ctx.Err()
	})
	if err != nil {
		t.Error(err)
	}
}
