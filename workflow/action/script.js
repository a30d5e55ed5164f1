// The objects that actions/github-script gives to a script, as far as the
// server behind GITHUB_API_URL answers them.
"use strict";
const fs = require("fs");
const path = require("path");
const { spawnSync } = require("child_process");
const { createRequire } = require("module");

const api = process.env.GITHUB_API_URL, token = process.env.WHERRY_SCRIPT_TOKEN;
const [owner, repo] = (process.env.GITHUB_REPOSITORY || "/").split("/");
const inputs = JSON.parse(process.env.WHERRY_INPUTS || "{}");
const payload = JSON.parse(fs.readFileSync(process.env.GITHUB_EVENT_PATH, "utf8") || "{}");

const asText = (value) => (value === undefined || value === null ? "" : typeof value === "string" ? value : JSON.stringify(value));
const append = (file, name, value) => {
  const text = asText(value);
  const mark = "wherry_" + Math.random().toString(36).slice(2);
  fs.appendFileSync(process.env[file], `${name}<<${mark}\n${text}\n${mark}\n`);
};
const escape = (s) => String(s).replace(/%/g, "%25").replace(/\r/g, "%0D").replace(/\n/g, "%0A");

const core = {
  setOutput: (name, value) => append("GITHUB_OUTPUT", name, value),
  exportVariable: (name, value) => { append("GITHUB_ENV", name, value); process.env[name] = asText(value); },
  addPath: (p) => { fs.appendFileSync(process.env.GITHUB_PATH, p + "\n"); process.env.PATH = p + path.delimiter + process.env.PATH; },
  setSecret: (s) => console.log(`::add-mask::${escape(s)}`),
  getInput: (name, options = {}) => {
    const value = inputs[name.toLowerCase()] ?? process.env["INPUT_" + name.replace(/ /g, "_").toUpperCase()] ?? "";
    if (options.required && !value) throw new Error(`Input required and not supplied: ${name}`);
    return options.trimWhitespace === false ? value : value.trim();
  },
  getMultilineInput: (name, options) => core.getInput(name, options).split("\n").map((s) => s.trim()).filter((s) => s),
  getBooleanInput: (name, options) => {
    const value = core.getInput(name, options);
    if (/^(true|True|TRUE)$/.test(value)) return true;
    if (/^(false|False|FALSE)$/.test(value)) return false;
    throw new TypeError(`Input does not meet YAML 1.2 "Core Schema" specification: ${name}`);
  },
  isDebug: () => process.env.RUNNER_DEBUG === "1",
  group: async (name, f) => { core.startGroup(name); try { return await f(); } finally { core.endGroup(); } },
  setFailed: (e) => { console.log(`::error::${escape(e && e.message ? e.message : e)}`); process.exitCode = 1; },
  info: (s) => console.log(s),
  debug: () => {},
  notice: (s) => console.log(`::notice::${escape(s)}`),
  warning: (s) => console.log(`::warning::${escape(s)}`),
  error: (s) => console.log(`::error::${escape(s)}`),
  startGroup: (s) => console.log(`::group::${s}`),
  endGroup: () => console.log("::endgroup::"),
  summary: {
    text: "",
    addRaw(s, eol) { this.text += s; return eol ? this.addEOL() : this; },
    addEOL() { return this.addRaw("\n"); },
    addHeading(s, n = 1) { return this.addRaw(`<h${n}>${s}</h${n}>`, true); },
    addCodeBlock(s, lang) { return this.addRaw(`<pre${lang ? ` lang="${lang}"` : ""}><code>${s}</code></pre>`, true); },
    addList(items, ordered) { const l = ordered ? "ol" : "ul"; return this.addRaw(`<${l}>${items.map((i) => `<li>${i}</li>`).join("")}</${l}>`, true); },
    addTable(rows) {
      const cell = (c) => (typeof c === "string" ? `<td>${c}</td>` : `<${c.header ? "th" : "td"}>${c.data}</${c.header ? "th" : "td"}>`);
      return this.addRaw(`<table>${rows.map((r) => `<tr>${r.map(cell).join("")}</tr>`).join("")}</table>`, true);
    },
    addDetails(label, s) { return this.addRaw(`<details><summary>${label}</summary>${s}</details>`, true); },
    addLink(s, href) { return this.addRaw(`<a href="${href}">${s}</a>`, true); },
    addQuote(s) { return this.addRaw(`<blockquote>${s}</blockquote>`, true); },
    addSeparator() { return this.addRaw("<hr>", true); },
    addBreak() { return this.addRaw("<br>", true); },
    stringify() { return this.text; },
    isEmptyBuffer() { return this.text === ""; },
    emptyBuffer() { this.text = ""; return this; },
    async write(options = {}) {
      (options.overwrite ? fs.writeFileSync : fs.appendFileSync)(process.env.GITHUB_STEP_SUMMARY, this.text);
      return this.emptyBuffer();
    },
    async clear() { return this.emptyBuffer().write({ overwrite: true }); },
  },
};

async function request(route, params = {}) {
  let [method, address] = route.includes(" ") ? route.split(" ") : ["GET", route];
  const { headers = {}, ...rest } = params;
  address = address.replace(/\{(\w+)\}/g, (_, k) => { const v = rest[k]; delete rest[k]; return encodeURIComponent(v); });
  const options = { method, headers: { accept: "application/json", ...headers, authorization: `Bearer ${token}` } };
  if (method === "GET") {
    const query = new URLSearchParams(rest).toString();
    if (query) address += "?" + query;
  } else {
    options.headers["content-type"] = "application/json";
    options.body = JSON.stringify(rest);
  }
  const res = await fetch(api + address, options);
  const text = await res.text();
  let data = text;
  try { data = JSON.parse(text); } catch {}
  if (!res.ok) {
    const e = new Error(`${method} ${address}: ${res.status} ${data.message || text.slice(0, 200)}`);
    e.status = res.status;
    throw e;
  }
  return { status: res.status, data, headers: Object.fromEntries(res.headers) };
}

