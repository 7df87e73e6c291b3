// The peer of socket.io on Node: every event to everyone. `node socketio.mjs PORT`; WebSocket only, no compression.
import { createServer } from "node:http";
import { Server } from "socket.io";

const http = createServer();
const io = new Server(http, { transports: ["websocket"], perMessageDeflate: false, httpCompression: false });
io.on("connection", (socket) => {
  socket.on("c", (said) => io.emit("c", said));
});
http.listen(Number(process.argv[2]), "127.0.0.1");
