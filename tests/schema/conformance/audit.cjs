// Runs the server audits of the npm package graphql-http and prints each result as a line of JSON.
// usage: node audit.cjs <folder that holds node_modules> <url of the endpoint>
const [folder, url] = process.argv.slice(2);
const { serverAudits } = require(require.resolve("graphql-http", { paths: [folder] }));

(async () => {
  for (const audit of serverAudits({ url })) {
    const result = await audit.fn();
    console.log(JSON.stringify({ id: audit.id, name: audit.name, status: result.status, reason: result.reason }));
  }
})();
