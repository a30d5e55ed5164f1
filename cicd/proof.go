package cicd

import (
	"context"
	"encoding/base64"
	"fmt"
	"strconv"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/store/cicd"
	"github.com/wherry-ml/wherry/workflow"
)

// A job's steps sign in as others too, to deploy as a service principal for
// one. That such a call comes from the job, a proof says that only the job was
// given: its id, sealed.

// proofHolder is for whom the server's key seals proofs.
const proofHolder = "ci-job"

func (s *Service) proof(jobID int64) string {
	return base64.RawURLEncoding.EncodeToString(s.cfg.Key.Seal(proofHolder, "proof", []byte(strconv.FormatInt(jobID, 10))))
}

// JobOf names the job that a call comes from, as run/attempt/job: that of the
// attempt whose token signed it in, or with another's token (0) the one that the
// proof is of. What proves nothing, or a job that does not run, is "".
func (s *Service) JobOf(ctx context.Context, taskRun int64, proof string) (string, error) {
	r, j, err := s.proven(ctx, taskRun, proof)
	if wherry.CodeOf(err) == wherry.CodeDoesNotExist || err == nil && (j == nil || j.State == workflow.Completed) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%d/%d/%s", r.ID, r.Attempt, j.Leg()), nil
}

func (s *Service) proven(ctx context.Context, taskRun int64, proof string) (*cicd.Record, *workflow.Job, error) {
	if taskRun != 0 {
		return s.cfg.Store.JobOfTask(ctx, taskRun)
	}
	sealed, err := base64.RawURLEncoding.DecodeString(proof)
	if err != nil {
		return nil, nil, nil //nolint:nilerr // it proves nothing
	}
	text, err := s.cfg.Key.Open(proofHolder, "proof", sealed)
	if err != nil {
		return nil, nil, nil //nolint:nilerr // it proves nothing
	}
	id, err := strconv.ParseInt(string(text), 10, 64)
	if err != nil {
		return nil, nil, fmt.Errorf("proof of a job: %w", err)
	}
	return s.cfg.Store.Job(ctx, id)
}
