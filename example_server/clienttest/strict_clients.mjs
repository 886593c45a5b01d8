// Drives a running example server with two strict clients, oauth4webapi and jose.
// Arguments: the URL of the server, which is its issuer, and root's password.
import assert from 'node:assert/strict'
import * as oauth from 'oauth4webapi'
import * as jose from 'jose'

const [issuer, password] = process.argv.slice(2)
const insecure = { [oauth.allowInsecureRequests]: true } // plain http on loopback
const client = { client_id: 'strict app' }
const none = oauth.None()
const location = new URL(issuer)

const discovered = await oauth.discoveryRequest(location, { ...insecure, algorithm: 'oauth2' })
const as = await oauth.processDiscoveryResponse(location, discovered)
assert.equal(as.issuer, issuer)
assert.deepEqual(as.grant_types_supported, ['password', 'refresh_token'])

const login = async () => {
  const response = await oauth.genericTokenEndpointRequest(
    as, client, none, 'password', { username: 'root', password }, insecure)
  return oauth.processGenericTokenEndpointResponse(as, client, response)
}
const first = await login()
assert.equal(first.token_type, 'bearer')
assert.equal(first.expires_in, 900)

const refresh = async (token) => oauth.processRefreshTokenResponse(
  as, client, await oauth.refreshTokenGrantRequest(as, client, none, token, insecure))
const second = await refresh(first.refresh_token)

// The access token, as RFC 9068 wants it, by the published keys.
const request = (token) => new Request(issuer + '/me', { headers: { authorization: `Bearer ${token}` } })
const claims = await oauth.validateJwtAccessToken(as, request(second.access_token), issuer, insecure)
assert.equal(claims.client_id, 'strict app')
const keys = jose.createRemoteJWKSet(new URL(as.jwks_uri))
const verified = await jose.jwtVerify(second.access_token, keys, {
  issuer, audience: issuer, typ: 'at+jwt', algorithms: ['EdDSA'],
  requiredClaims: ['iss', 'exp', 'aud', 'sub', 'client_id', 'iat', 'jti'],
})
assert.equal(verified.payload.sub, claims.sub)
assert.equal((await fetch(request(second.access_token))).status, 200)

// A refresh token is no access token, for anybody.
await assert.rejects(oauth.validateJwtAccessToken(as, request(second.refresh_token), issuer, insecure))
await assert.rejects(jose.jwtVerify(second.refresh_token, keys))

const byAccessToken = (_as, _client, _body, headers) => headers.set('authorization', `Bearer ${second.access_token}`)
const introspect = async (token) => oauth.processIntrospectionResponse(
  as, client, await oauth.introspectionRequest(as, client, byAccessToken, token, insecure))
const other = await login()
const active = await introspect(other.access_token)
assert.equal(active.active, true)
assert.equal(active.sub, claims.sub)
assert.deepEqual(await introspect(other.refresh_token), { active: false })

await oauth.processRevocationResponse(await oauth.revocationRequest(as, client, none, other.refresh_token, insecure))
assert.deepEqual(await introspect(other.access_token), { active: false })
await assert.rejects(refresh(other.refresh_token), { error: 'invalid_grant' })

// The challenges can be parsed.
const refused = await fetch(request(other.access_token))
assert.equal(refused.status, 401)
const header = refused.headers.get('www-authenticate')
assert.match(header, /^Bearer realm="oauthsv", error="invalid_token", error_description="[^"]+"$/)

console.log('the strict clients are content')
