package deployments

import "context"

// ErrKilled, returned by a step, leaves the deploy as a killed server would.
var ErrKilled = errKilled

// OnStep has fn called before each step of a deploy is taken for done.
func (s *Service) OnStep(fn func(string) error) { s.step = fn }

// Borrow makes and ends the token that the server acts with for a principal;
// between runs while there is one.
func (s *Service) Borrow(ctx context.Context, ws int64, userName, purpose string, between func()) error {
	_, end, err := s.callerNamed(ctx, ws, userName, purpose)
	if err == nil {
		between()
		end()
	}
	return err
}

// EndPulls is one pass of FollowPulls that waits for nothing.
func (s *Service) EndPulls(ctx context.Context) error {
	_, err := s.endPulls(ctx, map[string]try{})
	return err
}
