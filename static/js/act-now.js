/* One of the hub's actions from a page, as whoever is signed in. */

/** The action's result; rejects with the hub's own words. */
export async function actNow(action, params) {
  const reply = await fetch("/api/actions", {
    method: "POST",
    headers: { "content-type": "application/json", "idempotency-key": crypto.randomUUID?.() ?? `${Date.now()}-${Math.random()}` },
    body: JSON.stringify({ tool: "distributed_collaboration", params: { action, ...params } }),
  });
  const said = await reply.json().catch(() => ({}));
  if (reply.ok) return said.result;
  const words = [said.detail ?? `the hub answered ${reply.status}`, said.hint].filter(Boolean).join(". ");
  throw Object.assign(new Error(words), { code: said.code });
}
