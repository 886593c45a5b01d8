package main

// plan says which tests cover a package.
type plan struct {
	// slow are tests of the package that run only if the others have noticed nothing, as a
	// regular expression.
	slow string
	// outside are folders of packages whose tests run if those of the package itself have
	// noticed nothing. They can be modules of their own.
	outside []string
}

var plans = map[string]plan{
	"tokens":                    {slow: "RandomSecrets|CacheChangesNoResult|NeverWaitsLong|ExposedKeyFile", outside: []string{"middleware", "grant", "."}},
	"store":                     {outside: []string{"store/memstore", "grant", "grant/selfservice", "grant/admin", "middleware", "."}},
	"store/boltstore":           {slow: "NoReadGoesBack|Damage|Kill|Upgrade|FlippedBit|FullDisk|UnderLoad|Format"},
	"store/mail":                {outside: []string{"store/mail/smtptest"}},
	"store/memstore":            {outside: []string{"store"}},
	"store/mongostore":          {slow: "TestUnreachable", outside: []string{"store/mongostore/faulttest"}},
	"store/password":            {outside: []string{"store", "store/transfer"}},
	"store/storetest":           {outside: []string{"store/memstore"}},
	"store/transfer":            {},
	"grant":                     {slow: "Vanishes|BadTokenRequest|SlowBody|RequestAfterABadOne|OverTheBound", outside: []string{"grant/selfservice", "grant/admin", "."}},
	"grant/admin":               {slow: "ClientLeavesBackup"},
	"grant/selfservice":         {},
	"middleware":                {outside: []string{"grant", "grant/admin", "."}},
	"middleware/middlewaretest": {outside: []string{"middleware", "grant"}},
}
