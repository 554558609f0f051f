// Asks Latchkey about a token, and ends one, with oauth4webapi: RFC 7662 and RFC 7009, the client by HTTP Basic.
import * as oauth from 'oauth4webapi'

/** A service that has a client id and a secret. `api` is the address of Latchkey. */
export class Latchkey {
  constructor(api, clientId, secret) {
    this.server = {
      issuer: api,
      introspection_endpoint: `${api}/oauth/introspect`,
      revocation_endpoint: `${api}/oauth/revoke`,
    }
    this.client = { client_id: clientId }
    this.authentication = oauth.ClientSecretBasic(secret)
    // Only for a local stack; on AWS the API speaks https alone.
    this.options = { [oauth.allowInsecureRequests]: api.startsWith('http://127.0.0.1') }
  }

  /** The claims of an access token whose session is live at this moment, else null. */
  async accessToken(token) {
    const { server, client, authentication, options } = this
    const reply = await oauth.introspectionRequest(server, client, authentication, token, options)
    const found = await oauth.processIntrospectionResponse(server, client, reply)
    // A refresh token has no token_type: whoever sends one to an API has made a mistake.
    return found.active && found.token_type === 'Bearer' ? found : null
  }

  /** Ends the session of a token. */
  async revoke(token) {
    const { server, client, authentication, options } = this
    const reply = await oauth.revocationRequest(server, client, authentication, token, options)
    await oauth.processRevocationResponse(reply)
  }
}
