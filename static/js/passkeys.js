/* A form that a passkey fills in: asks the hub for a challenge, the browser for an answer, and sends that as any form.

   Nothing is shown where the browser has no passkeys. Under another host name than the hub's it says so instead. */

const encode = (buffer) => {
  const text = String.fromCharCode(...new Uint8Array(buffer));
  return btoa(text).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
};

const decode = (text) => {
  const plain = atob(text.replaceAll("-", "+").replaceAll("_", "/"));
  return Uint8Array.from(plain, (c) => c.charCodeAt(0));
};

const described = (list) => (list ?? []).map((each) => ({ ...each, id: decode(each.id) }));

/** The hub's JSON as the browser wants it. */
const asked = (options) => ({
  ...options,
  challenge: decode(options.challenge),
  ...(options.user ? { user: { ...options.user, id: decode(options.user.id) } } : {}),
  ...(options.allowCredentials ? { allowCredentials: described(options.allowCredentials) } : {}),
  ...(options.excludeCredentials ? { excludeCredentials: described(options.excludeCredentials) } : {}),
});

/** The browser's answer as JSON. */
const answered = (credential) => {
  const response = {};
  for (const name of ["clientDataJSON", "attestationObject", "authenticatorData", "signature", "userHandle"]) {
    if (credential.response[name]) response[name] = encode(credential.response[name]);
  }
  return JSON.stringify({
    id: credential.id,
    rawId: encode(credential.rawId),
    type: credential.type,
    response,
    clientExtensionResults: credential.getClientExtensionResults(),
  });
};

class PasskeyButton extends HTMLElement {
  connectedCallback() {
    if (!window.PublicKeyCredential) return;
    this.hidden = false;
    this.form = this.querySelector("form");
    if (location.hostname !== this.dataset.host) {
      this.form.hidden = true;
      this.say(`Passkeys work when this hub is opened as ${this.dataset.host}.`);
      return;
    }
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.ask().catch((error) => this.say(this.told(error)));
    });
  }

  async ask() {
    this.say("");
    const answer = await fetch(this.dataset.options, { method: "POST", headers: { accept: "application/json" } });
    const options = await answer.json();
    if (!answer.ok) throw new Error(options.detail);
    const publicKey = asked(options);
    const credential = options.user
      ? await navigator.credentials.create({ publicKey })
      : await navigator.credentials.get({ publicKey });
    this.form.elements.passkey.value = answered(credential);
    this.form.submit();
  }

  told(error) {
    if (error.name === "NotAllowedError") return "Nothing was done: it was refused, or took too long.";
    if (error.name === "InvalidStateError") return "This device has a passkey of yours already.";
    return error.message || "That did not work.";
  }

  say(text) {
    this.querySelector("[data-says]").textContent = text;
  }
}

customElements.define("passkey-button", PasskeyButton);
