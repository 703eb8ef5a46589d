// An HL7 v2 receiver over MLLP that a test starts: it acknowledges, or misbehaves by a plan.
//
//   node mllp_receiver.js [--port 0] [--plan AE,split,drop]
//
// Prints {"ready": PORT}, then one JSON line for each message. Each message takes the next word of the plan;
// after its end all is acknowledged with AA. Words:
//   AA AE AR CA CE CR   that code in MSA-1 (an error carries ERR-3 102, a reject 200)
//   AR207               AR with ERR-3 207, internal error
//   split               the acknowledgement byte by byte
//   drop                close without an answer
//   half                the acknowledgement's first half, then close
//   silent              keep the connection open and say nothing
//   late                acknowledge after 400 ms
//   wrongid             MSA-2 of another message
//   garbage             a frame that is no HL7
//   noise               bytes before the frame
"use strict";
const net = require("node:net");
const { parseArgs } = require("node:util");
const { Hl7Message } = require("@medplum/core");

const { values } = parseArgs({ options: { port: { type: "string", default: "0" }, plan: { type: "string", default: "" } } });
const plan = values.plan.split(",").filter(Boolean);
const FRAME_START = Buffer.of(0x0b);
const FRAME_END = Buffer.of(0x1c, 0x0d);

const say = (line) => process.stdout.write(JSON.stringify(line) + "\n");
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

function field(message, segment, number) {
  const found = message.getSegment(segment);
  return found ? found.getField(number).toString() : "";
}

function acknowledgement(message, word) {
  const code = /^[AC][AER]/.test(word) ? word.slice(0, 2) : "AA";
  const id = word === "wrongid" ? "ANOTHER-MESSAGE" : field(message, "MSH", 10);
  const segments = [
    `MSH|^~\\&|${field(message, "MSH", 5)}|${field(message, "MSH", 6)}|${field(message, "MSH", 3)}|` +
      `${field(message, "MSH", 4)}|20260102101531||ACK^R01^ACK|A${id}|P|${field(message, "MSH", 12)}`,
    `MSA|${code}|${id}`,
  ];
  if (code[1] !== "A") {
    const error = word.slice(2) || (code[1] === "E" ? "102" : "200");
    segments.push(`ERR||PID^1^5|${error}^as planned^HL70357|E`);
  }
  return segments.join("\r") + "\r";
}

async function answer(socket, message, word) {
  if (word === "drop") return socket.destroy();
  if (word === "silent") return undefined;
  if (word === "late") await pause(400);
  const body = word === "garbage" ? "good morning" : acknowledgement(message, word);
  const noise = word === "noise" ? Buffer.from("\r\n\0") : Buffer.alloc(0);
  const frame = Buffer.concat([noise, FRAME_START, Buffer.from(body, "utf8"), FRAME_END]);
  if (word === "half") return socket.end(frame.subarray(0, frame.length / 2));
  if (word !== "split") return socket.write(frame);
  for (const byte of frame) {
    socket.write(Buffer.of(byte));
    await pause(1);
  }
  return undefined;
}

const server = net.createServer((socket) => {
  let pending = Buffer.alloc(0);
  let last = Promise.resolve();
  socket.setNoDelay(true);
  socket.on("error", () => {});
  socket.on("data", (chunk) => {
    pending = Buffer.concat([pending, chunk]);
    for (let end = pending.indexOf(FRAME_END); end >= 0; end = pending.indexOf(FRAME_END)) {
      const framed = pending[0] === FRAME_START[0];
      const bytes = pending.subarray(framed ? 1 : 0, end);
      pending = pending.subarray(end + FRAME_END.length);
      const text = bytes.toString("utf8");
      const message = Hl7Message.parse(text);
      say({
        framed,
        text,
        isUtf8: Buffer.from(text, "utf8").equals(bytes),
        type: field(message, "MSH", 9),
        id: field(message, "MSH", 10),
        family: message.getSegment("PID").getField(5).getComponent(1),
        obr25: field(message, "OBR", 25),
        observations: message.getAllSegments("OBX").map((obx) => [2, 3, 5, 11].map((n) => obx.getField(n).toString())),
      });
      last = last.then(() => answer(socket, message, plan.shift() || "AA"));
    }
  });
});
server.listen(Number(values.port), "127.0.0.1", () => say({ ready: server.address().port }));
