// Starts GraphiQL against this page's own address. All configuration is in the data attributes of
// the element it is drawn into.
"use strict";

(() => {
  const place = document.getElementById("graphiql");
  const { endpoint, csrfCookie, csrfHeader, csrfToken } = place.dataset;

  const DEFAULT_QUERY = `# Ctrl-Enter runs this.
query NewestRequests {
  requestLogs(first: 20) {
    nodes {
      at
      address
      method
      path
      status
      country
    }
  }
}
`;

  // Read at each request: logging in from another tab changes the token.
  function currentToken() {
    const start = csrfCookie + "=";
    const cookie = document.cookie.split("; ").find((text) => text.startsWith(start));
    return cookie ? decodeURIComponent(cookie.slice(start.length)) : csrfToken;
  }

  function failure(message) {
    return { errors: [{ message }] };
  }

  // GraphiQL notices what was typed a tenth of a second later: until then the name is the old one.
  function withoutStaleName({ operationName, ...question }) {
    return question.query.includes(operationName) ? { ...question, operationName } : question;
  }

  async function ask(question, options) {
    let response;
    try {
      response = await fetch(endpoint, {
        method: "POST",
        credentials: "same-origin",
        headers: {
          ...options?.headers,
          Accept: "application/graphql-response+json, application/json;q=0.9",
          "Content-Type": "application/json",
          [csrfHeader]: currentToken(),
        },
        body: JSON.stringify(withoutStaleName(question)),
      });
    } catch {
      return failure("The server cannot be reached.");
    }
    try {
      return await response.json();
    } catch {
      const hint = response.status === 403 ? " Load the page again; your session may have ended." : "";
      return failure(`The server answered with status ${response.status} and no JSON.${hint}`);
    }
  }

  const editor = React.createElement(GraphiQL, {
    fetcher: ask,
    defaultQuery: DEFAULT_QUERY,
    defaultEditorToolsVisibility: false,
    plugins: [GraphiQLPluginExplorer.explorerPlugin()],
    shouldPersistHeaders: false,
    inputValueDeprecation: true,
  });
  ReactDOM.createRoot(place).render(editor);
})();
