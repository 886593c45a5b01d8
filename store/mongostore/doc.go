// Package mongostore keeps accounts in MongoDB, or in another server of its
// protocol: what carries a service past one machine. Any number of processes can
// share a database; they need nothing else in common but the signing key.
//
// # What it asks of the server
//
// Correctness rests on operations on single documents and on unique indexes: find,
// insert, replace, delete and $set with a filter. There are no transactions and no
// change streams. The driver's retries are welcome where the server supports them
// and not relied upon.
//
// The tests run against jongodb, a server of the protocol that keeps its data in
// memory. MongoDB itself and Atlas should work. Other servers of the protocol are
// neither tested nor known to work.
//
// A server must compare and replace a document in one step. One that compares first
// and writes later lets a refresh undo the disabling of an account. [New] tries that
// out with races on a document of its own in "expiring_records", which it removes
// again, and refuses such a server. FerretDB v1 over SQLite is one. The races need
// several connections at once: a pool of one finds nothing out.
//
// Collection "accounts" holds a document per account: see the bson tags of
// store.Account, and "version", which is random and new with each write. Indexes:
// "name" and "email_key", both unique, on prepared values, so that the server
// itself keeps names and e-mails unique without regard to case. Collection
// "expiring_records" holds what expires by itself, with a TTL index that collects
// garbage an hour after the expiry. Where TTL indexes are refused the process
// removes garbage itself, a little with every 32nd write.
//
// Missing indexes are built at the start, with a line in the log. On a collection
// that is large already a build can take minutes: Config.IndexTimeout bounds it. A
// socketTimeoutMS in the connection string must be longer than the build.
//
// # Upgrades
//
// Two versions of this package can run side by side over one database. Members of a
// document that a version does not know stay as they are when it writes the
// document. Those of an expired record go with it.
//
// # Reads
//
// Accounts are read from the primary whatever the connection string says: a
// secondary that lags by a second would let a revoked session live for a second,
// or a disabled account log in. Nothing in this package can go to a secondary.
// Reports of your own may, if it does not matter that they are stale by the
// replication lag. For some seconds after a network partition a primary that does
// not know yet that it was deposed may answer reads; writes to it fail under the
// write concern majority, which is the default here.
//
// # Writes
//
// A call that succeeds has a majority behind it, under the write concern majority,
// which is the default here. Where the server has done a write and cannot say that a
// majority has it, the call goes on asking until its deadline, with a write that
// changes nothing, and then answers that the store is unavailable. The same write
// settles a reply that was lost. It also stands behind answers for which nothing
// need be written, because a read shows what a failover may undo: that the session
// has ended already, or that the name is taken.
//
// With w=1 a failover can undo a change that was acknowledged, and without the
// journal a crash can. Both are warned of in the log. A wtimeoutMS shorter than the
// deadline makes the server answer, and the call ask again, earlier.
//
// # Deadlines
//
// The work of a call in the database ends within Config.Timeout: timeoutMS of the
// connection string, else 2 seconds. An earlier deadline of the caller's context
// holds instead. A caller who hangs up does not end the work, for that would cost a
// connection of the pool; a call whose context is over already does not begin.
//
// Updates of one account, or of one key, take turns within a process. A call waits
// for its turn at most twice the Timeout, and its own Timeout begins with the turn. So
// an update ends within three times the Timeout, and every other call within one.
// Waiting, and the pauses between two tries, end with the caller's context.
//
// When the server is gone the callers wait that long and answer 503; they recover
// by themselves when the server is back. A write whose reply was lost is settled by
// reading again, see [Store.Update].
//
// # Sizes
//
// Measured: the document of an account with one session and a password hash has
// 500 bytes, and 160 more for each further session, without user agent and address.
//
// Computed, for 100 million accounts with two sessions each: 65 GB of documents,
// before the compression of the storage engine, which makes perhaps half of it; and
// indexes of about 25 bytes an entry on _id, 40 on name and 50 on email_key, which
// prefix compression brings down: up to 11.5 GB that should stay in memory. One
// replica set on machines with 64 GB of memory carries that.
//
// # Traffic
//
// A protected request is one find by _id. A refresh is one find and one replace,
// and one find and one write that changes nothing where it is refused or answered
// again. The first request after it is one find and one replace more, for the mark
// that the new generation is in use. A login is one find by name, and one find and one
// replace for the session.
//
// Computed: with 15-minute access tokens a client that is busy all the time
// refreshes 4 times an hour. One million such clients make 1,100 refreshes, so
// 2,200 replaces and as many finds, a second, beside their own requests. A replica
// set that does 20,000 finds and 5,000 majority writes a second, which is modest
// hardware, carries about two million busy clients, or 20,000 protected requests a
// second, whichever comes first.
// Logins are bounded by the password hashes: 50 ms of a core each, 20 a second and
// core of the processes that serve them.
//
// # Sharding
//
// The unique indexes are why "accounts" must not be sharded: a sharded collection
// enforces uniqueness only for its shard key, and there are three unique values,
// the id, the name and the e-mail. To reserve names in collections of their own
// would take two documents for one account, which without transactions can be left
// half made. By the sizes above a collection that is not sharded is enough for 100
// million accounts; in a sharded cluster it lives on one shard, which can be one of
// its own (moveCollection, MongoDB 8.0). Beyond that, split by what never shares a
// name: one database, and one issuer, for each tenant or region. The collection
// "expiring_records" may be sharded by its _id, hashed.
package mongostore
