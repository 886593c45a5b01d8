// Package bench compares oauthsv with others and with the limits: what no program
// of its kind could be faster than. It is a module of its own, so that nobody but
// itself depends on the others. "./compare" runs everything and prints the tables.
package bench
