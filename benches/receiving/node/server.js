// What one would write in Node: the forge's own library checks the signature, and each delivery is a row
// that is on disk before it is answered.

import { createServer } from "node:http";
import { Webhooks } from "@octokit/webhooks";
import Database from "better-sqlite3";

const webhooks = new Webhooks({ secret: process.env.SECRET });

const database = new Database(process.env.DATABASE);
database.pragma("journal_mode = WAL");
database.pragma("synchronous = FULL");
database.exec(
  "CREATE TABLE deliveries (id TEXT PRIMARY KEY, event TEXT NOT NULL, body TEXT NOT NULL)",
);
const insert = database.prepare("INSERT INTO deliveries (id, event, body) VALUES (?, ?, ?)");

async function receive(request) {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  const body = Buffer.concat(chunks).toString("utf8");
  const { headers } = request;
  if (!(await webhooks.verify(body, headers["x-hub-signature-256"] ?? "missing"))) {
    return [401, { outcome: "refused" }];
  }
  const push = JSON.parse(body);
  insert.run(headers["x-github-delivery"], headers["x-github-event"], body);
  return [202, { outcome: "accepted", ref: push.ref }];
}

const server = createServer(async (request, response) => {
  const [status, answer] = await receive(request).catch((error) => [500, { error: `${error}` }]);
  const text = JSON.stringify(answer);
  response.writeHead(status, {
    "content-type": "application/json",
    "content-length": Buffer.byteLength(text),
  });
  response.end(text);
});

server.listen(0, "127.0.0.1", () => {
  console.error(`listening on http://127.0.0.1:${server.address().port}`);
});
