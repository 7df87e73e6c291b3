/* The call of a room: who takes part hears the others; microphone, camera and screens are switched on one by one.
 *
 * Each member connects to each (a mesh, at most six by the hub's word); see peer.js. Nothing is asked of the browser before
 * somebody presses the button for it, and without a microphone, or without leave to use it, one listens. */
import { icon, make } from "./dom.js";
import { Peer } from "./peer.js";
import { answer } from "./status.js";

const LEVEL_MS = 100;
const REFUSALS = new Set(["call_full", "not_offered", "not_allowed"]);
const WHY = {
  NotAllowedError: "The browser was not given leave to use it. You can listen all the same.",
  NotFoundError: "There is no such device here. You can listen all the same.",
  NotReadableError: "Another program is using it.",
};

export class Media {
  /** `bar` and `tiles` are the page's places for buttons and pictures; `me` is the person. `relayOnly` is for tests. */
  constructor({ room, bar, tiles, me, relayOnly = false }) {
    Object.assign(this, { room, bar, tiles, me, relayOnly });
    this.peers = new Map(); // "slot:incarnation" -> {peer, member, streams}
    this.sharing = { voice: null, camera: null, screens: [] };
    this.servers = room.relays?.servers ?? [];
    this.wanted = false;
    const on = (kind, hear) => room.addEventListener(kind, ({ detail }) => hear(detail));
    on("welcome", () => this.#enter());
    on("people", () => this.#meet());
    on("signal", (detail) => this.#hear(detail));
    on("ice", ({ servers }) => this.#relays(servers));
    on("standing", () => this.#stand());
    on("trouble", ({ code, text }) => this.wanted && REFUSALS.has(code) && this.#refused(code, text));
    addEventListener("pagehide", () => this.leave());
    addEventListener("blur", () => this.pushToTalk && this.open && this.microphone(false)); // the key goes up elsewhere
    document.addEventListener("keydown", (event) => this.#talkKey(event, true));
    document.addEventListener("keyup", (event) => this.#talkKey(event, false));
    this.#draw();
  }

  get config() {
    return { iceServers: this.servers, iceTransportPolicy: this.relayOnly ? "relay" : "all" };
  }

  offers(feature) {
    return Boolean(this.room.welcome?.features?.[feature]);
  }

  may(permission) {
    return Boolean(this.room.welcome?.permissions?.includes(permission));
  }

  get mine() {
    return this.room.members.get(this.room.slot);
  }

  // What one does

  join() {
    this.wanted = true;
    this.room.tell({ call: true });
    this.#draw();
  }

  leave() {
    if (!this.wanted) return;
    this.wanted = false;
    for (const { stream } of this.#streams()) stop(stream);
    this.sharing = { voice: null, camera: null, screens: [] };
    this.#stopMeter();
    this.room.tell({ call: false, mic: false, camera: false, screens: 0 });
    for (const key of [...this.peers.keys()]) this.#part(key);
    this.#draw();
  }

  async microphone(on) {
    this.open = on; // the newest wish counts: the device may come when the key is long up, or the call left
    if (on && !this.sharing.voice) {
      const device = this.device ? { deviceId: { exact: this.device } } : true;
      const voice = await this.#asked(() => navigator.mediaDevices.getUserMedia({ audio: device }));
      if (!voice) return;
      if (!this.wanted || this.sharing.voice) return stop(voice);
      this.sharing.voice = voice;
      this.#startMeter(this.sharing.voice);
      this.#shareAll();
    }
    for (const track of this.sharing.voice?.getTracks() ?? []) track.enabled = this.open;
    this.room.tell({ mic: this.open });
    this.#draw();
  }

  async camera(on) {
    if (on) {
      const camera = await this.#asked(() => navigator.mediaDevices.getUserMedia({ video: { width: 640, height: 360 } }));
      if (camera && (!this.wanted || this.sharing.camera)) return stop(camera);
      this.sharing.camera = camera;
    }
    else if (this.sharing.camera) {
      stop(this.sharing.camera);
      this.sharing.camera = null;
    }
    this.room.tell({ camera: Boolean(this.sharing.camera) });
    this.#shareAll();
    this.#draw();
  }

  async screen() {
    const stream = await this.#asked(() => navigator.mediaDevices.getDisplayMedia({ video: true, audio: true }));
    if (!stream) return;
    if (!this.wanted) return stop(stream);
    const [picture] = stream.getVideoTracks();
    picture.contentHint = "detail";
    picture.addEventListener("ended", () => this.unshare(stream));
    this.sharing.screens.push(stream);
    this.#tellScreens();
  }

  unshare(stream) {
    stop(stream);
    this.sharing.screens = this.sharing.screens.filter((other) => other !== stream);
    this.#tellScreens();
  }

  /** Take another microphone. */
  async choose(device) {
    this.device = device;
    if (!this.sharing.voice) return;
    const on = this.mine?.mic ?? false;
    stop(this.sharing.voice);
    this.sharing.voice = null;
    this.#stopMeter();
    this.#shareAll();
    await this.microphone(on);
  }

  async #asked(ask) {
    if (!navigator.mediaDevices) {
      answer("This browser gives microphones and screens to pages over https only.");
      return null;
    }
    try {
      return await ask();
    } catch (error) {
      answer(WHY[error.name] ?? `That did not work: ${error.message}.`);
      return null;
    }
  }

  #refused(code, text) {
    if (code === "call_full" || code === "not_offered") this.leave();
    answer(`${text[0].toUpperCase()}${text.slice(1)}.`);
    this.#draw();
  }

  /** The hub has changed what one may: what may not be sent any more is not. */
  #stand() {
    const [voice, screens] = [this.offers("voice_chat"), this.offers("screen_sharing")];
    if (!voice && !screens) return this.leave(), this.#draw();
    const { voice: mine, camera, screens: shown } = this.sharing;
    if (!(voice && this.may("room:voice"))) {
      for (const stream of [mine, camera]) if (stream) stop(stream);
      Object.assign(this.sharing, { voice: null, camera: null });
      this.#stopMeter();
    }
    if (!(screens && this.may("room:present"))) {
      shown.forEach(stop);
      this.sharing.screens = [];
    }
    this.#shareAll();
    return this.#draw();
  }

  #tellScreens() {
    this.room.tell({ screens: this.sharing.screens.length });
    this.#shareAll();
    this.#draw();
  }

  // The others

  #enter() {
    for (const key of [...this.peers.keys()]) this.#part(key);
    if (this.wanted) this.room.tell({ call: true });
    this.#draw();
  }

  /** A signal may come before the word that its sender is in the call: the hub passes none on for who is not. */
  #meet() {
    for (const [key, known] of [...this.peers]) {
      const member = this.room.members.get(known.member.slot);
      if (!member || keyOf(member) !== key || (known.seen && !member.call)) this.#part(key);
      else known.seen ||= member.call;
    }
    if (this.wanted && this.mine?.call) {
      for (const member of this.room.members.values()) if (member.call && member.slot !== this.room.slot) this.#peerOf(member);
    }
    this.#draw();
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
      onstreams: (streams) => this.#show(key, streams),
      onstate: () => this.#draw(),
    });
    this.peers.set(key, { peer, member, streams: [], seen: false });
    peer.share(this.#streams());
    return peer;
  }

  #part(key) {
    const gone = this.peers.get(key);
    this.peers.delete(key);
    gone?.peer.close();
    this.#drawTiles();
  }

  #hear({ member, signal }) {
    if (this.wanted) this.#peerOf(member).hear(signal);
  }

