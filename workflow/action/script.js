// The objects that actions/github-script gives to a script, as far as the
// server behind GITHUB_API_URL answers them.
"use strict";
const fs = require("fs");
const { spawnSync } = require("child_process");

const api = process.env.GITHUB_API_URL;
const [owner, repo] = (process.env.GITHUB_REPOSITORY || "/").split("/");
const payload = JSON.parse(fs.readFileSync(process.env.GITHUB_EVENT_PATH, "utf8") || "{}");

const append = (file, name, value) => {
  const text = typeof value === "string" ? value : JSON.stringify(value ?? "");
  const mark = "wherry_" + Math.random().toString(36).slice(2);
  fs.appendFileSync(process.env[file], `${name}<<${mark}\n${text}\n${mark}\n`);
};
const escape = (s) => String(s).replace(/%/g, "%25").replace(/\r/g, "%0D").replace(/\n/g, "%0A");

const core = {
  setOutput: (name, value) => append("GITHUB_OUTPUT", name, value),
  exportVariable: (name, value) => { append("GITHUB_ENV", name, value); process.env[name] = String(value); },
  addPath: (p) => fs.appendFileSync(process.env.GITHUB_PATH, p + "\n"),
  setSecret: (s) => console.log(`::add-mask::${escape(s)}`),
  getInput: (name) => process.env["INPUT_" + name.toUpperCase()] || "",
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
    addRaw(s) { this.text += s; return this; },
    addHeading(s, n = 1) { this.text += "#".repeat(n) + " " + s + "\n"; return this; },
    addEOL() { this.text += "\n"; return this; },
    async write() { fs.appendFileSync(process.env.GITHUB_STEP_SUMMARY, this.text); this.text = ""; return this; },
  },
};

async function request(route, params = {}) {
  let [method, path] = route.includes(" ") ? route.split(" ") : ["GET", route];
  const rest = { ...params };
  path = path.replace(/\{(\w+)\}/g, (_, k) => { const v = rest[k]; delete rest[k]; return encodeURIComponent(v); });
  const options = { method, headers: { authorization: `Bearer ${process.env.WHERRY_SCRIPT_TOKEN}`, accept: "application/json" } };
  if (method === "GET") {
    const query = new URLSearchParams(rest).toString();
    if (query) path += "?" + query;
  } else {
    options.headers["content-type"] = "application/json";
    options.body = JSON.stringify(rest);
  }
  const res = await fetch(api + path, options);
  const text = await res.text();
  let data = text;
  try { data = JSON.parse(text); } catch {}
  if (!res.ok) {
    const e = new Error(`${method} ${path}: ${res.status} ${data.message || text.slice(0, 200)}`);
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
    updateComment: at("PATCH", "/issues/comments/{comment_id}"), get: at("GET", "/issues/{issue_number}"),
  }),
  pulls: only("pulls", { get: at("GET", "/pulls/{pull_number}"), list: at("GET", "/pulls") }),
  repos: only("repos", {
    createCommitStatus: at("POST", "/statuses/{sha}"), getCombinedStatusForRef: at("GET", "/commits/{ref}/status"), get: at("GET", ""),
  }),
}, { get: (m, k) => m[k] || only(String(k), {}) });

const context = {
  payload, owner, eventName: process.env.GITHUB_EVENT_NAME, sha: process.env.GITHUB_SHA, ref: process.env.GITHUB_REF,
  workflow: process.env.GITHUB_WORKFLOW, actor: process.env.GITHUB_ACTOR, job: process.env.GITHUB_JOB,
  runId: Number(process.env.GITHUB_RUN_ID), runNumber: Number(process.env.GITHUB_RUN_NUMBER), runAttempt: Number(process.env.GITHUB_RUN_ATTEMPT),
  serverUrl: process.env.GITHUB_SERVER_URL, apiUrl: api, repo: { owner, repo },
  issue: { owner, repo, number: (payload.issue || payload.pull_request || payload).number },
};
const github = { rest, request, paginate: async (f, params) => (await f(params)).data };
const exec = {
  exec: async (cmd, args = []) => {
    const r = spawnSync(cmd, args, { stdio: "inherit", shell: args.length === 0 });
    if (r.status !== 0) throw new Error(`${cmd} ended with exit code ${r.status}`);
    return r.status;
  },
};

(async () => {
  const script = process.env.WHERRY_SCRIPT;
  delete process.env.WHERRY_SCRIPT;
  const AsyncFunction = Object.getPrototypeOf(async () => {}).constructor;
  const body = new AsyncFunction("github", "octokit", "context", "core", "exec", "require", script);
  const result = await body(github, github, context, core, exec, require);
  if (result !== undefined) core.setOutput("result", process.env.WHERRY_SCRIPT_ENCODING === "string" ? String(result) : JSON.stringify(result));
})().catch((e) => core.setFailed(e));
