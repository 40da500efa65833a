// Paths to pages, without loading the document anew.

const PAGES = [
  [/^\/$/, () => import("./pages/runs.js"), "Runs"],
  [/^\/runs\/([0-9a-f]{32})$/, () => import("./pages/run.js"), "Run"],
  [/^\/submit$/, () => import("./pages/submit.js"), "New run"],
  [/^\/compare$/, () => import("./pages/compare.js"), "Compare"],
];

let leave = null;
let turn = 0;

/** Go to a path of the dashboard. */
export function go(path, { replace = false } = {}) {
  history[replace ? "replaceState" : "pushState"](null, "", path);
  return show(!replace);
}

/** Change parameters of the address without leaving the page; null removes one. */
export function remember(changes) {
  const url = new URL(location.href);
  for (const [name, value] of Object.entries(changes)) {
    if (value === null || value === "") url.searchParams.delete(name);
    else url.searchParams.set(name, value);
  }
  history.replaceState(null, "", url);
}

async function show(moved) {
  turn += 1;
  const mine = turn;
  leave?.abort();
  leave = new AbortController();
  const main = document.getElementById("main");
  const [match, load, title] = find();
  mark();
  document.title = `${title} · Basis`;
  const page = await load();
  if (mine !== turn) return;
  main.replaceChildren();
  if (moved) {
    scrollTo(0, 0);
    main.focus({ preventScroll: true });
  }
  await page.show(main, { signal: leave.signal, parameters: new URLSearchParams(location.search), id: match[1] });
}

function find() {
  for (const [pattern, load, title] of PAGES) {
    const match = pattern.exec(location.pathname);
    if (match) return [match, load, title];
  }
  return [[], () => import("./pages/missing.js"), "Not found"];
}

function mark() {
  for (const link of document.querySelectorAll(".top nav a")) {
    const here = link.getAttribute("href") === location.pathname;
    if (here) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
}

/** Wire links and the history, and show where we are. */
export function start(failed) {
  const guarded = (moved) => show(moved).catch((error) => error.name === "AbortError" || failed(error));
  document.addEventListener("click", (event) => {
    const link = event.target.closest?.("a[data-nav]");
    if (!link || event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey) return;
    event.preventDefault();
    history.pushState(null, "", link.href);
    guarded(true);
  });
  document.querySelector(".skip").addEventListener("click", (event) => {
    event.preventDefault(); // a fragment would be another entry of the history
    document.getElementById("main").focus();
  });
  addEventListener("popstate", () => guarded(true));
  return guarded(false);
}
