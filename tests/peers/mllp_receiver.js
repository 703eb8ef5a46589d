// An HL7 v2 receiver over MLLP that a test starts: it acknowledges, or misbehaves by a plan.
//
//   node mllp_receiver.js [--port 0] [--plan AE,split:3,drop] [--tls KEY,CERTIFICATE[,CLIENT_CA]]
//
// Prints {"ready": PORT}, then one JSON line for each message. Each message takes the next entry of the plan; after
// its end all is acknowledged with AA. An entry is words joined by +:
//   AA AE AR CA CE CR   that code in MSA-1 (an error carries ERR-3 102, a reject 200); AR207: with that ERR-3
//   then:CODE           a second acknowledgement of the same message with CODE (enhanced mode: CA+then:AA)
//   thenlate:CODE       the same 200 ms later
//   delay:MS            so much later; late is delay:400
//   split[:N[:MS]]      in pieces of N bytes (1), MS apart (1)
//   drop rst silent     close, reset, or keep the connection open, without an answer
//   half                the acknowledgement's first half, then close
//   closeafter          close after it
//   wrongid             MSA-2 of another message; noid: MSA-2 empty
//   nomsa               no MSA at all; badcode: MSA-1 is ZZ
//   noframe noend nostart   without MLLP's bytes: any, the last, the first
//   nocr                without the carriage return after the file separator
//   bom                 with a byte order mark and a blank line before MSH
//   garbage             a frame that is no HL7
//   http                no frame, and the reply of a web server, then close
//   noise               bytes before the frame
//   dup                 twice
//   early               after the first bytes of the message have come
//   lf crlf             segments that end with LF, or CR LF
//   bigack              with a megabyte of notes; endless: with five, and no end
//   utf16 latin1        in that encoding, with an umlaut
"use strict";
const fs = require("node:fs");
const net = require("node:net");
const tls = require("node:tls");
const { parseArgs } = require("node:util");
const { Hl7Message } = require("@medplum/core");

const { values } = parseArgs({
  options: {
    port: { type: "string", default: "0" },
    plan: { type: "string", default: "" },
    tls: { type: "string", default: "" },
  },
});
const plan = values.plan.split(",").filter(Boolean);
const FRAME_START = Buffer.of(0x0b);
const FRAME_END = Buffer.of(0x1c, 0x0d);
const CODECS = { "8859/1": "latin1", ASCII: "latin1" };

const say = (line) => process.stdout.write(JSON.stringify(line) + "\n");
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

function field(message, segment, number) {
  const found = message && message.getSegment(segment);
  const value = found && found.getField(number);
  return value ? value.toString() : "";
}

class Entry {
  constructor(text) {
    this.words = text.split("+");
  }

  has(word) {
    return this.words.includes(word);
  }

  value(word) {
    const found = this.words.find((one) => one === word || one.startsWith(word + ":"));
    return found === undefined ? undefined : found.split(":").slice(1);
  }

  code() {
    return this.words.find((one) => /^[AC][AER]\d*$/.test(one)) || "AA";
  }
}

function acknowledgement(message, entry, codeAndError) {
  const code = codeAndError.slice(0, 2);
  const own = field(message, "MSH", 10);
  const id = entry.has("wrongid") ? "ANOTHER-MESSAGE" : entry.has("noid") ? "" : own;
  const segments = [
    `MSH|^~\\&|${field(message, "MSH", 5)}|${field(message, "MSH", 6)}|${field(message, "MSH", 3)}|` +
      `${field(message, "MSH", 4)}|20260102101531||ACK^R01^ACK|A${own}|P|${field(message, "MSH", 12)}`,
  ];
  if (!entry.has("nomsa")) segments.push(`MSA|${entry.has("badcode") ? "ZZ" : code}|${id}`);
  if (code[1] !== "A") {
    const error = codeAndError.slice(2) || (code[1] === "E" ? "102" : "200");
    segments.push(`ERR||PID^1^5|${error}^as planned^HL70357|E`);
  }
  if (entry.has("bigack")) segments.push("NTE|1||" + "x".repeat(1 << 20));
  if (entry.has("endless")) segments.push("NTE|1||" + "x".repeat(5 << 20));
  if (entry.has("utf16") || entry.has("latin1")) segments.push("NTE|1||für Sie");
  const end = entry.has("lf") ? "\n" : entry.has("crlf") ? "\r\n" : "\r";
  return segments.join(end) + end;
}

