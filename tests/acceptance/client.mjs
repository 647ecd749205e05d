// A front end's client: urql signs in, refreshes when the access token has expired, and goes on.
// The same file runs in node and in a browser.
import { Client, fetchExchange } from "@urql/core";
import { authExchange } from "@urql/exchange-auth";

const PAYLOAD = "{ accessToken refreshToken errors { code } }";
const LOGIN = `mutation ($input: LoginInput!) { payload: login(input: $input) ${PAYLOAD} }`;
const REFRESH = `mutation ($input: RefreshTokenInput!) {
  payload: refreshToken(input: $input) ${PAYLOAD}
}`;

function codes(error) {
  return error.graphQLErrors.map((each) => each.extensions.code);
}

function authentication(credentials, events) {
  return async (urql) => {
    async function exchange(mutation, input) {
      const { data, error } = await urql.mutate(mutation, { input });
      if (error || data.payload.errors.length) throw error ?? new Error(data.payload.errors[0].code);
      return data.payload;
    }
    let tokens = await exchange(LOGIN, credentials);
    events.push("logged in");
    return {
      addAuthToOperation: (operation) =>
        tokens ? urql.appendHeaders(operation, { Authorization: `Bearer ${tokens.accessToken}` }) : operation,
      didAuthError: (error) => codes(error).includes("TOKEN_EXPIRED"),
      refreshAuth: async () => {
        events.push("TOKEN_EXPIRED");
        const { refreshToken } = tokens;
        tokens = null;
        tokens = await exchange(REFRESH, { refreshToken });
        events.push("refreshed");
      },
    };
  };
}

// Ask who one is until the token had to be refreshed, or `patience` milliseconds; return what was
// seen, one entry for each change.
export async function stay(url, credentials, patience) {
  const events = [];
  const client = new Client({
    url,
    preferGetMethod: false,
    exchanges: [authExchange(authentication(credentials, events)), fetchExchange],
  });
  const end = Date.now() + patience;
  while (!events.includes("refreshed") && Date.now() < end) {
    const { data, error } = await client
      .query("{ me { username } }", {}, { requestPolicy: "network-only" })
      .toPromise();
    const seen = error ? String(error) : data.me.username;
    if (seen !== events.at(-1)) events.push(seen);
    await new Promise((resolve) => setTimeout(resolve, 250));
  }
  return events;
}
