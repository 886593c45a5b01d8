module github.com/oauthsv/oauthsv/example_server/clienttest

go 1.26.0

replace github.com/oauthsv/oauthsv => ../..

require (
	github.com/stretchr/testify v1.12.1
	golang.org/x/oauth2 v0.37.0
)

require go.yaml.in/yaml/v3 v3.0.5 // indirect