function framed(body, entry) {
  const encoding = entry.has("utf16") ? "utf16le" : entry.has("latin1") ? "latin1" : "utf8";
  const bare = entry.has("noframe");
  const end = entry.has("nocr") ? FRAME_END.subarray(0, 1) : FRAME_END;
  return Buffer.concat([
    entry.has("noise") ? Buffer.from("\r\n\0") : Buffer.alloc(0),
    bare || entry.has("nostart") ? Buffer.alloc(0) : FRAME_START,
    entry.has("bom") ? Buffer.from("\ufeff\r\n") : Buffer.alloc(0),
    Buffer.from(body, encoding),
    bare || entry.has("noend") || entry.has("endless") ? Buffer.alloc(0) : end,
  ]);
}

async function answer(socket, message, entry) {
  if (entry.has("drop")) return socket.destroy();
  if (entry.has("rst")) return socket.resetAndDestroy ? socket.resetAndDestroy() : socket.destroy();
  if (entry.has("silent")) return undefined;
  if (entry.has("http")) return socket.end("HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n");
  if (entry.has("late")) await pause(400);
  if (entry.value("delay")) await pause(Number(entry.value("delay")[0]));
  let frame = framed(entry.has("garbage") ? "good morning" : acknowledgement(message, entry, entry.code()), entry);
  if (entry.has("half")) return socket.end(frame.subarray(0, frame.length / 2));
  if (entry.has("dup")) frame = Buffer.concat([frame, frame]);
  if (entry.value("then")) {
    frame = Buffer.concat([frame, framed(acknowledgement(message, entry, entry.value("then")[0]), entry)]);
  }
  const split = entry.value("split");
  if (split) {
    const size = Number(split[0] || 1);
    for (let at = 0; at < frame.length && !socket.destroyed; at += size) {
      socket.write(frame.subarray(at, at + size));
      await pause(Number(split[1] || 1));
    }
  } else {
    socket.write(frame);
  }
  if (entry.value("thenlate")) {
    await pause(200);
    socket.write(framed(acknowledgement(message, entry, entry.value("thenlate")[0]), entry));
  }
  return entry.has("closeafter") ? socket.end() : undefined;
}

function report(bytes, isFramed) {
  const declared = bytes.subarray(0, bytes.indexOf(0x0d)).toString("latin1").split("|")[17];
  const codec = CODECS[declared] || "utf8";
  const text = bytes.toString(codec);
  const message = Hl7Message.parse(text);
  say({
    framed: isFramed,
    text,
    declared,
    isUtf8: Buffer.from(bytes.toString("utf8"), "utf8").equals(bytes),
    type: field(message, "MSH", 9),
    id: field(message, "MSH", 10),
    family: message.getSegment("PID").getField(5).getComponent(1),
    obr25: field(message, "OBR", 25),
    order: [2, 3, 29].map((number) => field(message, "OBR", number)),
    segments: message.segments.map((segment) => segment.name),
    unchanged: message.toString().replace(/\r$/, "") === text.replace(/\r$/, ""),
    observations: message.getAllSegments("OBX").map((obx) => [2, 3, 5, 11].map((n) => obx.getField(n).toString())),
  });
  return message;
}

function listen(socket) {
  let pending = Buffer.alloc(0);
  let last = Promise.resolve();
  socket.setNoDelay(true);
  socket.on("error", () => {});
  socket.on("data", (chunk) => {
    pending = Buffer.concat([pending, chunk]);
    if (plan[0] === "early" && pending.includes(0x0d)) {
      plan.shift();
      const head = Hl7Message.parse(pending.subarray(1, pending.indexOf(0x0d)).toString("utf8"));
      socket.write(framed(acknowledgement(head, new Entry("AA"), "AA"), new Entry("AA")));
      socket.unanswered = true;
    }
    for (let end = pending.indexOf(FRAME_END); end >= 0; end = pending.indexOf(FRAME_END)) {
      const isFramed = pending[0] === FRAME_START[0];
      const message = report(pending.subarray(isFramed ? 1 : 0, end), isFramed);
      pending = pending.subarray(end + FRAME_END.length);
      if (socket.unanswered) {
        socket.unanswered = false;
        continue;
      }
      last = last.then(() => answer(socket, message, new Entry(plan.shift() || "AA")));
    }
  });
}

const [key, certificate, clientCa] = values.tls.split(",");
const server = key
  ? tls.createServer(
      {
        key: fs.readFileSync(key),
        cert: fs.readFileSync(certificate),
        ca: clientCa ? fs.readFileSync(clientCa) : undefined,
        requestCert: Boolean(clientCa),
        rejectUnauthorized: Boolean(clientCa),
      },
      listen
    )
  : net.createServer(listen);
server.on("tlsClientError", () => {});
server.listen(Number(values.port), "127.0.0.1", () => say({ ready: server.address().port }));
