// Package store keeps accounts and their sessions, and the rules that hold for
// them.
//
// [Accounts] is the account service: it creates, finds, disables and removes
// accounts, checks passwords, and starts, refreshes and ends sessions. It keeps
// its records through a [Backend]: package memstore (in memory), package
// boltstore (one file) or package mongostore (MongoDB). A backend encodes, looks
// up, and compares and swaps; every rule is here, once.
//
// An account's record holds its live sessions, so one read answers whether the
// account exists, is enabled, in which groups it is, and whether the session of a
// token is still alive; and every change is one atomic write to one record.
package store
