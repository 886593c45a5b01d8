// Package transfer moves accounts between stores, and into a store from elsewhere. An account
// is a line of JSON, complete with the hash of its password and its groups. Sessions do not
// move: users log in again.
//
// Both directions can be stopped and run again. [Export] goes on after the last account that
// was written. [Import] skips the accounts that are there already.
package transfer