  #relays(servers) {
    this.servers = servers;
    for (const { peer } of this.peers.values()) peer.configure(this.config);
  }

  #streams() {
    const { voice, camera, screens } = this.sharing;
    return [
      ...(voice ? [{ stream: voice, what: "voice" }] : []),
      ...(camera ? [{ stream: camera, what: "camera" }] : []),
      ...screens.map((stream) => ({ stream, what: "screen" })),
    ];
  }

  #shareAll() {
    for (const { peer } of this.peers.values()) peer.share(this.#streams());
  }

  #show(key, streams) {
    const known = this.peers.get(key);
    if (!known) return;
    known.streams = streams;
    this.#drawTiles();
  }

  // What is seen

  #draw() {
    const inCall = this.wanted && Boolean(this.mine?.call);
    const offered = this.offers("voice_chat") || this.offers("screen_sharing");
    this.bar.hidden = !offered;
    if (!offered) return;
    const { mic = false } = this.mine ?? {};
    const others = [...this.room.members.values()].filter((member) => member.call && member.slot !== this.room.slot);
    const buttons = [];
    if (!this.wanted) buttons.push(button("Join the call", "people", () => this.join()));
    else {
      buttons.push(button("Leave the call", "leave", () => this.leave()));
      if (this.offers("voice_chat") && this.may("room:voice")) {
        buttons.push(toggle("Microphone", "chat", mic, () => this.microphone(!mic)));
        buttons.push(toggle("Camera", "eye", Boolean(this.sharing.camera), () => this.camera(!this.sharing.camera)));
      }
      if (this.offers("screen_sharing") && this.may("room:present")) {
        buttons.push(button("Show a screen", "up", () => this.screen()));
        for (const [number, stream] of this.sharing.screens.entries()) {
          buttons.push(button(`Stop screen ${number + 1}`, "stop", () => this.unshare(stream)));
        }
      }
    }
    const says = this.wanted && !inCall ? "Joining…" : sentence(inCall, others.map((member) => member.name));
    const drawn = `${buttons.map((one) => `${one.textContent}${one.getAttribute("aria-pressed")}`)}|${says}|${inCall}`;
    if (drawn === this.drawn) return;
    this.drawn = drawn;
    const focused = this.bar.contains(document.activeElement) ? document.activeElement.dataset.name : null;
    const level = this.sharing.voice && mic ? (this.meter ??= make("meter", { min: 0, max: 1, "aria-label": "Loudness of your microphone" })) : "";
    this.bar.replaceChildren(...buttons, level, make("p", { class: "small soft" }, says), ...(inCall && this.may("room:voice") ? [this.#choices()] : []));
    if (focused) [...this.bar.querySelectorAll("button")].find((one) => one.dataset.name === focused)?.focus();
    this.#drawTiles();
  }

  /** Which microphone, and whether it is on only while a key is held. */
  #choices() {
    if (this.chooser) return this.chooser;
    const select = make("select", { id: "call-device" });
    const fill = async () => {
      const devices = (await navigator.mediaDevices?.enumerateDevices?.())?.filter((device) => device.kind === "audioinput") ?? [];
      select.replaceChildren(...devices.map((device, at) => {
        const option = make("option", { value: device.deviceId }, device.label || `Microphone ${at + 1}`);
        option.selected = device.deviceId === this.device;
        return option;
      }));
    };
    select.addEventListener("change", () => this.choose(select.value));
    navigator.mediaDevices?.addEventListener?.("devicechange", fill);
    const push = make("input", { type: "checkbox", id: "call-push" });
    push.addEventListener("change", () => (this.pushToTalk = push.checked));
    const details = make("details", {}, make("summary", {}, "Devices and keys"),
      make("p", { class: "field" }, make("label", { for: "call-device" }, "Microphone"), select),
      make("p", { class: "tick" }, push, make("label", { for: "call-push" }, "Push to talk: the microphone is on while the T key is held")));
    details.addEventListener("toggle", () => details.open && fill());
    return (this.chooser = details);
  }

  #talkKey(event, down) {
    if (!this.pushToTalk || !this.wanted || !this.may("room:voice") || event.key.toLowerCase() !== "t" || event.repeat || event.ctrlKey || event.metaKey || event.altKey) return;
    const target = event.composedPath()[0];
    if (!down) return void this.microphone(false); // wherever the focus is by now
    if (target instanceof HTMLElement && (target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName))) return;
    event.preventDefault();
    this.microphone(true);
  }

  #drawTiles() {
    const wanted = new Map();
    for (const [number, stream] of [...(this.sharing.camera ? [this.sharing.camera] : [])].entries()) {
      wanted.set(`mine:${number}:${stream.id}`, { stream, words: "You", mine: true, what: "camera" });
    }
    for (const [key, { member, streams }] of this.peers) {
      for (const { stream, what } of streams) {
        const words = what === "screen" ? `${member.name}, a screen` : member.name;
        wanted.set(`${key}:${stream.id}`, { stream, words, what });
      }
    }
    for (const tile of [...this.tiles.children]) if (!wanted.has(tile.dataset.key)) tile.remove();
    for (const [key, { stream, words, mine, what }] of wanted) {
      const known = [...this.tiles.children].find((tile) => tile.dataset.key === key);
      if (known?.dataset.what === what) continue;
      known?.remove();
      this.tiles.append(this.#tile(key, stream, words, mine, what));
    }
    this.tiles.hidden = ![...this.tiles.children].some((tile) => tile.dataset.what !== "voice");
  }

  #tile(key, stream, words, mine, what) {
    const seen = make(what === "voice" ? "audio" : "video", { autoplay: true, playsinline: true });
    seen.muted = Boolean(mine);
    seen.srcObject = stream;
    const figure = make("figure", { class: `tile ${what}` }, seen, make("figcaption", {}, words));
    if (what === "screen") {
      const full = make("button", { type: "button", class: "btn" }, "Whole screen");
      full.setAttribute("aria-label", `${words}: show it on the whole screen`);
      full.addEventListener("click", () => seen.requestFullscreen());
      figure.append(full);
    }
    Object.assign(figure.dataset, { key, what });
    return figure;
  }

  #startMeter(stream) {
    const context = new AudioContext();
    const analyser = context.createAnalyser();
    context.createMediaStreamSource(stream).connect(analyser);
    const samples = new Float32Array(analyser.fftSize);
    this.audio = context;
    this.meterTimer = setInterval(() => {
      analyser.getFloatTimeDomainData(samples);
      if (this.meter) this.meter.value = Math.min(1, 4 * Math.sqrt(samples.reduce((sum, x) => sum + x * x, 0) / samples.length));
    }, LEVEL_MS);
  }

  #stopMeter() {
    clearInterval(this.meterTimer);
    this.audio?.close();
    this.audio = null;
  }
}

const keyOf = (member) => `${member.slot}:${member.incarnation}`;

const stop = (stream) => stream.getTracks().forEach((track) => track.stop());

function button(words, glyph, then) {
  const made = make("button", { type: "button", class: "btn" }, icon(glyph), words);
  made.dataset.name = words;
  made.addEventListener("click", then);
  return made;
}

function toggle(words, glyph, on, then) {
  const made = button(words, glyph, then);
  made.setAttribute("aria-pressed", String(on));
  return made;
}

function sentence(inCall, names) {
  if (!names.length) return inCall ? "Nobody else is in the call yet." : "Nobody is in the call.";
  const who = names.length > 3 ? `${names.slice(0, 2).join(", ")} and ${names.length - 2} others` : names.join(", ").replace(/, ([^,]*)$/, " and $1");
  return `${who} ${names.length === 1 ? "is" : "are"} in the call.`;
}
