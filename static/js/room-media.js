/* The call of a room: who takes part hears the others; microphone, camera and screens are switched on one by one.
 *
 * Up to six connect to each other (call-mesh.js); a larger call is carried by a server (call-carried.js). Nothing is asked
 * of the browser before somebody presses the button for it, and without a microphone, or without leave to use it, one
 * listens. */
import { Mesh, keyOf } from "./call-mesh.js";
import { icon, make } from "./dom.js";
import { answer } from "./status.js";

const LEVEL_MS = 100;
const AGAIN_MS = 500;
const REFUSALS = new Set(["call_full", "not_offered"]); // of the call itself
const WHY = {
  NotAllowedError: "The browser was not given leave to use it. You can listen all the same.",
  NotFoundError: "There is no such device here. You can listen all the same.",
  NotReadableError: "Another program is using it.",
};

export class Media {
  /** `bar` and `tiles` are the page's places for buttons and pictures; `me` is the person. `relayOnly` is for tests. */
  constructor({ room, bar, tiles, me, relayOnly = false }) {
    Object.assign(this, { room, bar, tiles, me, relayOnly });
    this.theirs = new Map(); // "slot:incarnation" -> what arrives from them, [{stream, what}]
    this.sharing = { voice: null, camera: null, screens: [] };
    this.mesh = new Mesh({
      room,
      relayOnly,
      streams: () => this.#streams(),
      onstreams: (key, streams) => this.#show(key, streams),
      onstate: () => this.#draw(),
    });
    this.carried = null;
    this.wanted = false;
    const on = (kind, hear) => room.addEventListener(kind, ({ detail }) => hear(detail));
    on("welcome", () => this.#enter());
    on("people", () => this.#meet());
    on("signal", (detail) => this.wanted && !this.carried && this.mesh.hear(detail));
    on("ice", ({ servers }) => this.mesh.relays(servers));
    on("carried", (where) => this.#carry(where));
    on("standing", () => this.#stand());
    on("event", (event) => event.action === "room_mute" && this.#muted(event.facts));
    on("trouble", ({ code, text }) => this.wanted && REFUSALS.has(code) && this.#refused(text));
    addEventListener("pagehide", () => this.leave());
    addEventListener("blur", () => this.pushToTalk && this.open && this.microphone(false)); // the key goes up elsewhere
    document.addEventListener("keydown", (event) => this.#talkKey(event, true));
    document.addEventListener("keyup", (event) => this.#talkKey(event, false));
    this.#draw();
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
    this.#hangUp();
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

  /** A moderator asks for quiet: what is on goes off here, where it is made, and stays off until its owner says so. */
  #muted({ person, camera }) {
    if (person ? person !== this.me : this.may("room:moderate")) return;
    if (this.sharing.voice) this.microphone(false);
    if (camera && this.sharing.camera) this.camera(false);
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

  #refused(text) {
    this.leave();
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
    // What is not sent is not announced either, nor said again after a break.
    this.room.tell({ mic: this.#isOpen, camera: Boolean(this.sharing.camera), screens: this.sharing.screens.length });
    this.#shareAll();
    return this.#draw();
  }

  get #isOpen() {
    return Boolean(this.sharing.voice?.getTracks().some((track) => track.enabled));
  }

  #tellScreens() {
    this.room.tell({ screens: this.sharing.screens.length });
    this.#shareAll();
    this.#draw();
  }

  // The others

  #enter() {
    this.#hangUp();
    if (this.wanted) this.room.tell({ call: true });
    this.#draw();
  }

  #meet() {
    const inCall = this.wanted && this.mine?.call && !this.carried;
    const others = [...this.room.members.values()].filter((member) => member.call && member.slot !== this.room.slot);
    // Who is carried is reached through the server; for the moment of the change somebody may be so before us.
    this.mesh.meet(inCall ? others.filter((member) => !member.carried) : []);
    this.#draw();
    this.#drawTiles();
  }

  /** The call has grown too large to go from page to page. */
  async #carry(where) {
    if (!this.wanted) return;
    const { CarriedCall } = await import("./call-carried.js");
    this.carried?.close();
    this.mesh.close();
    const call = new CarriedCall({
      onstreams: (key, streams) => this.carried === call && this.#show(key, streams),
      onlost: () => this.carried === call && this.#comeAgain(),
    });
    this.carried = call;
    call.share(this.#streams());
    try {
      await call.enter(where);
    } catch {
      if (this.carried === call) this.#comeAgain();
    }
  }

  /** The server has let go of us: out of the call and in again, which asks the hub for another token. */
  #comeAgain() {
    this.#hangUp();
    if (!this.wanted) return;
    answer("The call was interrupted. Coming back.");
    const { mic, camera, screens } = this.mine ?? {};
    this.room.tell({ call: false });
    setTimeout(() => this.wanted && this.room.tell({ call: true, mic, camera, screens }), AGAIN_MS);
  }

  #hangUp() {
    this.carried?.close();
    this.carried = null;
    this.mesh.close();
    this.theirs.clear();
    this.#drawTiles();
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
    this.mesh.share();
    this.carried?.share(this.#streams());
  }

  #show(key, streams) {
    if (streams === null) this.theirs.delete(key);
    else this.theirs.set(key, streams);
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
        if (this.sharing.screens.length < this.room.welcome.screens) buttons.push(button("Show a screen", "up", () => this.screen()));
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
    const members = new Map([...this.room.members.values()].map((member) => [keyOf(member), member]));
    for (const [key, streams] of this.theirs) {
      // The hub says who may be heard and seen; a stream alone is only somebody's word.
      const member = members.get(key);
      const told = { voice: member?.mic, camera: member?.camera, screen: member?.screens > 0 };
      for (const { stream, what } of streams.filter((one) => told[one.what])) {
        const words = what === "screen" ? `${member.name}, a screen` : member.name;
        wanted.set(`${key}:${idOf(stream)}`, { stream, words, what });
      }
    }
    for (const tile of [...this.tiles.children]) if (!wanted.has(tile.dataset.key)) tile.remove();
    for (const [key, { stream, words, mine, what }] of wanted) {
      const known = [...this.tiles.children].find((tile) => tile.dataset.key === key);
      if (known?.dataset.what === what && sameTracks(known.firstChild.srcObject, stream)) continue;
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

// A carried stream is put together anew with every track; its first track stays.
const idOf = (stream) => stream.getVideoTracks()[0]?.id ?? stream.getTracks()[0]?.id ?? stream.id;

const sameTracks = (one, other) => one === other || (one.getTracks().length === other.getTracks().length && one.getTracks().every((track) => other.getTracks().includes(track)));

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
