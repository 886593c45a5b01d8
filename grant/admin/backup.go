package admin

import (
	"errors"
	"net/http"
	"time"

	"github.com/oauthsv/oauthsv/grant"
)

// backup streams a copy of the store. If that fails in the middle, the connection ends
// without the end of the answer, so that a client does not take the part for the whole.
func (h *Handlers) backup(w http.ResponseWriter, r *http.Request) error {
	if h.config.Backup == nil {
		return &grant.Problem{
			Type: grant.ProblemNotConfigured, Title: "this server makes no backups", Status: http.StatusNotImplemented,
			Detail: "use the tools of the database, or export the accounts",
		}
	}
	header := w.Header()
	if !r.ProtoAtLeast(1, 1) { // its answers end with the connection: a part would look like the whole
		header.Set("Upgrade", "HTTP/1.1") // RFC 9110 section 15.5.22
		return &grant.Problem{
			Type: grant.ProblemRefusedRequest, Title: "HTTP/1.0 cannot tell a part of a backup from the whole", Status: http.StatusUpgradeRequired,
			Detail: "use HTTP/1.1, or set up the proxy to use it",
		}
	}
	header.Set("Content-Type", "application/octet-stream")
	header.Set("Content-Disposition", `attachment; filename="accounts.db"`)
	header.Set("Cache-Control", "no-store")
	if r.Method == http.MethodHead { // a backup that nobody gets is none
		w.WriteHeader(http.StatusOK)
		return nil
	}
	to := &patientWriter{w: w, control: http.NewResponseController(w)}
	if _, err := h.config.Backup.WriteTo(to); err != nil {
		h.report(r, grant.Event{Type: grant.EventBackupFailed, Reason: err.Error()})
		if !to.begun {
			header.Del("Content-Disposition")
			return err
		}
		panic(http.ErrAbortHandler)
	}
	h.report(r, grant.Event{Type: grant.EventBackupMade})
	return nil
}

// patience is how long a client may take to read what was written before.
const patience = time.Minute

// patientWriter gives each write its own time: a server's WriteTimeout is too short for a
// large file, and without any a client that stops reading would hold the transaction.
type patientWriter struct {
	w       http.ResponseWriter
	control *http.ResponseController
	begun   bool
}

func (p *patientWriter) Write(part []byte) (int, error) {
	p.begun = true
	if err := p.control.SetWriteDeadline(time.Now().Add(patience)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return 0, err
	}
	return p.w.Write(part)
}
