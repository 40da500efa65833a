// The HTTP API: one place that knows paths, keys and problem documents.

import { API, keep, key, take } from "./early.js";
import { askForKey } from "./key.js";

export { API };

/** What the server said was wrong (RFC 9457), or that it did not answer. */
export class Problem extends Error {
  constructor(status, body) {
    super(body.detail || body.title || `HTTP ${status}`);
    this.status = status;
    this.title = body.title ?? "";
    this.code = body.error_code ?? null;
  }
}

/** Whether requests carry a key: plain links cannot. */
export const hasKey = () => key() !== null;

/** fetch with the key; asks for one where the server wants one. Throws a Problem unless the answer is a success. */
export async function call(path, options = {}) {
  let patience = 3; // times that "too many requests" is waited for
  let refused = false;
  for (;;) {
    const headers = new Headers(options.headers);
    const secret = key();
    if (secret !== null) headers.set("X-API-Key", secret);
    let answer;
    try {
      const url = path.startsWith("/") ? path : `${API}/${path}`;
      answer = await ((options.method === undefined && take(url)) || fetch(url, { ...options, headers }));
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new Problem(0, { title: "no answer", detail: "The gateway does not answer. Is it still running?" });
    }
    if (answer.status === 429 && patience > 0) {
      patience -= 1;
      await new Promise((resolve) => setTimeout(resolve, 1000 * Number(answer.headers.get("Retry-After") ?? 1)));
      continue;
    }
    if (answer.status === 401) {
      // another request may have been given a key meanwhile
      if (key() === secret) keep(await askForKey(refused || secret !== null));
      refused = true;
      continue;
    }
    if (!answer.ok) throw new Problem(answer.status, await answer.json().catch(() => ({})));
    return answer;
  }
}

/** GET as JSON. Parameters that are null or empty are left out. */
export async function get(path, parameters = {}, signal = undefined) {
  const query = new URLSearchParams(Object.entries(parameters).filter(([, value]) => value !== null && value !== undefined && value !== ""));
  const text = query.toString().replaceAll("%2C", ",").replaceAll("%3A", ":");
  return (await call(text ? `${path}?${text}` : path, { signal })).json();
}

export const post = async (path, body) =>
  (await call(path, { method: "POST", body: JSON.stringify(body), headers: { "Content-Type": "application/json" } })).json();

export const remove = (path) => call(path, { method: "DELETE" });

/** Server-sent events of a path, as [name, data] pairs, until the server ends them. */
export async function* events(path, signal) {
  const answer = await call(path, { signal, headers: { Accept: "text/event-stream" } });
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let waiting = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    waiting += value;
    const blocks = waiting.split("\n\n");
    waiting = blocks.pop();
    for (const block of blocks) {
      const lines = block.split("\n");
      const name = lines.find((line) => line.startsWith("event: "))?.slice(7) ?? "message";
      const data = lines.filter((line) => line.startsWith("data: ")).map((line) => line.slice(6)).join("\n");
      if (data) yield [name, JSON.parse(data)];
    }
  }
}

/** Save an answer as a file; a plain link could not carry the key. */
export async function download(path, name) {
  const blob = await (await call(path)).blob();
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
