const $ = (id) => document.getElementById(id);
// Text from chats goes into the page as text only, never as HTML.
const el = (tag, cls, text) => { const e = document.createElement(tag); if (cls) e.className = cls; e.textContent = text; return e };
const when = (t) => new Date(t).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });
const card = (type, title, by) => {
  const a = document.createElement("article");
  a.append(el("div", "type", type), el("h2", "", title));
  if (by) a.append(el("div", "by", by));
  return a;
};
const show = {
  atoms: ({ atom }) => {
    // Who made it is said beside how sure it is: rules are right less often than the number of a model's looks.
    const by = [atom.topic && `topic: ${atom.topic}`, `by ${atom.extractor}`, `confidence ${Math.round(atom.confidence * 100)} %`];
    const a = card(atom.type, atom.title, by.filter(Boolean).join(" · "));
    if (atom.superseded) {
      a.classList.add("superseded");
      a.append(el("div", "by fate", [`superseded ${when(atom.valid_until)}`, atom.superseded_by_title && `by: ${atom.superseded_by_title}`, atom.superseded_because && `because ${atom.superseded_because}`].filter(Boolean).join(" ")));
    }
    if (atom.closed_at) a.append(el("div", "by fate", `closed ${when(atom.closed_at)}${atom.closed_because ? `: ${atom.closed_because}` : ""}`));
    const told = new Set();
    for (const e of atom.evidence.filter((e) => !told.has(e.quote) && told.add(e.quote))) a.append(el("blockquote", "", e.quote), el("div", "by", `${e.author || "somebody"}, ${e.channel_title || e.channel}, ${when(e.sent_at)}`));
    for (const l of atom.links) a.append(el("div", "by", l.outgoing ? `${l.type} → ${l.other_title}` : `← ${l.type}: ${l.other_title}`));
    return a;
  },
  topics: ({ topic }) => card("topic", topic.name, `${topic.atoms} ${topic.atoms === 1 ? "atom" : "atoms"}`),
  messages: ({ message: m }) => {
    const a = card("message", `${m.author || "somebody"}, ${m.channel_title || m.channel}`, when(m.sent_at));
    a.append(el("blockquote", "", m.text));
    return a;
  },
};
// The API key, where one is asked for: in this tab only, and gone with it.
async function ask(path) {
  const key = sessionStorage.getItem("key");
  const response = await fetch(path, { headers: key ? { Authorization: `Bearer ${key}` } : {} });
  const body = await response.json();
  if (response.status === 401 || response.status === 403) { sessionStorage.removeItem("key"); $("door").hidden = false }
  if (!response.ok) throw new Error(response.status === 401 && !key ? "" : body.detail);
  return body;
}
$("door").addEventListener("submit", (event) => {
  event.preventDefault();
  const given = $("key").value.trim();
  $("key").value = "";
  if (!/^[\w-]+$/.test(given)) { $("remark").textContent = "That is no key: it has letters, digits, - and _ only, as in winnow_1_…"; return }
  sessionStorage.setItem("key", given);
  $("door").hidden = true;
  $("remark").textContent = "";
  status();
  if ($("ask").q.value) run($("ask").q.value, $("ask").kind.value, $("ask").channel.value);
});
async function run(q, kind, channel) {
  $("remark").textContent = "searching …";
  try {
    const asked = new URLSearchParams({ q, limit: 20 });
    if (kind) asked.set("kind", kind);
    if (channel) asked.set("channel", channel);
    const body = await ask(`api/v1/search?${asked}`);
    $("hits").replaceChildren(...body.hits.map((hit) => show[hit.kind](hit)));
    $("remark").textContent = body.degraded ? `By words only: ${body.degraded}` : body.hits.length ? "" : "Nothing found.";
  } catch (error) { $("hits").replaceChildren(); $("remark").textContent = error.message }
}
$("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  const { q, kind, channel } = Object.fromEntries(new FormData(event.target));
  history.replaceState(null, "", `?${new URLSearchParams({ q, kind, channel })}`);
  run(q, kind, channel.trim());
});
let next;
async function status() {
  clearTimeout(next);
  try {
    const s = await ask("api/v1/status");
    const workers = s.queue ? s.queue.workers.length : 0;
    const part = (kind, c) => `${c.embedded.toLocaleString()} of ${c.total.toLocaleString()} ${kind}`;
    $("status").textContent = `Embedded by ${s.space ?? s.embedder}: ` + Object.entries(s.embeddings).map(([k, c]) => part(k, c)).join(", ")
      + `. ${workers === 1 ? "1 worker" : `${workers} workers`}, ${s.paused ? "waiting" : s.idle ? "idle" : "at work"}`
      + `${s.eta_seconds > 60 ? `, about ${Math.ceil(s.eta_seconds / 60)} min left` : ""}.`;
    const failed = Object.entries(s.embeddings).filter(([, c]) => c.failed).map(([k, c]) => `${c.failed.toLocaleString()} ${k}`);
    const troubles = [s.paused && `Paused: ${s.paused.reason}`, failed.length && `Failed: ${failed.join(", ")}; see winnow failed list.`].filter(Boolean);
    if (troubles.length) $("status").append(el("div", "trouble", troubles.join(" ")));
  } catch (error) { $("status").textContent = error instanceof TypeError ? "The API does not answer." : error.message || "Waiting for a key." }
  if ($("door").hidden) next = setTimeout(status, 5000);
}
status();
const asked = new URLSearchParams(location.search);
if (asked.get("q")) { $("ask").q.value = asked.get("q"); $("ask").kind.value = asked.get("kind") ?? ""; $("ask").channel.value = asked.get("channel") ?? ""; run(asked.get("q"), asked.get("kind"), asked.get("channel")) }
