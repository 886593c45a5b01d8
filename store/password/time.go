package password

import "time"

// fail does the work that a failed login still lacks, so that it takes as long as any
// other. hash is the one that did not match, or nil if there was none to try; spent is how
// long that took. The caller must have its turn.
//
// Without an OldHash, a failed login takes one new hash for each form of the password.
// With one, it takes the old hash for each form as well.
func (h *Hasher) fail(forms []string, hash storedHash, spent time.Duration) {
	_, ours := hash.(*phc)
	lacks := float64(len(forms)) // new hashes
	switch {
	case hash == nil || h.old != nil && !ours:
	case h.isCurrent(hash):
		lacks = 0
	default:
		lacks = h.lacking(len(forms), spent)
	}
	for ; lacks >= 1; lacks-- {
		h.newHash(forms[0])
	}
	if part := uint32(lacks * float64(h.config.Memory)); part >= 8*uint32(h.config.Parallelism) {
		(&phc{memory: part, iterations: h.config.Iterations, parallelism: h.config.Parallelism,
			salt: make([]byte, saltBytes), key: make([]byte, keyBytes)}).derive(forms[0])
	}
	if h.old != nil && (hash == nil || ours) {
		for _, form := range forms {
			h.old.matches(form)
		}
	}
}

// lacking returns how many new hashes, with a fraction, fit in the time that is left of so
// many of them. Before the first new hash it is all of them, as nobody knows their time.
func (h *Hasher) lacking(whole int, spent time.Duration) float64 {
	usual := h.usual.Load()
	if usual == 0 {
		return float64(whole)
	}
	return max(0, float64(whole)-float64(spent)/float64(usual))
}

// learn remembers how long a new hash takes, as a mean in which the last ones weigh most.
// Two callers at once may lose one of their values.
func (h *Hasher) learn(took time.Duration) {
	usual := h.usual.Load()
	if usual == 0 {
		usual = int64(took)
	}
	h.usual.Store(max(1, usual+(int64(took)-usual)/8))
}
