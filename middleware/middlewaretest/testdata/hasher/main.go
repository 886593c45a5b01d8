// Command hasher asks for the hasher of tests in a program that is none.
package main

import "github.com/oauthsv/oauthsv/middleware/middlewaretest"

func main() { middlewaretest.Hasher() }
