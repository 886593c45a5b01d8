// Package mongostore keeps accounts in MongoDB, or in another server of its protocol. It
// is for a service that runs on more than one machine: any number of processes can share a
// database. They need to share nothing else but the signing key.
//
// # The server
//
// The package needs operations on single documents (find, insert, replace, delete, and
// $set with a filter) and unique indexes. It uses no transactions and no change streams.
// It works with the driver's retries, and without them if the server does not support them.
//
// The tests run against jongodb, a server of the protocol that keeps its data in memory.
// MongoDB itself and Atlas should work. Other servers of the protocol are not tested.
//
// A server must compare and replace a document in one step. If it compares first and writes
// later, a refresh can undo the disabling of an account. So [Open] and [New] test the server
// with races on a document of their own in the collection "expiring_records", which they
// remove again, and refuse such a server. FerretDB v1 over SQLite is one. The races need
// several connections at once: with a pool of one connection they detect nothing.
//
// # Collections and indexes
//
// The collection "accounts" has one document for each account. Its members are the bson tags
// of store.Account, and "version", which is random and new with each write. The indexes on
// "name" and "email_key" are unique. Both members hold prepared values, so the server itself
// keeps names and e-mails unique, in upper and lower case. The index on "groups" and "_id" is
// for lists of the accounts in a group. If the server refuses it, the store makes one on
// "groups" alone. If the server refuses that as well, such a list reads the whole collection.
// Both log a warning.
//
// The collection "expiring_records" holds the small records of Backend.UpdateRecord. A TTL
// index on "expires" removes a record one hour after its expiry. If the server refuses TTL
// indexes, the process removes expired records itself, some with every 32nd write.
//
// [Open] and [New] build missing indexes, and log a line for each. On a large collection that
// can take minutes, and Config.IndexTimeout bounds it. If the connection string has
// socketTimeoutMS, it must be longer than the build.
//
// # Upgrades
//
// Two versions of this package can run side by side over one database. When a version writes
// a document, it keeps the members that it does not know. It does not keep those of a record
// that has expired.
//
// # Reads
//
// Accounts are read from the primary, whatever the connection string says. A secondary that
// lags by a second would let a revoked session live for a second longer, or let a disabled
// account log in. Reports of your own may read from a secondary, if they may be as old as
// the replication lag.
//
// After a network partition, a primary that was deposed may answer reads for some seconds,
// until it notices. Writes to it fail under the write concern majority.
//
// # Writes
//
// The default write concern is majority: when a call succeeds, a majority of the servers has
// its write. If a server has done a write but cannot say that a majority has it, the call
// repeats a write that changes nothing until the server confirms a majority. At its deadline
// it returns that the store is unavailable. This happens as well after a lost reply, and
// before answers that need no write. For example, the name is taken, or the session has
// already ended: a failover could undo what the read has shown.
//
// With w=1 a failover can undo an acknowledged change, and without the journal a crash can.
// Both log a warning. With a wtimeoutMS shorter than the deadline the server answers sooner,
// and the call asks again sooner.
//
// # Deadlines
//
// The work of a call in the database ends within Config.Timeout, or at the deadline of the
// caller's context if that is earlier. If the context is canceled, work that has begun goes
// on, because the driver would have to close a connection of the pool to stop it. A call
// whose context is already over does not begin.
//
// Updates of one account, or of one record, take turns within a process. A call waits for
// its turn at most twice the Timeout, and its own Timeout begins with its turn. So an update
// ends within three times the Timeout, and every other call within one. The wait, and the
// pauses between two tries, end when the context is canceled.
//
// While the server is down, each call waits that long and returns that the store is
// unavailable. Calls succeed again by themselves when the server is back. [Store.Update]
// explains what happens if the reply to a write is lost.
//
// # Sizes
//
// Measured: the document of an account with a password hash and one session has 500 bytes.
// Each further session adds 160 bytes, without user agent and address.
//
// Computed, for 100 million accounts with two sessions each: the documents have 65 GB, of
// which the compression of the storage engine leaves perhaps half. The indexes have about 25
// bytes for each entry on _id, 40 on name, 50 on email_key and 40 for each group of an
// account, before prefix compression. With one group each that is up to 15.5 GB, which should
// stay in memory. One replica set on machines with 64 GB of memory can hold all of it.
//
// # Traffic
//
// A protected request is one find by _id. The first protected request after a refresh also
// marks the new generation as used: one more find and one replace. A refresh is one find and
// one replace. If it is refused or replayed, it is one find and one write that changes
// nothing. A login is one find by name, then one find and one replace for the session.
//
// Computed: with access tokens of 15 minutes, a client that is busy all the time refreshes 4
// times an hour. One million such clients make 1,100 refreshes a second. With the marks that
// is 2,200 replaces and as many finds a second, besides their own requests. Assume a replica
// set of modest hardware, with 20,000 finds and 5,000 majority writes a second. It can serve
// about two million busy clients or 20,000 protected requests a second, whichever comes
// first. Password hashes bound the logins: a hash takes 50 ms of a core, so each core of the
// processes that hash can do 20 logins a second.
//
// # Sharding
//
// Do not shard "accounts". A sharded collection enforces uniqueness only for its shard key,
// and accounts have three unique values: the id, the name and the e-mail. Reserving names in
// a collection of their own would take two documents for each account, and without
// transactions the second one could be missing.
//
// By the sizes above, a collection that is not sharded can hold 100 million accounts. In a
// sharded cluster it lives on one shard, which it can have for itself (moveCollection,
// MongoDB 8.0). If that is not enough, split the accounts where names need not be unique
// together: one database and one issuer for each tenant or region. The collection
// "expiring_records" may be sharded by a hash of its _id.
package mongostore
