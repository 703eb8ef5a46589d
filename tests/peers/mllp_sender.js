// An HL7 v2 sender over MLLP that a test starts: sends each message of its input (JSON, a list of texts) in pieces, on
// one connection, and prints what it reads in each acknowledgement, one JSON line each.
//
//   node mllp_sender.js PORT [BYTES A PIECE]
"use strict";
const net = require("node:net");
const fs = require("node:fs");
const { Hl7Message } = require("@medplum/core");

const [port, size] = process.argv.slice(2).map(Number);
const messages = JSON.parse(fs.readFileSync(0, "utf8"));
const value = (message, segment, field) => message.getSegment(segment)?.getField(field)?.toString() ?? "";

async function send(socket, text) {
  const bytes = Buffer.concat([Buffer.of(0x0b), Buffer.from(text, "utf8"), Buffer.of(0x1c, 0x0d)]);
  for (let at = 0; at < bytes.length; at += size || bytes.length) {
    socket.write(bytes.subarray(at, at + (size || bytes.length)));
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}

const socket = net.createConnection(port, "127.0.0.1", () => send(socket, messages.shift()));
socket.setNoDelay(true);
let pending = Buffer.alloc(0);
socket.on("data", (piece) => {
  pending = Buffer.concat([pending, piece]);
  const end = pending.indexOf(Buffer.of(0x1c, 0x0d));
  if (pending[0] !== 0x0b || end < 0) return;
  const answer = Hl7Message.parse(pending.subarray(1, end).toString("utf8"));
  pending = pending.subarray(end + 2);
  console.log(
    JSON.stringify({
      type: value(answer, "MSH", 9),
      receiver: value(answer, "MSH", 5),
      code: value(answer, "MSA", 1),
      id: value(answer, "MSA", 2),
      error: value(answer, "ERR", 3),
    })
  );
  if (messages.length) send(socket, messages.shift());
  else socket.end();
});
