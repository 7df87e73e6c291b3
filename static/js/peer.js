/* One WebRTC connection to one other member, by perfect negotiation (W3C webrtc, 10.7). No DOM.
 *
 * Both sides may offer at any moment. When two offers cross, the impolite side passes over the other's and the polite
 * one takes its own back; the hub says who is which. `send` is given one signal at a time, `hear` takes the other's. */

// So long the polite side leaves it to the other to begin. Where the very first offers cross in a browser that has just
// started, taking one's own back leaves Chromium (156) gathering candidates for ever, and only another connection helps.
const BEGIN_MS = 1000;

export class Peer {
  /** `onstreams(streams)` is told the other's live streams as [{stream, what}], `onstate(state)` the connection's. */
  constructor({ polite, config, send, onstreams = () => {}, onstate = () => {}, connect = (c) => new RTCPeerConnection(c) }) {
    Object.assign(this, { polite, send, onstreams, onstate });
    this.connection = connect(config);
    this.#wire();
    if (!polite) return;
    this.#waiting = setTimeout(() => {
      this.#mayBegin();
      if (this.#putOff) this.#offer();
    }, BEGIN_MS);
  }

  #waiting = null; // the timer after which the polite side may begin, until it may
  #putOff = false;
  #making = false;
  #passedOver = false;
  #hearing = Promise.resolve();
  #senders = new Map(); // track -> its sender
  #theirs = new Map(); // stream id -> stream
  #labels = {};
  #mine = {};

  #wire() {
    const { connection } = this;
    connection.onnegotiationneeded = () => this.#offer();
    connection.onicecandidate = ({ candidate }) => this.send({ cand: candidate ? candidate.toJSON() : null });
    connection.onconnectionstatechange = () => {
      if (connection.connectionState === "failed") connection.restartIce();
      this.onstate(connection.connectionState);
    };
    connection.ontrack = ({ track, streams: [stream] }) => {
      if (!stream) return;
      this.#theirs.set(stream.id, stream);
      stream.onremovetrack = () => this.#tellStreams();
      track.onunmute = track.onended = track.onmute = () => this.#tellStreams();
      this.#tellStreams();
    };
  }

  /** Send these streams, and no others: [{stream, what: "voice" | "camera" | "screen"}]. */
  share(streams) {
    const wanted = new Map(streams.flatMap(({ stream }) => stream.getTracks().map((track) => [track, stream])));
    for (const [track, sender] of this.#senders) {
      if (wanted.has(track)) continue;
      this.connection.removeTrack(sender);
      this.#senders.delete(track);
    }
    for (const [track, stream] of wanted) {
      if (!this.#senders.has(track)) this.#senders.set(track, this.connection.addTrack(track, stream));
    }
    this.#mine = Object.fromEntries(streams.map(({ stream, what }) => [stream.id, what]));
  }

  /** Take up a signal of the other side; they are taken in the order in which they came. */
  hear(signal) {
    this.#hearing = this.#hearing.then(() => this.#take(signal)).catch((error) => this.onstate("failed", error));
    return this.#hearing;
  }

  /** Other servers, or fresh credentials for the same. A path through a relay lives no longer than its credentials, so it is
   * made anew with these; one side is enough to begin. */
  async configure(config) {
    const { connection } = this;
    connection.setConfiguration(config);
    if (!this.polite && connection.connectionState === "connected" && (await this.#isRelayed())) connection.restartIce();
  }

  async #isRelayed() {
    const stats = await this.connection.getStats();
    return [...stats.values()].some((one) => one.type === "candidate-pair" && one.nominated && one.state === "succeeded" &&
      [one.localCandidateId, one.remoteCandidateId].some((id) => stats.get(id)?.candidateType === "relay"));
  }

  close() {
    this.#mayBegin();
    this.connection.close();
    this.onstreams([]);
  }

  /** The wait is over: it has lasted long enough, or the other side has begun. */
  #mayBegin() {
    clearTimeout(this.#waiting);
    this.#waiting = null;
  }

  async #offer() {
    const { connection } = this;
    this.#putOff = this.#waiting !== null;
    if (this.#putOff) return;
    try {
      this.#making = true;
      await connection.setLocalDescription();
      this.#sendDescription();
    } catch (error) {
      if (connection.signalingState !== "closed") this.onstate("failed", error);
    } finally {
      this.#making = false;
    }
  }

  async #take({ desc, cand }) {
    const { connection } = this;
    if (connection.signalingState === "closed") return;
    if (desc) {
      const collision = desc.type === "offer" && (this.#making || connection.signalingState !== "stable");
      this.#passedOver = !this.polite && collision;
      if (this.#passedOver) return;
      this.#mayBegin();
      this.#labels = labelsOf(desc);
      await connection.setRemoteDescription({ type: desc.type, sdp: desc.sdp });
      if (desc.type === "offer") {
        await connection.setLocalDescription();
        this.#sendDescription();
      }
    } else if (cand !== undefined) {
      try {
        await connection.addIceCandidate(cand ?? undefined);
      } catch (error) {
        if (!this.#passedOver) throw error;
      }
    }
  }

  #sendDescription() {
    const { type, sdp } = this.connection.localDescription;
    // What each stream is goes with the description: it has no place in the SDP, and a data channel for it would break a
    // call whose first offers cross (Chromium: “Failed to start SCTP transport” after the rollback).
    this.send({ desc: { type, sdp, labels: JSON.stringify(this.#mine) } });
  }

  #tellStreams() {
    // Not by `muted`: after two offers have crossed, Chromium leaves a track that plays muted for good. What the other side
    // has taken back is no longer in its stream.
    const live = [...this.#theirs.values()].filter((stream) => stream.getTracks().some((track) => track.readyState === "live"));
    this.onstreams(live.map((stream) => ({
      stream, what: this.#labels[stream.id] ?? (stream.getVideoTracks().length ? "camera" : "voice"),
    })));
  }
}

function labelsOf({ labels }) {
  try {
    return Object(JSON.parse(labels ?? "{}"));
  } catch {
    return {};
  }
}
