// Package store keeps accounts and their sessions, and the rules that hold for
// them.
//
// [Accounts] is the account service. It creates, finds, disables and removes
// accounts, checks passwords, and starts, refreshes and ends sessions. It keeps its
// records in a [Backend]: package memstore (memory), package boltstore (one file) or
// package mongostore (MongoDB). A backend only reads and writes records. All rules
// are in this package.
//
// The record of an account holds its live sessions. So one read answers whether the
// account exists, whether it is enabled, which groups it is in, and whether the
// session of a token is still alive. Every change is one atomic write to one record.
package store
