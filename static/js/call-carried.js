/* A call that a LiveKit server carries: what one sends goes there once, and from there to everybody.
 *
 * The library is fetched when a call grows that large. Members are known there by the key they have in the room, and who
 * publishes what under which name is the token's affair; what is played is what the hub says of them (room-media.js). */
const SOURCES = { voice: { audio: "microphone" }, camera: { video: "camera" }, screen: { video: "screen_share", audio: "screen_share_audio" } };
const WHAT = { microphone: "voice", camera: "camera", screen_share: "screen", screen_share_audio: "screen" };

export class CarriedCall {
  /** `onstreams(key, streams)` as of Mesh; `onlost()` when the server has let go of us for good. */
  constructor({ onstreams, onlost }) {
    Object.assign(this, { onstreams, onlost });
    this.theirs = new Map(); // key -> Map of publication to {what, name, track}
    this.mine = new Map(); // track -> its publication, or the promise of it
    this.streams = [];
    this.changing = Promise.resolve();
  }

  /** Come in with a token; what is shared is published. */
  async enter({ url, token }) {
    const { Room, RoomEvent } = await import("../vendor/livekit.js");
    if (this.closed) return;
    const call = new Room({ adaptiveStream: false, dynacast: true, stopLocalTrackOnUnpublish: false, disconnectOnPageLeave: true });
    this.call = call;
    call.on(RoomEvent.TrackSubscribed, (track, publication, member) => this.#arrived(member.identity, publication, track.mediaStreamTrack));
    call.on(RoomEvent.TrackUnsubscribed, (track, publication, member) => this.#arrived(member.identity, publication, null));
    call.on(RoomEvent.ParticipantDisconnected, (member) => this.#gone(member.identity));
    call.on(RoomEvent.Disconnected, () => !this.closed && this.onlost());
    await call.connect(url, token);
    if (this.closed) return void call.disconnect();
    this.connected = true;
    this.share(this.streams);
  }

  share(streams) {
    this.streams = streams;
    if (this.connected) this.changing = this.changing.then(() => this.#publish()).catch(() => {});
  }

  close() {
    this.closed = true;
    this.call?.disconnect(false);
    for (const key of [...this.theirs.keys()]) this.#gone(key);
  }

  async #publish() {
    const wanted = new Map(this.streams.flatMap(({ stream, what }) => stream.getTracks().map((track) => [track, { what, name: stream.id }])));
    const { localParticipant } = this.call;
    for (const track of [...this.mine.keys()]) {
      if (wanted.has(track)) continue;
      this.mine.delete(track);
      await localParticipant.unpublishTrack(track, false);
    }
    for (const [track, { what, name }] of wanted) {
      if (this.mine.has(track)) continue;
      this.mine.set(track, name);
      // The stream's own id goes with both of its tracks, so that a screen and its sound are one at the other end.
      await localParticipant.publishTrack(track, { source: SOURCES[what][track.kind], name, stream: name, simulcast: what !== "screen" });
    }
  }

  #arrived(key, publication, track) {
    const what = WHAT[publication.source];
    if (!what) return;
    const theirs = this.theirs.get(key) ?? this.theirs.set(key, new Map()).get(key);
    if (track) theirs.set(publication.trackSid, { what, name: publication.trackName, track });
    else theirs.delete(publication.trackSid);
    const streams = new Map();
    for (const { what, name, track } of theirs.values()) {
      const one = streams.get(name) ?? streams.set(name, { stream: new MediaStream(), what }).get(name);
      one.stream.addTrack(track);
    }
    this.onstreams(key, [...streams.values()]);
  }

  #gone(key) {
    this.theirs.delete(key);
    this.onstreams(key, null);
  }
}
