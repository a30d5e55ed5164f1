package storage

import (
	"errors"
	"io/fs"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// lease is a lock that its holder keeps on a blob, path or container: who writes
// must name it. It is part of the metadata, so that it moves with a rename and
// outlives the server.
type lease struct {
	ID       string `json:"i"`
	Duration int64  `json:"d"`           // seconds, -1 without end
	Until    int64  `json:"u,omitempty"` // ms, when it expires, 0 never
	Broken   int64  `json:"b,omitempty"` // ms, from when on it is broken, 0 if it is whole
}

// States of a lease.
const (
	leaseAvailable = "available"
	leaseLeased    = "leased"
	leaseExpired   = "expired"
	leaseBreaking  = "breaking"
	leaseBroken    = "broken"
)

func (l *lease) state() string {
	now := time.Now().UnixMilli()
	switch {
	case l == nil || l.ID == "":
		return leaseAvailable
	case l.Broken > now:
		return leaseBreaking
	case l.Broken > 0:
		return leaseBroken
	case l.Until > 0 && l.Until <= now:
		return leaseExpired
	}
	return leaseLeased
}

// locks reports whether a write must name the lease.
func (l *lease) locks() bool {
	s := l.state()
	return s == leaseLeased || s == leaseBreaking
}

func (l *lease) status() string {
	if l.locks() {
		return "locked"
	}
	return "unlocked"
}

// setLeaseHeaders tells of an entry's lease.
func setLeaseHeaders(h http.Header, l *lease) {
	h.Set("x-ms-lease-status", l.status())
	h.Set("x-ms-lease-state", l.state())
	if l.state() == leaseLeased {
		kind := "fixed"
		if l.Duration < 0 {
			kind = "infinite"
		}
		h.Set("x-ms-lease-duration", kind)
	}
}

func precondition(code, message string) error {
	return &Error{Status: http.StatusPreconditionFailed, Code: code, Message: message}
}

// checkLease refuses an operation that does not name the lease that is there, or
// names one that is not. Reading needs none, but one that is named must be right.
func checkLease(named string, e *entry, what string, writing bool) error {
	var l *lease
	if e != nil {
		l = e.Lease
	}
	switch {
	case l.locks() && named == "" && writing:
		return precondition("LeaseIdMissing", "There is currently a lease on the "+strings.ToLower(what)+" and no lease ID was specified in the request.")
	case l.locks() && named != "" && !strings.EqualFold(named, l.ID):
		return precondition("LeaseIdMismatchWith"+what+"Operation", "The lease ID specified did not match the lease ID for the "+strings.ToLower(what)+".")
	case named != "" && l.state() == leaseAvailable && e != nil:
		return precondition("LeaseNotPresentWith"+what+"Operation", "There is currently no lease on the "+strings.ToLower(what)+".")
	case named != "" && !l.locks() && e != nil:
		return precondition("LeaseLost", "A lease ID was specified, but the lease for the "+strings.ToLower(what)+" has expired.")
	}
	return nil
}

// mayWrite are a request's conditions on what it changes: its ETags and its lease.
func mayWrite(r *http.Request, e *entry) error {
	if err := checkLease(r.Header.Get("x-ms-lease-id"), e, "Blob", true); err != nil {
		return err
	}
	return check(r, e)
}

// mayRead are those on what it reads.
func mayRead(r *http.Request, e *entry) error {
	if err := checkLease(r.Header.Get("x-ms-lease-id"), e, "Blob", false); err != nil {
		return err
	}
	return check(r, e)
}

// lease serves the five actions, of Blob (PUT ?comp=lease) and DFS (POST).
func (s *Service) lease(w http.ResponseWriter, r *http.Request, q *request) error {
	if _, err := s.lake.stat(s.lake.name(q, "")); errors.Is(err, fs.ErrNotExist) {
		return q.noContainer()
	}
	action := strings.ToLower(r.Header.Get("x-ms-lease-action"))
	do := leaseActions[action]
	if do == nil {
		return badRequest("InvalidHeaderValue", "x-ms-lease-action must be acquire, renew, change, release or break.")
	}
	var a leaseAnswer
	e, err := s.lake.hold(s.lake.name(q, q.path), func(e *entry) (next *lease, err error) {
		if err = check(r, e); err == nil {
			next, a, err = do(r, e.Lease)
		}
		return next, err
	})
	if err != nil {
		return err
	}
	h := w.Header()
	h.Set("ETag", e.ETag())
	h.Set("Last-Modified", httpTime(e.ModTime()))
	if a.id != "" {
		h.Set("x-ms-lease-id", a.id)
	}
	if a.wait != nil {
		h.Set("x-ms-lease-time", itoa(*a.wait))
	}
	h.Set("Content-Length", "0")
	w.WriteHeader(a.status)
	return nil
}

// leaseAnswer is what an action answers with.
type leaseAnswer struct {
	status int
	id     string
	wait   *int64 // seconds till a lease is broken
}

// leaseActions give the lease that is to be, nil for none, for the one that is
// there, nil for none. The codes of refusals are matched by name in clients.
var leaseActions = map[string]func(*http.Request, *lease) (*lease, leaseAnswer, error){
	"acquire": acquireLease, "renew": renewLease, "change": changeLease, "release": releaseLease, "break": breakLease,
}

var leaseID = regexp.MustCompile(`^\{?[0-9A-Fa-f]{8}-?([0-9A-Fa-f]{4}-?){3}[0-9A-Fa-f]{12}\}?$`)

// idIn returns the lease id in a header, in the one form that ids have.
func idIn(r *http.Request, header string) (string, error) {
	id := r.Header.Get(header)
	if id != "" && !leaseID.MatchString(id) {
		return "", badRequest("InvalidHeaderValue", header+" must be a GUID.")
	}
	return strings.ToLower(strings.Trim(id, "{}")), nil
}

func acquireLease(r *http.Request, l *lease) (*lease, leaseAnswer, error) {
	id, err := idIn(r, "x-ms-proposed-lease-id")
	if err != nil {
		return nil, leaseAnswer{}, err
	}
	seconds, err := strconv.ParseInt(r.Header.Get("x-ms-lease-duration"), 10, 64)
	if err != nil || seconds != -1 && (seconds < 15 || seconds > 60) {
		return nil, leaseAnswer{}, badRequest("InvalidHeaderValue", "x-ms-lease-duration must be -1, or 15 to 60 seconds.")
	}
	switch {
	case l.state() == leaseBreaking && id == l.ID:
		return nil, leaseAnswer{}, conflict("LeaseIsBreakingAndCannotBeAcquired", "The lease ID matched, but the lease is currently in breaking state and cannot be acquired until it is broken.")
	case l.locks() && (id != l.ID || id == ""):
		return nil, leaseAnswer{}, conflict("LeaseAlreadyPresent", "There is already a lease present.")
	}
	if id == "" {
		id = requestID()
	}
	next := &lease{ID: id, Duration: seconds}
	next.start()
	return next, leaseAnswer{status: http.StatusCreated, id: id}, nil
}

// start counts a lease's time from now.
func (l *lease) start() {
	if l.Until = 0; l.Duration > 0 {
		l.Until = time.Now().UnixMilli() + l.Duration*1000
	}
}

// named checks that a request names the lease that is there.
func named(r *http.Request, l *lease) error {
	id, err := idIn(r, "x-ms-lease-id")
	switch {
	case err != nil:
		return err
	case id == "":
		return badRequest("MissingRequiredHeader", "x-ms-lease-id is needed.")
	case l.state() == leaseAvailable:
		return conflict("LeaseNotPresentWithLeaseOperation", "There is currently no lease on the blob.")
	case id != l.ID:
		return conflict("LeaseIdMismatchWithLeaseOperation", "The lease ID specified did not match the lease ID for the blob.")
	}
	return nil
}

func renewLease(r *http.Request, l *lease) (*lease, leaseAnswer, error) {
	if err := named(r, l); err != nil {
		return nil, leaseAnswer{}, err
	}
	if l.Broken > 0 {
		return nil, leaseAnswer{}, conflict("LeaseIsBrokenAndCannotBeRenewed", "The lease ID matched, but the lease has been broken explicitly and cannot be renewed.")
	}
	next := *l
	next.start()
	return &next, leaseAnswer{status: http.StatusOK, id: l.ID}, nil
}

func changeLease(r *http.Request, l *lease) (*lease, leaseAnswer, error) {
	id, err := idIn(r, "x-ms-proposed-lease-id")
	switch {
	case err != nil:
		return nil, leaseAnswer{}, err
	case id == "":
		return nil, leaseAnswer{}, badRequest("MissingRequiredHeader", "x-ms-proposed-lease-id is needed.")
	case l.state() == leaseBreaking:
		return nil, leaseAnswer{}, conflict("LeaseIsBreakingAndCannotBeChanged", "The lease ID matched, but the lease is currently in breaking state and cannot be changed.")
	case l.state() != leaseLeased:
		return nil, leaseAnswer{}, conflict("LeaseNotPresentWithLeaseOperation", "There is currently no lease on the blob.")
	case id != l.ID: // a change that was made already is a success
		err = named(r, l)
	}
	next := *l
	next.ID = id
	return &next, leaseAnswer{status: http.StatusOK, id: id}, err
}

func releaseLease(r *http.Request, l *lease) (*lease, leaseAnswer, error) {
	return nil, leaseAnswer{status: http.StatusOK}, named(r, l)
}

// breakLease ends a lease at once, or after a while in which nobody gets it:
// what is left of its time, or less if the request says so.
func breakLease(r *http.Request, l *lease) (*lease, leaseAnswer, error) {
	if l.state() == leaseAvailable {
		return nil, leaseAnswer{}, conflict("LeaseNotPresentWithLeaseOperation", "There is currently no lease on the blob.")
	}
	now, wait := time.Now().UnixMilli(), int64(0)
	switch l.state() {
	case leaseBreaking:
		wait = (l.Broken - now + 999) / 1000
	case leaseLeased:
		wait = (l.Until - now + 999) / 1000
	}
	if asked := r.Header.Get("x-ms-lease-break-period"); asked != "" {
		seconds, err := strconv.ParseInt(asked, 10, 64)
		if err != nil || seconds < 0 || seconds > 60 {
			return nil, leaseAnswer{}, badRequest("InvalidHeaderValue", "x-ms-lease-break-period must be 0 to 60 seconds.")
		}
		if l.Duration < 0 && l.state() == leaseLeased || seconds < wait {
			wait = seconds
		}
	}
	wait = max(wait, 0)
	next := *l
	next.Broken, next.Until = max(now+wait*1000, 1), 0
	return &next, leaseAnswer{status: http.StatusAccepted, wait: &wait}, nil
}