const at = (method, path) => (params) => request(`${method} /repos/{owner}/{repo}${path}`, params);
const only = (name, methods) => new Proxy(methods, {
  get: (m, k) => m[k] || (() => { throw new Error(`github.rest.${name}.${String(k)} is not supported by wherry`); }),
});
const rest = new Proxy({
  issues: only("issues", {
    createComment: at("POST", "/issues/{issue_number}/comments"), listComments: at("GET", "/issues/{issue_number}/comments"),
    updateComment: at("PATCH", "/issues/comments/{comment_id}"), deleteComment: at("DELETE", "/issues/comments/{comment_id}"),
  }),
  pulls: only("pulls", { get: at("GET", "/pulls/{pull_number}"), list: at("GET", "/pulls") }),
  repos: only("repos", {
    createCommitStatus: at("POST", "/statuses/{sha}"), getCombinedStatusForRef: at("GET", "/commits/{ref}/status"), listCommitStatusesForRef: at("GET", "/commits/{ref}/statuses"),
  }),
}, { get: (m, k) => m[k] || only(String(k), {}) });

const context = {
  payload, owner, eventName: process.env.GITHUB_EVENT_NAME, sha: process.env.GITHUB_SHA, ref: process.env.GITHUB_REF,
  workflow: process.env.GITHUB_WORKFLOW, actor: process.env.GITHUB_ACTOR, job: process.env.GITHUB_JOB,
  runId: Number(process.env.GITHUB_RUN_ID), runNumber: Number(process.env.GITHUB_RUN_NUMBER), runAttempt: Number(process.env.GITHUB_RUN_ATTEMPT),
  serverUrl: process.env.GITHUB_SERVER_URL, apiUrl: api, repo: { owner, repo },
  issue: { owner, repo, number: (payload.issue || payload.pull_request || payload).number },
};
const github = {
  rest, request, paginate: async (f, params, map) => { const r = await (typeof f === "string" ? request(f, params) : f(params)); return map ? map(r) : r.data; },
  graphql: async () => { throw new Error("github.graphql is not supported by wherry"); },
};

// split is a command line as its words; quotes hold words together.
const split = (line) => (line.match(/(?:[^\s"]|"(?:\\.|[^"\\])*")+/g) || []).map((w) => w.replace(/"((?:\\.|[^"\\])*)"/g, (_, q) => q.replace(/\\(.)/g, "$1")));
const run = (line, args = [], options = {}) => {
  const [cmd, ...first] = split(line);
  const { cwd, env = process.env, input } = options;
  const r = spawnSync(cmd, [...first, ...args], { cwd, env, input, stdio: [input === undefined ? "ignore" : "pipe", "pipe", "pipe"], maxBuffer: 1 << 30 });
  if (r.error) throw new Error(`Unable to locate executable file: ${cmd}: ${r.error.message}`);
  if (!options.silent) { process.stdout.write(r.stdout); process.stdout.write(r.stderr); }
  for (const [name, data] of [["stdout", r.stdout], ["stderr", r.stderr]]) if (options.listeners?.[name] && data.length) options.listeners[name](data);
  const exitCode = r.status ?? 1;
  if (exitCode !== 0 && !options.ignoreReturnCode) throw new Error(`The process '${cmd}' failed with exit code ${exitCode}`);
  return { exitCode, stdout: r.stdout.toString(), stderr: r.stderr.toString() };
};
const exec = { exec: async (...given) => run(...given).exitCode, getExecOutput: async (...given) => run(...given) };
const io = {
  mkdirP: async (dir) => { fs.mkdirSync(dir, { recursive: true }); },
  rmRF: async (p) => { fs.rmSync(p, { recursive: true, force: true }); },
  cp: async (from, to, options = {}) => { fs.cpSync(from, fs.existsSync(to) && fs.statSync(to).isDirectory() ? path.join(to, path.basename(from)) : to, { force: options.force !== false, recursive: options.recursive }); },
  mv: async (from, to) => { fs.renameSync(from, fs.existsSync(to) && fs.statSync(to).isDirectory() ? path.join(to, path.basename(from)) : to); },
  which: async (tool, check) => {
    for (const dir of process.env.PATH.split(path.delimiter)) { try { fs.accessSync(path.join(dir, tool), fs.constants.X_OK); return path.join(dir, tool); } catch {} }
    if (check) throw new Error(`Unable to locate executable file: ${tool}`);
    return "";
  },
};
const glob = new Proxy({}, { get: () => () => { throw new Error("glob of actions/github-script is not supported by wherry"); } });

(async () => {
  const script = process.env.WHERRY_SCRIPT, encoding = process.env.WHERRY_SCRIPT_ENCODING || "json";
  for (const name of ["WHERRY_SCRIPT", "WHERRY_SCRIPT_ENCODING", "WHERRY_SCRIPT_TOKEN", "WHERRY_INPUTS"]) delete process.env[name];
  const AsyncFunction = Object.getPrototypeOf(async () => {}).constructor;
  const body = new AsyncFunction("github", "octokit", "context", "core", "exec", "io", "glob", "require", script);
  // Modules are those of the workspace, as paths are that begin with a dot.
  const result = await body(github, github, context, core, exec, io, glob, createRequire(path.join(process.cwd(), "script.js")));
  if (!["json", "string"].includes(encoding)) throw new Error(`"result-encoding" must be either "string" or "json"`);
  core.setOutput("result", encoding === "string" ? String(result) : JSON.stringify(result));
})().catch((e) => core.setFailed(e));
