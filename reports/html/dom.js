"use strict";
/* Making elements, numbers as text, and what the page was given. */

const $ = (id) => document.getElementById(id);

/** An element with attributes; texts become text nodes, so that no name can be markup. */
function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

/** An element of SVG, as `element`. */
function drawn(name, attributes = {}, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

/** Options of a select from [value, text] pairs; keeps the chosen value where it is still there. */
function fill(select, pairs) {
  const before = select.value;
  select.replaceChildren(...pairs.map(([value, text]) => element("option", { value }, text)));
  if (pairs.some(([value]) => String(value) === before)) select.value = before;
}

/** Seeds of lines or sources, in order. */
const seedsOf = (found) => [...new Set(found.map((each) => each.seed).filter((seed) => seed !== null))].sort((a, b) => a - b);

/** What is of a seed, one per entry: of a method that was not run with it, its first seed. */
function ofSeed(found, seed) {
  const kept = new Map();
  for (const each of found) if (!kept.has(each.entry) || each.seed === seed) kept.set(each.entry, each);
  return found.filter((each) => kept.get(each.entry) === each);
}

/** Name of a line or source; its seed is named where another one was asked for. */
const called = (each, seed) => data.entries[each.entry].name + (each.seed === seed ? "" : ` (seed ${each.seed})`);

/** Offer seeds in a select, whose label is hidden where there is one only; returns the chosen seed. */
function offerSeeds(select, seeds) {
  fill(select, seeds.map((seed) => [seed, seed]));
  select.closest("label").hidden = seeds.length < 2;
  return seeds.length ? Number(select.value) : null;
}

/** Class of a method's colour; there are eight. */
const tint = (entry) => `k${entry % 8}`;

const swatch = (entry) => element("span", { class: `swatch ${tint(entry)}` });

/** Number as the tables show it. */
function shown(value, column) {
  if (value === null || value === undefined) return "–";
  if (value === "inf") return "∞";
  if (column.kind === "duration") return duration(value);
  const whole = column.kind === "count" || (column.kind === "rate" && value >= 1000);
  const digits = whole ? 0 : column.digits;
  const text = value.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });
  return column.unit ? `${text} ${column.unit}` : text;
}

function duration(seconds) {
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
}

const arrow = (column) => ({ higher: " ↑", lower: " ↓" })[column.better] || "";

const data = JSON.parse($("data").textContent);
