/* A call from page to page: each member connects to each (at most six by the hub's word); see peer.js. */
import { Peer } from "./peer.js";

/** How a member is known in a call: another connection of the same person is another one. */
export const keyOf = (member) => `${member.slot}:${member.incarnation}`;

export class Mesh {
  /** `streams()` is what one sends now; `onstreams(key, streams)` is told what arrives from a member as [{stream, what}],
   * null when they are gone. */
  constructor({ room, relayOnly, streams, onstreams, onstate }) {
    Object.assign(this, { room, relayOnly, streams, onstreams, onstate });
    this.peers = new Map(); // key -> {peer, member, seen}
    this.servers = room.relays?.servers ?? [];
  }

  get config() {
    return { iceServers: this.servers, iceTransportPolicy: this.relayOnly ? "relay" : "all" };
  }

  /** Send everybody what is sent now, and nothing else. */
  share() {
    for (const { peer } of this.peers.values()) peer.share(this.streams());
  }

  /** A signal may come before the word that its sender is in the call: the hub passes none on for who is not. */
  meet(members) {
    for (const [key, known] of [...this.peers]) {
      const member = this.room.members.get(known.member.slot);
      if (!member || keyOf(member) !== key || (known.seen && !member.call)) this.#part(key);
      else known.seen ||= member.call;
    }
    for (const member of members) this.#peerOf(member);
  }

  hear({ member, signal }) {
    this.#peerOf(member).hear(signal);
  }

  relays(servers) {
    this.servers = servers;
    for (const { peer } of this.peers.values()) peer.configure(this.config);
  }

  close() {
    for (const key of [...this.peers.keys()]) this.#part(key);
  }

  #peerOf(member) {
    const key = keyOf(member);
    const known = this.peers.get(key);
    if (known) return known.peer;
    const { slot } = member;
    const peer = new Peer({
      polite: this.room.slot < slot,
      config: this.config,
      send: (signal) => this.room.signal(slot, signal),
      onstreams: (streams) => this.peers.has(key) && this.onstreams(key, streams),
      onstate: this.onstate,
    });
    this.peers.set(key, { peer, member, seen: false });
    peer.share(this.streams());
    return peer;
  }

  #part(key) {
    const gone = this.peers.get(key);
    this.peers.delete(key);
    gone?.peer.close();
    this.onstreams(key, null);
  }
}
