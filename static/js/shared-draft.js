/* A draft that several people write at once. Without this the page shows its text; the editor is fetched on demand. */
import { actNow } from "./act-now.js";
import { DraftProvider } from "./draft-provider.js";
import { icon, make } from "./dom.js";
import { announce, answer } from "./status.js";
import { tone } from "./words.js";

const SMALL = matchMedia("(max-width: 48rem)");

customElements.define("shared-draft", class extends HTMLElement {
  connectedCallback() {
    this.says = this.querySelector("[data-say=saved]");
    this.plain = this.querySelector("[data-slot=text]");
    this.place = this.querySelector("[data-slot=editor]");
    this.mayWrite = this.hasAttribute("data-may-write");
    const entry = this.querySelector("[data-do=entry]");
    if (!entry) return;
    entry.hidden = false;
    entry.addEventListener("click", () => this.makeEntry());
  }

  disconnectedCallback() {
    this.leave();
  }

  /** The room it is in. On a small screen the editor's 200 KB are fetched when somebody asks for them. */
  join(room, me, name) {
    Object.assign(this, { room, me, name });
    if (!SMALL.matches) return this.start();
    const button = make("button", { type: "button", class: "btn" }, icon("pen"), this.mayWrite ? "Write here" : "Follow it live");
    button.addEventListener("click", () => { button.remove(); this.start(); });
    this.place.append(button);
    return undefined;
  }

  async start() {
    this.say("Opening…");
    try {
      this.lib = await import("../vendor/editor.js");
    } catch {
      return this.say("The editor could not be loaded; the text above is as it was when this page was made.");
    }
    this.provider = new DraftProvider({ room: this.room, draft: this.dataset.draft, lib: this.lib });
    this.provider.addEventListener("change", () => this.tell());
    this.provider.addEventListener("anew", () => this.rebuild());
    this.provider.open();
    this.rebuild();
    addEventListener("beforeunload", this.#unload);
    return undefined;
  }

  leave() {
    removeEventListener("beforeunload", this.#unload);
    this.view?.destroy();
    this.provider?.close();
    this.provider = this.view = null;
  }

  #unload = (event) => this.provider?.unsaved && event.preventDefault();

  /** The editor over the provider's document of the moment; a new history is a new document. */
  rebuild() {
    const { Compartment, EditorState, EditorView, defaultKeymap, drawSelection, keymap, markdown, yCollab, yUndoManagerKeymap } = this.lib;
    const { provider } = this;
    this.view?.destroy();
    this.writable = new Compartment();
    this.named = new Compartment();
    provider.awareness.setLocalStateField("user", { id: this.me, name: this.name });
    // In a root of its own, CodeMirror's rules are adopted sheets; as <style> the page's policy would refuse them.
    const root = this.place.shadowRoot ?? this.place.attachShadow({ mode: "open" });
    root.replaceChildren();
    this.view = new EditorView({
      parent: root,
      root,
      state: EditorState.create({
        doc: provider.text.toString(),
        extensions: [
          keymap.of([...yUndoManagerKeymap, ...defaultKeymap]),
          drawSelection(),
          markdown(),
          EditorView.lineWrapping,
          EditorView.contentAttributes.of({ spellcheck: "true" }),
          this.named.of(EditorView.contentAttributes.of({ "aria-label": this.dataset.name })),
          theme(EditorView),
          ink(this.lib),
          this.writable.of(this.#readOnly()),
          yCollab(provider.text, null),
          carets(this.lib, provider),
        ],
      }),
    });
    this.plain.hidden = true;
    this.isOpen = this.#open;
    this.tell();
  }

  /** Nothing can be typed before the record is here: what was typed into an empty page would stand beside the text. */
  get #open() {
    return this.mayWrite && this.provider.epoch > 0;
  }

  #readOnly() {
    const { EditorState, EditorView } = this.lib;
    return [EditorState.readOnly.of(!this.#open), EditorView.editable.of(this.#open)];
  }

  tell() {
    const { provider } = this;
    if (!provider || !this.view) return;
    if (this.isOpen !== this.#open) {
      this.isOpen = this.#open;
      // Not now: this may be heard in the middle of the editor's own update.
      queueMicrotask(() => this.view?.dispatch({ effects: this.writable.reconfigure(this.#readOnly()) }));
    }
    const unsaved = provider.unsaved;
    if (provider.state === "closed") this.say(`Closed: ${provider.trouble?.text ?? "it cannot be followed any more"}.`);
    else if (provider.state === "connecting") this.say(unsaved ? "Not connected. What you type is kept here until it is." : "Connecting…");
    else this.say(unsaved ? "Saving…" : this.mayWrite ? "Saved" : "You may read this draft, not write in it.");
    if (provider.recovered !== null) this.showRecovered();
  }

  /** It has another name now. */
  retitle(name) {
    if (this.dataset.name === name) return;
    this.dataset.name = name;
    this.plain.setAttribute("aria-label", name);
    this.view?.dispatch({ effects: this.named.reconfigure(this.lib.EditorView.contentAttributes.of({ "aria-label": name })) });
  }

  say(words) {
    if (this.says.textContent !== words) this.says.textContent = words;
  }

  /** What could not be merged is never thrown away: it stands beside the draft until somebody has taken it. */
  showRecovered() {
    const text = this.provider.recovered;
    this.provider.recovered = null;
    const kept = make("textarea", { readonly: true, rows: 6, "aria-label": "Recovered copy" });
    kept.value = text;
    const keep = make("button", { type: "button", class: "btn" }, "Keep it as a draft of its own");
    const drop = make("button", { type: "button", class: "btn" }, "Remove this copy");
    const box = make("section", { class: "recovered" },
      make("h3", {}, "Recovered copy"),
      make("p", { class: "small soft" }, "This draft was changed elsewhere in a way that could not be merged with yours. This is your text as it was."),
      kept, make("p", { class: "acts" }, keep, drop));
    keep.addEventListener("click", async () => {
      try {
        const made = await actNow("draft_create", { session_id: this.dataset.session, name: `${this.dataset.name} (recovered)`, text });
        answer(`Kept as “${made.name}”.`);
        box.remove();
      } catch (error) {
        answer(error.message);
      }
    });
    drop.addEventListener("click", () => box.remove());
    this.append(box);
    announce("Your text could not be merged. A copy of it stands below the draft.");
  }

  async makeEntry() {
    const content = this.provider ? this.provider.text.toString() : this.plain.textContent;
    try {
      const title = this.dataset.name;
      const version = await actNow("draft_version", { draft: this.dataset.draft, name: "for the notebook" });
      const entry = { title, content, draft_version: version.id };
      const made = await actNow("lab_notebook", { session_id: this.dataset.session, entry });
      location.href = `/entries/${made.entry}`;
    } catch (error) {
      answer(error.message);
    }
  }
});

function theme(EditorView) {
  const tones = Object.fromEntries([1, 2, 3, 4, 5, 6, 7, 8].map((n) => [`.m${n}`, { "--tone": `var(--m${n})` }]));
  return EditorView.theme({
    ...tones,
    "&": { color: "var(--ink)", backgroundColor: "var(--surface)", border: "1px solid var(--edge)", borderRadius: "var(--round)", minHeight: "16rem" },
    "&.cm-focused": { outline: "2px solid var(--focus, var(--accent))", outlineOffset: "1px" },
    ".cm-content": { fontFamily: "var(--mono)", fontSize: "var(--t-sm)", lineHeight: "1.7", padding: "var(--s3)", caretColor: "var(--ink)" },
    ".cm-cursor": { borderLeftColor: "var(--ink)" },
    ".cm-selectionBackground, &.cm-focused .cm-selectionBackground": { backgroundColor: "color-mix(in oklab, var(--accent) 24%, transparent) !important" },
    ".caret": { position: "relative", borderLeft: "2px solid var(--tone)", marginInline: "-1px", pointerEvents: "none" },
    // Drawn, not text: what a screen reader or a copy takes from the editor is the draft's own.
    ".caret::after": {
      content: "attr(data-name)", position: "absolute", left: "-1px", bottom: "100%", padding: "0 .4em", borderRadius: "4px 4px 4px 0", background: "var(--tone)",
      color: "var(--on-accent)", font: "600 var(--t-2xs)/1.5 var(--sans)", whiteSpace: "nowrap",
    },
    ".theirs": { backgroundColor: "color-mix(in oklab, var(--tone) 26%, transparent)" },
  });
}

/** Headings and emphasis by weight and slope: no colour carries a meaning alone. */
function ink({ HighlightStyle, syntaxHighlighting, tags }) {
  return syntaxHighlighting(HighlightStyle.define([
    { tag: tags.heading, fontWeight: "700" },
    { tag: tags.strong, fontWeight: "700" },
    { tag: tags.emphasis, fontStyle: "italic" },
    { tag: [tags.link, tags.url], textDecoration: "underline" },
    { tag: [tags.meta, tags.processingInstruction], color: "var(--ink-2)" },
  ]));
}

/** Where the others are, in the colours their faces have. The binding's own draws by style attributes, which the page's policy refuses. */
function carets({ Y, ViewPlugin, Decoration, WidgetType, RangeSet }, provider) {
  class Caret extends WidgetType {
    constructor(user) {
      super();
      this.user = user;
    }

    eq(other) {
      return other.user.id === this.user.id && other.user.name === this.user.name;
    }

    toDOM() {
      return make("span", { class: `caret ${tone(this.user.id)}`, "aria-hidden": "true", "data-name": this.user.name });
    }

    ignoreEvent() {
      return true;
    }
  }
  return ViewPlugin.fromClass(class {
    constructor(view) {
      this.view = view;
      this.decorations = RangeSet.of([]);
      this.moved = ({ added, updated, removed }) => {
        if ([...added, ...updated, ...removed].some((id) => id !== provider.doc.clientID)) view.dispatch({});
      };
      provider.awareness.on("change", this.moved);
    }

    destroy() {
      provider.awareness.off("change", this.moved);
    }

    update(update) {
      const { text, doc, awareness } = provider;
      if (update.selectionSet || update.docChanged || update.focusChanged) {
        const { anchor, head } = update.state.selection.main;
        const place = (at) => Y.relativePositionToJSON(Y.createRelativePositionFromTypeIndex(text, Math.min(at, text.length)));
        queueMicrotask(() => this.tell(update.view.hasFocus ? { anchor: place(anchor), head: place(head) } : null));
      }
      const length = update.state.doc.length;
      const index = (json) => json && Y.createAbsolutePositionFromRelativePosition(Y.createRelativePositionFromJSON(json), doc)?.index;
      const found = [];
      for (const [id, { user, cursor }] of awareness.getStates()) {
        if (id === doc.clientID || !cursor || typeof user?.name !== "string" || typeof user?.id !== "string") continue;
        let [anchor, head] = [null, null];
        try {
          [anchor, head] = [index(cursor.anchor), index(cursor.head)];
        } catch {
          continue; // somebody's caret is nonsense
        }
        if (anchor === undefined || head === undefined || anchor > length || head > length) continue;
        const [from, to] = anchor < head ? [anchor, head] : [head, anchor];
        if (from < to) found.push(Decoration.mark({ class: `theirs ${tone(user.id)}` }).range(from, to));
        found.push(Decoration.widget({ widget: new Caret(user), side: head > anchor ? -1 : 1 }).range(head));
      }
      this.decorations = Decoration.set(found, true);
    }

    tell(cursor) {
      const before = JSON.stringify(provider.awareness.getLocalState()?.cursor ?? null);
      if (before !== JSON.stringify(cursor)) provider.awareness.setLocalStateField("cursor", cursor);
    }
  }, { decorations: (plugin) => plugin.decorations });
}
