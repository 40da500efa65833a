// The first questions of a run's page, asked while the rest of the page is still on its way. Imports nothing.

export const API = "/api/v1";
const KEY = "basis.api-key";
export const FIRST_CURVES = ["equity", "capital", "drawdown"];

/** Points that fill the window's width. */
export const points = () => Math.round(Math.min(2400, Math.max(400, innerWidth)));

/** What a run's page asks for at once: the curve of equity is the first thing to see. */
export const firstQuestions = (id) => ({
  report: `${API}/results/${id}`,
  curves: `${API}/results/${id}/curves?columns=${FIRST_CURVES.join(",")}&points=${points()}`,
  charts: `${API}/results/${id}/charts`,
});

let kept = null; // where storage is off

/** The key of this tab, or null. */
export function key() {
  try {
    return sessionStorage.getItem(KEY) ?? kept;
  } catch {
    return kept;
  }
}

/** Keep a key until the tab is closed; where storage is off, until the page is left. */
export function keep(value) {
  kept = value;
  try {
    sessionStorage.setItem(KEY, value);
  } catch {
    // storage is off
  }
}

const asked = new Map();

/** The answer to an early question, once; undefined where it was not asked. */
export function take(path) {
  const answer = asked.get(path);
  asked.delete(path);
  return answer;
}

const run = /^\/runs\/([0-9a-f]{32})$/.exec(location.pathname);
if (run) {
  const headers = key() === null ? {} : { "X-API-Key": key() };
  const { report, curves } = firstQuestions(run[1]);
  for (const path of [curves, report]) {
    const answer = fetch(path, { headers });
    answer.catch(() => {}); // whoever takes it hears of it
    asked.set(path, answer);
  }
}
