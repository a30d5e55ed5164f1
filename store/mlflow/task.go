package mlflow

import (
	"errors"
	"strconv"

	"github.com/wherry-ml/wherry/store"
)

// TaskTags are the tags that a job's context gives to the runs started in one
// of its tasks, with the names that Databricks' client uses. A task run that
// is unknown gives none.
func TaskTags(tx *store.Tx, taskRunID int64) (map[string]string, error) {
	var jobID, jobRunID int64
	var taskKey string
	err := tx.Row(`SELECT j.job_id, j.id, t.task_key FROM task_run t JOIN job_run j ON j.id = t.job_run_id WHERE t.id = $1`, taskRunID).Scan(&jobID, &jobRunID, &taskKey)
	if errors.Is(err, store.ErrNoRows) {
		return map[string]string{}, nil
	}
	if err != nil {
		return nil, err
	}
	return map[string]string{
		"mlflow.databricks.jobID":    strconv.FormatInt(jobID, 10),
		"mlflow.databricks.jobRunID": strconv.FormatInt(jobRunID, 10),
		"mlflow.databricks.taskKey":  taskKey,
	}, nil
}
