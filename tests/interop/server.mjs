// A certified OpenID provider (npm oidc-provider) for Doorward's tests, on loopback.
//
// `node server.mjs '{"redirect_uris": ["http://localhost:8080/oauth2/callback"]}'` listens (port 0: a free one)
// and prints one line of JSON with its issuer. The settings, all optional, are those of `settings` below.
// Its sign-in page takes any name; `people` gives a name claims of its own.

import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { createServer } from 'node:http';

import Provider from 'oidc-provider';

const settings = {
  port: 0,
  redirect_uris: ['http://localhost:8080/oauth2/callback'],
  post_logout_redirect_uris: [],
  access_token_seconds: 3600,
  id_token_seconds: 3600,
  refresh_token_seconds: 86400,
  // false: a scope of offline_access is needed, as OIDC Core §11 has it.
  refresh_token_always: true,
  rotate_refresh_token: true,
  // false: the ID token holds all claims, as many providers do; true: they come from UserInfo alone.
  claims_from_userinfo_only: true,
  // Public keys of the client that authenticates with private_key_jwt; without them there is no such client.
  private_key_jwks: null,
  people: {},
  ...JSON.parse(process.argv[2] ?? '{}'),
};

const SECRET = 'interop-secret:with/special characters%';

function client(clientId, authMethod, more = {}) {
  return {
    client_id: clientId,
    token_endpoint_auth_method: authMethod,
    redirect_uris: settings.redirect_uris,
    post_logout_redirect_uris: settings.post_logout_redirect_uris,
    response_types: ['code'],
    grant_types: ['authorization_code', 'refresh_token'],
    ...more,
  };
}

function clients() {
  const keys = settings.private_key_jwks;
  return [
    client('confidential', 'client_secret_basic', { client_secret: SECRET }),
    client('confidential-post', 'client_secret_post', { client_secret: SECRET }),
    client('public', 'none'),
    ...(keys ? [client('private-key', 'private_key_jwt', { jwks: keys })] : []),
  ];
}

function signingKeys() {
  const pairs = [
    ['rsa', { modulusLength: 2048 }, 'RS256'],
    ['ec', { namedCurve: 'P-256' }, 'ES256'],
  ];
  return pairs.map(([type, options, alg]) => ({
    ...generateKeyPairSync(type, options).privateKey.export({ format: 'jwk' }),
    alg,
    use: 'sig',
    kid: `interop-${alg}`,
  }));
}

function claimsOf(name) {
  return {
    sub: name,
    preferred_username: name,
    name,
    email: name.includes('@') ? name : `${name}@example.com`,
    email_verified: true,
    groups: ['users'],
    ...settings.people[name],
  };
}

// Everyone who signs in has consented to what the client asks for.
async function grantAll(ctx) {
  const { oidc } = ctx;
  const known = oidc.session.grantIdFor(oidc.client.clientId);
  if (known) return oidc.provider.Grant.find(known);
  const grant = new oidc.provider.Grant({ accountId: oidc.session.accountId, clientId: oidc.client.clientId });
  grant.addOIDCScope('openid email profile groups offline_access');
  await grant.save();
  return grant;
}

function page(title, body) {
  return `<!DOCTYPE html><html lang="en"><meta charset="utf-8"><title>${title}</title><h1>${title}</h1>${body}</html>`;
}

const configuration = {
  clients: clients(),
  jwks: { keys: signingKeys() },
  cookies: { keys: [randomBytes(32).toString('hex')] },
  claims: {
    openid: ['sub'],
    email: ['email', 'email_verified'],
    profile: ['name', 'preferred_username'],
    groups: ['groups'],
  },
  scopes: ['openid', 'offline_access', 'email', 'profile', 'groups'],
  clientAuthMethods: ['client_secret_basic', 'client_secret_post', 'private_key_jwt', 'none'],
  conformIdTokenClaims: settings.claims_from_userinfo_only,
  findAccount: (ctx, id) => ({ accountId: id, claims: () => claimsOf(id) }),
  loadExistingGrant: grantAll,
  issueRefreshToken: (ctx, asking, source) =>
    asking.grantTypeAllowed('refresh_token')
    && (settings.refresh_token_always || source.scopes.has('offline_access')),
  rotateRefreshToken: settings.rotate_refresh_token,
  interactions: { url: (ctx, interaction) => `/interaction/${interaction.uid}` },
  features: {
    devInteractions: { enabled: false },
    introspection: { enabled: true },
    revocation: { enabled: true },
    rpInitiatedLogout: {
      enabled: true,
      logoutSource: (ctx, form) => {
        ctx.body = page('Sign out?', `${form}<button form="op.logoutForm" name="logout" value="yes">Yes</button>`);
      },
      postLogoutSuccessSource: (ctx) => {
        ctx.body = page('Signed out', '');
      },
    },
  },
  renderError: (ctx, out) => {
    ctx.type = 'json';
    ctx.body = JSON.stringify(out);
  },
  ttl: {
    AccessToken: settings.access_token_seconds,
    AuthorizationCode: 60,
    Grant: settings.refresh_token_seconds,
    IdToken: settings.id_token_seconds,
    Interaction: 600,
    RefreshToken: settings.refresh_token_seconds,
    Session: settings.refresh_token_seconds,
  },
};

async function readForm(request) {
  let text = '';
  for await (const chunk of request) text += chunk;
  return new URLSearchParams(text);
}

async function interact(provider, request, response) {
  if (request.method === 'POST') {
    const name = (await readForm(request)).get('login') ?? '';
    // Refusing is how a test sees an error come back to the callback.
    const result = name ? { login: { accountId: name } } : { error: 'access_denied' };
    await provider.interactionFinished(request, response, result);
    return;
  }
  response.writeHead(200, { 'Content-Type': 'text/html; charset=utf-8', 'Cache-Control': 'no-store' });
  const fields = '<label>Name <input name="login" autofocus></label><button>Sign in</button>';
  response.end(page('Sign in', `<form method="post">${fields}</form>`));
}

const server = createServer();
server.listen(settings.port, '127.0.0.1', () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  const provider = new Provider(issuer, configuration);
  const answer = provider.callback();
  server.on('request', (request, response) => {
    if (!request.url.startsWith('/interaction/')) {
      answer(request, response);
      return;
    }
    interact(provider, request, response).catch((error) => {
      response.writeHead(400, { 'Content-Type': 'text/plain' });
      response.end(String(error));
    });
  });
  process.stdout.write(`${JSON.stringify({ issuer, client_secret: SECRET })}\n`);
});
process.on('SIGTERM', () => process.exit(0));
