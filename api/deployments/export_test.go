package deployments

// ErrKilled, returned by a step, leaves the deploy as a killed server would.
var ErrKilled = errKilled

// OnStep has fn called before each step of a deploy is taken for done.
func (s *Service) OnStep(fn func(string) error) { s.step = fn }
