// Numbers, times and names as people read them. Everything is UTC, and a true minus sign is used.

const MINUS = "−";
const NONE = "–";
const formats = new Map();

function decimal(least, most) {
  const key = `${least}:${most}`;
  if (!formats.has(key)) {
    formats.set(key, new Intl.NumberFormat("en-US", { minimumFractionDigits: least, maximumFractionDigits: most }));
  }
  return formats.get(key);
}

const signed = (text) => text.replace("-", MINUS);

/** Whole number with thousands separated. */
export const count = (value) => (isNumber(value) ? signed(decimal(0, 0).format(value)) : NONE);

/** Fraction as a percentage. */
export function percent(value, digits = 2) {
  return isNumber(value) ? signed(`${decimal(digits, digits).format(value * 100)}%`).replace(/^−(0(\.0+)?%)$/, "$1") : NONE;
}

/** Amount of money or tokens: digits that fit its size. */
export function amount(value, digits) {
  if (!isNumber(value)) return NONE;
  const size = Math.abs(value);
  if (digits !== undefined) return unzero(signed(decimal(digits, digits).format(value)));
  if (size !== 0 && size < 1e-6) return signed(value.toExponential(2));
  const places = size >= 1000 || size === 0 ? 2 : size >= 1 ? 4 : 8;
  return signed(decimal(Math.min(2, places), places).format(value));
}

const unzero = (text) => (/^−0(\.0+)?$/.test(text) ? text.slice(1) : text);

/** The number with all its digits, as the log has it. */
export const exact = (value) => {
  if (!isNumber(value)) return NONE;
  const text = String(value);
  if (text.includes("e")) return signed(text);
  const [whole, part] = text.split(".");
  const grouped = whole.replace(/\B(?=(\d{3})+(?!\d))/g, ",");
  return signed(part === undefined ? grouped : `${grouped}.${part}`);
};

/** With a sign in front of gains, too. */
export const plus = (value, text) => (isNumber(value) && value > 0 ? `+${text}` : text);

/** Class of a gain or a loss; none for what rounds to nothing. */
export const tone = (value) => (!isNumber(value) || Math.abs(value) < 1e-12 ? "" : value > 0 ? "gain" : "loss");

/** Share class or token with its digits: dollars in cents, coins in more. */
export function money(value, unit) {
  if (!isNumber(value)) return NONE;
  return amount(value, isDollar(unit) ? 2 : Math.abs(value) >= 1000 ? 3 : 5);
}

export const isDollar = (unit) => ["USDT", "USD", "USDC"].includes(unit);
export const isNumber = (value) => typeof value === "number" && Number.isFinite(value);

/** Number of an axis whose marks are `step` apart. */
export function axis(value, step) {
  const size = Math.abs(value);
  const [factor, unit] = step >= 1e6 ? [1e6, "M"] : step >= 500 && size >= 1e4 ? [1e3, "k"] : [1, ""];
  const digits = Math.max(0, Math.min(8, -Math.floor(Math.log10(step / factor) + 1e-9)));
  return unzero(signed(decimal(digits, digits).format(value / factor))) + unit;
}

/** Fraction on an axis whose marks are `step` apart, as a percentage. */
export const percentAxis = (value, step) => percent(value, Math.max(0, Math.min(6, -Math.floor(Math.log10(step * 100) + 1e-9))));

const pad = (value) => String(value).padStart(2, "0");
const asDate = (time) => (time instanceof Date ? time : new Date(time));

/** `2024-05-12`. */
export function day(time) {
  if (time === null || time === undefined) return NONE;
  const date = asDate(time);
  return `${date.getUTCFullYear()}-${pad(date.getUTCMonth() + 1)}-${pad(date.getUTCDate())}`;
}

/** `2024-05-12 08:00`, UTC. */
export function minute(time) {
  if (time === null || time === undefined) return NONE;
  const date = asDate(time);
  return `${day(date)} ${pad(date.getUTCHours())}:${pad(date.getUTCMinutes())}`;
}

/** `3 min ago`; the exact time belongs in a title. */
export function ago(time) {
  if (!time) return NONE;
  const seconds = Math.max(0, (Date.now() - asDate(time)) / 1000);
  if (seconds < 60) return "just now";
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ago`;
  if (seconds < 14 * 86400) return `${Math.floor(seconds / 86400)} d ago`;
  return day(time);
}

/** `1 h 02 min`, `12 s`. */
export function duration(seconds) {
  if (!isNumber(seconds)) return NONE;
  if (seconds < 90) return `${seconds < 10 ? seconds.toFixed(1) : Math.round(seconds)} s`;
  const minutes = Math.round(seconds / 60);
  return minutes < 90 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${pad(minutes % 60)} min`;
}

/** `max_drawdown` -> `Max drawdown`; abbreviations stay as they are written. */
export function words(name) {
  const known = { ltv: "LTV", apy: "APY", pnl: "PnL", hf: "HF", sha256: "SHA-256", usd: "USD", aave_v3: "Aave v3" };
  const text = known[name] ?? String(name).split("_").map((part) => known[part] ?? part).join(" ");
  return text.charAt(0).toUpperCase() + text.slice(1);
}

const VENUES = { aave_v3: "Aave v3", etherfi: "ether.fi", lido: "Lido", binance: "Binance", bybit: "Bybit", okx: "OKX", morpho: "Morpho", uniswap: "Uniswap", wallet: "Wallet" };

/** Name of a venue. */
export const venue = (name) => VENUES[name] ?? words(name ?? "");

/** `aave_v3:aToken:aUSDT` -> its three parts. */
export function instrument(key) {
  const [where, type, ...token] = key.split(":");
  return { venue: where, type, token: token.join(":") };
}

/** First digits of an id. */
export const short = (id) => String(id ?? "").slice(0, 8);
