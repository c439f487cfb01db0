// The HTTP interface of the server that this page comes from.

const KEY = "signbind token";

export class Refused extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

export function setToken(token) {
  sessionStorage.setItem(KEY, token);
}

function headers() {
  const token = sessionStorage.getItem(KEY);
  return token ? { Authorization: `Bearer ${token}` } : {};
}

function detailOf(text, status) {
  try {
    return JSON.parse(text).detail;
  } catch {
    return text.trim() || `the server answered ${status}`;
  }
}

// The answer to a request that is not refused.
async function answered(path, options = {}) {
  let answer;
  try {
    answer = await fetch(path, { ...options, headers: headers() });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused(0, "The server cannot be reached.");
  }
  if (!answer.ok) throw new Refused(answer.status, detailOf(await answer.text(), answer.status));
  return answer;
}

async function ask(path, options) {
  const text = await (await answered(path, options)).text();
  return text ? JSON.parse(text) : null;
}

export const translator = () => ask("v1/translator");
export const job = (id, wait, signal) => ask(`v1/jobs/${id}?wait=${wait}`, { signal });
export const landmarks = (id, signal) => ask(`v1/jobs/${id}/landmarks`, { signal });
export const forget = (id) => ask(`v1/jobs/${id}`, { method: "DELETE" });
export const examples = () => ask("v1/examples");
export const example = async (name) => (await answered(`v1/examples/${encodeURIComponent(name)}`)).blob();

// Uploads a file and gives its job's id. XMLHttpRequest, as fetch does not tell how much has gone.
export function upload(file, name, progress, signal) {
  return new Promise((resolve, reject) => {
    const form = new FormData();
    form.append("file", file, name);
    const request = new XMLHttpRequest();
    request.open("POST", "v1/jobs");
    for (const [key, value] of Object.entries(headers())) request.setRequestHeader(key, value);
    request.upload.onprogress = (event) => event.lengthComputable && progress(event.loaded / event.total);
    request.onload = () => {
      if (request.status === 202) resolve(JSON.parse(request.responseText).id);
      else reject(new Refused(request.status, detailOf(request.responseText, request.status)));
    };
    request.onerror = () => reject(new Refused(0, "The upload was refused or the server cannot be reached."));
    request.onabort = () => reject(new DOMException("cancelled", "AbortError"));
    signal.addEventListener("abort", () => request.abort());
    request.send(form);
  });
}
