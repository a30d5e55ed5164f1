"use strict";
// Pages work without this: it makes times relative and local, counts durations
// on, and replaces the parts of a page that the server says have changed.

const span = ms => {
  const s = Math.max(0, ms) / 1000;
  if (s < 1) return Math.round(s * 1000) + " ms";
  if (s < 60) return s.toFixed(1) + " s";
  if (s < 3600) return Math.floor(s / 60) + "m " + String(Math.floor(s % 60)).padStart(2, "0") + "s";
  return Math.floor(s / 3600) + "h " + String(Math.floor(s / 60 % 60)).padStart(2, "0") + "m";
};

const relative = ms => {
  const s = (ms - Date.now()) / 1000, a = Math.abs(s);
  if (a < 10) return "now";
  const [n, unit] = a < 60 ? [a, "s"] : a < 3600 ? [a / 60, "min"] : a < 48 * 3600 ? [a / 3600, "h"] : [a / 86400, "days"];
  const text = Math.floor(n) + " " + unit;
  return s < 0 ? text + " ago" : "in " + text;
};

function tell() {
  for (const t of document.querySelectorAll("time[data-ms]")) {
    const ms = Number(t.dataset.ms), text = relative(ms);
    if (t.textContent !== text) t.textContent = text;
    if (!t.title) t.title = new Date(ms).toLocaleString();
  }
  for (const t of document.querySelectorAll("[data-since]")) t.textContent = span(Date.now() - Number(t.dataset.since));
}

// named tells elements of a section apart, in its old version and in its new one:
// by the nearest key, and their place in what has it.
function named(section, selector) {
  const names = new Map();
  for (const e of section.querySelectorAll(selector)) {
    const keyed = e.closest("[data-key]"), within = keyed && section.contains(keyed) ? keyed : section;
    names.set((within.dataset.key || "") + " " + [...within.querySelectorAll(selector)].indexOf(e), e);
  }
  return names;
}

// What the reader opens or closes stays so.
addEventListener("click", e => {
  const summary = e.target.closest && e.target.closest("summary");
  if (summary) summary.parentElement.dataset.touched = "1";
});

// place puts a new version of a section where the old one is. What the reader
// opened, scrolled to or has the focus on stays so.
function place({id, version, html}) {
  let old = document.getElementById(id);
  if (!old) {
    old = document.createElement("div");
    old.id = id;
    document.getElementById("sections").append(old);
  }
  if (old.dataset.version === version) return;
  const open = named(old, "details"), scrolled = new Map();
  for (const [name, e] of named(old, ".scroll, .log")) scrolled.set(name, [e.scrollLeft, e.scrollTop, e.scrollTop + e.clientHeight > e.scrollHeight - 30]);
  const focused = old.contains(document.activeElement) && document.activeElement;
  const focusable = "a, button, summary, input";
  const at = focused ? [...old.querySelectorAll(focusable)].indexOf(focused) : -1;
  old.innerHTML = html;
  old.dataset.version = version;
  for (const [name, d] of named(old, "details")) {
    const was = open.get(name);
    if (was && was.dataset.touched) [d.open, d.dataset.touched] = [was.open, "1"];
  }
  for (const [name, e] of named(old, ".scroll, .log")) {
    const [left, top, end] = scrolled.get(name) || [0, 0, true];
    e.scrollLeft = left;
    e.scrollTop = end ? e.scrollHeight : top;
  }
  if (at >= 0) old.querySelectorAll(focusable)[at]?.focus({preventScroll: true});
}

function follow(path) {
  const events = new EventSource(path);
  events.addEventListener("section", e => { place(JSON.parse(e.data)); tell(); });
  events.addEventListener("end", () => { events.close(); document.body.dataset.ended = "1"; });
  addEventListener("pagehide", () => events.close());
}

// MLflow's pages link to jobs as the platform does: /#job/1/run/2.
const job = location.pathname === "/" && location.hash.match(/^#job\/(\d+)(?:\/run\/(\d+))?$/);
if (job) location.replace("/jobs/" + job[1] + (job[2] ? "/runs/" + job[2] : ""));

// What follows # is not sent to the server: take it along through sign-in.
const next = document.querySelector("form.login input[name=next]");
if (next && location.hash) next.value = (next.value || "/") + location.hash;

// Keys: / searches, ? lists the keys, g and a letter go to a page.
let going = 0;
addEventListener("keydown", e => {
  const search = document.querySelector("[data-search]"), keys = document.getElementById("keys");
  if (!keys || e.ctrlKey || e.metaKey || e.altKey || /^(INPUT|SELECT|TEXTAREA)$/.test(document.activeElement.tagName)) return;
  const link = Date.now() - going < 2000 && [...document.querySelectorAll("nav a")].find(a => a.dataset.key === e.key);
  going = 0;
  if (e.key === "/" && search) {
    keys.hidePopover();
    search.focus();
    search.select();
  } else if (e.key === "?") keys.togglePopover();
  else if (e.key === "g") going = Date.now();
  else if (link) link.click();
  else return;
  e.preventDefault();
});

tell();
setInterval(tell, 1000);
for (const e of document.querySelectorAll("pre.follow")) e.scrollTop = e.scrollHeight;
for (const e of document.querySelectorAll(".dag [aria-current]")) { // the middle of a graph is seen first
  const box = e.closest(".scroll"), at = e.getBoundingClientRect(), frame = box.getBoundingClientRect();
  box.scrollLeft += at.left + at.width / 2 - frame.left - frame.width / 2;
}
if (document.body.dataset.live) follow(document.body.dataset.live);
