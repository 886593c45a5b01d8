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
	header.Set("Content-Type", "application/octet-stream")
	header.Set("Content-Disposition", `attachment; filename="accounts.db"`)
	header.Set("Cache-Control", "no-store")
	to := &patientWriter{w: w, control: http.NewResponseController(w)}
	_, err := h.config.Backup.WriteTo(to)
	switch {
	case err == nil:
		h.report(r, grant.Event{Type: grant.EventBackupMade})
		return nil
	case !to.begun:
		header.Del("Content-Disposition")
		return err
	}
	h.report(r, grant.Event{Type: grant.EventBackupFailed, Reason: err.Error()})
	panic(http.ErrAbortHandler)
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
