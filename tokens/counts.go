package tokens

import "sync/atomic"

// VerifierCounts are what a [Verifier] has done since it was made.
type VerifierCounts struct {
	// CacheHits tokens were found in the cache.
	CacheHits int64
	// CacheMisses tokens were not, so their signature was verified, if their form was
	// good. All tokens are misses if the cache is off.
	CacheMisses int64
	// Refused tokens, of the hits and the misses, were not accepted.
	Refused int64
}

// RemoteCounts are what a [RemoteVerifier] has done since it was made.
type RemoteCounts struct {
	// VerifierCounts count a token with an unknown key again after each fetch that it
	// has waited for.
	VerifierCounts
	// Fetches is how often keys were fetched, with or without success.
	Fetches int64
	// FetchFailures is how many of these fetches failed.
	FetchFailures int64
}

// Counts returns what the verifier has done until now.
func (v *Verifier) Counts() VerifierCounts {
	counts := VerifierCounts{CacheMisses: v.misses.Load(), Refused: v.refused.Load()}
	for i := range v.hits {
		counts.CacheHits += v.hits[i].Load()
	}
	return counts
}

// Counts returns what the verifier has done until now.
func (r *RemoteVerifier) Counts() RemoteCounts {
	return RemoteCounts{VerifierCounts: r.verifier.Counts(), Fetches: r.fetched.Load(), FetchFailures: r.fetchesFailed.Load()}
}

const hitStripes = 16

// hitCounter counts the hits of some tokens. Cores that write to one cache line wait for
// each other, so there are several counters. The padding keeps each away from the one
// before it, and the first away from what is only read.
type hitCounter struct {
	_ [56]byte
	atomic.Int64
}

// hit counts a hit. A token that was verified ends with a signature, so its last characters
// spread the tokens over the counters. (The very last one holds too few bits.)
func (v *Verifier) hit(compact string) {
	v.hits[(compact[len(compact)-2]^compact[len(compact)-3]<<2)%hitStripes].Add(1)
}
