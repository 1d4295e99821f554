// An OpenID Connect provider for the tests: oidc-provider with its own pages,
// on loopback. It takes its options as JSON in its argument, prints the issuer
// when it listens, and ends when its standard input does.
import http from 'node:http';
import Provider from 'oidc-provider';

const options = JSON.parse(process.argv[2]);
process.stdin.resume();
process.stdin.on('end', () => process.exit(0));

const server = http.createServer();
server.listen(options.port ?? 0, '127.0.0.1', () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  const provider = new Provider(issuer, {
    jwks: { keys: options.keys },
    clients: [{
      client_id: 'bgctl',
      application_type: 'native',
      token_endpoint_auth_method: 'none',
      redirect_uris: ['http://127.0.0.1/callback'],
      response_types: ['code'],
      grant_types: ['authorization_code', 'refresh_token', 'urn:ietf:params:oauth:grant-type:device_code'],
      id_token_signed_response_alg: options.keys[0].alg,
    }],
    clientDefaults: {},
    enabledJWA: { idTokenSigningAlgValues: [...new Set(options.keys.map((k) => k.alg))] },
    features: { deviceFlow: { enabled: true }, revocation: { enabled: true } },
    pkce: { required: () => true },
    rotateRefreshToken: true,
    conformIdTokenClaims: false,
    scopes: ['openid', 'offline_access', 'email', 'groups'],
    claims: { openid: ['sub', 'amr', 'acr'], email: ['email', 'email_verified'], groups: ['groups'] },
    findAccount: (_, id) => ({
      accountId: id,
      claims: () => ({ sub: id, email: `${id}@example.com`, email_verified: true, groups: options.groups?.[id] ?? [] }),
    }),
    ttl: { IdToken: options.idTokenSeconds ?? 3600, RefreshToken: 86400 },
    cookies: { keys: ['only for tests'] },
  });
  server.on('request', provider.callback());
  console.log(`issuer ${issuer}`);
});
